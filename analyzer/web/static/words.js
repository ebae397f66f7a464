/** The call floor's words for the codes on the streams, each with a shape: colour is never the only sign. */

export const ROLES = { agent: "坐席", customer: "客户", unknown: "未知" };
export const DIRECTIONS = { inbound: "呼入", outbound: "呼出", unknown: "方向未知" };
export const VERDICTS = { pass: "合格", fail: "不合格", review: "待复核" };

export const SEVERITIES = {
  critical: { word: "严重", shape: "▲" },
  major: { word: "较重", shape: "◆" },
  minor: { word: "轻微", shape: "●" },
  info: { word: "提示", shape: "○" },
};

export const OWED = {
  pending: { word: "待说", shape: "○" },
  done: { word: "已说", shape: "✓" },
  missed: { word: "未说", shape: "✗" },
  cleared: { word: "不再需要", shape: "–" },
};

export const HINTS = {
  forbidden: { word: "换个说法", shape: "▲" },
  owed: { word: "还没说", shape: "○" },
  respond: { word: "请回应", shape: "◆" },
  rate: { word: "语速", shape: "≈" },
  hold: { word: "保持", shape: "‖" },
  silence: { word: "静默", shape: "…" },
};

export const FINDINGS = { provisional: "待确认", confirmed: "已确认", withdrawn: "已撤回" };
export const WHISPERS = { sent: "已发送", delivered: "已送达", seen: "已读" };

/** What became of a hint that was taken back. */
export const OUTCOMES = {
  wrong: { word: "已撤回", shape: "⊘" },
  done: { word: "已说", shape: "✓" },
  passed: { word: "已解除", shape: "–" },
};

/** What the recogniser says of itself, for people. */
export function noticeText(notice) {
  return notice?.startsWith("demo") ? "演示模型：只听得懂合成语音，结果不代表真实通话" : notice;
}

export function scoreText(score) {
  return score === null || score === undefined ? "无法评分" : `${score} 分`;
}
