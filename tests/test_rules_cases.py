"""Every case of every rule of the packs holds."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from analyzer.cases import run_case
from analyzer.catalog import STANDARD, open_pack
from analyzer.rules import Pack, Rule
from analyzer.rules.spec import CaseSpec

SMALL = str(Path(__file__).parent / "pack")
ROOT = Path(__file__).parent.parent


@cache
def pack_of(name: str) -> Pack:
    opened = open_pack(name)
    opened.check()
    return opened.whole


def all_cases() -> list[object]:
    packs = [SMALL, *([STANDARD] if (ROOT / "lexicons" / "pack.yaml").exists() else [])]
    return [
        pytest.param(name, rule, case, id=f"{Path(name).name}-{rule.id}-{case.name}")
        for name in packs
        for rule in pack_of(name).rules
        for case in rule.cases
    ]


@pytest.mark.parametrize(("pack", "rule", "case"), all_cases())
def test_the_rule_says_of_its_case_what_the_case_states(pack: str, rule: Rule, case: CaseSpec) -> None:
    assert run_case(pack_of(pack), rule, case) == []


def test_a_case_that_states_something_else_is_reported() -> None:
    rule = pack_of(SMALL).rule("banned_phrase")
    wrong = CaseSpec(name="wrong", call="00:01.0 坐席: [[您好]]，不关我的事。", expect={"categories": ["直呼"]})
    complaints = run_case(pack_of(SMALL), rule, wrong)
    assert complaints == [
        "not found: turn 0, '您好'",
        "found though not marked: turn 0, '不关我的事'",
        "category: ['推诿'], not ['直呼']",
    ]
