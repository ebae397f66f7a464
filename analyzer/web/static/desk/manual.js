/** The manual items of the scheme: clauses no microphone can hear, scored by the person who listened. */

import { drawList, make } from "../dom.js";
import { moment } from "./moments.js";

const CHOICES = { pass: "做到", violation: "没做到", not_applicable: "不适用" };

/** onScore  ({item, outcome, points, comment}) => Promise<boolean> */
export function drawManual(list, items, { mayScore, onScore }) {
  drawList(list, items, (item) => item.id, () => make("li", "manual"), (row, item) => {
    const seen = JSON.stringify([item, mayScore]);
    if (row.dataset.seen === seen) return;
    row.dataset.seen = seen;
    row.replaceChildren(...itemParts(item, mayScore, onScore));
  });
}

export function missingItems(items) {
  return items.filter((item) => item.outcome === null).length;
}

function itemParts(item, mayScore, onScore) {
  const title = make("p", "manual-title", item.title, make("span", "hint", ` ${item.clause ?? ""} · ${item.max_points} 分`));
  const by = item.by ? make("p", "past", `${CHOICES[item.outcome]}${item.points ? `，扣 ${-item.points} 分` : ""} · ${item.by} · ${moment(item.at)}${item.comment ? `：${item.comment}` : ""}`) : "";
  if (!mayScore) return [title, by || make("p", "past", "还没有评分")];
  return [title, by, itemForm(item, onScore)].filter(Boolean);
}

function itemForm(item, onScore) {
  const form = make("form", "manual-form");
  const choices = make("div", "choices");
  choices.setAttribute("role", "radiogroup");
  choices.setAttribute("aria-label", item.title);
  const lost = numberField(item);
  for (const [code, word] of Object.entries(CHOICES)) choices.append(choice(item, code, word));
  const comment = make("input", "manual-comment");
  comment.placeholder = "说明（可不填）";
  comment.value = item.comment ?? "";
  comment.setAttribute("aria-label", `${item.title}：说明`);
  const save = make("button", "", "保存");
  save.type = "submit";
  const update = () => {
    const isLost = form.elements[`item-${item.id}`].value === "violation";
    lost.hidden = !isLost;
    save.disabled = !form.elements[`item-${item.id}`].value;
  };
  form.append(choices, lost, comment, save);
  form.addEventListener("change", (event) => {
    update();
    if (event.target.type === "radio" && event.target.value !== "violation") form.requestSubmit(); // nothing more to say
  });
  update();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const outcome = form.elements[`item-${item.id}`].value;
    const points = outcome === "violation" ? -Number(lost.querySelector("input").value) : 0;
    save.disabled = true;
    await onScore({ item: item.id, outcome, points, comment: comment.value.trim() });
    save.disabled = false;
  });
  return form;
}

function choice(item, code, word) {
  const input = make("input");
  input.type = "radio";
  input.name = `item-${item.id}`;
  input.value = code;
  input.checked = item.outcome === code;
  return make("label", "choice", input, word);
}

function numberField(item) {
  const input = make("input");
  Object.assign(input, { type: "number", min: 0, max: item.max_points, step: 0.5, value: item.points ? -item.points : item.max_points });
  return make("label", "lost", "扣 ", input, " 分");
}
