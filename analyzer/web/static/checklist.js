/** The checklist that ticks itself. */

import { clockText } from "./clock.js";
import { drawList, make, makeShape, setData, write } from "./dom.js";
import { OWED } from "./words.js";

const SOON_MS = 20_000; // a deadline nearer than this is counted down

/** The items to show, at most `most` where that can be: the oldest that are settled well are only counted. */
export function foldSettled(items, most) {
  let surplus = Math.max(0, items.length - most);
  const kept = items.filter((item) => {
    const isSettled = item.state === "done" || item.state === "cleared";
    if (!isSettled || surplus === 0) return true;
    surplus -= 1;
    return false;
  });
  return { kept, folded: items.length - kept.length };
}

export function drawChecklist(list, items, nowMs) {
  drawList(list, items, (item) => `${item.rule}/${item.element}`, makeItem, (node, item) => drawItem(node, item, nowMs));
}

function makeItem() {
  return make("li", "owed", makeShape("", "owed-shape"), make("span", "owed-title"), make("span", "owed-state"));
}

function drawItem(node, item, nowMs) {
  const [shape, title, state] = node.children;
  const leftMs = item.state === "pending" && item.due_ms !== null ? item.due_ms - nowMs : Infinity;
  setData(node, "state", item.state);
  setData(node, "soon", leftMs < SOON_MS);
  write(shape, OWED[item.state].shape);
  write(title, item.title);
  write(state, leftMs < SOON_MS ? `剩 ${clockText(leftMs)}` : OWED[item.state].word);
}
