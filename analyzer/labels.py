"""The call floor's words for the report's codes, and how it writes a moment of the call."""

from __future__ import annotations

DIRECTIONS = {"inbound": "呼入", "outbound": "呼出", "unknown": "方向未知"}
ROLES = {"agent": "坐席", "customer": "客户", "system": "系统", "unknown": "未知"}
VERDICTS = {"pass": "合格", "fail": "不合格", "review": "待复核"}
OUTCOMES = {"pass": "符合", "violation": "违规", "unsure": "无法判定", "not_applicable": "不适用"}
SEVERITIES = {"critical": "严重", "major": "较重", "minor": "轻微", "info": "提示"}

ELEMENTS = {  # of the kinds that bring their own elements; rule files name the others
    "reason": "说明原因", "question": "征询意见", "assent": "客户同意", "apology": "久等致歉",
    "callback": "提出稍后回电", "greet": "问候", "repeat": "重复问候", "script": "无声话术", "wait": "停顿",
}  # fmt: skip


def clock(ms: int | None) -> str | None:
    """A moment of the call as minutes, seconds and tenths; None stays None.

    >>> clock(62_349), clock(3_600_000)
    ('01:02.3', '60:00.0')
    """
    if ms is None:
        return None
    tenths = ms // 100
    return f"{tenths // 600:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
