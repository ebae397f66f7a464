"""Checks of time and sound: silence, hold, overlap, loudness, measures."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.engine import CallAnalyzer, FindingStatus
from analyzer.rules import Judgement, Pack, PhraseSet, Profile, RuleFaults, Truth, Words, parse_rule
from analyzer.rules.patterns import Pattern
from analyzer.rules.phrases import Phrase
from analyzer.rules.spans import VOICE_GAP_MS, gaps, joined
from analyzer.rules.spec import WordList
from analyzer.types import Direction, Role, Span, Utterance

AGENT, CUSTOMER, SYSTEM, UNKNOWN = Role.AGENT, Role.CUSTOMER, Role.SYSTEM, Role.UNKNOWN
TOLD = (AGENT, CUSTOMER, SYSTEM)  # where everybody's role is known, a finding is confirmed during the call

LISTS = {
    "ask": ["请[您你]?稍等", "再稍等"],
    "order": ["^等一下$"],
    "lookup": ["我帮您查"],
    "question": ["好吗"],
    "assent": ["^好的?$", "^行$"],
    "refusal": ["没时间"],
    "back": ["久等"],
    "patience": ["还在查"],
    "callback": ["回电"],
    "asks": ["多少$$", "请报"],
    "busy": ["我找一下"],
    "music": ["音乐"],
    "over": ["再见"],
    "there": ["^喂$"],
}
HOLD = {
    "kind": "hold",
    "ask_in": ["ask"],
    "order_in": ["order"],
    "lookup_in": ["lookup"],
    "reason_in": ["lookup"],
    "question_in": ["question"],
    "assent_in": ["assent"],
    "refusal_in": ["refusal"],
    "back_in": ["back"],
    "patience_in": ["patience"],
    "callback_in": ["callback"],
    "asked_in": ["asks"],
    "busy_in": ["busy"],
    "music_in": ["music"],
    "nudges": [{"after_ms": 7000, "say": "回来先致歉"}],
}
RULES: Mapping[str, Mapping[str, Any]] = {
    "silence": {
        "kind": "silence",
        "longer_than_ms": 10_000,
        "announced_in": ["ask", "lookup"],
        "asked_in": ["asks"],
        "busy_in": ["busy"],
        "over_in": ["over"],
        "anyone_there_in": ["there"],
        "nudge_ms": 6000,
    },
    "consent": {**HOLD, "aspect": "consent"},
    "back": {**HOLD, "aspect": "return", "limit_ms": 7000},
    "duration": {**HOLD, "aspect": "duration", "limit_ms": 60_000},
    "callback": {**HOLD, "aspect": "callback", "limit_ms": 30_000},
    "overlap": {"kind": "overlap"},
    "loudness": {"kind": "loudness", "high_db": 6, "usual_from_s": 3},
    "ratio": {"kind": "talk_ratio", "low": 0.3, "high": 0.7, "least_ms": 4000},
    "length": {"kind": "duration", "high": 60},
    "response": {"kind": "response_time", "high": 3, "excused_in": ["ask"]},
    "monologue": {"kind": "monologue", "high": 20},
}


@cache
def pack() -> Pack:
    lists = {
        name: WordList(name, name, "", "", tuple(Phrase(Pattern(text), term=text) for text in texts))
        for name, texts in LISTS.items()
    }
    words = Words(lists)
    whole = {"title": "规则", "severity": "minor", "status": "stable", "message": "{value}{missing}{quote}"}
    rules = tuple(parse_rule({**whole, **fields, "id": name}, words) for name, fields in RULES.items())
    back_channel = PhraseSet([Phrase(Pattern("嗯")), Phrase(Pattern("好的"))])
    return Pack("timing", "1", "", rules, Profile("standard"), back_channel)


def turn(role: Role, start_ms: int, end_ms: int, text: str, **facts: Any) -> Utterance:
    return Utterance(role, Span(start_ms, end_ms), text, **facts)


def analyzer(
    activity: Mapping[Role, Sequence[Span]] | None = None, roles: Sequence[Role] = tuple(Role)
) -> CallAnalyzer:
    call = CallAnalyzer(pack(), direction=Direction.INBOUND, roles=roles)
    for role, spans in (activity or {}).items():
        for span in spans:
            call.activity(role, span)
    return call


def judged(
    *turns: Utterance,
    end_ms: int | None = None,
    truncated: bool = False,
    activity: Mapping[Role, Sequence[Span]] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Mapping[str, Judgement]:
    call = analyzer(activity)
    for utterance in turns:
        call.feed(utterance)
    end = max(t.span.end_ms for t in turns) if end_ms is None else end_ms
    return call.finish(end, truncated=truncated, metadata=metadata).judgements


# --- spans ------------------------------------------------------------------------------------------------------------


def test_spans_join_below_the_gap_and_leave_gaps_from_it_on() -> None:
    spans = [Span(0, 100), Span(100 + VOICE_GAP_MS - 1, 500), Span(500 + VOICE_GAP_MS, 900)]
    assert joined(spans, VOICE_GAP_MS) == [Span(0, 500), Span(800, 900)]
    assert list(gaps([Span(0, 500), Span(800, 900)], 1000)) == [Span(500, 800), Span(900, 1000)]
    assert list(gaps([], 1000)) == []


# --- silence ----------------------------------------------------------------------------------------------------------

QUESTION = turn(CUSTOMER, 1000, 3000, "积分怎么用")


def silence(*turns: Utterance, **facts: Any) -> Judgement:
    return judged(*turns, **facts)["silence"]


def test_a_silence_of_just_the_limit_is_none_too_long() -> None:
    assert silence(QUESTION, turn(AGENT, 13_000, 14_000, "兑换")).truth is Truth.MET
    judgement = silence(QUESTION, turn(AGENT, 13_001, 14_000, "兑换"))
    assert judgement.truth is Truth.VIOLATED
    assert [(f.span, f.turn and f.turn.text) for f in judgement.findings] == [(Span(3000, 13_001), "兑换")]


def test_voice_without_words_breaks_a_silence_and_leaves_its_owner_open() -> None:
    answer = turn(AGENT, 20_000, 21_000, "兑换")
    own = {CUSTOMER: [Span(1000, 3000)], AGENT: [Span(20_000, 21_000)]}
    assert silence(QUESTION, answer, activity=own).truth is Truth.VIOLATED
    assert silence(QUESTION, answer, activity={**own, AGENT: [Span(11_000, 12_000), *own[AGENT]]}).truth is Truth.MET
    late = {**own, AGENT: [Span(6000, 7000), *own[AGENT]]}
    assert silence(QUESTION, answer, activity=late).truth is Truth.UNSURE


def test_faint_words_before_a_silence_leave_it_unsure() -> None:
    faint = turn(CUSTOMER, 1000, 3000, "积分怎么用", confidence=0.2)
    assert silence(faint, turn(AGENT, 20_000, 21_000, "兑换")).truth is Truth.UNSURE


def test_a_silence_is_told_of_while_it_lasts_and_keeps_its_name() -> None:
    call = analyzer(roles=TOLD)
    call.feed(turn(AGENT, 0, 500, "您好"))
    call.feed(QUESTION)
    assert [e for role in TOLD for e in call.settled(role, 12_900)] == []
    events = [e for role in TOLD for e in call.settled(role, 13_100)]
    assert [(e.finding.rule, e.status) for e in events] == [("silence", FindingStatus.CONFIRMED)]
    assert [e for role in TOLD for e in call.settled(role, 19_000)] == []
    call.feed(turn(AGENT, 20_000, 21_000, "兑换"))
    final = call.finish(30_000).judgements["silence"]
    assert [f.id for f in final.findings] == [events[0].finding.id]


def test_the_agent_is_reminded_while_they_owe_words_and_not_once_they_speak() -> None:
    def nudges(*spans: Span) -> list[str]:
        call = analyzer({AGENT: spans})
        call.feed(QUESTION)
        for role in Role:
            call.settled(role, 5000)
        return [nudge.rule for nudge in call.now(9500)]

    assert nudges() == ["silence"]
    assert nudges(Span(8000, 9000)) == []


# --- hold -------------------------------------------------------------------------------------------------------------

ASKED = turn(AGENT, 1000, 4000, "我帮您查一下，请您稍等好吗")
AGREED = turn(CUSTOMER, 4500, 5000, "好的")
BACK = turn(AGENT, 20_000, 22_000, "让您久等了")


def test_a_wait_runs_from_the_customers_answer_to_the_return() -> None:
    result = judged(ASKED, AGREED, BACK)
    assert {rule: result[rule].truth for rule in ("consent", "back", "duration")} == dict.fromkeys(
        ("consent", "back", "duration"), Truth.MET
    )
    assert result["duration"].measured == {"value": 15.0, "unit": "秒", "low": None, "high": 60.0}


@pytest.mark.parametrize(("start_ms", "truth"), [(12_000, Truth.NOT_APPLICABLE), (12_001, Truth.VIOLATED)])
def test_an_apology_is_owed_after_more_than_seven_seconds(start_ms: int, truth: Truth) -> None:
    judgement = judged(ASKED, AGREED, turn(AGENT, start_ms, start_ms + 900, "三百元"))["back"]
    assert judgement.truth is truth
    assert all(f.turn is not None and f.turn.text == "三百元" for f in judgement.findings)


def test_what_the_customer_says_meanwhile_neither_ends_the_wait_nor_counts() -> None:
    calls = turn(CUSTOMER, 10_000, 11_000, "喂")
    judgement = judged(ASKED, AGREED, calls, BACK)["duration"]
    assert judgement.measured is not None
    assert judgement.measured["value"] == 14.0


def test_a_call_for_patience_prolongs_the_wait_and_the_return_still_owes_an_apology() -> None:
    more = turn(AGENT, 40_000, 41_000, "还在查，请您再稍等")
    result = judged(ASKED, AGREED, more, turn(AGENT, 70_000, 71_000, "三百元"))
    assert result["duration"].truth is Truth.VIOLATED
    assert result["back"].truth is Truth.VIOLATED
    assert len(result["back"].findings) == 1


def test_two_waits_are_judged_each() -> None:
    again = [turn(AGENT, 25_000, 26_000, "请稍等"), turn(AGENT, 40_000, 41_000, "三百元")]
    result = judged(ASKED, AGREED, BACK, *again)
    assert [f.turn.text for f in result["consent"].findings if f.turn] == ["请稍等"]
    assert [f.turn.text for f in result["back"].findings if f.turn] == ["三百元"]


def test_a_wait_that_the_customer_causes_is_no_hold() -> None:
    busy = turn(CUSTOMER, 4500, 6000, "我找一下")
    found = turn(CUSTOMER, 30_000, 31_000, "一二三")
    result = judged(ASKED, busy, found, turn(AGENT, 32_000, 33_000, "查到了"))
    assert result["back"].truth is Truth.NOT_APPLICABLE
    assert result["duration"].truth is Truth.NOT_APPLICABLE


def test_a_call_that_ends_in_a_wait_owes_no_return_and_a_recording_that_does_is_unsure() -> None:
    assert judged(ASKED, AGREED, end_ms=90_000)["back"].truth is Truth.NOT_APPLICABLE
    assert judged(ASKED, AGREED, end_ms=90_000)["duration"].truth is Truth.VIOLATED
    assert judged(ASKED, AGREED, end_ms=40_000, truncated=True)["back"].truth is Truth.UNSURE
    assert judged(ASKED, AGREED, end_ms=40_000, truncated=True)["duration"].truth is Truth.UNSURE
    moved = judged(ASKED, AGREED, end_ms=90_000, metadata={"ended_by": "transfer"})
    assert moved["duration"].truth is Truth.NOT_APPLICABLE


def test_music_is_a_wait_that_nobody_announced() -> None:
    before, music = turn(AGENT, 1000, 3000, "您的订单到了"), turn(SYSTEM, 4000, 30_000, "（音乐）")
    result = judged(before, music, turn(AGENT, 31_000, 32_000, "三百元"))
    assert result["consent"].truth is Truth.VIOLATED
    assert result["back"].truth is Truth.VIOLATED
    only_ivr = judged(turn(SYSTEM, 0, 9000, "请稍候，音乐"), turn(AGENT, 10_000, 11_000, "您好"))
    assert only_ivr["consent"].truth is Truth.NOT_APPLICABLE


def test_a_return_that_apologises_tells_of_an_announcement_that_was_not_understood() -> None:
    odd = turn(AGENT, 1000, 3000, "容我去库房瞧一眼")
    result = judged(odd, turn(CUSTOMER, 3500, 4000, "好的"), BACK)
    assert result["back"].truth is Truth.MET
    assert result["consent"].truth is Truth.UNSURE
    ignored = judged(odd, turn(CUSTOMER, 3500, 4000, "积分呢"), BACK)
    assert ignored["consent"].truth is Truth.NOT_APPLICABLE


def test_voice_of_the_agent_without_words_inside_a_wait_leaves_the_return_open() -> None:
    late = turn(AGENT, 30_000, 31_000, "三百元")
    voices = {AGENT: [Span(1000, 4000), Span(15_000, 17_000), Span(30_000, 31_000)], CUSTOMER: [Span(4500, 5000)]}
    assert judged(ASKED, AGREED, late, activity=voices)["back"].truth is Truth.UNSURE
    del voices[AGENT][1]
    assert judged(ASKED, AGREED, late, activity=voices)["back"].truth is Truth.VIOLATED


def test_an_unknown_speaker_never_makes_a_hold_violated() -> None:
    asked, back = turn(UNKNOWN, 1000, 2000, "请稍等"), turn(UNKNOWN, 30_000, 31_000, "三百元")
    assert judged(asked, back)["consent"].truth is Truth.UNSURE
    someone = turn(UNKNOWN, 10_000, 12_000, "三百元")
    assert (
        judged(turn(AGENT, 1000, 2000, "请稍等"), someone, turn(AGENT, 30_000, 31_000, "嗯三百元"))["back"].truth
        is Truth.UNSURE
    )


def test_a_wait_is_told_of_live_and_nudged() -> None:
    call = analyzer()
    for utterance in (ASKED, AGREED):
        call.feed(utterance)
    for role in Role:
        call.settled(role, 9000)
    assert call.now(11_900) == []
    assert {nudge.rule for nudge in call.now(12_100)} >= {"back"}
    events = [e for role in Role for e in call.settled(role, 70_000)]
    assert ("duration", FindingStatus.PROVISIONAL) in [(e.finding.rule, e.status) for e in events]


# --- overlap ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_ms", "truth"),
    [(1999, Truth.MET), (2000, Truth.VIOLATED), (4999, Truth.VIOLATED), (5000, Truth.MET)],
)
def test_an_interruption_needs_a_second_before_and_more_than_one_after(start_ms: int, truth: Truth) -> None:
    customer = turn(CUSTOMER, 1000, 6000, "我上个月买的手机坏了")
    assert judged(customer, turn(AGENT, start_ms, 7000, "您听我说"))["overlap"].truth is truth


def test_who_speaks_already_does_not_interrupt_and_back_channel_never_does() -> None:
    customer = turn(CUSTOMER, 2500, 8000, "我不要维修")
    assert (
        judged(turn(AGENT, 1000, 4000, "可以修"), customer, turn(AGENT, 4400, 6000, "免费的"))["overlap"].truth
        is Truth.MET
    )
    assert judged(customer, turn(AGENT, 4400, 4900, "嗯"))["overlap"].truth is Truth.MET


def test_vad_decides_where_it_saw_the_audio() -> None:
    customer, agent = turn(CUSTOMER, 1000, 6000, "我上个月买的手机坏了"), turn(AGENT, 3000, 5000, "您听我说")
    paused = {CUSTOMER: [Span(1000, 2500), Span(4500, 6000)], AGENT: [Span(3000, 5000)]}
    assert judged(customer, agent)["overlap"].truth is Truth.VIOLATED
    assert judged(customer, agent, activity=paused)["overlap"].truth is Truth.MET


# --- loudness and measures --------------------------------------------------------------------------------------------


def test_loudness_is_compared_with_the_speakers_own_past_only() -> None:
    usual = turn(AGENT, 0, 5000, "您好请问有什么可以帮您", level_db=-24.0)
    shout = turn(AGENT, 9000, 11_000, "我说过了", level_db=-17.0)
    assert judged(usual, shout)["loudness"].truth is Truth.VIOLATED
    loud_customer = turn(CUSTOMER, 6000, 8000, "喂喂", level_db=-3.0)
    calm = turn(AGENT, 9000, 11_000, "嗯在的", level_db=-19.0)
    assert judged(usual, loud_customer, calm)["loudness"].truth is Truth.MET
    unmeasured = turn(AGENT, 0, 5000, "您好")
    assert judged(unmeasured, shout)["loudness"].truth is Truth.NOT_APPLICABLE


def test_measures_violate_only_outside_their_range() -> None:
    long = judged(turn(AGENT, 0, 21_000, "套餐有三个部分"), turn(CUSTOMER, 25_000, 27_000, "贵"), end_ms=61_000)
    assert {name: long[name].truth for name in ("ratio", "length", "monologue", "response")} == {
        "ratio": Truth.VIOLATED,
        "length": Truth.VIOLATED,
        "monologue": Truth.VIOLATED,
        "response": Truth.NOT_APPLICABLE,
    }
    slow = judged(QUESTION, turn(AGENT, 6500, 7000, "兑换"), truncated=True)
    assert slow["response"].truth is Truth.VIOLATED
    quick = judged(QUESTION, turn(AGENT, 5500, 7000, "兑换"), truncated=True)
    assert quick["response"].truth is Truth.UNSURE
    assert quick["length"].truth is Truth.UNSURE


def test_a_rule_file_without_what_its_kind_needs_is_refused() -> None:
    whole = {"id": "x", "title": "规则", "severity": "minor", "message": "m"}
    for fields in (
        {"kind": "loudness"},
        {"kind": "monologue"},
        {"kind": "duration", "low": 9, "high": 3},
        {"kind": "hold", "aspect": "consent"},
        {"kind": "hold", "aspect": "return", "order_in": ["nowhere"]},
    ):
        with pytest.raises(RuleFaults):
            parse_rule({**whole, **fields}, Words())


# --- parity -----------------------------------------------------------------------------------------------------------

LINES = {
    AGENT: (
        "我帮您查一下，请您稍等好吗",
        "请稍等",
        "等一下",
        "还在查，请您再稍等",
        "让您久等了",
        "三百元",
        "请报号码",
        "嗯",
    ),
    CUSTOMER: ("好的", "我找一下", "积分怎么用", "没时间", "喂", "嗯"),
    SYSTEM: ("音乐",),
    UNKNOWN: ("请稍等",),
}
ROLES = (AGENT,) * 5 + (CUSTOMER,) * 5 + (SYSTEM, UNKNOWN)


@st.composite
def calls(draw: st.DrawFn) -> list[Utterance]:
    """Turns with a time per character, some of them with pauses inside, that may overlap those of other sides."""
    turns: list[Utterance] = []
    clock = dict.fromkeys(Role, 0)
    for _ in range(draw(st.integers(1, 9))):
        role = draw(st.sampled_from(ROLES))
        text = draw(st.sampled_from(LINES[role]))
        step = draw(st.sampled_from([120, 250, 650]))
        pause = draw(st.sampled_from([0, 0, 200, 350, 690]))
        latest = max(clock.values())
        start = max(clock[role], latest + draw(st.sampled_from([-2500, -400, 0, 650, 700, 2900, 7000, 10_500, 31_000])))
        times = [Span(start + i * (step + pause), start + i * (step + pause) + step) for i in range(len(text))]
        confidence, level = draw(st.sampled_from([None, None, 0.3])), draw(st.sampled_from([None, -30.0, -20.0]))
        span = Span(start, times[-1].end_ms)
        turns.append(Utterance(role, span, text, confidence, tuple(times), level_db=level))
        clock[role] = span.end_ms
    return turns


def pieces_of(utterance: Utterance, cuts: Sequence[int]) -> list[Utterance]:
    edges = sorted({0, len(utterance.text), *(cut for cut in cuts if cut < len(utterance.text))})
    times = utterance.characters or ()
    return [
        Utterance(
            utterance.role,
            Span(times[a].start_ms, times[b - 1].end_ms),
            utterance.text[a:b],
            utterance.confidence,
            times[a:b],
            level_db=utterance.level_db,
        )
        for a, b in pairwise(edges)
    ]


def verdict(judgements: Mapping[str, Judgement]) -> dict[str, Any]:
    return {
        rule: (j.truth, j.elements, j.measured, [(f.span, f.quote, f.message, f.match) for f in j.findings])
        for rule, j in judgements.items()
    }


def test_voiced_time_does_not_depend_on_where_text_was_cut() -> None:
    """Characters 350 ms apart: two pieces of one turn are voiced no longer and no shorter than the turn."""
    times = [Span(1000 + i * 600, 1250 + i * 600) for i in range(12)]
    customer = Utterance(CUSTOMER, Span(1000, times[-1].end_ms), "我上个月买的手机坏了要退", None, tuple(times))
    agent = turn(AGENT, 3000, 6000, "您听我说")
    assert verdict(judged(customer, agent)) == verdict(judged(*pieces_of(customer, [3, 7]), agent))


@given(calls(), st.integers(0, 10_000), st.lists(st.integers(1, 12), max_size=4), st.booleans())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_arrival_splits_lateness_and_clock_change_no_verdict_of_time_and_sound(
    turns: list[Utterance], seed: int, cuts: list[int], with_activity: bool
) -> None:
    end = max(t.span.end_ms for t in turns) + 5000
    schedule = random.Random(seed)
    voices = {role: [t.span for t in turns if t.role is role] for role in (AGENT, CUSTOMER)} if with_activity else {}
    expected = verdict(judged(*turns, end_ms=end, activity=voices))

    live = analyzer()
    waiting = [piece for t in turns for piece in pieces_of(t, cuts)]
    schedule.shuffle(waiting)
    spans = [(role, span) for role, known in voices.items() for span in known]
    schedule.shuffle(spans)
    for role, span in spans:
        live.activity(role, span)
    while waiting:
        live.feed(waiting.pop())
        for role in Role:
            open_from = min((p.span.start_ms for p in waiting if p.role is role), default=end)
            if schedule.random() < 0.7:
                live.settled(role, int(open_from * schedule.choice([1, 1, 0.5])))
        if schedule.random() < 0.5:
            live.now(schedule.randrange(120_000))
    assert verdict(live.finish(end).judgements) == expected
