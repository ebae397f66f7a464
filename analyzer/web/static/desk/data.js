/** 数据管理: sizes, a dry run before anything is deleted, back-ups. */

import { ask, isGood, post, troubleText } from "./api.js";
import { make } from "./make.js";

const TABLES = {
  calls: "通话", turns: "话语", findings: "发现", rule_results: "规则结论", reports: "报告", reviews: "复核记录",
  transitions: "流转记录", comments: "备注", appeals: "申诉", assignments: "复核任务", manual_scores: "人工评分",
  audited_segments: "抽听片段", calibrations: "校准",
};
const at = (id) => document.getElementById(id);
let foreseen = null; // {order, answer} of the last dry run

async function drawSizes() {
  const answer = await ask("/data");
  if (!isGood(answer)) {
    at("sizes").replaceChildren(make("dd", { className: "wrong" }, troubleText(answer)));
    return;
  }
  const { body } = answer;
  const lines = [
    ["通话", `${count(body.calls)} 通${body.oldest ? `，最早 ${body.oldest}` : ""}`],
    ["发现", count(body.findings)], ["话语", count(body.turns)], ["数据库", bytes(body.database_bytes)],
    ["录音与播放副本", `${bytes(body.media_bytes)}（${count(body.media_files)} 个文件）`], ["磁盘剩余", bytes(body.free_bytes)],
  ];
  at("sizes").replaceChildren(...lines.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  if (body.retention) at("retention").textContent = retentionText(body.retention);
  at("backups").replaceChildren(...body.backups.map((one) => make("li", {}, `${one.name} · ${bytes(one.bytes)}`)));
}

function retentionText(one) {
  const what = `${one.recordings_only ? "录音" : "通话"}${one.final_too ? "（含已终审）" : ""}${one.reports_too ? "和运行文件夹中的报告" : ""}`;
  const next = `下次 ${moment(one.next_at)}，按现在的数据将清理 ${count(one.due_calls)} 通，保留 ${count(one.kept_calls)} 通。`;
  const last = one.last_at ? `上次 ${moment(one.last_at)}，清理 ${count(one.last_calls)} 通。` : "还没有运行过。";
  return `删除早于 ${one.days} 天的${what}。${next}${last}`;
}

function moment(at) {
  return new Date(at).toLocaleString("zh-CN", { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit" });
}

async function tryOut(event) {
  event.preventDefault();
  const fields = new FormData(at("purge"));
  const order = {
    older_than_days: Number(fields.get("days")),
    recordings_only: fields.has("recordings_only"),
    final_too: fields.has("final_too"),
  };
  at("purged").hidden = true;
  const answer = await busy(at("purge").querySelector("button"), () => post("/data/purge", { ...order, dry_run: true }));
  foreseen = isGood(answer) ? { order, answer: answer.body } : null;
  say("purge-problem", foreseen ? "" : troubleText(answer));
  drawForeseen();
}

function drawForeseen() {
  at("foreseen").hidden = foreseen === null;
  if (foreseen === null) return;
  const { answer } = foreseen;
  const rows = Object.entries(answer.rows).filter(([name, number]) => number && name !== "calls");
  const lines = [
    ["通话", count(answer.calls)], ...rows.map(([name, number]) => [TABLES[name] ?? name, count(number)]),
    ["文件", `${count(answer.files)}（${bytes(answer.bytes)}）`],
  ];
  at("rows").replaceChildren(...lines.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, value))));
  at("kept").hidden = answer.kept_total === 0;
  at("kept").querySelector("summary").textContent = `保留 ${count(answer.kept_total)} 通`;
  at("kept").querySelector("ul").replaceChildren(...answer.kept.map(({ call, why }) =>
    make("li", {}, make("a", { href: `/calls/${call}` }, `通话 ${call}`), ` ${why}`)));
  at("delete").disabled = answer.calls === 0;
  at("delete").textContent = answer.calls === 0 ? "没有可删除的通话" : `确认删除 ${count(answer.calls)} 通`;
}

async function deleteForeseen() {
  const { order, answer } = foreseen;
  const done = await busy(at("delete"), () => post("/data/purge", { ...order, dry_run: false, calls: answer.calls }));
  foreseen = null;
  drawForeseen();
  say("purge-problem", isGood(done) ? "" : troubleText(done));
  say("purged", isGood(done) ? `已删除 ${count(done.body.calls)} 通，释放文件 ${bytes(done.body.bytes)}` : "");
  drawSizes();
}

async function backUp() {
  const answer = await busy(at("backup"), () => post("/data/backup"));
  say("backup-problem", isGood(answer) ? "" : troubleText(answer));
  drawSizes();
}

/** The button waits with whoever pressed it. */
async function busy(button, work) {
  button.disabled = true;
  try {
    return await work();
  } finally {
    button.disabled = false;
  }
}

function say(id, text) {
  at(id).textContent = text;
  at(id).hidden = text === "";
}

function count(number) {
  return number.toLocaleString("zh-CN");
}

function bytes(number) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, number)) / 3));
  return `${(number / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

at("purge").addEventListener("submit", tryOut);
at("purge").addEventListener("input", () => {
  foreseen = null;
  drawForeseen();
});
at("delete").addEventListener("click", deleteForeseen);
at("backup").addEventListener("click", backUp);
drawSizes();
