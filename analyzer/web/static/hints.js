/** Which hints stand on the screen at a moment of the call. Pure. */

export const LINGER_MS = 4_000; // how long one that was taken back stays, struck through

const RANKS = { critical: 0, high: 1, normal: 2 };

/**
 * The hints to show at `nowMs` of the call, the one for the large place first: what still holds before what was taken
 * back, then by priority, then the newest. What became of one that was taken back stands in `outcome`.
 */
export function hintsAt({ nudges, owed, findings }, nowMs) {
  return nudges
    .filter((nudge) => isOnScreen(nudge, nowMs))
    .map((nudge) => ({ ...nudge, outcome: nudge.withdrawnMs === null ? null : outcomeOf(nudge, owed, findings) }))
    .sort((one, other) => rankOf(one) - rankOf(other) || other.at_ms - one.at_ms);
}

/** Hints that are no longer on the screen and were not taken back as wrong, newest first: what a glance may have missed. */
export function missedHints({ nudges, owed, findings }, nowMs, most = 3) {
  return nudges
    .filter((nudge) => !isOnScreen(nudge, nowMs) && nudge.at_ms < nowMs)
    .filter((nudge) => nudge.withdrawnMs === null || outcomeOf(nudge, owed, findings) !== "wrong")
    .slice(-most)
    .reverse();
}

function isOnScreen(nudge, nowMs) {
  if (nudge.isDismissed) return false;
  const gone = nudge.at_ms + nudge.show_ms;
  if (nudge.withdrawnMs === null) return nowMs < gone;
  return nudge.withdrawnMs < gone && nowMs < nudge.withdrawnMs + LINGER_MS;
}

function rankOf(nudge) {
  return (nudge.withdrawnMs === null ? 0 : 10) + RANKS[nudge.priority];
}

function outcomeOf(nudge, owed, findings) {
  const item = owed.find((one) => one.rule === nudge.rule && one.element === nudge.element);
  if (item?.state === "done") return "done";
  const finding = findings.find((one) => one.id === nudge.finding);
  return nudge.kind === "forbidden" || finding?.status === "withdrawn" ? "wrong" : "passed";
}
