/** The conversation with its hits marked where they were said. */

import { clockText } from "./clock.js";
import { byId, drawList, make, makeShape, setData, show, write } from "./dom.js";
import { cutAtMarks, marksByTurn } from "./marks.js";
import { ROLES, SEVERITIES } from "./words.js";

const NEAR_END_PX = 40; // scrolled back less than this counts as following

export class TranscriptView {
  #talk = byId("talk");
  #turns = byId("turns");
  #interims = byId("interims");
  #newest = byId("newest");
  #isFollowing = true;
  #drawn = new WeakMap(); // li -> what of it is drawn

  constructor() {
    this.#talk.addEventListener("scroll", () => {
      const talk = this.#talk;
      this.#isFollowing = talk.scrollHeight - talk.scrollTop - talk.clientHeight < NEAR_END_PX;
      show(this.#newest, !this.#isFollowing);
    });
    this.#newest.addEventListener("click", () => this.#follow());
  }

  draw({ utterances, interims, findings }) {
    const marks = marksByTurn(findings);
    const noted = notesByTurn(findings);
    drawList(this.#turns, utterances, (one) => one.turn, makeTurn, (node, one) =>
      this.#drawTurn(node, one, marks.get(one.turn) ?? [], noted.get(one.turn) ?? []),
    );
    drawList(this.#interims, Object.values(interims), (one) => one.role, makeTurn, (node, one) => {
      setData(node, "open", true);
      drawHead(node, one);
      write(node.children[2], one.text);
    });
    show(byId("nothing"), utterances.length === 0 && this.#interims.childElementCount === 0);
    if (this.#isFollowing) this.#follow();
  }

  /** Bring a turn to the eye. */
  reveal(turn) {
    const node = this.#turns.querySelector(`[data-key="${turn}"]`);
    if (!node) return;
    node.scrollIntoView({ block: "center" });
    node.classList.remove("revealed");
    requestAnimationFrame(() => node.classList.add("revealed"));
  }

  #follow() {
    this.#talk.scrollTop = this.#talk.scrollHeight;
  }

  #drawTurn(node, utterance, marks, notes) {
    const key = [...marks, ...notes].map((one) => JSON.stringify([one.finding?.id ?? one.id, one.char_start, one.finding?.status ?? one.status])).join();
    if (this.#drawn.get(node) === key) return;
    this.#drawn.set(node, key);
    drawHead(node, utterance);
    const pieces = cutAtMarks(utterance.text, marks).map(drawPiece);
    node.children[2].replaceChildren(...pieces, ...notes.map(drawNote));
  }
}

/** Findings at a turn that have no words of their own there: something was owed and not said. */
function notesByTurn(findings) {
  const turns = new Map();
  for (const finding of findings) {
    if (finding.status === "withdrawn" || finding.turn === null || finding.spans.length) continue;
    turns.set(finding.turn, [...(turns.get(finding.turn) ?? []), finding]);
  }
  return turns;
}

function makeTurn(one) {
  const node = make("li", "turn", make("span", "turn-time"), make("span", "turn-role"), make("p", "turn-text"));
  setData(node, "role", one.role);
  return node;
}

function drawHead(node, one) {
  write(node.children[0], clockText(one.start_ms));
  write(node.children[1], ROLES[one.role] ?? one.role);
}

function drawPiece({ text, findings }) {
  if (!findings.length) return text;
  const [worst] = findings;
  const mark = make("mark", "hit", text, makeShape(SEVERITIES[worst.severity].shape, "hit-shape"));
  mark.dataset.severity = worst.severity;
  mark.dataset.status = worst.status;
  mark.title = findings.map(titleOf).join("\n");
  return mark;
}

function drawNote(finding) {
  const note = make("span", "note", makeShape(SEVERITIES[finding.severity].shape), ` ${finding.title}`);
  note.dataset.severity = finding.severity;
  note.title = finding.message;
  return note;
}

function titleOf({ severity, title, category, message }) {
  return `${SEVERITIES[severity].word} ${title}${category ? `（${category}）` : ""}：${message}`;
}
