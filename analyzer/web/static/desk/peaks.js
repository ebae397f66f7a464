/**
 * The peaks of the recording, fetched as they are looked at: the whole call once, and nearer stretches in tiles, so that
 * two hours cost no more than two minutes.
 *
 * read(side, fromMs, toMs, width) answers at once with what is here, and asks for what is not.
 */

import { ask, isGood, troubleText } from "./api.js";

const BUCKETS = 2_000; // of every piece that is fetched

/** channels  roles, as the recording has them; onArrive  () => void, when something that was missing came; onTrouble  (message) => void, when it never will */
export class Peaks {
  #pieces = new Map(); // "from/to" -> {fromMs, toMs, sides: {role: heights 0..1}} | null while it is on the way

  constructor(callId, durationMs, channels, { onArrive, onTrouble }) {
    Object.assign(this, { callId, durationMs, channels, onArrive, onTrouble });
  }

  read = (side, fromMs, toMs, width) => {
    const tiles = this.#tilesOf(fromMs, toMs);
    const whole = this.#piece(0, this.durationMs);
    const pieces = tiles.map(([from, to]) => this.#piece(from, to));
    if (!whole && pieces.every((piece) => !piece)) return null;
    const pieceAt = (ms) => pieces.find((piece) => piece && ms >= piece.fromMs && ms < piece.toMs) ?? whole;
    return columns(fromMs, toMs, width, pieceAt, side);
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

  #piece(fromMs, toMs) {
    const key = `${fromMs}/${toMs}`;
    if (!this.#pieces.has(key)) {
      this.#pieces.set(key, null);
      this.#fetch(fromMs, toMs, key);
    }
    return this.#pieces.get(key);
  }

  async #fetch(fromMs, toMs, key) {
    const query = `buckets=${BUCKETS}&from_ms=${fromMs}&to_ms=${toMs}`;
    const answers = await Promise.all(
      this.channels.map((role) => ask(`/calls/${this.callId}/peaks?${query}&channel=${role}`)),
    );
    const trouble = answers.find((answer) => !isGood(answer));
    if (trouble) return void this.onTrouble(troubleText(trouble));
    const sides = Object.fromEntries(answers.map(({ body }, at) => [this.channels[at], seen(body.peaks)]));
    this.#pieces.set(key, { fromMs: answers[0].body.from_ms, toMs: answers[0].body.to_ms, sides });
    this.onArrive();
  }
}

/** Heights 0..1, with quiet speech drawn tall enough to be seen. */
function seen(peaks) {
  return Float32Array.from(peaks, Math.sqrt);
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

function columns(fromMs, toMs, width, pieceAt, side) {
  const tall = new Float32Array(width);
  const step = (toMs - fromMs) / width;
  for (let x = 0; x < width; x += 1) {
    const ms = fromMs + x * step;
    const piece = pieceAt(ms);
    const peaks = piece?.sides[side];
    if (!peaks) continue;
    const perMs = peaks.length / (piece.toMs - piece.fromMs);
    const first = Math.floor((ms - piece.fromMs) * perMs);
    const last = Math.max(first, Math.min(peaks.length, Math.floor((ms + step - piece.fromMs) * perMs)) - 1);
    for (let at = first; at <= last; at += 1) tall[x] = Math.max(tall[x], peaks[at] ?? 0);
  }
  return tall;
}
