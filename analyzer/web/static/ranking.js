/** Which call needs a supervisor most. Pure. */

import { readPace } from "./pace.js";

/** Running before ended; the most critical, then major, then minor findings; what is wrong now; the oldest first. */
export function worstFirst(calls) {
  return [...calls].sort((one, other) => compare(rankOf(one), rankOf(other)));
}

/** Calls of agents (or call ids) whose number contains what was typed. */
export function ofAgent(calls, typed) {
  const wanted = typed.trim().toLowerCase();
  if (!wanted) return calls;
  return calls.filter((call) => [call.agent_id, call.call_id].some((name) => name?.toLowerCase().includes(wanted)));
}

/** How many calls run, and what was found in them. */
export function tally(calls) {
  const running = calls.filter(isRunning);
  const sum = (severity) => running.reduce((total, call) => total + (call.findings[severity] ?? 0), 0);
  return { running: running.length, critical: sum("critical"), major: sum("major"), minor: sum("minor") };
}

export function isRunning(call) {
  return call.state === "live" || call.state === "ending";
}

function rankOf(call) {
  const { critical = 0, major = 0, minor = 0 } = call.findings;
  const troubles = call.blind.length + (readPace(call.rate.agent).kind === "fast" ? 1 : 0);
  return [isRunning(call) ? 0 : 1, -critical, -major, -minor, -troubles, call.started_at, call.call_id];
}

function compare(one, other) {
  for (let place = 0; place < one.length; place += 1) {
    if (one[place] < other[place]) return -1;
    if (one[place] > other[place]) return 1;
  }
  return 0;
}
