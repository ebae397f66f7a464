"""Anchors, ``respond`` and the kinds that combine checks. Each rule is written inline and judged alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from analyzer.engine import CallAnalyzer
from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack, Pattern, Phrase, Profile, RuleFaults, WordList, Words, parse_rule
from analyzer.transcripts import read_case
from analyzer.types import Direction, Role, Span, Utterance

COMMON = {"id": "rule", "title": "规则", "status": "stable", "severity": "major", "message": "缺{missing}"}


def pack_of(fields: Mapping[str, Any], **more: Mapping[str, Any]) -> Pack:
    rules = [parse_rule({**COMMON, **fields}, Words())]
    rules += [parse_rule({**COMMON, "id": rule_id, **other}, Words()) for rule_id, other in more.items()]
    return Pack("inline", "1", "sha256:0", tuple(rules), Profile("inline"))


def judged(call: str, fields: Mapping[str, Any], *, more: Mapping[str, Any] | None = None, **facts: Any) -> Any:
    transcript = read_case(call, **{"direction": Direction.INBOUND, **facts}).transcript
    return rule_entry(analyze(transcript, pack_of(fields, **(more or {}))), "rule")


def outcome(call: str, fields: Mapping[str, Any], **facts: Any) -> str:
    return str(judged(call, fields, **facts)["outcome"])


COMPLAINT = {"speaker": "customer", "any_of": ["投诉"]}
SORRY = {"kind": "require", "elements": {"sorry": {"title": "致歉", "any_of": ["抱歉"]}}}

COMPLAINED = """
    00:01.0 坐席: 很抱歉。
    00:03.0 客户: 我要投诉。
    00:05.0 坐席: 嗯您说。
    00:07.0 客户: 太慢了。
    00:09.0 坐席: 很抱歉。
"""


@pytest.mark.parametrize(
    ("reach", "expected"),
    [
        ({"where": "after"}, "pass"),
        ({"where": "after", "within_turns": 2}, "pass"),
        ({"where": "after", "within_turns": 1}, "violation"),
        ({"where": "after", "within_ms": 3_000}, "violation"),
        ({"where": "after", "within_ms": 8_000}, "pass"),
        ({"where": "before", "within_turns": 1}, "pass"),
        ({"where": "before", "within_ms": 1_000}, "not_applicable"),
        ({"where": "around", "within_turns": 1}, "pass"),
        ({"where": "current"}, "not_applicable"),
    ],
)
def test_an_anchored_rule_looks_only_as_far_as_its_anchor_reaches(reach: Mapping[str, Any], expected: str) -> None:
    assert outcome(COMPLAINED, {**SORRY, "anchor": {"said": COMPLAINT, **reach}}) == expected


def test_without_a_hit_of_its_anchor_a_rule_is_not_applicable() -> None:
    assert outcome("坐席: 您好。", {**SORRY, "anchor": {"said": COMPLAINT}}) == "not_applicable"


@pytest.mark.parametrize(
    ("which", "expected"),
    [("each", "violation"), ("any", "pass"), (1, "pass"), (2, "violation"), (3, "not_applicable")],
)
def test_each_any_or_the_nth_hit_of_an_anchor_must_keep_the_norm(which: str | int, expected: str) -> None:
    call = """
        00:01.0 客户: 我要投诉。
        00:03.0 坐席: 很抱歉。
        00:05.0 客户: 我还要投诉。
        00:07.0 坐席: 您说。
    """
    anchor = {"said": COMPLAINT, "which": which, "within_turns": 1}
    assert outcome(call, {**SORRY, "anchor": anchor}) == expected


def test_after_an_anchor_in_the_same_utterance_only_what_follows_it_counts() -> None:
    anchor = {"said": {"any_of": ["查不到"]}, "where": "after"}
    assert outcome("坐席: 很抱歉查不到。", {**SORRY, "anchor": anchor}) == "violation"
    assert outcome("坐席: 查不到，很抱歉。", {**SORRY, "anchor": anchor}) == "pass"


def test_a_rule_may_be_anchored_at_what_another_rule_found() -> None:
    other = {"other": {"kind": "forbid", "any_of": ["不关我的事"]}}
    fields = {**SORRY, "anchor": {"rule": "other", "within_turns": 1}}
    call = "坐席: 不关我的事。\n客户: 什么？\n坐席: {}。"
    assert outcome(call.format("很抱歉"), fields, more=other) == "pass"
    assert outcome(call.format("您说"), fields, more=other) == "violation"
    assert outcome("坐席: 您好。", fields, more=other) == "not_applicable"


def test_what_an_anchored_rule_misses_was_due_at_the_first_answer() -> None:
    entry = judged(COMPLAINED, {**SORRY, "anchor": {"said": COMPLAINT, "within_turns": 1}})
    finding = entry["findings"][0]
    assert (finding["turn"], finding["quote"], finding["match"]) == (2, None, "absent")
    assert finding["start_ms"] > 3_000


def test_a_forbidden_phrase_outside_the_range_is_no_finding() -> None:
    fields = {"kind": "forbid", "any_of": ["不可能"], "anchor": {"said": COMPLAINT, "within_turns": 1}}
    assert outcome("坐席: 不可能。\n客户: 我要投诉。\n坐席: 您说。", fields) == "pass"
    entry = judged("坐席: 不可能。\n客户: 我要投诉。\n坐席: 不可能。", fields)
    assert [finding["turn"] for finding in entry["findings"]] == [2]


def test_an_unsure_anchor_makes_a_violation_unsure() -> None:
    call = "客户 (0.3): 我要投诉。\n坐席: 您说。"
    assert outcome(call, {**SORRY, "anchor": {"said": COMPLAINT}}) == "unsure"


RESPOND = {
    "kind": "respond",
    "cue": COMPLAINT,
    "elements": {"sorry": {"title": "致歉", "any_of": ["抱歉", "对不起"]}},
}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("客户: 我要投诉。\n坐席: 非常抱歉。", "pass"),
        ("客户: 我要投诉。\n坐席: 嗯。\n客户: 太慢了。\n坐席: 对不起。", "pass"),
        ("客户: 我要投诉。\n坐席: 您说。", "violation"),
        ("客户: 我要投诉。\n坐席: 您说。\n客户: 太慢了。\n坐席: 对不起。", "violation"),
        ("坐席: 对不起。\n客户: 我要投诉。\n坐席: 您说。", "violation"),
        ("坐席: 您好。\n客户: 查余额。", "not_applicable"),
        ("坐席: 您好。\n客户: 我要投诉。", "not_applicable"),
        ("客户 (0.2): 我要投诉。\n坐席: 您说。", "unsure"),
        ("客户: 我要投诉。\n坐席 (0.2): 非常抱歉。", "unsure"),
        ("客户: 我要投诉。\n未知: 非常抱歉。\n坐席: 您说。", "unsure"),
    ],
)
def test_the_owed_answer_comes_in_the_next_turn(call: str, expected: str) -> None:
    assert outcome(call, RESPOND) == expected


def test_an_answer_in_the_second_turn_is_enough_where_two_are_given() -> None:
    call = "客户: 我要投诉。\n坐席: 您说。\n客户: 太慢了。\n坐席: 对不起。"
    assert outcome(call, {**RESPOND, "within_turns": 2}) == "pass"


def test_cues_before_the_first_answer_call_for_one_answer() -> None:
    call = "客户: 我要投诉。\n坐席: 嗯。\n客户: 我真的要投诉。\n坐席: 对不起。\n客户: 我还是要投诉。\n坐席: 您说。"
    entry = judged(call, RESPOND)
    assert entry["outcome"] == "violation"
    assert [finding["turn"] for finding in entry["findings"]] == [5]
    assert outcome(call, {**RESPOND, "which": 1}) == "pass"
    assert outcome(call, {**RESPOND, "which": "any"}) == "pass"


def test_the_answer_comes_ahead_of_what_it_must_precede() -> None:
    fields = {**RESPOND, "ahead_of": ["帮您查"]}
    assert outcome("客户: 我要投诉。\n坐席: 抱歉，我帮您查。", fields) == "pass"
    assert outcome("客户: 我要投诉。\n坐席: 我帮您查，抱歉。", fields) == "violation"


def test_words_that_take_the_cue_back_call_for_nothing() -> None:
    fields = {**RESPOND, "cue": {**COMPLAINT, "unless": ["不是"], "allow": ["投诉电话"]}}
    assert outcome("客户: 我不是要投诉。\n坐席: 您说。", fields) == "not_applicable"
    assert outcome("客户: 投诉电话多少。\n坐席: 您说。", fields) == "not_applicable"


@pytest.mark.parametrize("unanswered", ["violation", "unsure", "not_applicable"])
def test_the_rule_says_what_a_missing_answer_comes_to(unanswered: str) -> None:
    fields = {**RESPOND, "unanswered": unanswered}
    assert outcome("客户: 我要投诉。\n坐席: 您说。", fields) == unanswered
    assert outcome("客户: 我要投诉。\n坐席: 抱歉。", fields) == "pass"


def test_a_cue_of_the_agent_may_be_answered_in_the_same_breath() -> None:
    fields = {**RESPOND, "cue": {"any_of": ["听不清"]}, "where": "around"}
    assert outcome("坐席: 抱歉，听不清。", fields) == "pass"
    assert outcome("坐席: 听不清。", fields) == "violation"


def test_a_call_that_is_cut_off_inside_the_range_is_unsure() -> None:
    call = "客户: 我要投诉。\n坐席: 您说。"
    assert outcome(call, RESPOND, truncated=True) == "unsure"


def test_the_agent_is_reminded_until_the_answer_is_given() -> None:
    fields = {**RESPOND, "nudge_ms": 3_000, "nudge": "请先安抚"}
    analyzer = CallAnalyzer(pack_of(fields), direction=Direction.INBOUND)
    analyzer.feed(Utterance(Role.CUSTOMER, Span(1_000, 2_000), "我要投诉"))
    for role in (Role.AGENT, Role.CUSTOMER):
        analyzer.settled(role, 3_000)
    assert analyzer.now(4_000) == []
    assert [nudge.message for nudge in analyzer.now(5_000)] == ["请先安抚"]


def test_no_reminder_once_the_answer_is_given() -> None:
    analyzer = CallAnalyzer(pack_of({**RESPOND, "nudge_ms": 3_000}), direction=Direction.INBOUND)
    analyzer.feed(Utterance(Role.CUSTOMER, Span(1_000, 2_000), "我要投诉"))
    for role in (Role.AGENT, Role.CUSTOMER):
        analyzer.settled(role, 3_000)
    analyzer.feed(Utterance(Role.AGENT, Span(3_500, 4_500), "非常抱歉"))
    assert analyzer.now(60_000) == []


# --- all, any, not ----------------------------------------------------------------------------------------------------

HELLO = {"kind": "require", "elements": {"hello": {"title": "问候", "any_of": ["您好"]}}}
NOT_APPLICABLE = {**SORRY, "anchor": {"said": COMPLAINT}}


@pytest.mark.parametrize(
    ("kind", "call", "expected"),
    [
        ("all", "坐席: 您好，抱歉。", "pass"),
        ("all", "坐席: 您好。", "violation"),
        ("any", "坐席: 您好。", "pass"),
        ("any", "坐席: 再见。", "violation"),
        ("any", "坐席: 再见。\n坐席 (0.1): 您好。", "unsure"),
    ],
)
def test_checks_combine(kind: str, call: str, expected: str) -> None:
    assert outcome(call, {"kind": kind, "members": [HELLO, SORRY]}) == expected


def test_members_that_do_not_apply_are_left_out() -> None:
    assert outcome("坐席: 您好。", {"kind": "all", "members": [HELLO, NOT_APPLICABLE]}) == "pass"
    assert outcome("坐席: 您好。", {"kind": "any", "members": [NOT_APPLICABLE]}) == "not_applicable"


def test_not_swaps_met_and_violated_and_quotes_what_was_said() -> None:
    entry = judged("坐席: 您好。", {"kind": "not", "members": [HELLO], "message": "说了{quote}"})
    assert (entry["outcome"], entry["findings"][0]["quote"]) == ("violation", "您好")
    assert outcome("坐席: 再见。", {"kind": "not", "members": [HELLO]}) == "pass"


def test_any_tells_one_absence_when_nothing_is_said() -> None:
    entry = judged("坐席: 再见。", {"kind": "any", "members": [HELLO, SORRY]})
    assert len(entry["findings"]) == 1


def test_faults_of_members_name_their_place() -> None:
    with pytest.raises(RuleFaults) as faults:
        parse_rule({**COMMON, "kind": "all", "members": [{"kind": "require", "elements": {"a": {}}}]}, Words())
    assert faults.value.faults[0].place[:2] == ("members", 0)
    with pytest.raises(RuleFaults, match="one member"):
        parse_rule({**COMMON, "kind": "not", "members": [HELLO, SORRY]}, Words())
    with pytest.raises(RuleFaults, match="of its own"):
        parse_rule({**COMMON, "kind": "all", "members": [{**HELLO, "id": "x"}]}, Words())


def test_a_rule_that_waits_for_something_said_does_not_apply_without_it() -> None:
    fields = {**SORRY, "not_applicable_when": [{"none": [{"said": COMPLAINT}]}]}
    assert outcome("坐席: 您好。", fields) == "not_applicable"
    assert outcome("客户: 我要投诉。\n坐席: 您好。", fields) == "violation"


# --- script -----------------------------------------------------------------------------------------------------------

NO_SOUND = {"kind": "script", "sentences": ["对不起，您的电话没有声音，请您换一部电话再打来"], "similarity": 70}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("对不起，您的电话没有声音，请您换一部电话再打来", "pass"),
        ("呃对不起您的那个电话没有声音，请您换一部电话再打过来好吗", "pass"),
        ("对不起您的电话没有声应请您换一步电话在打来", "pass"),
        ("您好，请问有什么可以帮您", "violation"),
        ("对不起", "violation"),
    ],
)
def test_a_sentence_like_the_model_counts_as_said(text: str, expected: str) -> None:
    assert outcome(f"坐席: {text}。", NO_SOUND) == expected


def test_what_is_measured_is_the_highest_similarity() -> None:
    exact = judged("坐席: 您好。\n坐席: 对不起，您的电话没有声音，请您换一部电话再打来。", NO_SOUND)
    assert exact["measured"]["value"] == 100


def test_a_model_sentence_may_be_said_over_two_utterances() -> None:
    call = "00:01.0-00:03.0 坐席: 对不起，您的电话没有声音。\n00:04.5-00:06.0 坐席: 请您换一部电话再打来。"
    assert judged(call, NO_SOUND)["measured"]["value"] > 95


def test_slots_stand_for_anything() -> None:
    fields = {"kind": "script", "sentences": ["您好，我是{公司}客服中心回访员，我姓{姓氏}"], "similarity": 80}
    assert outcome("坐席: 您好，我是云岭银行客服中心回访员，我姓李。", fields) == "pass"
    assert outcome("坐席: 您好，云岭银行，我姓李。", fields) == "violation"


def test_nearly_the_sentence_is_unsure_where_the_rule_says_so() -> None:
    fields = {**NO_SOUND, "similarity": 90, "unsure_from": 50}
    assert outcome("坐席: 对不起，您的电话没有声音。", fields) == "unsure"


# --- silent calls -----------------------------------------------------------------------------------------------------

SILENT = {
    "kind": "silent_call",
    "prompts": ["您好", "听得到吗", "有什么可以帮您"],
    "no_sound_in": ["no_sound"],
    "call_again_in": ["call_again"],
}


@pytest.fixture(scope="module")
def silent_words() -> Words:
    texts = {"no_sound": "没有声音", "call_again": "换一部电话"}
    return Words({name: WordList(name, name, "", "", (Phrase(Pattern(text)),)) for name, text in texts.items()})


def silent(call: str, words: Words, fields: Mapping[str, Any] | None = None, **facts: Any) -> Any:
    rule = parse_rule({**COMMON, **SILENT, **(fields or {})}, words)
    pack = Pack("inline", "1", "sha256:0", (rule,), Profile("inline"))
    transcript = read_case(call, **{"direction": Direction.INBOUND, **facts}).transcript
    return rule_entry(analyze(transcript, pack), "rule")


GREETED = "00:00.0-00:02.0 坐席: 您好，有什么可以帮您。\n"
ASKED = "00:07.0-00:08.0 坐席: 您好，听得到吗。\n"
SAID_SO = "00:13.0-00:16.0 坐席: 对不起，您的电话没有声音，请换一部电话再打来。\n"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (GREETED + ASKED + SAID_SO, "pass"),
        (GREETED + ASKED, "violation"),
        (GREETED + SAID_SO, "violation"),
        (GREETED + "00:07.0-00:13.0 坐席: 您好，对不起，您的电话没有声音，请换一部电话再打来。", "pass"),
        (GREETED + ASKED + "00:10.0 客户: 我要查余额。", "not_applicable"),
        (GREETED + "00:03.0 坐席: 余额三百元。", "not_applicable"),
        (GREETED + ASKED + "00:10.0 未知: 啊？", "unsure"),
    ],
)
def test_a_silent_call_is_greeted_asked_again_and_ended_by_the_script(
    call: str, expected: str, silent_words: Words
) -> None:
    assert silent(call, silent_words)["outcome"] == expected


def test_a_shorter_wait_than_the_norm_breaks_it(silent_words: Words) -> None:
    whole = GREETED + ASKED + SAID_SO
    assert silent(whole, silent_words, {"wait_ms": 5_000})["outcome"] == "pass"
    entry = silent(whole, silent_words, {"wait_ms": 5_001})
    assert (entry["outcome"], entry["findings"][0]["category"], entry["measured"]["value"]) == (
        "violation",
        "wait",
        5_000,
    )
    assert silent(whole, silent_words, {"final_wait_ms": 3_000}, duration_ms=18_000)["outcome"] == "violation"
    assert silent(whole, silent_words, {"final_wait_ms": 3_000}, duration_ms=19_000)["outcome"] == "pass"


def test_a_greeting_and_a_long_silence_is_a_silent_call(silent_words: Words) -> None:
    assert silent(GREETED, silent_words, duration_ms=30_000)["outcome"] == "violation"
    assert silent(GREETED, silent_words, duration_ms=5_000)["outcome"] == "not_applicable"


def test_nothing_more_is_owed_to_a_caller_who_hung_up(silent_words: Words) -> None:
    facts = {"metadata": {"hung_up_by": "customer"}}
    assert silent(GREETED + ASKED, silent_words, **facts)["outcome"] == "not_applicable"


def test_the_agent_is_told_the_next_step_of_a_silent_call(silent_words: Words) -> None:
    rule = parse_rule({**COMMON, **SILENT}, silent_words)
    analyzer = CallAnalyzer(Pack("inline", "1", "sha256:0", (rule,), Profile("inline")))
    analyzer.feed(Utterance(Role.AGENT, Span(0, 2_000), "您好有什么可以帮您"))
    for role in (Role.AGENT, Role.CUSTOMER):
        analyzer.settled(role, 3_000)
    assert analyzer.now(3_000) == []
    assert [nudge.element for nudge in analyzer.now(4_000)] == ["repeat"]
