"""What the desk's pages call things, said once: templates know it as ``desk_words``, scripts get it with the page
(``static/desk/words.js``). States are ``analyzer.review.workflow.NAMES``, the report's codes ``analyzer.labels``."""

from __future__ import annotations

from typing import Any

from analyzer.labels import DIRECTIONS, OUTCOMES, ROLES, SEVERITIES, VERDICTS
from analyzer.review.workflow import NAMES, Action, Decision, Round
from analyzer.types import Match

DECISIONS = {Decision.CONFIRMED: "确认", Decision.OVERTURNED: "推翻", Decision.UNSURE: "存疑"}
MATCHES = {
    Match.EXACT: "原词", Match.VARIANT: "变体", Match.HOMOPHONE: "同音", Match.MODEL: "模型", Match.ABSENT: "缺失",
}  # fmt: skip
ROUNDS = {
    Round.FIRST: "初审", Round.SECOND: "复审", Round.ARBITRATION: "仲裁", Round.APPEAL: "申诉",
    Round.CALIBRATION: "校准", Round.AUDIT: "抽听",
}  # fmt: skip
APPEALS = {"open": "待处理", "upheld": "成立", "rejected": "驳回"}
ACTIONS = {  # as the history names what was done
    Action.ASSIGN: "分配", Action.WITHDRAW: "撤回分配", Action.CONFIRM: "确认违规", Action.OVERTURN: "推翻（误判）",
    Action.MARK_UNSURE: "存疑", Action.DISPUTE: "两人意见不一", Action.ADD: "补记漏检", Action.SHARE: "下发给坐席",
    Action.ACKNOWLEDGE: "坐席确认收到", Action.APPEAL: "申诉", Action.UPHOLD: "申诉成立", Action.REJECT: "申诉驳回",
    Action.FINALISE: "终审", Action.REOPEN: "重新开启",
}  # fmt: skip

DESK_WORDS: dict[str, Any] = {
    "roles": ROLES,
    "directions": DIRECTIONS,
    "verdicts": VERDICTS,
    "severities": SEVERITIES,
    "outcomes": OUTCOMES,
    "states": NAMES,
    "decisions": DECISIONS,
    "matches": MATCHES,
    "rounds": ROUNDS,
    "appeals": APPEALS,
    "actions": ACTIONS,
}
