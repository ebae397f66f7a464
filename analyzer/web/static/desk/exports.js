/** Figures as files: asked for, followed while they are made, offered when they are there. */

import { ask, isGood, post, troubleText } from "./api.js";
import { make } from "./make.js";

const AGAIN_MS = 1000;
const NAMES = { xlsx: "Excel 工作簿", pdf: "PDF", html: "网页文件", csv: "CSV" };

const list = document.getElementById("exports");
const menu = document.getElementById("export-menu");
let timer = 0;

async function begin({ format, query }) {
  menu.open = false;
  const asked = Object.fromEntries(new URLSearchParams(query));
  if (asked.all) asked.all = true;
  const answer = await post("/exports", { ...asked, format });
  if (isGood(answer)) follow();
  else draw([], troubleText(answer));
}

async function follow() {
  clearTimeout(timer);
  const answer = await ask("/exports");
  if (!isGood(answer)) return draw([], troubleText(answer));
  draw(answer.body.exports);
  if (answer.body.exports.some(isComing)) timer = setTimeout(follow, AGAIN_MS);
}

function isComing({ state }) {
  return state === "waiting" || state === "running";
}

function draw(exports, trouble = "") {
  list.replaceChildren(...(trouble ? [make("li", { className: "bad" }, trouble)] : exports.map(line)));
  list.hidden = list.children.length === 0;
}

function line(one) {
  const name = NAMES[one.format];
  if (one.state === "waiting") return make("li", {}, `${name}：排队中…`);
  if (one.state === "running") return make("li", {}, `${name}：正在生成…可以继续做别的`);
  if (one.state === "failed") return make("li", { className: "bad" }, `${name}：${one.error}`);
  const link = make("a", { href: `/api/desk/exports/${one.id}/file`, download: one.name }, `下载 ${one.name}`);
  return make("li", {}, link, ` ${one.calls.toLocaleString("zh-CN")} 通 · ${size(one.bytes)} · 保留至 ${moment(one.until)}`);
}

function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function moment(at) {
  return new Date(at).toLocaleString("zh-CN", { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit" });
}

menu.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-format]");
  if (button) begin(button.dataset);
});
follow();
