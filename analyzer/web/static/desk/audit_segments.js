/** Listening to utterances that no rule flagged. */

import { byId, make, write } from "../dom.js";
import { isGood, post, troubleText } from "./api.js";
import { hearFinding } from "./hearing.js";
import { tell } from "./toast.js";

const { id, call, duration, state } = byId("audit").dataset;
const items = [...document.querySelectorAll("[data-segment]")];

for (const item of items) {
  item.querySelector(".hear").addEventListener("click", () => hear(item));
  item.querySelector(".clean").addEventListener("click", () => note(item, []));
  item.querySelector(".missed").addEventListener("change", ({ target }) => {
    if (target.value) note(item, [...missed(item), target.value]);
    target.value = "";
  });
  item.querySelector(".missed-list").addEventListener("click", ({ target }) => {
    if (target.dataset.rule) note(item, missed(item).filter((rule) => rule !== target.dataset.rule));
  });
}
byId("done").addEventListener("click", finish);
document.addEventListener("keydown", onKey);
if (state !== "open") for (const one of document.querySelectorAll("main button:not(.hear), main select")) one.disabled = true;
drawLeft();
(items.find(isWaiting) ?? items[0])?.focus();

function isWaiting(item) {
  return item.dataset.heard === "false";
}

function missed(item) {
  return [...item.querySelectorAll("[data-rule]")].map((chip) => chip.dataset.rule);
}

function hear(item) {
  hearFinding(Number(call), { start_ms: Number(item.dataset.start), end_ms: Number(item.dataset.end), match: "exact" }, Number(duration));
}

async function note(item, rules) {
  const answer = await post(`/segments/${item.dataset.segment}`, { missed: rules });
  if (!isGood(answer)) return tell(troubleText(answer), { kind: "bad" });
  const titles = new Map([...item.querySelectorAll(".missed option")].map((option) => [option.value, option.textContent]));
  item.querySelector(".missed-list").replaceChildren(...answer.body.missed.map((rule) => {
    const chip = make("button", "chip propose", `${titles.get(rule) ?? rule} ×`);
    chip.type = "button";
    chip.dataset.rule = rule;
    const line = make("li");
    line.append(chip);
    return line;
  }));
  item.querySelector(".clean").setAttribute("aria-pressed", String(answer.body.missed.length === 0));
  item.dataset.heard = "true";
  drawLeft();
  if (answer.body.missed.length === 0) items.find(isWaiting)?.focus();
}

function drawLeft() {
  const left = items.filter(isWaiting).length;
  write(byId("left"), left ? `还有 ${left} 句` : "都听过了");
  byId("done").disabled = left > 0 || state !== "open";
}

function onKey(event) {
  const item = document.activeElement?.closest("[data-segment]");
  if (!item || event.target.matches("select, input") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "1" && state === "open") note(item, []);
  else if (event.key === "p") hear(item);
  else if (event.key === "j" || event.key === "k") items[items.indexOf(item) + (event.key === "j" ? 1 : -1)]?.focus();
  else return;
  event.preventDefault();
}

async function finish() {
  const answer = await post(`/assignments/${id}/done`);
  if (isGood(answer)) location.href = "/queue";
  else tell(troubleText(answer), { kind: "bad" });
}
