"""Every forbidden phrase of the written standards and its common variants is found; every lookalike is left alone.

``data/banned_phrases.json`` lists them by their number in the standards' inventory. A bare 等一下 is not among them:
how to ask for a wait is the business of the hold rules.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from analyzer.catalog import load_pack
from analyzer.report import analyze
from analyzer.rules import Pack
from analyzer.types import Direction, Role, Span, Transcript, Utterance

PHRASES = json.loads((Path(__file__).parent / "data" / "banned_phrases.json").read_text(encoding="utf-8"))
BEYOND_THE_LIST = (
    ("你这个人怎么这样啊", "责问训斥反问"),
    ("那我也没办法呀", "推诿"),
    ("我刚才不都跟你讲了吗", "责问训斥反问"),
    ("这不是我该管的", "推诿"),
    ("爱投诉投诉去", "傲慢厌烦"),
    ("你自己不会看吗", "责问训斥反问"),
    ("都说了多少遍了", "责问训斥反问"),
    ("你去告啊", "傲慢厌烦"),
    ("你先别说话", "命令"),
    ("我们只管接电话", "推诿"),
    ("再这样我就挂了", "其他禁语"),
    ("你找谁", "其他禁语"),
)
INNOCENT = (
    "您的申请已经提交，请您放心",
    "我不知道您是否方便接听",
    "这个我不清楚，我马上帮您核实一下",
    "没办法直接修改，不过我可以帮您登记",
    "您看这样行不行",
    "请您不要着急，我会尽力帮您解决",
    "有没有不清楚的地方",
    "请您大声一点，好吗",
    "您刚才说不关您的事，是吗",
    "也就是说，您需要先到柜台办理",
    "您说，我在听",
    "请稍等一下",
)


@cache
def standard() -> Pack:
    return load_pack("standard")


def findings(text: str, role: Role = Role.AGENT) -> list[dict[str, Any]]:
    utterances = (
        Utterance(Role.CUSTOMER, Span(0, 2000), "我想问一下这个怎么办理"),
        Utterance(role, Span(3000, 3000 + 250 * len(text)), text),
    )
    report = analyze(Transcript("call", utterances, Direction.INBOUND, 60_000), standard())
    (rule,) = (rule for rule in report["rules"] if rule["rule"] == "banned_phrase")
    found: list[dict[str, Any]] = rule["findings"]
    return found


@pytest.mark.parametrize("entry", PHRASES, ids=lambda entry: entry["id"])
def test_a_forbidden_phrase_and_its_variants_are_found(entry: dict[str, Any]) -> None:
    assert [text for text in entry["fires"] if not findings(text)] == []


@pytest.mark.parametrize("entry", PHRASES, ids=lambda entry: entry["id"])
def test_lookalikes_of_a_forbidden_phrase_are_left_alone(entry: dict[str, Any]) -> None:
    assert [text for text in entry["silent"] if findings(text)] == []


@pytest.mark.parametrize(("text", "category"), BEYOND_THE_LIST)
def test_what_is_said_like_a_forbidden_phrase_is_found_too(text: str, category: str) -> None:
    assert [finding["category"] for finding in findings(text)] == [category]


@pytest.mark.parametrize("text", INNOCENT)
def test_innocent_sentences_with_the_same_characters_are_left_alone(text: str) -> None:
    assert findings(text) == []


def test_a_customer_may_say_anything() -> None:
    assert findings("不关我的事，你们爱怎么样怎么样", Role.CUSTOMER) == []
