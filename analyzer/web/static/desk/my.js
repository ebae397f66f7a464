/** An agent's own calls: what was found, hear it, acknowledge it or object. */

import { clockText } from "../clock.js";
import { byId, make, makeShape, show, write } from "../dom.js";
import { noticeText, ROLES, SEVERITIES, VERDICTS } from "../words.js";
import { ask, isGood, post, troubleText } from "./api.js";
import { splitFindings } from "./call_state.js";
import { appealBox, button, clauseList } from "./findings.js";
import { hearButton, stopHearing } from "./hearing.js";
import { ItemList } from "./item_list.js";
import { onKeys } from "./keys.js";
import { moment, untilText } from "./moments.js";
import { tell } from "./toast.js";
import { DECISIONS, STATES } from "./words.js";

let calls = [];
let next = null;
let detail = null;

const list = new ItemList(byId("items"), { drawItem, onChoose: open });

byId("more").addEventListener("click", () => load(next));
onKeys({ j: () => list.step(1), k: () => list.step(-1), ArrowDown: () => list.step(1), ArrowUp: () => list.step(-1) });
load();

async function load(cursor = null) {
  const answer = await ask(`/calls?judgement=all&limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
  calls = cursor ? [...calls, ...answer.body.calls] : answer.body.calls;
  next = answer.body.next;
  list.show(calls);
  show(byId("more"), next !== null);
  const waiting = calls.filter((call) => call.state === "shared").length;
  const again = calls.filter((call) => !call.counts).length; // another judgement of a call that is here as well
  write(byId("sums"), calls.length ? `共 ${answer.body.total - again} 通，待确认 ${waiting} 通` : "还没有下发给您的通话");
  const wanted = Number(new URLSearchParams(location.search).get("call"));
  if (!cursor) list.choose(calls.find((one) => one.id === wanted) ?? calls.find((one) => one.state === "shared") ?? calls[0]);
  document.documentElement.dataset.ready = "true";
}

function drawItem(call) {
  const score = call.final_score ?? call.score;
  const title = make("span", "item-title", moment(call.started_at) || call.call_id);
  return [
    title,
    make("span", "item-end", STATES[call.state] ?? call.state),
    make("span", "item-line", `${call.started_at ? call.call_id : "时间未知"} · ${clockText(call.duration_ms)}${call.counts ? "" : " · 不计入统计"}`),
    make("span", "item-end", `${score === null ? "无法评分" : `${score} 分`} ${VERDICTS[call.final_verdict ?? call.verdict] ?? ""}`),
  ];
}

async function open(call) {
  stopHearing();
  history.replaceState(null, "", `/my?call=${call.id}`);
  const answer = await ask(`/calls/${call.id}`);
  if (list.chosen !== call) return;
  if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
  detail = answer.body;
  draw();
}

function draw() {
  const { work } = splitFindings(detail.findings);
  const against = work.filter((finding) => finding.decision !== "overturned");
  const cleared = work.filter((finding) => finding.decision === "overturned");
  const sheet = make("article", "sheet", head(), figures());
  if (detail.notice) sheet.append(make("p", "trouble", noticeText(detail.notice)));
  if (!against.length) sheet.append(make("p", "box", "✓ 没有扣分的发现。"));
  sheet.append(...against.map(findingBox));
  if (cleared.length) sheet.append(folded(`复核时已推翻 ${cleared.length} 条`, cleared));
  for (const one of detail.comments) sheet.append(make("p", "box", `${one.by} · ${moment(one.at)}：${one.text}`));
  byId("detail").replaceChildren(sheet);
}

function head() {
  const link = make("a", "", "看全文");
  link.href = `/calls/${detail.id}`;
  const others = detail.all_judgements.filter((one) => one.id !== detail.id).map(otherJudgement);
  const title = make("h2", "", `${moment(detail.started_at) || detail.call_id} · ${clockText(detail.duration_ms)}`);
  return make("header", "sheet-head", title, make("span", "hint", detail.started_at ? detail.call_id : "时间未知"), link, ...others);
}

/** The same call, judged by other rules and shared as well. */
function otherJudgement({ id, score, final_score, counts }) {
  const link = make("a", "", `另一次评分 ${final_score ?? score ?? "无"} 分（${counts ? "计入统计" : "不计入统计"}）`);
  link.href = `/my?call=${id}`;
  return link;
}

function figures() {
  const score = detail.final_score ?? detail.score;
  const row = make("div", "box figures", make("span", "", make("strong", "", score === null ? "无" : String(score)), ` 分 · ${VERDICTS[detail.final_verdict ?? detail.verdict] ?? ""}`), make("span", "", STATES[detail.state] ?? detail.state));
  if (detail.appeal_until) {
    const until = untilText(detail.appeal_until);
    const deadline = make("span", "deadline", until.isOver ? `申诉期已过（${moment(detail.appeal_until)}）` : `可申诉至 ${moment(detail.appeal_until)}，${until.text}`);
    Object.assign(deadline.dataset, { soon: until.isSoon, over: until.isOver });
    row.append(deadline);
  }
  if (detail.actions.includes("acknowledge")) row.append(button("✓ 我已看过并确认", "primary", acknowledge));
  return row;
}

function findingBox(finding) {
  const { shape, word } = SEVERITIES[finding.severity];
  const state = finding.appeal ? "" : (DECISIONS[finding.decision]?.word ?? "");
  const box = make("section", "box", make("div", "box-head", make("h3", "", finding.title), make("span", "severity", makeShape(shape), word), make("span", "hint", `${clockText(finding.start_ms)} ${state}`)));
  box.dataset.severity = finding.severity;
  const turn = detail.turns.find((one) => one.number === (finding.spans[0]?.turn ?? finding.turn));
  if (turn && finding.quote) box.append(make("p", "said-quote", `${ROLES[turn.role]}：${turn.text}`));
  box.append(make("p", "", finding.message));
  if (finding.suggestion) box.append(make("p", "better", make("span", "label", "更好的说法"), finding.suggestion));
  if (finding.would_pass_if && finding.decision !== "overturned") box.append(make("p", "past", finding.would_pass_if));
  if (finding.clauses.length) box.append(clauseList(finding.clauses));
  if (finding.reason) box.append(make("p", "past", `复核说明：${finding.reason}`));
  if (finding.appeal) box.append(appealBox(finding.appeal));
  const row = make("div", "row");
  if (detail.recording) row.append(hearButton(detail.id, finding, detail.duration_ms));
  if (finding.actions.includes("appeal")) row.append(button("我要申诉", "", () => appealForm(box, finding)));
  box.append(row);
  return box;
}

function folded(title, findings) {
  const box = make("details", "past", make("summary", "", title));
  for (const finding of findings) box.append(make("p", "", `${finding.title}：${finding.message}`));
  return box;
}

function appealForm(box, finding) {
  if (box.querySelector("form")) return;
  const form = make("form", "sheet");
  const text = make("textarea");
  Object.assign(text, { rows: 3, required: true, maxLength: 1000, placeholder: "为什么这条不应算违规？请写明当时的情况" });
  text.setAttribute("aria-label", "申诉理由");
  const send = make("button", "primary", "提交申诉");
  form.append(text, make("div", "row", send, button("取消", "", () => form.remove()), make("span", "hint", "每条只能申诉一次，由没有参与原判的人处理")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    const answer = await post(`/findings/${finding.id}/appeal`, { text: text.value.trim() });
    send.disabled = false;
    if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
    tell("申诉已提交");
    await refresh();
  });
  box.append(form);
  text.focus();
}

async function acknowledge() {
  const answer = await post(`/calls/${detail.id}/actions`, { action: "acknowledge", why: "", version: detail.version });
  if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
  tell("已确认");
  await refresh();
}

/** The call as it stands now, here and in the list. */
async function refresh() {
  const answer = await ask(`/calls/${detail.id}`);
  if (!isGood(answer)) return;
  detail = answer.body;
  calls = calls.map((call) => (call.id === detail.id ? { ...call, state: detail.state, final_score: detail.final_score, final_verdict: detail.final_verdict } : call));
  const chosen = calls.find((call) => call.id === detail.id);
  list.show(calls);
  list.chosen = chosen;
  draw();
}
