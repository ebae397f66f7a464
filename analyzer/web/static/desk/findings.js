/** The cards of a call's findings: one open at a time, the others a line each. */

import { clockText } from "../clock.js";
import { drawList, make, makeShape, setData } from "../dom.js";
import { SEVERITIES } from "../words.js";
import { moment } from "./moments.js";
import { APPEALS, DECISIONS, MATCHES, REASONS, ROUNDS } from "./words.js";

/** onChoose, onHear  (finding) => void; onDecide  (finding, decision, reason) => Promise<boolean> */
export class FindingCards {
  #drafts = new Map(); // finding id -> {decision, reason}: what is being written
  #drawn = new WeakMap(); // element -> what it shows

  constructor(list, { onChoose, onHear, onDecide }) {
    Object.assign(this, { list, onChoose, onHear, onDecide });
  }

  draw(findings, chosen) {
    this.findings = findings;
    this.chosen = chosen;
    drawList(this.list, findings, (finding) => finding.id, () => make("li", "card"), (card, finding) => this.#drawCard(card, finding));
  }

  /** Decide the chosen finding: at once, or after a reason where one is wanted. */
  ask(finding, decision) {
    if (!finding.actions.includes(DECISIONS[decision].action)) return;
    if (decision === "confirmed" && !this.#drafts.has(finding.id)) {
      this.onDecide(finding, decision, "");
      return;
    }
    const draft = this.#drafts.get(finding.id);
    this.#drafts.set(finding.id, { decision, reason: draft?.reason ?? "" });
    this.#redraw(finding);
    this.#card(finding)?.querySelector(".reason-text")?.focus();
    this.#card(finding)?.querySelector(".reason")?.scrollIntoView({ block: "nearest" });
  }

  /** Whether a reason is being written (then digits are its own). */
  get isAsking() {
    return this.#drafts.has(this.chosen);
  }

  cancel() {
    const finding = this.findings.find((one) => one.id === this.chosen);
    if (finding && this.#drafts.delete(finding.id)) this.#redraw(finding);
  }

  reveal(finding) {
    this.#card(finding)?.scrollIntoView({ block: "nearest" });
  }

  #card(finding) {
    return this.list.querySelector(`:scope > [data-key="${finding.id}"]`);
  }

  #redraw(finding) {
    const card = this.#card(finding);
    this.#drawn.delete(card);
    this.#drawCard(card, finding);
  }

  #drawCard(card, finding) {
    const isOpen = finding.id === this.chosen;
    const seen = this.#drawn.get(card);
    if (seen && seen.finding === finding && seen.isOpen === isOpen) return;
    this.#drawn.set(card, { finding, isOpen });
    card.id = `finding-${finding.id}`;
    setData(card, "severity", finding.severity);
    setData(card, "decision", finding.decision ?? finding.reviews.at(-1)?.decision ?? "none");
    setData(card, "open", isOpen);
    card.replaceChildren(this.#head(finding, isOpen), ...(isOpen ? [this.#body(finding)] : []));
  }

  #head(finding, isOpen) {
    const { shape, word } = SEVERITIES[finding.severity];
    const severity = make("span", "severity", makeShape(shape), word);
    const title = make("span", "card-title", finding.title);
    if (finding.source === "added") title.append(make("span", "tag", "人工补记"));
    if (finding.outcome === "unsure") title.append(make("span", "tag", "机器无法判定"));
    if (finding.status === "trial") title.append(make("span", "tag", "试行，不计分"));
    if (finding.appeal) title.append(make("span", "tag", `申诉${APPEALS[finding.appeal.state]}`));
    const state = make("span", "card-state", ...decisionParts(finding));
    const head = make("button", "card-head", severity, title, make("span", "card-time", clockText(finding.start_ms)), state);
    if (!isOpen) head.append(make("span", "card-line", finding.quote ? `“${finding.quote}”` : finding.message));
    head.type = "button";
    head.setAttribute("aria-expanded", isOpen);
    head.addEventListener("click", () => this.onChoose(finding));
    return head;
  }

  #body(finding) {
    const body = make("div", "card-body");
    const hear = button("▶ 听 ", "hear", () => this.onHear(finding));
    hear.append(make("kbd", "", "R"));
    body.append(make("div", "message-row", make("p", "message", finding.message), hear), facts(finding));
    if (finding.would_pass_if && finding.decision !== "overturned") body.append(make("p", "would-pass", makeShape("→"), ` ${finding.would_pass_if}`));
    if (finding.suggestion) body.append(make("p", "better", make("span", "label", "更好的说法"), finding.suggestion));
    if (finding.clauses.length) body.append(clauseList(finding.clauses));
    if (finding.appeal) body.append(appealBox(finding.appeal));
    if (finding.reviews.length) body.append(reviewList(finding.reviews));
    else if (finding.decision) body.append(make("p", "past", decidedText(finding)));
    if (Object.values(DECISIONS).some(({ action }) => finding.actions.includes(action))) body.append(this.#decide(finding));
    return body;
  }

  #decide(finding) {
    const draft = this.#drafts.get(finding.id);
    const row = make("div", "decide");
    for (const [code, { word, shape, key }] of Object.entries(DECISIONS)) {
      const one = button("", "decision", () => this.ask(finding, code));
      one.append(makeShape(shape), ` ${word} `, make("kbd", "", key));
      one.dataset.decision = code;
      one.setAttribute("aria-pressed", (draft?.decision ?? finding.decision) === code);
      row.append(one);
    }
    return draft ? make("div", "deciding", row, this.#reasonBox(finding, draft)) : row;
  }

  #reasonBox(finding, draft) {
    const box = make("form", "reason");
    const text = make("textarea", "reason-text");
    text.rows = 2;
    text.value = draft.reason;
    text.placeholder = "理由（可点选下面的常用理由，或按 Alt+数字）";
    text.setAttribute("aria-label", "理由");
    text.addEventListener("input", () => (draft.reason = text.value));
    const common = make("div", "reasons");
    REASONS[draft.decision].forEach((reason, at) => {
      const chip = button(reason, "reason-chip", () => {
        text.value = draft.reason = reason;
        text.focus();
      });
      chip.prepend(make("kbd", "", String(at + 1)), " ");
      common.append(chip);
    });
    const save = make("button", "primary", `保存：${DECISIONS[draft.decision].word} `, make("kbd", "", "Enter"));
    save.type = "submit";
    const cancel = button("取消 ", "", () => this.cancel());
    cancel.append(make("kbd", "", "Esc"));
    box.append(text, common, make("div", "reason-end", save, cancel));
    box.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#save(finding, draft);
    });
    text.addEventListener("keydown", (event) => {
      const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code)?.[1];
      if (digit && (event.altKey || !text.value)) {
        const reason = REASONS[draft.decision][Number(digit) - 1];
        if (!reason) return;
        event.preventDefault();
        text.value = draft.reason = reason;
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#save(finding, draft);
      } else if (event.key === "Escape" && !event.isComposing) {
        event.stopPropagation();
        this.cancel();
      }
    });
    return box;
  }

  /** What is being written stays until the server has it. */
  async #save(finding, draft) {
    if (!draft.reason.trim() && draft.decision !== "confirmed") {
      const box = this.#card(finding).querySelector(".reason-text");
      box.setAttribute("aria-invalid", "true");
      box.placeholder = "须写明理由：坐席和规则维护者都要看";
      box.focus();
      return;
    }
    if (await this.onDecide(finding, draft.decision, draft.reason.trim())) this.#drafts.delete(finding.id);
  }
}

function decisionParts(finding) {
  const found = DECISIONS[finding.decision ?? finding.reviews.at(-1)?.decision];
  return found ? [makeShape(found.shape), ` ${found.word}`] : ["待复核"];
}

function facts(finding) {
  const list = make("dl", "facts");
  const add = (name, ...values) => list.append(make("div", "fact", make("dt", "", name), make("dd", "", ...values)));
  if (finding.category && /[\u4e00-\u9fff]/.test(finding.category)) add("类别", finding.category);
  add("命中方式", MATCHES[finding.match] ?? finding.match);
  if (finding.confidence !== null) add("识别把握", `${Math.round(finding.confidence * 100)}%`);
  if (typeof finding.measured?.value === "number") add("实测", ...measureParts(finding.measured));
  const rule = make("a", "", finding.title);
  rule.href = `/rules/${encodeURIComponent(finding.rule)}`;
  add("规则", rule);
  return list;
}

/** 252 字/分钟，限 96–144 */
function measureParts({ value, unit, low, high }) {
  const limits =
    low !== null && low !== undefined && high !== null && high !== undefined
      ? `限 ${low}–${high}`
      : typeof high === "number" ? `上限 ${high}` : typeof low === "number" ? `下限 ${low}` : "";
  const parts = [make("strong", "", `${value}${unit ? ` ${unit}` : ""}`)];
  if (limits) parts.push(`，${limits}`);
  return parts;
}

const CLAUSES_SHOWN = 2; // some rules rest on dozens, and the buttons stand below them

/** The clauses that a finding rests on: the first ones, the others on demand. */
export function clauseList(clauses) {
  const list = (some) => {
    const items = make("ul", "clauses", ...some.map(({ id, text }) => make("li", "", make("span", "clause-id", id), text ?? "")));
    items.setAttribute("aria-label", "条款");
    return items;
  };
  if (clauses.length <= CLAUSES_SHOWN + 1) return list(clauses);
  const others = make("details", "clauses-more", make("summary", "", `另有 ${clauses.length - CLAUSES_SHOWN} 条条款`), list(clauses.slice(CLAUSES_SHOWN)));
  return make("div", "", list(clauses.slice(0, CLAUSES_SHOWN)), others);
}

function reviewList(reviews) {
  const list = make("ul", "past");
  for (const one of reviews) {
    const found = DECISIONS[one.decision] ?? { word: one.decision, shape: "" };
    list.append(
      make("li", "", makeShape(found.shape), ` ${ROUNDS[one.round] ?? one.round} ${found.word} · ${one.reviewer} · ${moment(one.at)}${one.reason ? `：${one.reason}` : ""}`),
    );
  }
  return list;
}

function decidedText(finding) {
  const who = [finding.decided_by, finding.decided_at && moment(finding.decided_at)].filter(Boolean).join(" · ");
  return `${DECISIONS[finding.decision]?.word ?? finding.decision}${who ? ` · ${who}` : ""}${finding.reason ? `：${finding.reason}` : ""}`;
}

export function appealBox(appeal) {
  const box = make("div", "appeal", make("p", "", make("span", "label", `申诉 · ${APPEALS[appeal.state]}`), `${appeal.by} · ${moment(appeal.at)}`));
  box.append(make("p", "appeal-text", appeal.text));
  if (appeal.reason) box.append(make("p", "appeal-reason", `${appeal.decided_by ?? ""} · ${moment(appeal.decided_at)}：${appeal.reason}`));
  return box;
}

export function button(text, classes, act) {
  const node = make("button", classes, text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}
