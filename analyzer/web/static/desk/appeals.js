/** Appeals: hear the sentence, read what the agent says, uphold or reject with a reason. */

import { clockText } from "../clock.js";
import { byId, make, makeShape, show, write } from "../dom.js";
import { ROLES, SEVERITIES } from "../words.js";
import { ask, isGood, post, troubleText } from "./api.js";
import { appealBox, button } from "./findings.js";
import { hearButton, hearFinding, stopHearing } from "./hearing.js";
import { ItemList } from "./item_list.js";
import { onKeys } from "./keys.js";
import { moment, untilText } from "./moments.js";
import { tell } from "./toast.js";
import { APPEALS, DECISIONS, ROUNDS } from "./words.js";

const REASONS = {
  upheld: ["听录音，坐席没有说这句话", "语境允许，不构成违规", "识别错误", "规则不适用于本业务"],
  rejected: ["听录音属实", "坐席所述不影响判定", "规范有明确要求"],
};
const CONTEXT = 2; // turns before and after

let appeals = [];
let next = null;
let shown = null; // {appeal, finding}: the latter null until it is here

const list = new ItemList(byId("items"), { drawItem, onChoose: open });

byId("state").addEventListener("change", () => load());
byId("more").addEventListener("click", () => load(next));
onKeys({
  j: () => list.step(1),
  k: () => list.step(-1),
  ArrowDown: () => list.step(1),
  ArrowUp: () => list.step(-1),
  " ": () => shown?.finding && hearFinding(shown.appeal.call.id, shown.finding, shown.appeal.call.duration_ms),
  1: () => start("upheld"),
  2: () => start("rejected"),
});
load();

async function load(cursor = null) {
  const query = new URLSearchParams({ limit: 50 });
  if (byId("state").value) query.set("state", byId("state").value);
  if (cursor) query.set("cursor", cursor);
  const answer = await ask(`/appeals?${query}`);
  if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
  appeals = cursor ? [...appeals, ...answer.body.appeals] : answer.body.appeals;
  next = answer.body.next ?? null;
  list.show(appeals);
  show(byId("more"), next !== null);
  write(byId("sums"), appeals.length ? `${appeals.length}${next ? "+" : ""} 条` : "没有这样的申诉");
  const wanted = Number(new URLSearchParams(location.search).get("appeal"));
  if (!cursor) list.choose(appeals.find((one) => one.id === wanted) ?? appeals[0]);
  if (!appeals.length) byId("detail").replaceChildren(make("p", "nothing", "没有待处理的申诉"));
  document.documentElement.dataset.ready = "true";
}

function drawItem({ title: rule, severity, call, state, at, by }) {
  const title = make("span", "item-title", makeShape(SEVERITIES[severity].shape), ` ${rule}`);
  title.dataset.severity = severity;
  const waits = state === "open" ? deadlineText(call, at) : make("span", "", APPEALS[state]);
  return [title, make("span", "item-end", waits), make("span", "item-line", `${by} · ${moment(at)} · ${call.call_id}`)];
}

/** How long the agent has waited. */
function deadlineText(call, at) {
  const days = Math.floor((Date.now() - new Date(at)) / 86_400_000);
  const node = make("span", "deadline", days ? `已等 ${days} 天` : "今天提出");
  node.dataset.soon = days >= 2;
  node.dataset.over = days >= 5;
  if (call.appeal_until) node.title = `申诉期至 ${moment(call.appeal_until)}（${untilText(call.appeal_until).text}）`;
  return node;
}

async function open(appeal) {
  stopHearing();
  history.replaceState(null, "", `/appeals?appeal=${appeal.id}`);
  shown = { appeal, finding: null };
  const place = make("div", "sheet"); // what is judged comes a little later; a reason that is being written stays
  byId("detail").replaceChildren(make("article", "sheet", head(appeal), theAppeal(appeal), place, appeal.state === "open" ? decide(appeal) : ""));
  const answer = await ask(`/calls/${appeal.call.id}`);
  if (shown.appeal !== appeal || !isGood(answer)) return;
  shown.finding = answer.body.findings.find((one) => one.id === appeal.finding_id) ?? null;
  if (shown.finding) place.replaceChildren(judged(appeal, shown.finding), context(answer.body, shown.finding));
}

function head({ call, finding_id, title }) {
  const link = make("a", "", "打开整通电话");
  link.href = `/calls/${call.id}?finding=${finding_id}`;
  return make("header", "sheet-head", make("h2", "", title), make("span", "hint", [call.agent_name ?? call.agent_id, call.call_id, moment(call.started_at)].filter(Boolean).join(" · ")), link);
}

function theAppeal(appeal) {
  return make("section", "box", appealBox(appeal));
}

function judged({ call }, finding) {
  const { shape, word } = SEVERITIES[finding.severity];
  const severity = make("span", "severity", makeShape(shape), word);
  const box = make("section", "box", make("div", "box-head", make("h3", "", "原判"), severity, make("span", "hint", clockText(finding.start_ms))));
  box.dataset.severity = finding.severity;
  if (finding.quote) box.append(make("p", "said-quote", `“${finding.quote}”`));
  box.append(make("p", "", finding.message));
  for (const one of finding.reviews) {
    box.append(make("p", "past", `${ROUNDS[one.round] ?? one.round} ${DECISIONS[one.decision]?.word ?? one.decision} · ${one.reviewer} · ${moment(one.at)}${one.reason ? `：${one.reason}` : ""}`));
  }
  if (finding.would_pass_if) box.append(make("p", "would-pass", `→ ${finding.would_pass_if}`));
  box.append(make("div", "row", hearButton(call.id, finding, call.duration_ms), make("kbd", "", "空格")));
  return box;
}

/** What was said around it. */
function context(detail, finding) {
  const turns = detail.turns.toSorted((one, other) => one.start_ms - other.start_ms);
  const number = finding.spans[0]?.turn ?? finding.turn;
  const at = turns.findIndex((turn) => turn.number === number);
  if (at < 0) return "";
  const lines = turns.slice(Math.max(0, at - CONTEXT), at + CONTEXT + 1).map((turn) => {
    const line = make("p", "context-line", make("span", "", `${clockText(turn.start_ms)} ${ROLES[turn.role] ?? ""}`), make("span", "", turn.text));
    line.classList.toggle("hit", turn.number === number);
    return line;
  });
  return make("section", "box", make("div", "box-head", make("h3", "", "前后文")), make("div", "context", ...lines));
}

function decide(appeal) {
  if (!appeal.actions.length) return make("p", "past", "申诉须由没有参与原判的人处理；这一条请交给其他同事。");
  const yes = button("✓ 申诉成立 ", "", () => start("upheld"));
  const no = button("✗ 驳回 ", "", () => start("rejected"));
  yes.append(make("kbd", "", "1"));
  no.append(make("kbd", "", "2"));
  const box = make("section", "box", make("div", "box-head", make("h3", "", "处理")), make("div", "row", yes, no));
  box.id = "decide";
  return box;
}

function start(state) {
  const box = document.getElementById("decide");
  if (!box) return;
  box.querySelector("form")?.remove();
  const form = make("form", "sheet");
  const text = make("textarea");
  Object.assign(text, { rows: 3, required: true, maxLength: 1000, placeholder: "理由：坐席会看到" });
  text.setAttribute("aria-label", "理由");
  const reasons = make("div", "reasons", ...REASONS[state].map((reason) => button(reason, "reason-chip", () => {
    text.value = reason;
    text.focus();
  })));
  const save = make("button", "primary", state === "upheld" ? "申诉成立，推翻这条发现" : "驳回，维持原判");
  form.append(text, reasons, make("div", "row", save, button("取消", "", () => form.remove())));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    save.disabled = true;
    await settle(state, text.value.trim());
    save.disabled = false;
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) form.remove();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  box.append(form);
  text.focus();
}

async function settle(state, reason) {
  const { appeal } = shown;
  const answer = await post(`/appeals/${appeal.id}/decision`, { state, reason });
  if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
  tell(state === "upheld" ? "申诉成立：发现已推翻，并成为规则用例的草稿" : "申诉已驳回");
  const at = appeals.indexOf(appeal);
  appeals = appeals.filter((one) => one !== appeal);
  list.show(appeals);
  write(byId("sums"), appeals.length ? `${appeals.length} 条` : "没有待处理的申诉了");
  if (appeals.length) list.choose(appeals[Math.min(at, appeals.length - 1)]);
  else byId("detail").replaceChildren(make("p", "nothing", "都处理完了"));
}
