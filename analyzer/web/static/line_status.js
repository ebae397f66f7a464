/** What the status line says of a followed call. Pure. */

import { isOver } from "./state.js";
import { ROLES, scoreText } from "./words.js";

const BEHIND_MS = 2_000; // below this nobody need know

/**
 * kind: ok, wait, bad, over; every kind has its own shape.
 *
 * watch  {state, status, hasOpened} of a CallWatch
 */
export function readStatus({ state, status, hasOpened }) {
  if (isOver(state)) return { kind: "over", shape: "■", text: endText(state) };
  if (status === "unauthorised") return { kind: "bad", shape: "✗", text: "令牌失效，请重新登录" };
  if (status === "unknown") return { kind: "wait", shape: "◌", text: "等待通话开始" };
  if (status === "over") return { kind: "over", shape: "■", text: "通话已结束" };
  if (status !== "open") return hasOpened ? { kind: "bad", shape: "↻", text: "重连中" } : { kind: "wait", shape: "◌", text: "连接中" };
  if (state.phase === "ending") return { kind: "wait", shape: "◌", text: "正在评分" };
  if (state.phase === "interrupted") return { kind: "wait", shape: "◌", text: "通话中断，正在评分" };
  return { kind: "ok", shape: "●", text: "已连接" };
}

/** What keeps hints from coming, in words; none when the line is down or the call over, for then it is not known. */
export function readTroubles({ state, status }) {
  if (isOver(state) || status !== "open") return [];
  const troubles = (state.gauge?.blind ?? []).map((role) => `听不到${ROLES[role]}声道`);
  if (state.phase === "disconnected") troubles.push("话音中断，等待恢复");
  const behindMs = state.gauge?.behind_ms ?? 0;
  if (behindMs >= BEHIND_MS) troubles.push(`落后 ${Math.round(behindMs / 1000)} 秒`);
  return troubles;
}

/** Speech that never came, in words; "" where none is missing. */
export function gapsText(gaps) {
  const spans = Object.values(gaps).flat();
  const ms = spans.reduce((sum, [startMs, endMs]) => sum + endMs - startMs, 0);
  return spans.length ? `▲ 有 ${spans.length} 处话音没有收到，共 ${(ms / 1000).toFixed(1)} 秒` : "";
}

function endText({ report }) {
  return report === null ? "通话已结束" : `通话已结束 ${scoreText(report.score)}`;
}
