"""What would have had to be otherwise: one sentence per way of judging."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer.review.would_pass import would_pass_if

LEVELS = {
    "core": ["greeting", "company", "offer_help"],
    "others": ["agent_id", "glad_to_serve"],
    "pass": {"core": None, "supporting": 1, "elements": 0},
}
TITLES = {
    "greeting": "问候", "company": "公司名", "offer_help": "主动询问", "agent_id": "工号", "glad_to_serve": "乐意服务",
}  # fmt: skip


def finding(**fields: Any) -> dict[str, Any]:
    blank = {"outcome": "violation", "match": "absent", "category": None, "quote": None, "start_ms": 0, "end_ms": 9_000}
    return {**blank, "suggestion": None, **fields}


def opening(*said: str) -> dict[str, Any]:
    return {"level": "partial", "elements": {name: {"present": name in said} for name in TITLES}}


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        (("greeting", "offer_help", "agent_id"), "如果还说到“公司名”，则通过"),
        (("greeting", "company", "offer_help"), "如果还说到“工号”、“乐意服务”中的任一项，则通过"),
        (("greeting",), "如果还说到“公司名”、“主动询问”，并且说到“工号”、“乐意服务”中的任一项，则通过"),
    ],
)
def test_of_a_levelled_rule_only_what_lacks_to_a_pass_is_named(said: tuple[str, ...], wanted: str) -> None:
    assert would_pass_if(finding(), opening(*said), levels=LEVELS, titles=TITLES) == wanted


def test_a_level_that_counts_all_elements_does_not_ask_for_one_twice() -> None:
    levels = {**LEVELS, "pass": {"core": 1, "supporting": 0, "elements": 2}}
    assert would_pass_if(finding(), opening("agent_id"), levels=levels, titles=TITLES) == (
        "如果还说到“问候”、“公司名”、“主动询问”中的任一项，则通过"
    )


def test_without_the_pack_the_findings_own_element_is_named() -> None:
    assert (
        would_pass_if(finding(category="company"), opening("greeting"), titles=TITLES) == "如果还说到“公司名”，则通过"
    )
    assert would_pass_if(finding(category="company"), opening("greeting")) == "如果还说到“company”，则通过"


def test_a_rate_outside_both_bands_names_both() -> None:
    bands = [
        {"name": "absolute", "low": 96, "high": 144, "inside": False},
        {"name": "customer", "low": 156, "high": 234, "inside": False},
    ]
    measured = {"value": 252, "unit": "字/分钟", "low": 96, "high": 144, "bands": bands}
    assert would_pass_if(finding(), {"measured": measured}) == (
        "如果在 96–144 字/分钟，或在 156–234 字/分钟（与客户语速相称）（实测 252 字/分钟），则通过"
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "wanted"),
    [
        (12.7, None, 10, "秒", "如果不超过 10 秒（实测 12.7 秒，超出 2.7 秒），则通过"),
        (840, 2000, None, "毫秒", "如果不低于 2 秒（实测 0.84 秒，还差 1.16 秒），则通过"),
        (1, None, 0, "次", "如果一次也没有（实测 1 次），则通过"),
        (2, 3, None, "次", "如果不低于 3 次（实测 2 次，还差 1 次），则通过"),
        (0.2, 0.5, None, "", "如果不低于 0.5（实测 0.2，还差 0.3），则通过"),
    ],
)
def test_a_measured_value_is_set_against_its_limit(
    value: float, low: float | None, high: float | None, unit: str, wanted: str
) -> None:
    measured = {"value": value, "unit": unit, "low": low, "high": high}
    assert would_pass_if(finding(), {"measured": measured}) == wanted


def test_a_measure_inside_its_limits_is_not_what_failed() -> None:
    measured = {"value": 12.7, "unit": "秒", "low": None, "high": None}
    said = would_pass_if(finding(suggestion="很抱歉，让您久等了。"), {"measured": measured})
    assert said == "如果在 00:00.0–00:09.0 之间说了类似“很抱歉，让您久等了”的话，则通过"


def test_words_that_were_said_should_not_have_been() -> None:
    said = finding(match="exact", quote="我不知道")
    assert would_pass_if(said, None) == "如果没有说“我不知道”，则通过"
    assert would_pass_if(said, None, others=2) == "如果没有说“我不知道”，另外 2 处也没有，则通过"
    heard = finding(match="homophone", quote="不关我的是")
    assert would_pass_if(heard, None) == "如果说的不是“不关我的是”而是同音的别的话，则通过"


def test_what_cannot_be_judged_has_to_be_made_sure_of() -> None:
    assert would_pass_if(finding(outcome="unsure", match="exact", quote="喂"), None) == "如果能确认没有说“喂”，则通过"


def test_where_nothing_exact_can_be_said_nothing_is() -> None:
    assert would_pass_if(finding(), None) is None
    assert would_pass_if(finding(outcome="pass", match="exact", quote="喂"), None) is None
