/** 语速 as a place on a bar and a word. Pure. */

export const MOST = 320; // 字/分钟 at the right end of the bar; natural Mandarin seldom passes 260

/**
 * pace  {now, call, low, high} in 字/分钟, each may be null, or undefined where nothing is known
 *
 * Returns value, word and kind (fast, slow, fit, none: no band or no value), and positions 0 to 1 on the bar.
 */
export function readPace(pace) {
  const value = pace?.now ?? pace?.call ?? null;
  const low = pace?.low ?? null;
  const high = pace?.high ?? null;
  const kind = kindOf(value, low, high);
  return {
    value,
    kind,
    word: { fast: "偏快", slow: "偏慢", fit: "合适", none: "" }[kind],
    at: value === null ? null : placeOf(value),
    band: low === null || high === null ? null : { from: placeOf(low), to: placeOf(high), low, high },
    isWholeCall: pace?.now == null && pace?.call != null,
  };
}

function kindOf(value, low, high) {
  if (value === null || (low === null && high === null)) return "none";
  if (high !== null && value > high) return "fast";
  if (low !== null && value < low) return "slow";
  return "fit";
}

function placeOf(value) {
  return Math.min(1, Math.max(0, value / MOST));
}
