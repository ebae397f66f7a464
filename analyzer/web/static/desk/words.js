/** The call floor's words for the desk's codes, each with a shape where it has a colour. */

export const OUTCOMES = {
  pass: { word: "符合", shape: "✓" },
  violation: { word: "违规", shape: "✗" },
  unsure: { word: "存疑", shape: "？" },
  not_applicable: { word: "不适用", shape: "–" },
};

export const DECISIONS = {
  confirmed: { word: "确认违规", shape: "✗", key: "1", action: "confirm" },
  overturned: { word: "撤销（误判）", shape: "↩", key: "2", action: "overturn" },
  unsure: { word: "存疑", shape: "？", key: "3", action: "mark_unsure" },
};

export const STATES = {
  auto: "待复核",
  assigned: "已分配",
  disputed: "待仲裁",
  confirmed: "已确认",
  overturned: "已撤销",
  unsure: "存疑",
  shared: "已下发",
  acknowledged: "坐席已确认",
  appealed: "申诉中",
  upheld: "申诉成立",
  rejected: "申诉驳回",
  final: "已终审",
};

export const MATCHES = { exact: "原词", variant: "变体", homophone: "同音", model: "模型", absent: "缺失" };
export const ROUNDS = { first: "初审", second: "复审", arbitration: "仲裁", appeal: "申诉", calibration: "校准", audit: "抽听" };
export const APPEALS = { open: "待处理", upheld: "成立", rejected: "驳回" };

/** What may be done to a whole call. `asks`: a word about it is wanted first; `needs`: it cannot be empty. */
export const CALL_ACTIONS = {
  assign: { word: "分配给我" },
  withdraw: { word: "撤回分配", asks: "收回还没有完成的分配。可以写下说明（可不填）" },
  share: { word: "下发给坐席", asks: "坐席会看到复核结果，并可在期限内申诉。可以附一句话（可不填）" },
  acknowledge: { word: "确认收到" },
  finalise: { word: "终审", asks: "终审之后不能再改。可以写下说明（可不填）" },
  reopen: { word: "重新开启", asks: "为什么重新开启？", needs: true },
};

/** Reasons that reviewers give again and again, by decision. */
export const REASONS = {
  confirmed: ["听录音属实", "语气也不妥", "多次出现"],
  overturned: ["识别错字，录音中没有说", "坐席转述客户原话", "语境允许，不构成违规", "说话人判错，是客户说的", "录音中已经说了", "规则过严，建议调整"],
  unsure: ["录音听不清", "语境不足，请主管定", "规则口径不明"],
};

/** What the history calls what was done. */
export const ACTIONS = {
  assign: "分配",
  withdraw: "撤回分配",
  confirm: "确认违规",
  overturn: "撤销（误判）",
  mark_unsure: "存疑",
  dispute: "两人意见不一",
  add: "补记漏检",
  share: "下发给坐席",
  acknowledge: "坐席确认收到",
  appeal: "申诉",
  uphold: "申诉成立",
  reject: "申诉驳回",
  finalise: "终审",
  reopen: "重新开启",
};
