/**
 * The part of a call that is seen, and where moments lie in it. Pure: [from, to) in ms, widths in pixels.
 * A view is never altered: each function gives a new one that stays inside the call.
 */

export const SHORTEST_MS = 2_000;

export function wholeCall(durationMs) {
  return { fromMs: 0, toMs: Math.max(1, durationMs), durationMs: Math.max(1, durationMs) };
}

/** Enlarged `factor` times around `aroundMs`, which stays where it is on the screen. */
export function zoomed(view, factor, aroundMs) {
  const length = view.toMs - view.fromMs;
  const wanted = Math.min(view.durationMs, Math.max(Math.min(SHORTEST_MS, view.durationMs), length / factor));
  const share = (aroundMs - view.fromMs) / length;
  return placed(view, aroundMs - share * wanted, wanted);
}

export function scrolled(view, byMs) {
  return placed(view, view.fromMs + byMs, view.toMs - view.fromMs);
}

/** Scrolled so that `ms` is seen; unmoved if it is seen already, `share` of the width from the left otherwise. */
export function showing(view, ms, share = 0.15) {
  const length = view.toMs - view.fromMs;
  if (ms >= view.fromMs && ms <= view.toMs - length * 0.02) return view;
  return placed(view, ms - share * length, length);
}

/** So near that a span of this length can be listened to by eye; a nearer view stays. */
export function framing(view, startMs, endMs) {
  const length = Math.min(view.toMs - view.fromMs, Math.max(20_000, (endMs - startMs) * 2));
  const isSeen = startMs >= view.fromMs && Math.min(endMs, startMs + length * 0.7) <= view.toMs;
  if (isSeen && length === view.toMs - view.fromMs) return view;
  return placed(view, startMs - length * 0.25, length);
}

export function xOf(view, width, ms) {
  return ((ms - view.fromMs) / (view.toMs - view.fromMs)) * width;
}

export function msOf(view, width, x) {
  return view.fromMs + (x / width) * (view.toMs - view.fromMs);
}

/** Moments to label: whole steps of at least `apartPx`. */
export function ticks(view, width, apartPx = 90) {
  const least = ((view.toMs - view.fromMs) / width) * apartPx;
  const step = STEPS_MS.find((one) => one >= least) ?? STEPS_MS.at(-1);
  const found = [];
  for (let ms = Math.ceil(view.fromMs / step) * step; ms < view.toMs; ms += step) found.push(ms);
  return found;
}

const STEPS_MS = [500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_200_000, 1_800_000];

function placed(view, fromMs, lengthMs) {
  const from = Math.min(Math.max(0, fromMs), view.durationMs - lengthMs);
  return { ...view, fromMs: from, toMs: from + lengthMs };
}
