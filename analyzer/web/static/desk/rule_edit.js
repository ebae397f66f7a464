/** A rule's file in the browser: kept while typing, checked a moment later, its cases run, its back-test drawn. */

import { ask, isGood, post, troubleText } from "./api.js";
import { replay } from "./flips.js";
import { make } from "./make.js";

const PAUSE_MS = 900;

const rule = document.getElementById("editor-page").dataset.rule;
const part = (id) => document.getElementById(id);
const text = part("text");
let draft = null;
let timer = 0;
let writing = Promise.resolve();
let bad = new Set();

async function begin() {
  const answer = await post("/rules/drafts", { rule });
  if (!isGood(answer)) return tell(troubleText(answer));
  take(answer.body);
  text.value = draft.text;
  drawLines();
  part("stale").hidden = !draft.is_stale;
  drawCases();
  tell("草稿已打开");
}

function take(body) {
  draft = body;
}

function tell(message) {
  part("saved").textContent = message;
}

/* ---- keeping */

function keepSoon() {
  tell("有未保存的修改");
  drawLines();
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (await keep()) check();
  }, PAUSE_MS);
}

function keep() {
  clearTimeout(timer);
  writing = writing.then(write);
  return writing;
}

async function write() {
  if (draft === null || text.value === draft.text) return draft !== null;
  const answer = await ask(`/rules/drafts/${draft.id}`, { method: "PUT", send: { text: text.value, version: draft.version } });
  if (!isGood(answer)) {
    tell(troubleText(answer));
    return false;
  }
  take(answer.body);
  tell("已保存");
  return true;
}

/* ---- checking */

async function check() {
  if (!(await keep())) return;
  const at = draft.version;
  part("examined").replaceChildren(make("p", { className: "soft" }, "正在校验…"));
  const answer = await post(`/rules/drafts/${draft.id}/examine?profile=${encodeURIComponent(part("scheme").value)}`);
  if (draft.version !== at) return; // written again meanwhile: a newer check follows
  part("examined").replaceChildren(...(isGood(answer) ? examined(answer.body) : [make("p", { className: "bad" }, troubleText(answer))]));
  drawLines();
}

function examined(found) {
  const all = [...found.faults, ...found.failing];
  bad = new Set(all.filter((fault) => fault.file === draft.file).map((fault) => fault.line));
  if (all.length === 0) return [make("p", { className: "good" }, `可以发布：${found.cases} 个案例全部成立`)];
  const title = found.faults.length ? "文件有错误，不能加载" : `${found.cases} 个案例中有不成立的`;
  return [make("p", { className: "bad" }, title), make("ul", { className: "fault-list" }, ...all.map(faultLine))];
}

function faultLine(fault) {
  const place = fault.file === draft.file ? `第 ${fault.line} 行` : `${fault.file}:${fault.line}`;
  const button = make("button", { type: "button" }, `${place}　${fault.message}`);
  if (fault.file === draft.file) button.addEventListener("click", () => goTo(fault.line));
  return make("li", {}, button);
}

function goTo(line) {
  const lines = text.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, one) => sum + one.length + 1, 0);
  text.focus();
  text.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
  text.scrollTop = (line - 5) * lineHeight();
}

function lineHeight() {
  return Number.parseFloat(getComputedStyle(text).lineHeight);
}

function drawLines() {
  const count = text.value.split("\n").length;
  const numbers = Array.from({ length: count }, (_, index) => {
    const line = `${index + 1}\n`;
    return bad.has(index + 1) ? make("span", { className: "bad" }, `✗ ${line}`) : line;
  });
  part("lines").replaceChildren(...numbers);
  part("lines").scrollTop = text.scrollTop;
}

/* ---- examples that decisions left */

function drawCases() {
  if (draft.cases.length === 0) return;
  part("cases").replaceChildren(...draft.cases.map(caseCard));
}

function caseCard(one) {
  const card = make("div", {}, make("pre", { className: "case" }, one.yaml));
  const settle = async (verdict) => {
    if (verdict === "taken") addCase(one.yaml);
    const answer = await post(`/case-drafts/${one.id}/${verdict}`);
    if (isGood(answer)) card.remove();
    else tell(troubleText(answer));
  };
  const takeIt = make("button", { type: "button" }, "加入案例");
  const dropIt = make("button", { type: "button" }, "不采用");
  takeIt.addEventListener("click", () => settle("taken"));
  dropIt.addEventListener("click", () => settle("dropped"));
  card.append(takeIt, " ", dropIt);
  return card;
}

/** Cases end the file; one more is added there, indented as the others are. */
function addCase(yaml) {
  const indented = yaml.startsWith("  - ") ? yaml : yaml.trimEnd().split("\n").map((line) => (line ? `  ${line}` : line)).join("\n");
  const base = text.value.replace(/^cases: \[\]\s*$/m, "cases:").trimEnd();
  text.value = `${base}${/^cases:/m.test(base) ? "" : "\ncases:"}\n${indented.trimEnd()}\n`;
  keepSoon();
}

/* ---- buttons */

part("check").addEventListener("click", check);
part("scheme").addEventListener("change", check);
part("replay").addEventListener("click", async () => {
  if (await keep()) await replay([draft.id], part("flips"), part("scheme").value);
});
part("drop").addEventListener("click", async () => {
  if (draft === null || !globalThis.confirm("作废这份草稿？")) return;
  const answer = await ask(`/rules/drafts/${draft.id}`, { method: "DELETE" });
  if (isGood(answer)) globalThis.location.assign(`/rules/${rule}`);
  else tell(troubleText(answer));
});
text.addEventListener("input", keepSoon);
text.addEventListener("scroll", () => { part("lines").scrollTop = text.scrollTop; });
globalThis.addEventListener("beforeunload", (event) => {
  if (draft !== null && text.value !== draft.text) event.preventDefault();
});

begin();
