"""What the agent sees: events reduced, and drawn without a line too long."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from analyzer.live.messages import EVENT
from analyzer.overlay.plain import line
from analyzer.overlay.state import WITHDRAWN_FOR_MS, State, reduce
from analyzer.overlay.view import picture

SIZES = [(80, 24), (140, 40), (120, 30), (80, 16), (60, 24), (200, 60)]
TITLES = {"opening": "开场白", "hold_consent": "保持前征询", "complaint_apology": "客户抱怨时的安抚"}
NUDGE = {
    "type": "nudge", "id": "n1", "state": "shown", "kind": "forbidden", "priority": "high", "rule": "banned_phrase",
    "finding": "f1", "provisional": True, "message": "不能推诿", "suggestion": "我帮您查一下", "show_ms": 6_000,
}  # fmt: skip
FINDING = {
    "type": "finding", "id": "f1", "status": "provisional", "rule": "banned_phrase", "title": "服务禁语",
    "severity": "major", "role": "agent", "turn": 0, "spans": [{"turn": 0, "char_start": 0, "char_end": 6}],
    "start_ms": 1_000, "end_ms": 2_000, "quote": "不关我的事", "match": "exact", "message": "用了推诿用语",
}  # fmt: skip
SAID = {"type": "utterance", "turn": 0, "role": "agent", "start_ms": 1_000, "end_ms": 2_000, "text": "这不关我的事。"}


def event(at_ms: int = 0, seq: int = 1, **fields: Any) -> Any:
    return EVENT.validate_json(
        json.dumps({"schema": "analyzer.live/1", "call_id": "c1", "seq": seq, "at_ms": at_ms, **fields})
    )


def after(*told: tuple[int, dict[str, Any]], state: State | None = None) -> State:
    state = state or State()
    for at_ms, fields in told:
        state = reduce(state, event(at_ms, state.seq + 1, **fields))
    return state


def drawn(state: State, width: int = 80, height: int = 24, at_ms: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, legacy_windows=False)
    console.print(picture(state, width, height, state.at_ms if at_ms is None else at_ms, TITLES), end="")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().removesuffix("\n").split("\n")


def owed(element: str, title: str, state: str, due_ms: int | None = None, rule: str = "opening") -> dict[str, Any]:
    return {"type": "owed", "rule": rule, "element": element, "title": title, "state": state, "due_ms": due_ms}


def gauge(**fields: Any) -> dict[str, Any]:
    return {"type": "gauge", **fields}


def busy() -> State:
    """A call on which everything is shown at once, more than fits."""
    told: list[tuple[int, dict[str, Any]]] = [
        (0, {"type": "call", "state": "started", "direction": "inbound", "notice": "demo (synthetic voices only)"}),
        (0, {"type": "call", "state": "disconnected", "channels": ["customer"]}),
        (9_000, {"type": "call", "state": "resumed", "gaps": {"customer": [[1_000, 8_400]]}, "lost": {"overflows": 3}}),
    ]
    states, sides = ("pending", "done", "missed", "cleared"), ("agent", "customer")
    told += [
        (9_000, owed(f"e{n}", f"核对第{n}项客户资料", states[n % 4], 30_000, rule=f"规则{n // 4}")) for n in range(40)
    ]
    long = "请您稍等，我马上为您查询一下这笔费用的明细，hold on please，" * 3
    told += [(9_000, {**SAID, "turn": n, "role": sides[n % 2], "start_ms": n * 1_000, "text": long}) for n in range(30)]
    interim = {"type": "interim", "role": "customer", "start_ms": 9_400, "end_ms": 9_500}
    sorry = "非常抱歉给您带来不便，我马上帮您核实，" * 6
    told += [
        (9_500, {**FINDING, "spans": [{"turn": 29, "char_start": 3, "char_end": 9}]}),
        (9_500, {**interim, "text": "那你" * 60, "agreed": 3}),
        (9_600, {"type": "whisper", "id": "w", "text": "先安抚客户，" * 20, "sender": "李班长", "state": "sent"}),
        *((9_600, {**NUDGE, "id": f"n{n}", "suggestion": sorry}) for n in range(4)),
        (9_900, gauge(
            rate={"agent": {"now": 233, "call": 201, "low": 96, "high": 144}, "customer": {"now": 900, "call": 180}},
            hold={"since_ms": 2_000, "limit_ms": 120_000}, silence={"since_ms": 1_000, "limit_ms": 7_000},
            talk_ratio=0.61, behind_ms=3_400, blind=["customer"], score=86.5)),
    ]  # fmt: skip
    return after(*told)


# ---- drawing


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("state", [State(), busy()], ids=["empty", "busy"])
def test_the_picture_fills_the_screen_and_no_line_is_longer(state: State, width: int, height: int) -> None:
    lines = drawn(state, width, height)
    assert len(lines) == height
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40)])
def test_what_matters_most_is_there_however_much_there_is(width: int, height: int) -> None:
    text = "\n".join(drawn(busy(), width, height))
    for said in ("请说：非常抱歉", "[待确认]", "班长 李班长", "233 字/分钟 偏快", "听不到客户声道", "落后 3 秒",
                 "缺失 7.4 秒", "声卡溢出 3 次", "demo (synthetic voices only)", "○", "暂计 86.5 分",
                 "保持 00:07 / 02:00", "已超时", "那你那你", "x 收起提示"):  # fmt: skip
        assert said in text, said


def test_from_120_columns_on_the_sentences_stand_beside() -> None:
    assert any("提示" in line and "对话" in line for line in drawn(busy(), 120, 30))
    assert not any("提示" in line and "对话" in line for line in drawn(busy(), 119, 30))


def test_the_last_sentences_are_seen_not_the_first() -> None:
    state = after(*((1_000, {**SAID, "turn": n, "start_ms": n * 1_000, "text": f"第{n}句"}) for n in range(30)))
    text = "\n".join(drawn(state))
    assert "第29句" in text
    assert "第0句" not in text


def test_the_words_of_a_finding_are_marked_without_colour_until_it_is_withdrawn() -> None:
    state = after((1_000, SAID), (1_000, FINDING))
    assert "【这不关我的事】" in "\n".join(drawn(state))
    state = after((2_000, {**FINDING, "status": "withdrawn"}), state=state)
    assert "【" not in "\n".join(drawn(state))


def test_timers_go_on_between_events() -> None:
    state = after((9_000, gauge(silence={"since_ms": 4_000, "limit_ms": 7_000})))
    assert any("静音 00:05 / 00:07" in line for line in drawn(state, at_ms=9_000))
    assert any("静音 00:06 / 00:07 将到时" in line for line in drawn(state, at_ms=10_000))
    assert any("静音 00:08 / 00:07 已超时" in line for line in drawn(state, at_ms=12_000))


def test_control_characters_do_not_steer_the_terminal() -> None:
    state = after((0, {**SAID, "text": "您好\x1b[2J\x07"}), (0, {**NUDGE, "suggestion": "\x1b]0;x\x07"}))
    assert "\x1b" not in "\n".join(drawn(state))


# ---- the state


def test_a_provisional_hint_is_confirmed_by_its_finding() -> None:
    state = after((1_000, FINDING), (1_000, NUDGE))
    assert any("[待确认]" in line for line in drawn(state))
    state = after((2_000, {**FINDING, "status": "confirmed"}), state=state)
    assert not any("[待确认]" in line for line in drawn(state))
    assert any("请说：我帮您查一下" in line for line in drawn(state))


def test_a_wrong_hint_is_withdrawn_visibly_and_then_goes() -> None:
    state = after((1_000, FINDING), (1_000, NUDGE), (2_000, {**FINDING, "status": "withdrawn"}))
    text = "\n".join(drawn(state))
    assert "[已撤回]" in text
    assert "请说" not in text, "nobody should say it now"
    assert "暂无提示" in "\n".join(drawn(state, at_ms=2_000 + WITHDRAWN_FOR_MS))


def test_a_reminder_that_was_followed_just_goes() -> None:
    reminder = {**NUDGE, "kind": "owed", "finding": None, "provisional": False}
    state = after((1_000, reminder), (2_000, {**reminder, "state": "withdrawn"}))
    assert state.visible_hints(2_000) == []


def test_a_hint_goes_after_its_time_and_when_it_is_dismissed() -> None:
    state = after((1_000, NUDGE))
    assert state.hint_to_dismiss(6_999) == "n1"
    assert state.hint_to_dismiss(7_000) is None
    state = after((2_000, {"type": "dismiss", "nudge": "n1", "rule": "banned_phrase"}), state=state)
    assert state.visible_hints(2_000) == []


def test_the_most_urgent_hint_comes_first_and_of_equals_the_newest() -> None:
    state = after(
        (1_000, {**NUDGE, "id": "old", "finding": None}),
        (2_000, {**NUDGE, "id": "new", "finding": None}),
        (1_500, {**NUDGE, "id": "worst", "finding": None, "priority": "critical"}),
    )
    assert [hint.nudge.id for hint in state.visible_hints(2_000)] == ["worst", "new", "old"]


def test_a_long_call_keeps_no_hints_that_are_over() -> None:
    state = after(*((n * 10_000, {**NUDGE, "id": f"n{n}"}) for n in range(50)))
    assert list(state.hints) == ["n49"]


def test_the_most_urgent_items_of_the_checklist_come_first() -> None:
    state = after(
        (0, owed("a", "已说", "done")),
        (0, owed("b", "没说", "missed", rule="complaint_apology")),
        (0, owed("c", "快说", "pending", 9_000, rule="hold_consent")),
    )
    lines = [line for line in drawn(state, at_ms=5_000) if any(mark in line for mark in "✓✗○")]
    assert ["○快说4秒" in lines[0], "✗没说" in lines[1], "✓已说" in lines[2]] == [True] * 3


def test_a_final_takes_the_place_of_the_interim_text_of_its_speaker() -> None:
    interim = {"type": "interim", "start_ms": 0, "end_ms": 900, "text": "这不", "agreed": 1}
    state = after((900, {**interim, "role": "agent"}), (900, {**interim, "role": "customer"}), (1_000, SAID))
    assert list(state.interim) == ["customer"]
    state = after((1_100, {**interim, "role": "customer", "text": ""}), state=state)
    assert not state.interim


def test_one_side_that_is_gone_is_not_a_lost_connection() -> None:
    gone = {"type": "call", "state": "disconnected", "channels": ["customer"]}
    state = after((0, gone))
    assert (state.blind, state.is_cut) == ({"customer"}, False)
    state = after((0, {**gone, "state": "resumed"}), (0, {**gone, "channels": []}), state=state)
    assert (state.blind, state.is_cut) == (set(), True)
    assert any("断开" in line for line in drawn(state))
    state = after((0, {**gone, "state": "resumed", "channels": []}), state=state)
    assert not state.is_cut


def test_an_event_that_comes_again_changes_nothing() -> None:
    state = after((1_000, SAID))
    assert reduce(state, event(2_000, seq=1, **SAID)) is state


def test_a_supervisor_s_line_stays_until_it_was_seen() -> None:
    whisper = {"type": "whisper", "id": "w", "text": "先安抚", "sender": "李", "state": "sent"}
    state = after((0, whisper), (100, {**whisper, "state": "delivered"}))
    assert any("班长 李：先安抚" in line for line in drawn(state))
    assert after((200, {**whisper, "state": "seen"}), state=state).whisper is None


# ---- lines


def lines(told: Sequence[tuple[int, dict[str, Any]]]) -> list[str]:
    state, said = State(), []
    for at_ms, fields in told:
        one = event(at_ms, state.seq + 1, **fields)
        said += [text] if (text := line(one, state)) else []
        state = reduce(state, one)
    return said


def test_every_event_that_a_log_needs_is_one_line() -> None:
    assert lines([
        (0, {"type": "call", "state": "started", "notice": "demo"}),
        (0, owed("id", "报工号", "pending", 15_000)),
        (1_000, {**SAID, "text": "您好\n再见"}),
        (1_000, FINDING),
        (1_000, NUDGE),
        (2_000, {**FINDING, "status": "withdrawn"}),
        (3_000, owed("id", "报工号", "missed")),
        (3_000, owed("id", "报工号", "missed")),
        (4_000, gauge(blind=["customer"])),
        (5_000, gauge(blind=["customer"])),
        (6_000, {"type": "call", "state": "resumed", "channels": ["customer"]}),
        (9_000, {"type": "call", "state": "ending", "gaps": {"customer": [[4_000, 6_100]]}, "lost": {"overflows": 2}}),
    ]) == [
        "00:00.0 通话开始；模型 demo",
        "00:01.0 坐席：您好\N{REPLACEMENT CHARACTER}再见",
        "00:01.0 违规（待确认） 服务禁语“不关我的事” 用了推诿用语",
        "00:01.0 提示：不能推诿 请说：我帮您查一下",
        "00:02.0 违规（已撤回） 服务禁语“不关我的事” 用了推诿用语",
        "00:03.0 ✗ 报工号",
        "00:04.0 听不到客户声道",
        "00:06.0 又听到客户声道",
        "00:09.0 通话结束，识别余下的语音；客户缺失 2.1 秒；overflows 2",
    ]  # fmt: skip
