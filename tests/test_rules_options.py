"""Options of rule files that the packs at hand do not all use. Each rule is written inline and judged alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack, Profile, RuleFaults, Words, parse_rule
from analyzer.transcripts import read_case
from analyzer.types import Direction

COMMON = {
    "id": "rule",
    "title": "规则",
    "status": "stable",
    "severity": "major",
    "message": "{element}{missing}{value}",
}


def judged(call: str, fields: Mapping[str, Any], **facts: Any) -> Mapping[str, Any]:
    pack = Pack("inline", "1", "sha256:0", (parse_rule({**COMMON, **fields}, Words()),), Profile("inline"))
    facts = {"direction": Direction.INBOUND, **facts}
    return rule_entry(analyze(read_case(call, **facts).transcript, pack), "rule")


def outcome(call: str, fields: Mapping[str, Any], **facts: Any) -> str:
    return str(judged(call, fields, **facts)["outcome"])


def line(at: str, text: str = "不行", role: str = "坐席") -> str:
    return f"00:{at}.0-00:{at}.4 {role}: {text}"


FORBID = {"kind": "forbid", "any_of": ["不行"]}


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ({"first_ms": 10_000}, "09", "10"),
        ({"last_ms": 10_000}, "50", "49"),
        ({"from_ms": 20_000, "to_ms": 30_000}, "20", "30"),
        ({"from_percent": 50, "to_percent": 75}, "30", "29"),
        ({"to_percent": 50}, "29", "30"),
    ],
)
def test_a_window_of_time_holds_hits_whose_midpoint_lies_inside(
    window: Mapping[str, Any], inside: str, outside: str
) -> None:
    fields = {**FORBID, "window": window}
    assert outcome(line(inside), fields, duration_ms=60_000) == "violation"
    assert outcome(line(outside), fields, duration_ms=60_000) == "pass"


@pytest.mark.parametrize(
    ("speaker", "role", "expected"),
    [
        ("customer", "客户", "violation"),
        ("customer", "坐席", "not_applicable"),
        ("any", "客户", "violation"),
        ("any", "系统", "not_applicable"),
    ],
)
def test_a_rule_may_look_at_another_speaker(speaker: str, role: str, expected: str) -> None:
    assert outcome(line("01", role=role), {**FORBID, "speaker": speaker}) == expected


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("00:03.0-00:04.0 坐席: 我问谁啊。", ["你问我我问谁"]),
        ("00:02.3-00:02.5 客户: 什么？\n00:03.0-00:04.0 坐席: 我问谁啊。", []),  # the other took the turn
        ("00:04.1-00:05.0 坐席: 我问谁啊。", []),  # too long a break
        ("00:03.0-00:04.0 客户: 我问谁啊。", []),
    ],
)
def test_a_phrase_may_span_two_utterances_of_one_speaker(second: str, expected: list[str]) -> None:
    rule = judged(f"00:01.0-00:02.0 坐席: 你问我\n{second}", {"kind": "forbid", "any_of": ["你问我我问谁"]})
    assert [finding["quote"] for finding in rule["findings"]] == expected
    assert [span["turn"] for finding in rule["findings"] for span in finding["spans"]] == [0, 1] * len(expected)


def test_what_one_utterance_holds_alone_is_found_once() -> None:
    fields = {"kind": "forbid", "any_of": ["不归我管", "我管"]}
    rule = judged("00:01.0-00:02.0 坐席: 这不归\n00:03.0-00:04.0 坐席: 我管。", fields)
    assert [finding["quote"] for finding in rule["findings"]] == ["我管"]


def test_a_rule_of_one_direction_does_not_apply_to_the_other_and_is_unsure_of_an_unknown_one() -> None:
    fields = {**FORBID, "directions": ["outbound"]}
    outcomes = [outcome(line("01"), fields, direction=direction) for direction in Direction]
    assert outcomes == ["not_applicable", "violation", "unsure"]


@pytest.mark.parametrize(
    ("exemption", "excused", "kept"),
    [
        ({"after": ["的话"]}, "不行的话", "不行，您的话我听了"),
        ({"after": ["的话"], "after_not": ["的话筒"]}, "不行的话", "不行的话筒"),
        ({"before": ["如果"], "after": ["的话"], "need": "all"}, "如果不行的话", "如果不行"),
        ({"utterance": ["帮您"]}, "不行，我帮您", "不行，您帮他"),
    ],
)
def test_exemptions_frame_a_hit(exemption: Mapping[str, Any], excused: str, kept: str) -> None:
    fields = {**FORBID, "exemptions": {"own": {"every": True, **exemption}}}
    assert outcome(line("01", excused), fields) == "pass"
    assert outcome(line("01", kept), fields) == "violation"


@pytest.mark.parametrize(
    ("condition", "met", "unmet"),
    [
        ({"metadata": {"ended_by": ["dropped", "transfer"]}}, {"ended_by": "transfer"}, {"ended_by": "agent"}),
        ({"any": [{"metadata": {"a": 1}}, {"metadata": {"b": 1}}]}, {"b": 1}, {}),
        ({"all": [{"metadata": {"a": 1}}, {"metadata": {"b": 1}}]}, {"a": 1, "b": 1}, {"a": 1}),
        ({"all": [{"metadata": {"a": 1}}, {"said": {"any_of": ["不行"]}}]}, {"a": 1}, {"a": 2}),
    ],
)
def test_conditions_combine(condition: Mapping[str, Any], met: Mapping[str, Any], unmet: Mapping[str, Any]) -> None:
    fields = {**FORBID, "not_applicable_when": [condition]}
    assert outcome(line("01"), fields, metadata=met) == "not_applicable"
    assert outcome(line("01"), fields, metadata=unmet) == "violation"


def test_a_condition_that_may_hold_leaves_the_rule_unsure() -> None:
    fields = {**FORBID, "not_applicable_when": [{"said": {"speaker": "customer", "any_of": ["混蛋"]}}]}
    assert outcome(f"{line('01')}\n{line('05', '混蛋', '未知')}", fields) == "unsure"
    assert outcome(f"{line('01')}\n{line('05', '混蛋', '客户 (0.2)')}", fields) == "unsure"


# --- require ----------------------------------------------------------------------------------------------------------

REQUIRE = {
    "kind": "require",
    "elements": {"one": {"title": "一", "any_of": ["您好"]}, "two": {"title": "二", "any_of": ["再见"]}},
}


def test_without_levels_every_element_is_owed() -> None:
    assert judged(line("01", "您好，再见"), REQUIRE)["level"] == "pass"
    entry = judged(line("01", "您好"), REQUIRE)
    assert (entry["level"], entry["findings"][0]["message"]) == ("fail", "二二")


def test_order_makes_a_pass_of_the_wrong_order_partial() -> None:
    assert judged(line("01", "再见，您好"), {**REQUIRE, "order": True})["level"] == "partial"
    assert judged(line("01", "再见，您好，再见"), {**REQUIRE, "order": True})["level"] == "pass"
    assert judged(line("01", "再见，您好"), {**REQUIRE, "order": True})["findings"][0]["message"] == "顺序顺序"


def test_after_the_deadline_is_too_late() -> None:
    call = f"{line('01', '您好')}\n{line('09', '再见')}"
    assert judged(call, {**REQUIRE, "within_ms": 10_000})["level"] == "pass"
    entry = judged(call, {**REQUIRE, "within_ms": 9_000})
    assert entry["level"] == "fail"
    assert entry["findings"][0]["end_ms"] == 9_000


def test_something_said_may_be_an_attribute_of_the_call() -> None:
    fields = {"kind": "require", "elements": {"id": {"title": "工号", "metadata": "agent_id"}}}
    assert outcome(line("01", "工号3017"), fields, metadata={"agent_id": "3017"}) == "pass"
    assert outcome(line("01", "工号3018"), fields, metadata={"agent_id": "3017"}) == "violation"
    assert outcome(line("01", "工号"), fields, metadata={"agent_id": "---"}) == "violation"


def test_an_opening_of_which_the_recording_misses_the_start_is_unsure() -> None:
    from dataclasses import replace

    fields = {**REQUIRE, "window": {"first_turns": 1}}
    pack = Pack("inline", "1", "sha256:0", (parse_rule({**COMMON, **fields}, Words()),), Profile("inline"))
    late = replace(read_case(line("01", "您好")).transcript, recording_offset_ms=3000)
    assert rule_entry(analyze(late, pack), "rule")["outcome"] == "unsure"


# --- quota and rate ---------------------------------------------------------------------------------------------------


def test_too_many_uses_are_findings_each() -> None:
    entry = judged(line("01", "不行，好，不行"), {"kind": "quota", "any_of": ["不行"], "max": 1})
    assert entry["outcome"] == "violation"
    assert [finding["quote"] for finding in entry["findings"]] == ["不行", "不行"]
    assert outcome(line("01"), {"kind": "quota", "any_of": ["不行"], "max": 1}) == "pass"
    assert outcome(line("01"), {"kind": "quota", "any_of": ["不行"], "max": 1}, truncated=True) == "unsure"


@pytest.mark.parametrize(("per", "value"), [("call", 2), ("minute", 4), ("utterance", 1)])
def test_uses_are_counted_per_call_minute_or_utterance(per: str, value: float) -> None:
    fields = {"kind": "quota", "any_of": ["不行"], "per": per, "min": 1}
    assert judged(f"{line('01')}\n{line('10')}", fields, duration_ms=30_000)["measured"]["value"] == value


@pytest.mark.parametrize(("denominator", "value"), [("turn", 300), ("articulation", 300), ("gross", 60)])
def test_a_rate_has_three_denominators(denominator: str, value: int) -> None:
    fields = {
        "kind": "rate",
        "denominator": denominator,
        "low": 1,
        "high": 999,
        "min_syllables": 5,
        "min_speech_ms": 1000,
    }
    call = "00:01.0-00:03.0 坐席: 一二三四五天地玄黄好"
    assert judged(call, fields, duration_ms=10_000)["measured"]["value"] == value


def test_a_rate_of_poorly_recognised_or_unattributed_speech_is_unsure() -> None:
    fields = {"kind": "rate", "target": 120, "min_syllables": 5, "min_speech_ms": 1000}
    assert outcome("00:01.0-00:03.0 坐席 (0.2): 天地玄黄宇宙洪荒", fields) == "unsure"
    assert outcome("00:01.0-00:03.0 未知: 天地玄黄宇宙洪荒", fields) == "unsure"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "key 'kind' is missing"),
        ({"kind": "forbid"}, "needs any_of or any_in"),
        ({"kind": "require"}, "needs elements"),
        ({"kind": "require", "elements": {"a": {"title": "x"}}}, "needs any_of, any_in or metadata"),
        ({**FORBID, "not_applicable_when": [{"said": {}}]}, "'said' needs"),
        ({**FORBID, "not_applicable_when": [{"all": [], "any": []}]}, "exactly one of"),
        ({**FORBID, "not_applicable_when": [{"in_order": [{"metadata": {}}]}]}, "takes 'said' conditions only"),
        ({**FORBID, "exemptions": {"a": {"next_within_ms": 5}}}, "needs utterance"),
    ],
)
def test_a_rule_that_cannot_work_says_why(fields: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(RuleFaults, match=problem):
        parse_rule({**COMMON, **fields}, Words())
