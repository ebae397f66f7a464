/**
 * What was said, turn by turn, with the findings marked in place. Thousands of turns stay light: the browser lays out only
 * those near the window (`content-visibility` in call.css), and the character that is heard is painted over the text
 * (CSS custom highlights) without touching the page.
 */

import { clockText } from "../clock.js";
import { make, makeShape, setAttribute, setStyle } from "../dom.js";
import { cutAtMarks } from "../marks.js";
import { ROLES, SEVERITIES } from "../words.js";
import { marksByTurn } from "./call_state.js";
import { characterAt, codePointsBefore, pauses, readingOrder, turnAt, unitsOf } from "./spoken.js";

const CAN_PAINT = "highlights" in (globalThis.CSS ?? {}) && "Highlight" in globalThis;
const CHUNK = 50;
const ROLE_SHAPES = { agent: "◧", customer: "◨" };

/** onSeek  (ms) => void; onFinding  (findingId) => void */
export class Transcript {
  #rows = new Map(); // turn number -> element
  #marked = new Map(); // turn number -> what is drawn there, to see whether it changed
  #heard = null;
  #heardCharacter = -1;
  #wasScrolledAt = 0;

  constructor(list, { turns, activity, durationMs, onSeek, onFinding }) {
    this.list = list;
    this.turns = turns.toSorted((one, other) => one.start_ms - other.start_ms || one.number - other.number);
    this.pauses = pauses(this.turns, activity, durationMs);
    this.byNumber = new Map(turns.map((turn) => [turn.number, turn]));
    this.follows = true;
    this.#build();
    list.addEventListener("click", (event) => {
      const mark = event.target.closest("mark");
      const time = event.target.closest(".turn-time, .pause");
      if (mark) onFinding(Number(mark.dataset.finding));
      else if (time) onSeek(Number(time.dataset.ms));
    });
    for (const type of ["wheel", "touchmove"]) list.addEventListener(type, () => (this.#wasScrolledAt = performance.now()), { passive: true });
  }

  /** Draw the findings into the text; turns whose marks did not change are left alone. */
  mark(findings, chosen) {
    const marks = marksByTurn(findings);
    for (const [number, row] of this.#rows) {
      const own = marks.get(number) ?? [];
      const seen = own.map((one) => `${one.finding.id}:${one.char_start}-${one.char_end}:${one.finding.decision}:${one.finding.id === chosen}`).join();
      if (this.#marked.get(number) === seen || (!own.length && !this.#marked.has(number))) continue;
      this.#marked.set(number, seen);
      drawText(row.lastElementChild, this.byNumber.get(number).text, own, chosen);
    }
  }

  /** The moment that is heard: its turn and character stand out, and are scrolled to while it plays. */
  moveTo(ms, isPlaying) {
    const turn = this.turns[turnAt(this.turns, ms)] ?? null;
    if (turn !== this.#heard) {
      this.#rows.get(this.#heard?.number)?.removeAttribute("aria-current");
      this.#heard = turn;
      const row = this.#rows.get(turn?.number);
      if (row) setAttribute(row, "aria-current", "true");
      if (row && isPlaying && this.follows && performance.now() - this.#wasScrolledAt > 4_000) reveal(this.list, row);
    }
    this.#paint(turn, ms);
  }

  /** Show where a finding lies: its words, or the turn where something was due. */
  reveal(finding) {
    const number = finding.spans[0]?.turn ?? finding.turn ?? this.turns[Math.max(0, turnAt(this.turns, finding.start_ms))]?.number;
    const row = this.#rows.get(number);
    if (row) reveal(this.list, row);
  }

  /** The text a person selected: {turn, charStart, charEnd, text, box}; null if it is none, or of several turns. */
  selection() {
    const selection = getSelection();
    if (!selection || selection.isCollapsed || !selection.rangeCount) return null;
    const range = selection.getRangeAt(0);
    const words = closest(range.startContainer, ".turn-text");
    if (!words || closest(range.endContainer, ".turn-text") !== words || !this.list.contains(words)) return null;
    const before = range.cloneRange();
    before.selectNodeContents(words);
    before.setEnd(range.startContainer, range.startOffset);
    const [start, length] = [before.toString().length, range.toString().length];
    const turn = this.byNumber.get(Number(words.parentElement.dataset.turn));
    if (!length) return null;
    return {
      turn: turn.number,
      charStart: codePointsBefore(turn.text, start),
      charEnd: codePointsBefore(turn.text, start + length),
      text: range.toString(),
      box: range.getBoundingClientRect(),
    };
  }

  #build() {
    const rows = readingOrder(this.turns, this.pauses).map((row) => (row.turn ? this.#turnRow(row.turn) : pauseRow(row.pause)));
    this.list.replaceChildren(...chunks(rows));
  }

  #turnRow(turn) {
    const time = make("button", "turn-time", clockText(turn.start_ms));
    time.type = "button";
    time.dataset.ms = turn.start_ms;
    time.title = "从这里听";
    const role = make("span", "turn-role", makeShape(ROLE_SHAPES[turn.role] ?? "□"), ROLES[turn.role] ?? turn.role);
    const row = make("li", "turn", time, role, make("p", "turn-text", turn.text));
    row.dataset.role = turn.role;
    row.dataset.turn = turn.number;
    if (turn.confidence !== null && turn.confidence < 0.6) {
      row.classList.add("faint");
      role.title = `识别把握 ${Math.round(turn.confidence * 100)}%`;
      role.append(make("span", "faint-word", "听不清"));
    }
    this.#rows.set(turn.number, row);
    return row;
  }

  #paint(turn, ms) {
    if (!CAN_PAINT) return;
    const at = turn ? characterAt(turn, ms) : -1;
    const key = turn ? turn.number * 10_000 + at : -1;
    if (key === this.#heardCharacter) return;
    this.#heardCharacter = key;
    CSS.highlights.delete("spoken");
    CSS.highlights.delete("spoken-before");
    if (at < 0) return;
    const words = this.#rows.get(turn.number).lastElementChild;
    const [start, end] = unitsOf(turn.text, at, at + 1);
    const spoken = rangeIn(words, start, end);
    if (spoken) CSS.highlights.set("spoken", new Highlight(spoken));
    const before = start > 0 ? rangeIn(words, 0, start) : null;
    if (before) CSS.highlights.set("spoken-before", new Highlight(before));
  }
}

/** Rows in lists of fifty: what is far from the window is laid out as one box that holds its place. */
function chunks(rows) {
  const found = [];
  for (let at = 0; at < rows.length; at += CHUNK) {
    const part = rows.slice(at, at + CHUNK);
    const chunk = make("ol", "chunk", ...part);
    setStyle(chunk, "--rows", part.length);
    found.push(chunk);
  }
  return found;
}

function pauseRow(pause) {
  const seconds = Math.round((pause.end_ms - pause.start_ms) / 1000);
  const word = pause.kind === "hold" ? "客户等待" : "静音";
  const row = make("li", "pause", makeShape(pause.kind === "hold" ? "‖" : "…"), ` ${word} ${seconds} 秒`);
  row.dataset.kind = pause.kind;
  row.dataset.ms = pause.start_ms;
  return row;
}

function drawText(words, text, marks, chosen) {
  const pieces = cutAtMarks(text, marks).map((piece) => {
    if (!piece.findings.length) return document.createTextNode(piece.text);
    const finding = piece.findings.find((one) => one.id === chosen) ?? piece.findings[0];
    const mark = make("mark", "", piece.text);
    mark.dataset.finding = finding.id;
    mark.dataset.severity = finding.severity;
    if (finding.decision) mark.dataset.decision = finding.decision;
    if (finding.id === chosen) mark.dataset.chosen = "true";
    mark.title = `${SEVERITIES[finding.severity].word} · ${finding.title}`;
    return mark;
  });
  words.replaceChildren(...pieces);
  // the shape of the severity stands before the first piece of each hit
  let last = null;
  for (const mark of words.querySelectorAll("mark")) {
    if (mark.dataset.finding !== last) mark.dataset.shape = SEVERITIES[mark.dataset.severity].shape;
    last = mark.dataset.finding;
  }
}

function rangeIn(words, start, end) {
  const range = new Range();
  let seen = 0;
  let hasStart = false;
  const walker = document.createTreeWalker(words, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const next = seen + node.length;
    if (!hasStart && start < next) {
      range.setStart(node, start - seen);
      hasStart = true;
    }
    if (hasStart && end <= next) {
      range.setEnd(node, end - seen);
      return range;
    }
    seen = next;
  }
  return null;
}

/** Scrolled so that the row stands a third down the list, if it is not well inside already. */
function reveal(list, row) {
  const [outer, inner] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
  if (inner.top >= outer.top + 24 && inner.bottom <= outer.bottom - outer.height * 0.25) return;
  row.scrollIntoView({ block: "start" });
  list.scrollTop -= list.clientHeight / 3;
}

function closest(node, selector) {
  return (node.nodeType === Node.ELEMENT_NODE ? node : node.parentElement)?.closest(selector) ?? null;
}
