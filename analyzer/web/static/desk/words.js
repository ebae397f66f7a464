/** The call floor's words for the desk's codes. The server says them once (analyzer/desk/words.py) and sends them with
    every page; here they get shapes, where they have a colour, and keys. */

const said = JSON.parse(document.getElementById("desk-words").textContent);

export const { states: STATES, matches: MATCHES, rounds: ROUNDS, appeals: APPEALS, actions: ACTIONS } = said;
export const { roles: ROLES, verdicts: VERDICTS, outcomes: OUTCOME_WORDS, decisions: PLAIN_DECISIONS } = said;

const OUTCOME_SHAPES = { pass: "✓", violation: "✗", unsure: "？", not_applicable: "–" };
export const OUTCOMES = Object.fromEntries(
  Object.entries(OUTCOME_WORDS).map(([code, word]) => [code, { word, shape: OUTCOME_SHAPES[code] }]),
);

export const DECISIONS = {
  confirmed: { word: ACTIONS.confirm, shape: "✗", key: "1", action: "confirm" },
  overturned: { word: ACTIONS.overturn, shape: "↩", key: "2", action: "overturn" },
  unsure: { word: ACTIONS.mark_unsure, shape: "？", key: "3", action: "mark_unsure" },
};

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
