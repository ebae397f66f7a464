"""An event as one line, for logs, pipes and terminals that cannot redraw. Pure."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from analyzer.labels import ROLES, clock
from analyzer.live.messages import (
    CallEvent,
    DismissEvent,
    FindingEvent,
    GaugeEvent,
    NudgeEvent,
    OwedEvent,
    UtteranceEvent,
    WhisperEvent,
)
from analyzer.overlay.state import State
from analyzer.render import inert

_CALL = {
    "started": "通话开始", "disconnected": "断开", "resumed": "恢复", "ending": "通话结束，识别余下的语音",
    "ended": "报告已写好", "interrupted": "通话中断",
}  # fmt: skip
_FINDING = {"provisional": "违规（待确认）", "confirmed": "违规", "withdrawn": "违规（已撤回）"}
_ITEM = {"done": "✓", "missed": "✗", "cleared": "–"}


def line(event: Any, before: State) -> str | None:
    """The event in Chinese after its moment of the call; None where a log has no use for it.

    before  the state before it: what merely goes on is not said again
    """
    text = _text(event, before)
    return None if text is None else f"{clock(event.at_ms)} {inert(text)}"


@singledispatch
def _text(event: Any, before: State) -> str | None:
    return None


@_text.register
def _call(event: CallEvent, before: State) -> str:
    who = "、".join(ROLES[role] for role in event.channels)
    if event.state == "disconnected" and who:
        return f"听不到{who}声道"
    if event.state == "resumed" and who:
        return f"又听到{who}声道"
    parts = [
        _CALL[event.state],
        *(f"{ROLES[role]}缺失 {_seconds(spans)} 秒" for role, spans in event.gaps.items() if spans),
    ]
    parts += [f"{what} {count}" for what, count in event.lost.items() if count]
    return "；".join([*parts, *([f"模型 {event.notice}"] if event.notice else [])])


def _seconds(spans: list[tuple[int, int]]) -> str:
    return f"{sum(end - start for start, end in spans) / 1000:.1f}"


@_text.register
def _utterance(event: UtteranceEvent, before: State) -> str:
    return f"{ROLES[event.role]}：{event.text}"


@_text.register
def _finding(event: FindingEvent, before: State) -> str:
    quote = f"“{event.quote}”" if event.quote else ""
    return f"{_FINDING[event.status]} {event.title}{quote} {event.message}"


@_text.register
def _owed(event: OwedEvent, before: State) -> str | None:
    known = before.checklist.get((event.rule, event.element))
    if event.state == "pending" or (known is not None and known.state == event.state):
        return None
    return f"{_ITEM[event.state]} {event.title}"


@_text.register
def _nudge(event: NudgeEvent, before: State) -> str:
    if event.state == "withdrawn":
        return f"提示收回：{event.message}"
    hint = f"提示：{event.message}"
    return f"{hint} 请说：{event.suggestion}" if event.suggestion else hint


@_text.register
def _dismiss(event: DismissEvent, before: State) -> str:
    return f"已收起提示 {event.rule}"


@_text.register
def _gauge(event: GaugeEvent, before: State) -> str | None:
    heard_before = before.gauge.blind if before.gauge else []
    if set(event.blind) == set(heard_before):
        return None
    return f"听不到{'、'.join(ROLES[role] for role in event.blind)}声道" if event.blind else "双方声道均可听到"


@_text.register
def _whisper(event: WhisperEvent, before: State) -> str | None:
    return f"班长 {event.sender}：{event.text}" if event.state == "sent" else None
