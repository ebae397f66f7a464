/** What is assigned to me, by when it is due, and one key to begin. */

import { clockText } from "../clock.js";
import { byId, make, setAttribute, setStyle, show, write } from "../dom.js";
import { DIRECTIONS } from "../words.js";
import { ask, isGood, troubleText } from "./api.js";
import { onKeys } from "./keys.js";
import { moment, untilText } from "./moments.js";
import { scoreCell, severityCounts, twoLines } from "./row_parts.js";
import { tell } from "./toast.js";
import { ROUNDS, STATES } from "./words.js";

const OPEN_SHOWN = 200;
const DONE_SHOWN = 50;

load();

onKeys({
  Enter: () => byId("start").disabled || begin(),
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
});
byId("start").addEventListener("click", begin);

async function load() {
  const [open, done] = await Promise.all([ask(`/queue?state=open&limit=${OPEN_SHOWN}`), ask(`/queue?state=done&limit=${DONE_SHOWN}`)]);
  if (!isGood(open)) {
    write(byId("sums"), "");
    return tell(troubleText(open), { kind: "bad" });
  }
  draw(open.body, isGood(done) ? done.body.assignments : []);
  document.documentElement.dataset.ready = "true";
}

function draw({ assignments: open, open: count, overdue }, done) {
  write(byId("sums"), `待复核 ${count} 通${overdue ? `，逾期 ${overdue} 通` : ""} · 已完成 ${done.length}${done.length === DONE_SHOWN ? "+" : ""} 通`);
  if (count > open.length) byId("sums").append(` · 列出最先到期的 ${open.length} 通`);
  setStyle(byId("bar-done"), "--done", count + done.length ? done.length / (count + done.length) : 0);
  setAttribute(byId("bar"), "aria-valuemax", count + done.length);
  setAttribute(byId("bar"), "aria-valuenow", done.length);
  byId("start").disabled = open.length === 0;
  show(byId("table"), open.length > 0);
  show(byId("nothing"), open.length === 0);
  show(byId("finished"), open.length === 0 && new URLSearchParams(location.search).has("done"));
  byId("rows").replaceChildren(...open.map(row));
  show(byId("done-list"), done.length > 0);
  write(byId("done-summary"), `最近完成的 ${done.length} 通`);
  byId("done").replaceChildren(...done.map(({ call }) => make("li", "", callLink(call, call.call_id), STATES[call.state] ?? call.state)));
}

function row(assignment) {
  const { call, round, due_at } = assignment;
  const due = due_at ? untilText(due_at) : null;
  const deadline = make("span", "deadline", due ? due.text : "没有期限");
  if (due) Object.assign(deadline.dataset, { soon: due.isSoon, over: due.isOver });
  const line = make(
    "tr", "call-row",
    twoLines("due", deadline, due_at ? moment(due_at) : ""),
    make("td", "", ROUNDS[round] ?? round),
    twoLines("when", callLink(call, moment(call.started_at) || call.call_id, assignment), call.started_at ? call.call_id : "时间未知"),
    twoLines("who", call.agent_name ?? call.agent_id ?? "坐席未知", [call.agent_name ? call.agent_id : null, call.team].filter(Boolean).join(" · ")),
    twoLines("kind", DIRECTIONS[call.direction], clockText(call.duration_ms)),
    scoreCell(call.score, call.verdict),
    severityCounts(call),
    make("td", "state-cell", STATES[call.state] ?? call.state),
  );
  line.addEventListener("click", (event) => event.target.closest("a") || line.querySelector("a").click());
  return line;
}

function callLink(call, text, assignment = null) {
  const link = make("a", "open", text);
  link.href = assignment ? addressOf(assignment) : `/calls/${call.id}`;
  return link;
}

/** Where an assignment is worked on: audits and calibrations have pages of their own. */
function addressOf({ id, round, call, calibration_id }) {
  if (round === "audit") return `/audits/${id}`;
  if (round === "calibration" && calibration_id) return `/calibrations/${calibration_id}`;
  return `/calls/${call.id}?from=queue`;
}

/** The first item: the server knows which finding of which call waits. */
async function begin() {
  const answer = await ask("/queue/next");
  const next = isGood(answer) ? answer.body : null;
  const first = byId("rows").querySelector("a");
  if (next) location.href = `/calls/${next.call_id}?from=queue${next.finding_id ? `&finding=${next.finding_id}` : ""}`;
  else if (first) location.href = first.href;
}

function step(by) {
  const links = [...byId("rows").querySelectorAll(".open")];
  const at = links.indexOf(document.activeElement);
  const next = links[at < 0 ? 0 : at + by];
  next?.focus();
}
