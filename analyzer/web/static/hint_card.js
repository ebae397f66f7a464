/** One hint as a card. */

import { make, makeShape, setData, show, write } from "./dom.js";
import { HINTS, OUTCOMES } from "./words.js";

/** What a hint says first and what it says below: of a forbidden sentence the better one comes first. */
export function wordsOf(hint) {
  if (hint.kind === "forbidden" && hint.suggestion) return { first: hint.suggestion, second: hint.message };
  return { first: hint.message, second: hint.suggestion ? `可以说：${hint.suggestion}` : "" };
}

export function makeHint(dismiss) {
  const close = make("button", "hint-close", "收起 ", make("kbd", "", "Esc"));
  close.type = "button";
  close.addEventListener("click", () => dismiss(close.closest(".hint").dataset.key));
  const head = make("div", "hint-head", makeShape(), make("span", "hint-kind"), make("span", "badge"), close);
  return make("article", "hint", head, make("p", "hint-first"), make("p", "hint-second"));
}

export function drawHint(node, hint) {
  const [head, first, second] = node.children;
  const [shape, kind, badge, close] = head.children;
  const outcome = hint.outcome && OUTCOMES[hint.outcome];
  const words = wordsOf(hint);
  setData(node, "kind", hint.kind);
  setData(node, "priority", hint.priority);
  setData(node, "outcome", hint.outcome ?? "");
  setData(node, "provisional", hint.provisional);
  write(shape, outcome ? outcome.shape : HINTS[hint.kind].shape);
  write(kind, HINTS[hint.kind].word);
  write(badge, outcome ? outcome.word : hint.provisional ? "待确认" : "");
  show(badge, badge.textContent !== "");
  show(close, !outcome);
  writeStruck(first, words.first, hint.outcome === "wrong");
  writeStruck(second, words.second, hint.outcome === "wrong");
  show(second, words.second !== "");
}

/** Struck text is a <del>, so that a screen reader can tell. */
function writeStruck(node, text, isStruck) {
  if (node.textContent === text && isStruck === (node.firstElementChild?.tagName === "DEL")) return;
  node.replaceChildren(isStruck ? make("del", "", text) : text);
}
