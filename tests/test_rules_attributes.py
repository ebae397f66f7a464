"""What ``metadata`` rules say of call attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from analyzer.engine import CallAnalyzer
from analyzer.rules import Judgement, Pack, Profile, RuleFaults, Truth, Words, parse_rule
from analyzer.types import Direction, Role, Span, Utterance

RINGS = {"attributes": {"ring_count": {"at_most": 3, "unit": "声"}, "ring_ms": {"at_most": 15_000, "unit": "毫秒"}}}
NOT_AGENT = {"attributes": {"hung_up_by": {"none_of": ["agent"]}}, "at_end": True}
QUIET = {"attributes": {"quiet_end_ms": {"at_least": 3000, "unit": "毫秒"}}}


def judged(
    fields: Mapping[str, Any], metadata: Mapping[str, Any], *, end_ms: int = 9000, truncated: bool = False
) -> Judgement:
    """One agent sentence from 1 to 5 s, and then nothing more."""
    whole = {
        "id": "rule",
        "title": "规则",
        "severity": "minor",
        "kind": "metadata",
        "message": "实际{value}，应不高于{high}",
    }
    rule = parse_rule({**whole, "status": "stable", **fields}, Words())
    pack = Pack("test", "1", "", (rule,), Profile("standard"))
    analyzer = CallAnalyzer(pack, direction=Direction.INBOUND, metadata=metadata)
    analyzer.feed(Utterance(Role.AGENT, Span(1000, 5000), "感谢您的来电，再见。"))
    return analyzer.finish(end_ms, truncated=truncated).judgements["rule"]


@pytest.mark.parametrize(
    ("metadata", "truth"),
    [
        ({"ring_count": 3}, Truth.MET),
        ({"ring_count": 4}, Truth.VIOLATED),
        ({"ring_ms": 15_000}, Truth.MET),
        ({"ring_ms": 15_001}, Truth.VIOLATED),
        ({"ring_count": 2, "ring_ms": 30_000}, Truth.MET),
        ({"ring_count": 4, "ring_ms": 1000}, Truth.VIOLATED),
        ({}, Truth.NOT_APPLICABLE),
        ({"ring_count": None}, Truth.NOT_APPLICABLE),
        ({"ring_count": "四"}, Truth.UNSURE),
        ({"ring_count": True}, Truth.UNSURE),
    ],
)
def test_the_first_known_attribute_decides(metadata: Mapping[str, Any], truth: Truth) -> None:
    assert judged(RINGS, metadata).truth is truth


def test_an_unknown_attribute_goes_to_a_human_where_the_rule_asks_for_it() -> None:
    assert judged({**RINGS, "when_unknown": "unsure"}, {}).truth is Truth.UNSURE


def test_a_breach_states_the_value_and_the_bound_and_spans_the_call() -> None:
    judgement = judged(RINGS, {"ring_count": 4})
    assert judgement.measured == {"value": 4, "unit": "声", "low": None, "high": 3}
    (finding,) = judgement.findings
    assert (finding.message, finding.span, finding.turn, finding.quote) == (
        "实际4，应不高于3",
        Span(0, 9000),
        None,
        None,
    )


def test_a_breach_at_the_end_points_at_the_agents_last_words() -> None:
    (finding,) = judged(NOT_AGENT, {"hung_up_by": "agent"}).findings
    assert finding.span == Span(5000, 9000)
    assert finding.turn is not None
    assert finding.turn.text == "感谢您的来电，再见。"


@pytest.mark.parametrize(("who", "truth"), [("agent", Truth.VIOLATED), ("customer", Truth.MET), ("system", Truth.MET)])
def test_a_value_may_be_excluded(who: str, truth: Truth) -> None:
    judgement = judged(NOT_AGENT, {"hung_up_by": who})
    assert judgement.truth is truth
    assert judgement.measured is None


def test_a_value_may_have_to_be_one_of_several() -> None:
    wanted = {"attributes": {"queue": {"one_of": ["vip", "gold"]}}}
    assert judged(wanted, {"queue": "gold"}).truth is Truth.MET
    assert judged(wanted, {"queue": "tin"}).truth is Truth.VIOLATED


@pytest.mark.parametrize(("end_ms", "truth"), [(8000, Truth.MET), (7999, Truth.VIOLATED)])
def test_the_quiet_end_of_a_call_is_measured_from_the_last_word(end_ms: int, truth: Truth) -> None:
    assert judged(QUIET, {}, end_ms=end_ms).truth is truth


def test_the_end_of_a_truncated_recording_is_not_the_end_of_the_call() -> None:
    assert judged({**QUIET, "when_unknown": "unsure"}, {}, truncated=True).truth is Truth.UNSURE


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"ring_count": {"unit": "声"}}, "needs at_least, at_most, one_of or none_of"),
        ({"ring_count": {"at_least": 4, "at_most": 3}}, "at_least 4 is more than at_most 3"),
        ({"ring_count": {"atmost": 3}}, "unknown key 'atmost'; did you mean 'at_most'"),
    ],
)
def test_an_attribute_that_wants_nothing_sensible_is_a_fault(attributes: Any, complaint: str) -> None:
    with pytest.raises(RuleFaults, match=complaint):
        judged({"attributes": attributes}, {})
