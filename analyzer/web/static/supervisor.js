/** The list of running calls, worst first. */

import { clockText, readTimer } from "./clock.js";
import { byId, drawList, make, makeShape, setAttribute, setData, show, write } from "./dom.js";
import { showDeskLink } from "./desk_link.js";
import { PaceBar } from "./gauges.js";
import { isRunning, ofAgent, tally, worstFirst } from "./ranking.js";
import { socketUrl } from "./server.js";
import { Stream } from "./stream.js";
import { DIRECTIONS, ROLES, SEVERITIES, scoreText } from "./words.js";

const TICK_MS = 500;
const REST_MS = 2_000; // rows keep their places until the pointer has rested so long
const BEHIND_MS = 2_000;
const COUNTED = ["critical", "major", "minor"];
const PHASES = { live: ["●", "通话中"], ending: ["◌", "正在评分"], ended: ["■", "已结束"], interrupted: ["✗", "已中断"] };
const LINES = {
  open: ["ok", "●", "已连接"],
  connecting: ["wait", "◌", "连接中"],
  lost: ["bad", "↻", "重连中"],
  unknown: ["bad", "↻", "重连中"],
};

const filter = byId("filter");
const rows = new WeakMap(); // tr -> its parts
let calls = [];
let heardAt = 0;
let order = []; // call ids
let pointedAt = -Infinity;
let isDue = false;

const stream = new Stream({
  address: () => socketUrl("/live/calls"),
  numbered: false,
  receive: (message) => {
    calls = message.calls;
    heardAt = performance.now();
    drawSoon();
  },
  tell: drawLine,
  probe: async () => (await fetch("/api/calls?state=live", { cache: "no-store" }).catch(() => ({ status: 0 }))).status,
});

filter.value = new URLSearchParams(location.search).get("agent") ?? "";
filter.addEventListener("input", () => {
  const query = filter.value.trim() ? `?agent=${encodeURIComponent(filter.value.trim())}` : "";
  history.replaceState(null, "", location.pathname + query);
  order = [];
  drawSoon();
});
byId("calls").addEventListener("pointermove", () => (pointedAt = performance.now()));
addEventListener("online", () => stream.hurry());
document.addEventListener("visibilitychange", () => document.hidden || stream.hurry());
setInterval(drawSoon, TICK_MS);
stream.start();
showDeskLink();

function drawLine(status) {
  if (status === "unauthorised") return location.reload(); // the server asks for the token
  const [kind, shape, text] = LINES[status];
  setData(byId("status"), "kind", kind);
  write(byId("status-shape"), shape);
  write(byId("status-text"), text);
  setData(document.body, "stale", status !== "open");
}

function drawSoon() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}

function draw() {
  if (heardAt === 0) return;
  const chosen = inOrder(worstFirst(ofAgent(calls, filter.value)));
  const sinceMs = stream.status === "open" ? performance.now() - heardAt : 0;
  drawSums(tally(calls));
  show(byId("table"), chosen.length > 0);
  show(byId("nothing"), chosen.length === 0);
  write(byId("nothing"), calls.length ? "没有符合的坐席" : "现在没有通话");
  drawList(byId("calls"), chosen, (call) => call.call_id, makeRow, (row, call) => drawRow(rows.get(row), row, call, sinceMs));
}

/** Worst first, but rows do not move away from under the pointer or the focus; new ones come at the end until it rests. */
function inOrder(sorted) {
  const isBusy = performance.now() - pointedAt < REST_MS || byId("calls").contains(document.activeElement);
  if (isBusy && order.length) {
    const places = new Map(order.map((id, place) => [id, place]));
    const placeOf = (call) => places.get(call.call_id) ?? places.size;
    sorted = [...sorted].sort((one, other) => placeOf(one) - placeOf(other));
  }
  order = sorted.map((call) => call.call_id);
  return sorted;
}

function drawSums({ running, ...found }) {
  const parts = COUNTED.filter((severity) => found[severity]).map(
    (severity) => `${SEVERITIES[severity].shape} ${SEVERITIES[severity].word} ${found[severity]}`,
  );
  write(byId("sums"), [`进行中 ${running} 通`, ...parts].join("　"));
}

function makeRow(call) {
  const link = make("a", "call-link");
  link.href = `/supervisor/${encodeURIComponent(call.call_id)}`;
  const parts = {
    link,
    about: make("span", "about"),
    time: make("td", "time"),
    counts: Object.fromEntries(COUNTED.map((severity) => [severity, makeCount(severity)])),
    title: make("span", "last-title"),
    quote: make("span", "last-quote"),
    paces: { agent: new PaceBar("坐席"), customer: new PaceBar("客户") },
    ratio: make("td", "ratio"),
    hold: make("span", "small-timer"),
    silence: make("span", "small-timer"),
    phaseShape: makeShape(),
    phase: make("span"),
    troubles: make("ul", "row-troubles"),
  };
  const row = make(
    "tr",
    "call",
    make("td", "who", link, parts.about),
    parts.time,
    make("td", "counts", ...Object.values(parts.counts)),
    make("td", "last wide", parts.title, parts.quote),
    make("td", "paces", parts.paces.agent.node, parts.paces.customer.node),
    parts.ratio,
    make("td", "row-timers", parts.hold, parts.silence),
    make("td", "phase", make("span", "phase-word", parts.phaseShape, parts.phase), parts.troubles),
  );
  row.addEventListener("click", () => getSelection().isCollapsed && link.click());
  link.addEventListener("click", (event) => event.stopPropagation());
  rows.set(row, parts);
  return row;
}

function makeCount(severity) {
  const node = make("span", "count", makeShape(SEVERITIES[severity].shape), make("span", "count-number"));
  node.dataset.severity = severity;
  return node;
}

/** sinceMs  how old what the server said is: clocks run on by themselves */
function drawRow(parts, row, call, sinceMs) {
  const isLive = call.state === "live";
  const nowMs = call.duration_ms + (isLive ? sinceMs : 0);
  setData(row, "state", isRunning(call) ? "running" : "over");
  setData(row, "worst", COUNTED.find((severity) => call.findings[severity]) ?? "none");
  write(parts.link, call.agent_id ?? "未报工号");
  setAttribute(parts.link, "aria-label", `打开坐席 ${call.agent_id ?? "未知"} 的通话 ${call.call_id}`);
  write(parts.about, `${DIRECTIONS[call.direction]} · ${call.call_id}`);
  write(parts.time, clockText(nowMs));
  for (const severity of COUNTED) drawCount(parts.counts[severity], severity, call.findings[severity] ?? 0);
  write(parts.title, call.last_finding?.title ?? "");
  write(parts.quote, call.last_finding?.quote ? `“${call.last_finding.quote}”` : "");
  for (const [role, bar] of Object.entries(parts.paces)) bar.draw(call.rate[role]);
  write(parts.ratio, call.talk_ratio === null ? "–" : `${Math.round(call.talk_ratio * 100)}%`);
  drawTimer(parts.hold, "保持", isLive ? call.hold : null, nowMs);
  drawTimer(parts.silence, "静默", isLive ? call.silence : null, nowMs);
  const [shape, word] = PHASES[call.state];
  write(parts.phaseShape, shape);
  write(parts.phase, isRunning(call) ? word : `${word} ${scoreText(call.score)}`);
  drawTroubles(parts.troubles, isLive ? call : null);
}

function drawCount(node, severity, number) {
  setData(node, "zero", number === 0);
  write(node.lastChild, String(number));
  setAttribute(node, "title", `${SEVERITIES[severity].word} ${number}`);
  setAttribute(node, "aria-label", `${SEVERITIES[severity].word} ${number}`);
}

function drawTimer(node, name, timer, nowMs) {
  const reading = readTimer(timer, nowMs);
  show(node, reading !== null);
  if (reading === null) return;
  setData(node, "over", reading.isOver);
  write(node, `${reading.isOver ? "▲ " : ""}${name} ${reading.text}`);
}

function drawTroubles(list, call) {
  const texts = (call?.blind ?? []).map((role) => `听不到${ROLES[role]}`);
  if (call && call.behind_ms >= BEHIND_MS) texts.push(`落后 ${Math.round(call.behind_ms / 1000)} 秒`);
  drawList(list, texts, (text) => text.replace(/\d+/, "n"), () => make("li"), (node, text) => write(node, `▲ ${text}`));
}
