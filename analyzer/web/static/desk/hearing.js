/** One recording at a time, wherever on a page something is to be heard. */

import { button } from "./findings.js";
import { Player } from "./player.js";
import { tell } from "./toast.js";

let player = null;
let playedCall = null;

/** Play a finding of a call from a second before to a second after; again: stop. */
export function hearFinding(callId, finding, durationMs) {
  if (playedCall === callId && player?.isPlaying) return player.pause();
  if (playedCall !== callId) {
    player?.pause();
    player = new Player(`/api/desk/calls/${callId}/audio`, ["agent", "customer"], durationMs);
    player.addEventListener("failed", () => tell("没有录音可听", { kind: "bad" }));
    playedCall = callId;
  }
  player.playFrom(finding.start_ms, finding.match === "absent" ? null : finding.end_ms);
}

export function hearButton(callId, finding, durationMs) {
  return button("▶ 听这一段", "hear", () => hearFinding(callId, finding, durationMs));
}

export function stopHearing() {
  player?.pause();
}
