"""Rules that hear only what may concern them say the same as if they heard everything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from analyzer.report import analyze, dump
from analyzer.rules import Pattern, Said
from analyzer.rules.listeners import Listeners
from analyzer.transcripts import read_call
from analyzer.types import Transcript
from tests.parity_material import pack

CALLS = Path(__file__).parent.parent / "bench" / "data" / "rules" / "calls_tuning.jsonl"


def some_calls() -> list[Transcript]:
    lines = CALLS.read_text(encoding="utf-8").splitlines()[::8]
    fields = (json.loads(line) for line in lines)
    return [read_call({key: value for key, value in call.items() if key != "expected"}, CALLS.name) for call in fields]


def test_a_rule_misses_nothing_in_what_it_need_not_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = some_calls()
    sparing = [dump(analyze(call, pack())) for call in calls]

    def everyone(listeners: Listeners, said: Said, before: Said | None) -> Iterable[str]:
        return [rule.id for rule in pack().rules]

    monkeypatch.setattr(Listeners, "concerned", everyone)
    assert [dump(analyze(call, pack())) for call in calls] == sparing


def test_rules_that_are_decided_at_the_end_hear_nothing() -> None:
    deaf = {rule.kind for rule in pack().rules if rule.check.listens_for == ()}
    assert {"turn", "entity", "echo", "address", "metadata", "repeat"} <= deaf


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("不关我事", (("不关我事",),)),
        ("不…了", (("不",), ("了",))),
        ("(您|你)好吗?再说", (("再说",), ("您好", "你好"))),
        ("查[一下]$说", (("查一说", "查下说"),)),  # 吧 and 了 may stand at the anchor, so that only one is certain
    ],
)
def test_a_pattern_tells_all_the_literals_it_needs(source: str, needs: tuple[tuple[str, ...], ...]) -> None:
    assert Pattern(source).needs == needs
