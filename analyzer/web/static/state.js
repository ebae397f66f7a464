/**
 * What one call's events add up to. Pure: no DOM, no clock. A value that changes is replaced, never altered in place, so
 * that a view redraws a part only when that part is another object.
 */

const RECENT_HINTS = 30;

export const BLANK = Object.freeze({
  callId: null,
  seq: 0,
  atMs: 0,
  phase: "waiting", // waiting, or the state of the last `call` event
  direction: "unknown",
  channels: [],
  notice: null,
  gaps: {},
  utterances: [], // by start
  interims: {}, // role -> event; no entry where nothing is open
  findings: [], // in the order in which they came up
  owed: [], // likewise
  nudges: [], // likewise, each with withdrawnMs and isDismissed
  whispers: [], // likewise
  gauge: null,
  report: null,
});

/** The state after one more event. An event of a type this page does not know only moves `seq` on. */
export function reduce(state, event) {
  const change = CHANGES[event.type]?.(state, event);
  return { ...state, callId: event.call_id, seq: event.seq, atMs: Math.max(state.atMs, event.at_ms), ...change };
}

/** Nothing more can come of this call. */
export function isOver(state) {
  return state.phase === "ended" || state.report !== null;
}

const CHANGES = {
  call: (state, event) => ({
    phase: event.state,
    ...(event.state === "started" && { direction: event.direction, channels: event.channels, notice: event.notice }),
    gaps: Object.keys(event.gaps).length ? event.gaps : state.gaps,
    ...(event.state === "ended" && { interims: {} }),
  }),

  utterance: (state, event) => ({ utterances: insertByStart(state.utterances, event) }),

  interim: (state, event) => {
    const { [event.role]: _, ...others } = state.interims;
    return { interims: event.text ? { ...others, [event.role]: event } : others };
  },

  finding: (state, event) => ({ findings: replaceOrAdd(state.findings, event, (one) => one.id === event.id) }),

  owed: (state, event) => ({ owed: replaceOrAdd(state.owed, event, (one) => isSameItem(one, event)) }),

  nudge: (state, event) => ({ nudges: withNudge(state.nudges, event) }),

  gauge: (state, event) => ({ gauge: event }),

  whisper: (state, event) => ({ whispers: withWhisper(state.whispers, event) }),

  dismiss: (state, event) => ({ nudges: dismissed(state.nudges, event.nudge) }),

  scorecard: (state, event) => ({ report: event.report, interims: {} }),
};

/** The hints after the agent put one away. */
export function dismissed(nudges, id) {
  return nudges.map((nudge) => (nudge.id === id ? { ...nudge, isDismissed: true } : nudge));
}

function isSameItem(one, other) {
  return one.rule === other.rule && one.element === other.element;
}

function withNudge(nudges, event) {
  const before = nudges.find((nudge) => nudge.id === event.id);
  const isShown = event.state === "shown";
  if (!before && !isShown) return nudges; // taken back before it was ever shown
  const nudge = {
    ...(isShown ? event : before),
    state: event.state,
    withdrawnMs: isShown ? null : event.at_ms,
    isDismissed: before?.isDismissed ?? false,
  };
  return replaceOrAdd(nudges, nudge, (one) => one.id === event.id).slice(-RECENT_HINTS);
}

const WAYS = ["sent", "delivered", "seen"];

/** A whisper only goes forward: what was read here is not unread because the server says late that it was delivered. */
function withWhisper(whispers, event) {
  const before = whispers.find((whisper) => whisper.id === event.id);
  if (before && WAYS.indexOf(before.state) > WAYS.indexOf(event.state)) return whispers;
  return replaceOrAdd(whispers, event, (one) => one.id === event.id);
}

function replaceOrAdd(list, item, isSame) {
  const place = list.findIndex(isSame);
  return place < 0 ? [...list, item] : list.map((one, at) => (at === place ? item : one));
}

function insertByStart(list, item) {
  let place = list.length;
  while (place > 0 && list[place - 1].start_ms > item.start_ms) place -= 1;
  return [...list.slice(0, place), item, ...list.slice(place)];
}
