/** One call for a supervisor: what is said and found as it happens, and a line to the agent. */

import { announce } from "./announce.js";
import { drawChecklist } from "./checklist.js";
import { clockText } from "./clock.js";
import { showDeskLink } from "./desk_link.js";
import { byId, drawList, make, makeShape, setData, show, write } from "./dom.js";
import { drawFindings } from "./findings.js";
import { PaceBar, TimerView } from "./gauges.js";
import { gapsText, readStatus, readTroubles } from "./line_status.js";
import { callIdOf, getCall, postWhisper } from "./server.js";
import { isOver } from "./state.js";
import { TranscriptView } from "./transcript.js";
import { CallWatch } from "./watch.js";
import { DIRECTIONS, VERDICTS, WHISPERS, noticeText, scoreText } from "./words.js";

const TICK_MS = 250;
const MOST_CHARACTERS = 60;
const MOST_WHISPERS = 3; // shown

const callId = callIdOf(location.pathname);
const watch = new CallWatch(callId, "supervisor", drawSoon);
const transcript = new TranscriptView();
const paces = { agent: new PaceBar("坐席"), customer: new PaceBar("客户") };
const timers = { hold: new TimerView("保持"), silence: new TimerView("静默") };
const text = byId("text");
const sender = byId("sender");
let drawn = {};
let isDue = false;

byId("paces").append(paces.agent.node, paces.customer.node);
byId("timers").append(timers.hold.node, timers.silence.node);
write(byId("about"), callId);
sender.value = localStorage.getItem("sender") ?? "主管";
text.addEventListener("input", drawLeft);
byId("form").addEventListener("submit", sendWhisper);
addEventListener("online", () => watch.hurry());
document.addEventListener("visibilitychange", () => document.hidden || watch.hurry());
setInterval(drawTimes, TICK_MS);
watch.start();
nameAgent();
nameSender();

/** Who is logged in whispers under their own name. */
async function nameSender() {
  const me = await showDeskLink();
  if (me === null) return;
  sender.value = me.display_name;
  sender.readOnly = true;
}

async function nameAgent() {
  const { body } = await getCall(callId);
  const agent = body?.agent_id ?? body?.metadata?.agent_id;
  if (!agent) return;
  write(byId("title"), `坐席 ${agent}`);
  document.title = `坐席 ${agent} · 通话监看`;
}

// ---- whisper

function charactersLeft() {
  return MOST_CHARACTERS - Array.from(text.value.trim()).length;
}

function drawLeft() {
  const left = charactersLeft();
  write(byId("left"), left < 0 ? `超出 ${-left} 字` : `${left}`);
  setData(byId("left"), "over", left < 0);
  byId("send").disabled = left < 0 || isOver(watch.state);
}

async function sendWhisper(event) {
  event.preventDefault();
  if (charactersLeft() < 0 || !text.value.trim()) return;
  if (!sender.readOnly) localStorage.setItem("sender", sender.value.trim());
  byId("send").disabled = true;
  const { status, body } = await postWhisper(callId, text.value.trim(), sender.value.trim());
  write(byId("wrong"), status === 201 ? "" : `✗ 没有发出：${whyNot(status, body)}`);
  if (status === 201) text.value = "";
  drawLeft();
  text.focus();
}

function whyNot(status, body) {
  if (status === 0) return "连接不上服务器";
  if (status === 409) return "通话已结束";
  return body?.message ?? `服务器答复 ${status}`;
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
  const { state } = watch;
  const { utterances, interims, findings, whispers, gauge, report, notice } = state;
  if (utterances !== drawn.utterances || interims !== drawn.interims || findings !== drawn.findings) transcript.draw(state);
  if (findings !== drawn.findings) drawFound(findings);
  if (whispers !== drawn.whispers) drawWhispers(whispers);
  if (gauge !== drawn.gauge) drawGauge(gauge);
  if (report !== drawn.report) drawResult(report);
  show(byId("gaps"), gapsText(state.gaps) !== "");
  write(byId("gaps"), gapsText(state.gaps));
  show(byId("notice"), Boolean(notice));
  write(byId("notice"), noticeText(notice) ?? "");
  write(byId("about"), `${DIRECTIONS[state.direction]} · ${callId}`);
  drawn = { utterances, interims, findings, whispers, gauge, report };
  drawTimes();
}

function drawTimes() {
  const { state, nowMs } = watch;
  const { kind, shape, text: words } = readStatus(watch);
  setData(byId("status"), "kind", kind);
  write(byId("status-shape"), shape);
  write(byId("status-text"), words);
  drawList(byId("troubles"), readTroubles(watch), (trouble) => trouble.replace(/\d+/, "n"), makeTrouble, (node, trouble) =>
    write(node.lastChild, trouble),
  );
  if (watch.hasOpened) write(byId("clock"), clockText(nowMs));
  for (const [name, timer] of Object.entries(timers)) timer.draw(isOver(state) ? null : state.gauge?.[name], nowMs);
  show(byId("checklist").parentElement, state.owed.length > 0);
  drawChecklist(byId("checklist"), state.owed, nowMs);
  const done = state.owed.filter((item) => item.state === "done").length;
  write(byId("checklist-count"), state.owed.length ? `${done}/${state.owed.filter((item) => item.state !== "cleared").length}` : "");
}

function makeTrouble() {
  return make("li", "trouble", makeShape("▲"), make("span"));
}

function drawFound(findings) {
  const standing = findings.filter((finding) => finding.status !== "withdrawn").length;
  drawFindings(byId("findings"), findings, (id) => reveal(watch.state.findings.find((finding) => finding.id === id)));
  show(byId("findings-nothing"), findings.length === 0);
  write(byId("findings-count"), standing ? `${standing} 条` : "");
}

function reveal(finding) {
  const turn = finding.spans[0]?.turn ?? finding.turn;
  if (turn !== null) transcript.reveal(turn);
}

function drawGauge(gauge) {
  for (const [role, bar] of Object.entries(paces)) bar.draw(gauge?.rate[role]);
  const ratio = gauge?.talk_ratio ?? null;
  write(byId("ratio"), ratio === null ? "–" : `${Math.round(ratio * 100)}%`);
}

function drawResult(report) {
  show(byId("result"), report !== null);
  for (const control of [text, byId("send"), sender]) control.disabled = report !== null;
  if (report === null) return;
  write(byId("result-score"), scoreText(report.score));
  write(byId("result-verdict"), VERDICTS[report.verdict] ?? "");
  setData(byId("result"), "verdict", report.verdict);
  text.placeholder = "通话已结束";
}

function drawWhispers(whispers) {
  const last = whispers.slice(-MOST_WHISPERS);
  drawList(byId("whispers"), last, (whisper) => whisper.id, makeWhisper, (node, whisper) => {
    setData(node, "state", whisper.state);
    write(node.children[0], `${whisper.sender}：${whisper.text}`);
    write(node.children[1], `${whisper.state === "seen" ? "✓ " : ""}${WHISPERS[whisper.state]}`);
  });
  const newest = whispers.at(-1);
  const news = newest && `留言${WHISPERS[newest.state]}`;
  if (news && news !== drawn.news) announce(news);
}

function makeWhisper() {
  return make("li", "sent", make("span", "sent-text"), make("span", "badge"));
}
