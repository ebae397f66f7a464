/**
 * The peaks of the recording, fetched as they are looked at: the whole call once, and nearer stretches in tiles, so that
 * two hours cost no more than two minutes.
 *
 * read(side, fromMs, toMs, width) answers at once with what is here, and asks for what is not.
 */

import { ask, isGood, troubleText } from "./api.js";

const BUCKETS = 2_000; // of every piece that is fetched

/** onArrive  () => void, when something that was missing came; onTrouble  (message) => void, when it never will */
export class Peaks {
  #pieces = new Map(); // "side/from/to" -> {fromMs, toMs, peaks: heights 0..1} | null while it is on the way

  constructor(callId, durationMs, { onArrive, onTrouble }) {
    Object.assign(this, { callId, durationMs, onArrive, onTrouble });
  }

  read = (side, fromMs, toMs, width) => {
    const whole = this.#piece(side, 0, this.durationMs);
    const pieces = this.#tilesOf(fromMs, toMs).map(([from, to]) => this.#piece(side, from, to));
    if (!whole && pieces.every((piece) => !piece)) return null;
    return columns(fromMs, toMs, width, (ms) => pieces.find((piece) => piece && ms >= piece.fromMs && ms < piece.toMs) ?? whole);
  };

  /** Tiles are the call halved again and again, so what was fetched once fits every later view of that depth. */
  #tilesOf(fromMs, toMs) {
    const depth = Math.max(0, Math.floor(Math.log2(this.durationMs / (toMs - fromMs))));
    if (depth === 0) return [];
    const length = this.durationMs / 2 ** depth;
    const tiles = [];
    for (let at = Math.floor(fromMs / length); at * length < toMs && at < 2 ** depth; at += 1) {
      tiles.push([Math.floor(at * length), Math.ceil((at + 1) * length)]);
    }
    return tiles;
  }

  #piece(side, fromMs, toMs) {
    const key = `${side}/${fromMs}/${toMs}`;
    if (!this.#pieces.has(key)) {
      this.#pieces.set(key, null);
      this.#fetch(side, fromMs, toMs, key);
    }
    return this.#pieces.get(key);
  }

  async #fetch(side, fromMs, toMs, key) {
    const answer = await ask(`/calls/${this.callId}/peaks?channel=${side}&buckets=${BUCKETS}&from_ms=${fromMs}&to_ms=${toMs}`);
    if (!isGood(answer)) return void this.onTrouble(troubleText(answer));
    const { from_ms, to_ms, peaks } = answer.body;
    this.#pieces.set(key, { fromMs: from_ms, toMs: to_ms, peaks: peaks.map((one) => one ** 0.7) }); // quiet speech is seen too
    this.onArrive();
  }
}

/** Where there is no sound to draw: who spoke when, as blocks. `spans`: {side: [[start_ms, end_ms], …]} */
export function blocks(spans) {
  return (side, fromMs, toMs, width) => {
    const tall = new Float32Array(width);
    const perMs = width / (toMs - fromMs);
    for (const [start, end] of spans[side] ?? []) {
      if (end < fromMs || start > toMs) continue;
      tall.fill(0.35, Math.max(0, Math.floor((start - fromMs) * perMs)), Math.min(width, Math.ceil((end - fromMs) * perMs)));
    }
    return tall;
  };
}

function columns(fromMs, toMs, width, pieceAt) {
  const tall = new Float32Array(width);
  const step = (toMs - fromMs) / width;
  for (let x = 0; x < width; x += 1) {
    const ms = fromMs + x * step;
    const piece = pieceAt(ms);
    if (!piece) continue;
    const perMs = piece.peaks.length / (piece.toMs - piece.fromMs);
    const first = Math.floor((ms - piece.fromMs) * perMs);
    const last = Math.max(first, Math.min(piece.peaks.length, Math.floor((ms + step - piece.fromMs) * perMs)) - 1);
    for (let at = first; at <= last; at += 1) tall[x] = Math.max(tall[x], piece.peaks[at] ?? 0);
  }
  return tall;
}
