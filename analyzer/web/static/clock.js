/** Moments of the call: reckoned from what the server says, written as people read them. Pure. */

const MEMORY_MS = 20_000;

/**
 * Where the call's clock stands now. An event left the server at `at_ms` and took some time to come, so the newest of
 * call time seen against the own clock is the nearest; what is older than 20 s is forgotten, in case either clock drifts.
 */
export class CallClock {
  #heard = []; // {nowMs, ahead}, ahead falling: only what no later event beats
  #lastMs = 0;
  #stoppedMs = null;

  hear(atMs, nowMs) {
    const ahead = atMs - nowMs;
    while (this.#heard.length && this.#heard.at(-1).ahead <= ahead) this.#heard.pop();
    this.#heard.push({ nowMs, ahead });
    while (nowMs - this.#heard[0].nowMs > MEMORY_MS && this.#heard.length > 1) this.#heard.shift();
  }

  /** The call is over: its clock stands. */
  stop(atMs) {
    this.#stoppedMs = atMs;
  }

  /** Call time at `nowMs` of the own clock; it never goes back. */
  at(nowMs) {
    if (this.#stoppedMs !== null) return this.#stoppedMs;
    if (this.#heard.length) this.#lastMs = Math.max(this.#lastMs, nowMs + this.#heard[0].ahead);
    return this.#lastMs;
  }
}

/** 62349 -> "01:02", 3600000 -> "1:00:00" */
export function clockText(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${two(minutes)}:${two(seconds % 60)}`;
}

/** What a running timer shows at `nowMs` of the call; null where none runs. `share`: of the way to its next limit. */
export function readTimer(timer, nowMs) {
  if (!timer) return null;
  const runsMs = Math.max(0, nowMs - timer.since_ms);
  const limitMs = timer.limit_ms;
  const share = limitMs ? Math.min(1, runsMs / limitMs) : 0;
  return { runsMs, text: clockText(runsMs), limitText: limitMs ? clockText(limitMs) : null, share, isOver: share >= 1 };
}
