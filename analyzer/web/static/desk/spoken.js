/** Which turn, and which character of it, is heard at a moment; and where nobody speaks. Pure. */

const LONG_PAUSE_MS = 3_000; // shorter ones are how people talk
const ASKS_TO_WAIT = /(稍等|等一下|等一会|稍候|别挂|不要挂|耐心等)/;

/** The index of the turn that is heard at `ms`: of those that have begun, the latest that has not ended; else -1. */
export function turnAt(turns, ms) {
  for (let at = lastBegun(turns, ms); at >= 0 && at > lastBegun(turns, ms) - 4; at -= 1) {
    if (ms < turns[at].end_ms) return at;
  }
  return -1;
}

/** The index of the last turn that has begun at `ms`; -1 before the first. `turns` by start. */
export function lastBegun(turns, ms) {
  let [low, high] = [0, turns.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (turns[middle].start_ms <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/**
 * The code point of a turn that is spoken at `ms`, by its characters' times; evenly over the turn where it has none.
 * -1 outside the turn.
 */
export function characterAt(turn, ms) {
  if (ms < turn.start_ms || ms >= turn.end_ms) return -1;
  const count = turn.chars?.length || Array.from(turn.text).length;
  if (!turn.chars?.length) return Math.min(count - 1, Math.floor(((ms - turn.start_ms) / (turn.end_ms - turn.start_ms)) * count));
  let found = -1;
  for (let at = 0; at < count && turn.chars[at][0] <= ms; at += 1) found = at;
  return found;
}

/** Where the code points from..to of a text lie in UTF-16, as the DOM counts. */
export function unitsOf(text, from, to) {
  let [unit, start, end, at] = [0, null, null, 0];
  for (const character of text) {
    if (at === from) start = unit;
    if (at === to) end = unit;
    unit += character.length;
    at += 1;
  }
  return [start ?? unit, end ?? unit];
}

/** The other way: code points before a UTF-16 offset. */
export function codePointsBefore(text, unit) {
  return Array.from(text.slice(0, unit)).length;
}

/**
 * Long stretches in which nobody speaks: [{start_ms, end_ms, kind}], kind: silence, or hold after the agent asked to
 * wait. `activity`: voiced spans by role; without it, the turns themselves.
 */
export function pauses(turns, activity, durationMs) {
  const voiced = Object.values(activity ?? {}).flat();
  const spans = (voiced.length ? voiced : turns.map((turn) => [turn.start_ms, turn.end_ms])).toSorted((a, b) => a[0] - b[0]);
  const found = [];
  let heardMs = 0;
  for (const [start, end] of [...spans, [durationMs, durationMs]]) {
    if (start - heardMs >= LONG_PAUSE_MS && heardMs > 0) found.push(pause(turns, heardMs, start));
    heardMs = Math.max(heardMs, end);
  }
  return found;
}

function pause(turns, start_ms, end_ms) {
  const before = turns.slice(0, lastBegun(turns, start_ms + 500) + 1).slice(-3);
  const isHold = before.some((turn) => turn.role === "agent" && ASKS_TO_WAIT.test(turn.text) && start_ms - turn.end_ms < 5_000);
  return { start_ms, end_ms, kind: isHold ? "hold" : "silence" };
}

/** Turns and pauses in the order in which they are read: [{turn} | {pause}]. A pause stands before what follows it. */
export function readingOrder(turns, breaks) {
  const rows = [];
  let next = 0;
  for (const turn of turns) {
    while (next < breaks.length && breaks[next].end_ms <= turn.start_ms + 400) rows.push({ pause: breaks[next++] });
    rows.push({ turn });
  }
  return [...rows, ...breaks.slice(next).map((one) => ({ pause: one }))];
}
