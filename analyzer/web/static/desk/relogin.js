/** A login that ended under somebody's hands: to the login page and back again, with what was written and not saved.
    It stays in this tab, and is shown to the same person only. */

import { make } from "./make.js";

const KEY = "desk.unsaved";
const me = document.querySelector('meta[name="user"]')?.content ?? "";

/** To the login page; it brings the user back here. */
export function logInAgain() {
  const written = [...document.querySelectorAll("textarea, input[type=text], input:not([type])")]
    .filter((field) => field.value.trim() && field.value !== field.defaultValue)
    .map((field) => ({ id: field.id, name: fieldName(field), text: field.value }));
  if (written.length) sessionStorage.setItem(KEY, JSON.stringify({ me, path: location.pathname, written }));
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

function fieldName(field) {
  return field.getAttribute("aria-label") || field.labels?.[0]?.textContent.trim() || field.placeholder || "文字";
}

/** What was written before: into its field where that stands empty, else shown to be copied. */
function bringBack() {
  const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
  if (!kept || !me) return;
  if (kept.me !== me) return sessionStorage.removeItem(KEY);
  if (kept.path !== location.pathname) return;
  sessionStorage.removeItem(KEY);
  const left = kept.written.filter(({ id, text }) => {
    const field = id && document.getElementById(id);
    if (!field || field.value) return true;
    field.value = text;
    field.dispatchEvent(new Event("input", { bubbles: true }));
    return false;
  });
  if (left.length) document.getElementById("main").prepend(keptBox(left));
}

function keptBox(left) {
  const close = make("button", { type: "button" }, "知道了");
  const box = make("section", { className: "unsaved", role: "status" }, make("h2", {}, "登录过期前没有保存的文字"),
    ...left.map(({ name, text }) => make("label", {}, name, make("textarea", { value: text, rows: 2 }))), close);
  close.addEventListener("click", () => box.remove());
  return box;
}

bringBack();
