"""The engine: what arrives in whatever order is judged by its words and their times alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.catalog import load_pack
from analyzer.engine import CallAnalyzer, CallResult, FindingStatus, likely_swapped
from analyzer.rules import Pack, Status, Truth
from analyzer.types import Direction, Role, Span, Utterance

AGENT, CUSTOMER, UNKNOWN = Role.AGENT, Role.CUSTOMER, Role.UNKNOWN


@cache
def pack() -> Pack:
    return load_pack(Path(__file__).parent / "pack")


def timed(role: Role, start_ms: int, text: str, character_ms: int = 250, confidence: float | None = None) -> Utterance:
    """An utterance with a time for every character."""
    times = tuple(Span(start_ms + i * character_ms, start_ms + (i + 1) * character_ms) for i in range(len(text)))
    return Utterance(role, Span(start_ms, start_ms + character_ms * len(text)), text, confidence, times)


def verdict(result: CallResult) -> dict[str, Any]:
    """All of a result that must not depend on arrival: verdicts, evidence by time and words, turns of talk."""
    rules = {
        rule: (
            judgement.truth,
            judgement.level,
            judgement.elements,
            judgement.measured,
            [(f.category, f.span, f.quote, f.match, f.confidence, f.severity) for f in judgement.findings],
        )
        for rule, judgement in result.judgements.items()
    }
    said = [(s.role, s.span, s.raw, s.turn_of_talk, s.back_channel) for s in result.call.said]
    return {"rules": rules, "said": said}


def judge(utterances: Sequence[Utterance], end_ms: int = 60_000, **facts: Any) -> CallResult:
    facts = {"direction": Direction.INBOUND, "roles": tuple(Role), **facts}
    call = CallAnalyzer(pack(), **facts)
    for utterance in utterances:
        call.feed(utterance)
    return call.finish(end_ms)


# --- parity -----------------------------------------------------------------------------------------------------------

AGENT_LINES = (
    "您好，云岭银行，工号3017，请问有什么可以帮您？",
    "喂，不归我管。",
    "这个不清楚。",
    "我帮您核实一下",
    "请您大声一点好吗",
    "大声点",
    "您客户说不关我的事是吗",
    "您的号码是13812345678对吗",
    "感谢您的来电，祝您生活愉快，再见",
    "嗯",
    "好的好的",
    "我没办法",
    "不关我的事",
)
CUSTOMER_LINES = ("我想查一下余额", "嗯", "好的", "不关我的事", "那怎么办啊你们到底管不管", "谢谢再见")


@st.composite
def calls(draw: st.DrawFn) -> list[Utterance]:
    utterances, clocks = [], {AGENT: 500, CUSTOMER: 700}
    for _ in range(draw(st.integers(1, 9))):
        role = draw(st.sampled_from([AGENT, CUSTOMER]))
        text = draw(st.sampled_from(AGENT_LINES if role is AGENT else CUSTOMER_LINES))
        start = max(clocks[role], clocks[draw(st.sampled_from([AGENT, CUSTOMER]))]) + draw(
            st.sampled_from([10, 300, 650, 699, 700, 701, 2500, 5000, 6500])
        )
        confidence = draw(st.sampled_from([None, 0.95, 0.3]))
        utterance = timed(role, start, text, draw(st.sampled_from([120, 250, 500])), confidence)
        utterances.append(utterance)
        clocks[role] = utterance.span.end_ms
    return utterances


def split(utterance: Utterance, cuts: Sequence[int]) -> list[Utterance]:
    """The same words in pieces, times carried."""
    edges = sorted({0, len(utterance.text), *(cut for cut in cuts if cut < len(utterance.text))})
    times = utterance.characters or ()
    return [
        Utterance(
            utterance.role,
            Span(times[a].start_ms, times[b - 1].end_ms),
            utterance.text[a:b],
            utterance.confidence,
            times[a:b],
        )
        for a, b in pairwise(edges)
    ]


def live(pieces: Sequence[Utterance], schedule: random.Random, analyzer: Callable[..., CallAnalyzer]) -> CallResult:
    """Feed pieces in any order; settle each side late, early and in between; let the clock run wild."""
    call = analyzer(pack(), direction=Direction.INBOUND)
    waiting = list(pieces)
    schedule.shuffle(waiting)
    while waiting:
        call.feed(waiting.pop())
        for role in (AGENT, CUSTOMER):
            open_starts = [p.span.start_ms for p in waiting if p.role is role]
            if schedule.random() < 0.7:
                call.settled(role, int(min(open_starts, default=60_000) * schedule.choice([1, 1, 0.5])))
        if schedule.random() < 0.5:
            call.now(schedule.randrange(120_000))
        if schedule.random() < 0.3:
            call.preview(schedule.choice([AGENT, CUSTOMER]), "不关我的事，工号3017")
    return call.finish(60_000)


def assert_parity(
    utterances: Sequence[Utterance], seed: int, cuts: Sequence[int], analyzer: Callable[..., CallAnalyzer]
) -> None:
    pieces = [piece for utterance in utterances for piece in split(utterance, cuts)]
    assert verdict(live(pieces, random.Random(seed), analyzer)) == verdict(judge(utterances))


@given(calls(), st.integers(0, 10_000), st.lists(st.integers(1, 25), max_size=4))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_arrival_splits_lateness_and_clock_change_nothing(
    utterances: list[Utterance], seed: int, cuts: list[int]
) -> None:
    assert_parity(utterances, seed, cuts, CallAnalyzer)


class ClockedAnalyzer(CallAnalyzer):
    """A mutant: the clock settles both sides, so a verdict depends on when it was looked at."""

    def now(self, ms: int) -> list[Any]:
        for channel in self._channels.values():
            channel.settled_ms = max(channel.settled_ms, *(s.span.start_ms for s in channel.stretches), 0)
            for stretch in channel.stretches:
                if stretch.span.end_ms < ms:
                    channel.settled_ms = max(channel.settled_ms, stretch.span.end_ms + 700)
        self._release()
        for channel in self._channels.values():
            channel.settled_ms = 0
        return super().now(ms)


class LateTruth(CallAnalyzer):
    """A mutant: what the clock has passed is judged as it stands, whatever is still to come."""

    def now(self, ms: int) -> list[Any]:
        for watch in self._watches.values():
            watch.reach(ms)
        return super().now(ms)


@pytest.mark.parametrize("mutant", [ClockedAnalyzer, LateTruth])
def test_an_engine_whose_verdicts_use_the_clock_is_caught(mutant: Callable[..., CallAnalyzer]) -> None:
    utterances = [
        timed(AGENT, 1000, "这个不清楚"),
        timed(AGENT, 4000, "我帮您核实一下"),
        timed(CUSTOMER, 2600, "那怎么办"),
    ]
    assert not all(keeps_parity(utterances, seed, mutant) for seed in range(200))


def keeps_parity(utterances: Sequence[Utterance], seed: int, analyzer: Callable[..., CallAnalyzer]) -> bool:
    try:
        assert_parity(utterances, seed, [2], analyzer)
    except AssertionError:
        return False
    return True


# --- utterances and turns ---------------------------------------------------------------------------------------------


def said(*utterances: Utterance) -> list[tuple[Role, str, int | None]]:
    return [(s.role, s.raw, s.turn_of_talk) for s in judge(utterances).call.said]


def test_speech_of_one_role_less_than_700_ms_apart_is_one_utterance() -> None:
    first = timed(AGENT, 0, "您好", 500)
    assert said(first, timed(AGENT, 1699, "再见")) == [(AGENT, "您好再见", 0)]
    assert said(first, timed(AGENT, 1700, "再见")) == [(AGENT, "您好", 0), (AGENT, "再见", 0)]


def test_one_long_piece_of_text_is_cut_where_its_characters_pause() -> None:
    times = (Span(0, 200), Span(200, 400), Span(1100, 1300), Span(1300, 1500))
    assert said(Utterance(AGENT, Span(0, 1500), "您好再见", None, times)) == [(AGENT, "您好", 0), (AGENT, "再见", 0)]


def test_a_turn_of_talk_ends_when_the_other_says_more_than_back_channel() -> None:
    spoken = said(
        timed(AGENT, 0, "您好"),
        timed(CUSTOMER, 2000, "嗯"),
        timed(AGENT, 4000, "请讲"),
        timed(CUSTOMER, 6000, "我要查余额"),
        timed(AGENT, 9000, "好的"),
        timed(CUSTOMER, 11000, "快一点"),
        timed(AGENT, 14000, "请稍等"),
    )
    assert [turn for role, _, turn in spoken if role is AGENT] == [0, 0, 0, 1]
    assert [turn for role, _, turn in spoken if role is CUSTOMER] == [0, 0, 0]


def test_system_and_unknown_speech_takes_no_turn() -> None:
    spoken = said(
        timed(Role.SYSTEM, 0, "欢迎致电"),
        timed(AGENT, 4000, "您好"),
        timed(UNKNOWN, 6000, "我要查"),
        timed(AGENT, 9000, "好"),
    )
    assert [turn for *_, turn in spoken] == [None, 0, None, 0]


# --- provisional findings ---------------------------------------------------------------------------------------------


def statuses(events: Sequence[Any]) -> list[tuple[str | None, FindingStatus]]:
    return [(event.finding.quote, event.status) for event in events]


def test_a_hit_is_shown_at_once_and_confirmed_when_both_sides_are_settled() -> None:
    call = CallAnalyzer(pack(), direction=Direction.INBOUND)
    assert statuses(call.feed(timed(AGENT, 1000, "不关我的事"))) == [("不关我的事", FindingStatus.PROVISIONAL)]
    assert call.settled(AGENT, 20_000) == []
    assert statuses(call.settled(CUSTOMER, 20_000)) == [("不关我的事", FindingStatus.CONFIRMED)]


def test_a_hit_that_later_words_excuse_is_withdrawn() -> None:
    call = CallAnalyzer(pack(), direction=Direction.INBOUND)
    call.feed(timed(AGENT, 1000, "这个不清楚。"))
    call.settled(CUSTOMER, 20_000)
    assert call.settled(AGENT, 3300) == []
    assert statuses(call.feed(timed(AGENT, 4000, "我帮您核实一下"))) == []
    assert statuses(call.settled(AGENT, 20_000)) == [("这个不清楚", FindingStatus.WITHDRAWN)]
    assert call.finish(30_000).judgements["banned_phrase"].truth is Truth.MET


def test_a_hit_that_waits_for_a_next_step_is_confirmed_once_five_seconds_have_passed() -> None:
    call = CallAnalyzer(pack(), direction=Direction.INBOUND)
    call.feed(timed(AGENT, 1000, "这个不清楚"))
    call.settled(CUSTOMER, 60_000)
    assert call.settled(AGENT, 7000) == []
    assert statuses(call.settled(AGENT, 7300)) == [("这个不清楚", FindingStatus.CONFIRMED)]


def test_a_preview_hints_and_changes_nothing() -> None:
    call = CallAnalyzer(pack(), direction=Direction.INBOUND)
    assert [finding.quote for finding in call.preview(AGENT, "不关我的事")] == ["不关我的事"]
    assert call.preview(CUSTOMER, "不关我的事") == []
    assert call.finish(1000).judgements["banned_phrase"].truth is Truth.NOT_APPLICABLE


# --- nudges -----------------------------------------------------------------------------------------------------------


def test_a_missing_element_is_nudged_once_when_its_time_has_come() -> None:
    call = CallAnalyzer(pack(), direction=Direction.INBOUND)
    call.feed(timed(AGENT, 500, "您好云岭银行很高兴为您服务"))
    assert call.now(9_999) == []
    assert {nudge.message for nudge in call.now(10_000)} == {"还没报工号", "还没说：主动询问"}
    assert call.now(11_000) == []


def test_nothing_is_nudged_once_the_opening_is_over() -> None:
    call = CallAnalyzer(pack(), direction=Direction.INBOUND)
    for turn in range(4):
        call.feed(timed(AGENT, turn * 5000, "请讲"))
        call.feed(timed(CUSTOMER, turn * 5000 + 2000, "我要查余额"))
    call.settled(AGENT, 30_000)
    call.settled(CUSTOMER, 30_000)
    assert call.now(30_000) == []


# --- contract ---------------------------------------------------------------------------------------------------------


def test_text_behind_the_watermark_is_refused() -> None:
    call = CallAnalyzer(pack())
    call.settled(AGENT, 5000)
    with pytest.raises(ValueError, match=r"after settled\(5000 ms\)"):
        call.feed(timed(AGENT, 4000, "您好"))


def test_text_of_a_role_that_was_not_announced_is_refused() -> None:
    with pytest.raises(ValueError, match="roles are agent, customer"):
        CallAnalyzer(pack()).feed(timed(UNKNOWN, 0, "您好"))


def test_a_call_is_finished_once() -> None:
    call = CallAnalyzer(pack())
    call.finish(1000)
    with pytest.raises(ValueError, match="finished already"):
        call.finish(1000)


def test_a_trial_rule_is_never_a_violation() -> None:
    rules = tuple(replace(rule, status=Status.TRIAL) for rule in pack().rules)
    call = CallAnalyzer(replace(pack(), rules=rules), direction=Direction.INBOUND)
    call.feed(timed(AGENT, 0, "不关我的事"))
    judgements = call.finish(10_000).judgements.values()
    assert Truth.VIOLATED not in {judgement.truth for judgement in judgements}
    assert Truth.UNSURE in {judgement.truth for judgement in judgements}


# --- swapped channels -------------------------------------------------------------------------------------------------

GREETING = "您好，云岭银行，工号3017，请问有什么可以帮您"


def test_a_greeting_on_the_customer_side_looks_swapped() -> None:
    reason = likely_swapped([timed(CUSTOMER, 0, GREETING), timed(AGENT, 8000, "我要查一下余额")])
    assert reason is not None
    assert reason.startswith("声道可能接反")
    assert "工号" in reason


@pytest.mark.parametrize(
    "utterances",
    [
        [timed(AGENT, 0, GREETING), timed(CUSTOMER, 8000, "我要查一下余额")],
        [timed(CUSTOMER, 0, "您好我想查一下"), timed(AGENT, 8000, "好的")],
        [timed(AGENT, 0, GREETING), timed(CUSTOMER, 8000, "您工号3017是吗，有什么可以帮我的")],
        [],
    ],
)
def test_an_ordinary_call_does_not_look_swapped(utterances: list[Utterance]) -> None:
    assert likely_swapped(utterances) is None
