/**
 * The agent's overlay: one call, or the calls of one agent one after another (/overlay?agent=3017).
 *
 * What changed is drawn at most once a frame; what only time changes, four times a second.
 */

import { announce } from "./announce.js";
import { drawChecklist, foldSettled } from "./checklist.js";
import { clockText } from "./clock.js";
import { byId, drawList, make, makeShape, setData, show, write } from "./dom.js";
import { PaceBar, TimerView } from "./gauges.js";
import { drawHint, makeHint, wordsOf } from "./hint_card.js";
import { hintsAt, missedHints } from "./hints.js";
import { onKeys } from "./keys.js";
import { readStatus, readTroubles } from "./line_status.js";
import { callIdOf, getCallsOf } from "./server.js";
import { CallWatch } from "./watch.js";
import { HINTS, OUTCOMES, OWED, ROLES, SEVERITIES, VERDICTS, noticeText, scoreText } from "./words.js";

const TICK_MS = 250;
const LOOK_MS = 1_000; // how often to ask for the agent's next call
const GLANCE_MS = 5_000; // and while one is running well: a later one may have begun all the same
const MOST_ITEMS = 10;
const MOST_LINES = 3; // of what was said
const MOST_HINTS = 2; // on the screen together; the first is large
const PATIENCE_MS = 600; // a line mended sooner was not worth a word

const agent = new URLSearchParams(location.search).get("agent");
const paces = { agent: new PaceBar("坐席"), customer: new PaceBar("客户") };
const timers = { hold: new TimerView("保持"), silence: new TimerView("静默") };
const ui = Object.fromEntries(
  ["status", "status-shape", "status-text", "clock", "troubles", "whisper", "whisper-from", "whisper-text", "hints",
   "calm", "calm-word", "calm-before", "result", "result-score", "result-verdict", "result-counts", "checklist",
   "checklist-count", "checklist-folded", "spoken", "notice", "keys"].map((id) => [id, byId(id)]),
); // prettier-ignore

let watch = null;
let startedAt = ""; // of the agent's call, ISO 8601
let drawn = {}; // what the screen shows already, by part
let isDue = false;
let lostSince = null;

byId("paces").append(paces.agent.node, paces.customer.node);
byId("timers").append(timers.hold.node, timers.silence.node);
byId("whisper-seen").addEventListener("click", confirmWhisper);
byId("keys-open").addEventListener("click", toggleKeys);
onKeys({ dismiss: dismissHint, confirm: confirmWhisper, help: toggleKeys });
addEventListener("online", () => watch?.hurry());
document.addEventListener("visibilitychange", () => document.hidden || watch?.hurry());
setInterval(drawTimes, TICK_MS);

if (agent) followAgent();
else follow(callIdOf(location.pathname));

// ---- which call

function follow(callId) {
  watch?.stop();
  watch = new CallWatch(callId, "overlay", drawSoon);
  drawn = { callId, told: new Set() };
  lostSince = null;
  watch.start();
}

/** The agent's newest running call. One that is over or unwell stays on the screen until there is a later one. */
async function followAgent() {
  const { status, body } = await getCallsOf(agent);
  if (status === 401) location.reload(); // the server asks for the token
  const running = (body?.calls ?? []).filter((call) => call.state === "live");
  const [newest] = running.sort((one, other) => (one.started_at < other.started_at ? 1 : -1));
  if (newest && newest.started_at > startedAt) {
    startedAt = newest.started_at;
    follow(newest.call_id);
  } else if (!watch) drawWaiting(status);
  setTimeout(followAgent, isWell() ? GLANCE_MS : LOOK_MS);
}

function isWell() {
  return watch?.status === "open" && ["started", "resumed"].includes(watch.state.phase);
}

function drawWaiting(status) {
  drawStatus(status === 200 ? { kind: "wait", shape: "◌", text: "等待下一通" } : { kind: "bad", shape: "↻", text: "重连中" });
}

// ---- what the agent does

function dismissHint(id = null) {
  const hint = currentHints().find((one) => one.outcome === null && (id === null || one.id === id));
  if (hint) watch.dismiss(hint.id);
}

function confirmWhisper() {
  const whisper = unreadWhisper();
  if (whisper) watch.see(whisper.id);
}

function toggleKeys() {
  if (ui.keys.open) ui.keys.close();
  else ui.keys.showModal();
}

// ---- drawing

function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}

function draw() {
  if (watch.status === "unauthorised") location.reload(); // the server asks for the token
  if (!watch.isCurrent && !watch.isOver) return drawStatus(readStatus(watch));
  const { state } = watch;
  tellTicks(state);
  if (state.whispers !== drawn.whispers) drawWhisper();
  if (state.gauge !== drawn.gauge) drawPaces(state.gauge);
  if (state.utterances !== drawn.utterances || state.interims !== drawn.interims) drawSpoken(state);
  if (state.notice !== drawn.notice) drawNotice(state.notice);
  if (state.report !== drawn.report) drawResult(state.report);
  const { whispers, gauge, utterances, interims, notice, report } = state;
  drawn = { ...drawn, whispers, gauge, utterances, interims, notice, report };
  drawTimes();
}

/** What time alone changes: clock, timers, deadlines, which hint stands. */
function drawTimes() {
  if (!watch) return;
  drawStatus(patientStatus());
  drawTroubles(readTroubles(watch));
  setData(document.body, "phase", watch.isCurrent ? watch.state.phase : "waiting");
  setData(document.body, "stale", watch.status !== "open" && !watch.isOver);
  if (!watch.isCurrent) return;
  const nowMs = watch.nowMs;
  const { state } = watch;
  write(ui.clock, clockText(nowMs));
  timers.hold.draw(watch.isOver ? null : state.gauge?.hold, nowMs);
  timers.silence.draw(watch.isOver ? null : state.gauge?.silence, nowMs);
  drawItems(state, nowMs);
  drawHints(nowMs);
}

/** A line that comes back at once does not flicker. */
function patientStatus() {
  const status = readStatus(watch);
  const isLost = status.kind === "bad" && watch.status !== "unauthorised";
  lostSince = isLost ? lostSince ?? performance.now() : null;
  const isPatient = isLost && performance.now() - lostSince < PATIENCE_MS;
  return isPatient ? { kind: "ok", shape: "●", text: "已连接" } : status;
}

function drawStatus({ kind, shape, text }) {
  if (text !== drawn.status) announce(text);
  drawn.status = text;
  setData(ui.status, "kind", kind);
  write(ui["status-shape"], shape);
  write(ui["status-text"], text);
}

function drawTroubles(texts) {
  const make1 = () => make("li", "trouble", makeShape("▲"), make("span"));
  drawList(ui.troubles, texts, (text) => text.replace(/\d+/, "n"), make1, (node, text) => write(node.lastChild, text));
  const key = texts.join().replace(/\d+/g, "n");
  if (key !== (drawn.troubles ?? "")) announce(texts.join("，") || "恢复正常");
  drawn.troubles = key;
}

function currentHints() {
  if (!watch || !watch.isCurrent || watch.isOver) return [];
  return hintsAt(watch.state, watch.nowMs).slice(0, MOST_HINTS);
}

function drawHints(nowMs) {
  const hints = currentHints();
  drawList(ui.hints, hints, (hint) => hint.id, () => makeHint(dismissHint), drawHint);
  hints.forEach(tellHint);
  const isResult = watch.state.report !== null;
  show(ui.calm, hints.length === 0 && !isResult);
  show(ui.result, isResult);
  if (hints.length || isResult) return;
  write(ui["calm-word"], watch.state.phase === "waiting" ? "通话开始后，提示出现在这里" : "暂无提示");
  const missed = missedHints(watch.state, nowMs);
  drawList(ui["calm-before"], missed, (hint) => hint.id, makeMissed, (node, hint) => {
    write(node.children[0], HINTS[hint.kind].shape);
    write(node.children[1], wordsOf(hint).first);
  });
}

function makeMissed() {
  return make("li", "", makeShape(), make("span"));
}

function tellHint(hint) {
  const key = `${hint.id} ${hint.outcome ?? hint.provisional}`;
  if (drawn.told.has(key)) return;
  drawn.told.add(key);
  const words = wordsOf(hint);
  if (hint.outcome) announce(`${OUTCOMES[hint.outcome].word}：${words.first}`);
  else announce(`${HINTS[hint.kind].word}${hint.provisional ? "，待确认" : ""}：${words.first}`, hint.priority === "critical");
}

function unreadWhisper() {
  return watch?.state.whispers.find((whisper) => whisper.state !== "seen");
}

function drawWhisper() {
  const whisper = unreadWhisper();
  show(ui.whisper, Boolean(whisper));
  if (!whisper) return;
  write(ui["whisper-from"], `${whisper.sender}：`);
  write(ui["whisper-text"], whisper.text);
  if (drawn.whisper !== whisper.id) announce(`主管留言：${whisper.text}`, true);
  drawn.whisper = whisper.id;
}

function drawItems({ owed }, nowMs) {
  const { kept, folded } = foldSettled(owed, MOST_ITEMS);
  show(ui.checklist.parentElement, owed.length > 0);
  drawChecklist(ui.checklist, kept, nowMs);
  show(ui["checklist-folded"], folded > 0);
  write(ui["checklist-folded"], `✓ 另有 ${folded} 项已了结`);
  const done = owed.filter((item) => item.state === "done").length;
  write(ui["checklist-count"], owed.length ? `${done}/${owed.filter((item) => item.state !== "cleared").length}` : "");
}

/** Screen readers hear of an item that was ticked or missed. */
function tellTicks({ owed }) {
  if (owed === drawn.owed) return;
  const before = new Map((drawn.owed ?? []).map((item) => [`${item.rule}/${item.element}`, item.state]));
  const news = owed.filter((item) => before.get(`${item.rule}/${item.element}`) === "pending" && item.state !== "pending");
  if (news.length) announce(news.map((item) => `${item.title} ${OWED[item.state].word}`).join("，"));
  drawn.owed = owed;
}

function drawPaces(gauge) {
  for (const [role, bar] of Object.entries(paces)) bar.draw(gauge?.rate[role]);
}

/** What was said last on each side, and what is being said. */
function drawSpoken({ utterances, interims }) {
  const open = Object.values(interims);
  const lines = [...utterances.slice(-MOST_LINES), ...open].slice(-MOST_LINES);
  drawList(ui.spoken, lines, (line) => `${line.type} ${line.turn ?? line.role}`, makeLine, drawLine);
}

function makeLine() {
  return make("li", "line", make("span", "line-role"), make("span", "line-text"));
}

function drawLine(node, line) {
  setData(node, "role", line.role);
  setData(node, "open", line.type === "interim");
  write(node.firstChild, ROLES[line.role] ?? "");
  write(node.lastChild, line.text);
}

function drawNotice(notice) {
  show(ui.notice, Boolean(notice));
  write(ui.notice, noticeText(notice) ?? "");
}

function drawResult(report) {
  if (report === null) return;
  const counts = watch.state.findings
    .filter((finding) => finding.status !== "withdrawn")
    .reduce((sums, { severity }) => ({ ...sums, [severity]: (sums[severity] ?? 0) + 1 }), {});
  const found = Object.entries(SEVERITIES).filter(([severity]) => counts[severity]);
  const parts = found.map(([severity, { shape, word }]) => `${shape} ${word} ${counts[severity]}`);
  const missed = watch.state.owed.filter((item) => item.state === "missed").map((item) => item.title);
  if (missed.length) parts.push(`✗ 未说 ${missed.join("、")}`);
  if (parts.length === 0) parts.push("没有发现问题");
  write(ui["result-score"], scoreText(report.score));
  write(ui["result-verdict"], VERDICTS[report.verdict] ?? "");
  setData(ui.result, "verdict", report.verdict);
  ui["result-counts"].replaceChildren(...parts.map((part) => make("li", "", part)));
}
