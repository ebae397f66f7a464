"""The profiles of two handbooks judge one and the same call differently, each by its own clauses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest

from analyzer.catalog import load_pack
from analyzer.report import analyze
from analyzer.rules import Pack
from analyzer.transcripts import read_case
from analyzer.types import Direction

PROFILES = ("standard", "handbook_s", "handbook_l")

ANSWERED_AT_THE_THIRD_RING = """
    00:00.5 坐席: 您好，很高兴为您服务，请说。
    00:04.0 客户: 查一下余额，我姓王。
    00:07.0 坐席: 王先生，余额三百元，请问还需要其它帮助吗？
    00:12.0 客户: 没有了。
    00:14.0 坐席: 感谢您的来电，请您先挂机，再见。
"""


@cache
def pack(profile: str) -> Pack:
    return load_pack(profile=profile)


def judged(profile: str, call: str, **metadata: Any) -> dict[str, Mapping[str, Any]]:
    transcript = read_case(call, direction=Direction.INBOUND, metadata=metadata).transcript
    return {entry["rule"]: entry for entry in analyze(transcript, pack(profile))["rules"]}


@pytest.mark.parametrize(
    ("rule", "outcomes"),
    [
        ("ring_count", ("pass", "violation", "pass")),
        ("opening", ("violation", "violation", "pass")),
        ("closing", ("pass", "pass", "pass")),
        ("hang_up_request", (None, "pass", None)),
    ],
)
def test_one_call_by_three_handbooks(rule: str, outcomes: tuple[str | None, ...]) -> None:
    entries = [judged(profile, ANSWERED_AT_THE_THIRD_RING, ring_count=3).get(rule) for profile in PROFILES]
    assert tuple(entry and entry["outcome"] for entry in entries) == outcomes


def test_a_closing_of_thanks_and_farewell_is_whole_where_the_handbook_asks_no_more() -> None:
    call = "00:00.5 坐席: 感谢您的来电，再见。"
    levels = [judged(profile, call)["closing"]["level"] for profile in PROFILES]
    assert levels == ["partial", "pass", "pass"]


def test_a_request_to_hang_up_first_counts_in_one_handbook_and_a_survey_in_the_other() -> None:
    call = "00:00.5 坐席: 感谢您的来电，再见。"
    points = [
        {
            rule: entry["points"]
            for rule, entry in judged(profile, call).items()
            if rule in ("hang_up_request", "survey_request")
        }
        for profile in PROFILES
    ]
    assert points == [{}, {"hang_up_request": -5}, {"survey_request": -5}]


def test_a_handbook_may_make_hanging_up_critical() -> None:
    severities = [
        judged(profile, "00:00.5 坐席: 再见。", hung_up_by="agent")["hang_up_order"]["severity"] for profile in PROFILES
    ]
    assert severities == ["major", "critical", "major"]


SILENT = """
    00:00.5-00:04.0 坐席: 您好，云岭银行，请问有什么可以帮您？
    00:08.0-00:10.0 坐席: 您好，请问有什么可以帮您？
    00:14.0-00:20.0 坐席: 对不起，您的电话没有声音，请您换一部电话再次打来，再见。
"""


@pytest.mark.parametrize(
    ("profile", "outcome"), [("standard", "pass"), ("handbook_a", "pass"), ("handbook_s", "violation")]
)
def test_four_seconds_between_prompts_are_enough_for_three_and_too_short_for_five(profile: str, outcome: str) -> None:
    assert judged(profile, SILENT, hung_up_by="agent")["silent_call"]["outcome"] == outcome


def test_a_blessing_is_owed_where_the_handbook_closes_with_one() -> None:
    assert judged("handbook_a", "00:00.5 坐席: 感谢您的来电，再见。")["closing"]["level"] == "partial"
    assert judged("handbook_a", "00:00.5 坐席: 感谢您的来电，祝您生意兴隆，再见。")["closing"]["level"] == "pass"
