"""Score and verdict."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from analyzer.catalog import load_pack
from analyzer.rules import Finding, Judgement, Pack, Profile, Status, Truth, Weight
from analyzer.rules.truth import every, negation, some
from analyzer.scoring import score_call
from analyzer.types import Match, Severity, Span, Verdict

MET, VIOLATED, UNSURE, NONE = Truth.MET, Truth.VIOLATED, Truth.UNSURE, Truth.NOT_APPLICABLE
POINTS = {"opening": 20.0, "closing": 20.0, "banned_phrase": 40.0, "polite_quota": 15.0, "speech_rate": 5.0}


@cache
def pack() -> Pack:
    return load_pack(Path(__file__).parent / "pack")


def hit(severity: Severity) -> Finding:
    return Finding("banned_phrase", severity, Span(0, 1), Match.EXACT, "…")


def score(
    truths: dict[str, Truth | Judgement], weights: dict[str, Weight] | None = None
) -> tuple[float | None, Verdict]:
    weights = {**pack().profile.weights, **(weights or {})}
    weighed = replace(pack(), profile=replace(pack().profile, weights=weights))
    judgements = {rule.id: truths.get(rule.id, MET) for rule in weighed.rules}
    card = score_call({k: j if isinstance(j, Judgement) else Judgement(j) for k, j in judgements.items()}, weighed)
    return card.score, card.verdict


def test_everything_kept_is_a_hundred() -> None:
    assert score({}) == (100, Verdict.PASS)


def test_a_violation_loses_its_deduction_of_what_was_judged() -> None:
    assert score({"speech_rate": VIOLATED}) == (95, Verdict.PASS)
    assert score({"opening": VIOLATED}) == (80, Verdict.FAIL)


def test_partial_earns_half() -> None:
    assert score({"opening": Judgement(VIOLATED, level="partial")}) == (90, Verdict.PASS)


def test_unsure_and_not_applicable_leave_the_denominator() -> None:
    assert score({"opening": NONE, "speech_rate": VIOLATED}) == (pytest.approx(93.8), Verdict.PASS)
    assert score({"polite_quota": UNSURE}) == (100, Verdict.PASS)


def test_deductions_per_hit_add_up_to_the_cap() -> None:
    hits = (hit(Severity.MAJOR), hit(Severity.MINOR))
    assert score({"banned_phrase": Judgement(VIOLATED, hits)})[0] == 86
    assert score({"banned_phrase": Judgement(VIOLATED, hits * 5)})[0] == 60
    capped = {"banned_phrase": Weight(40, {Severity.MAJOR: 10, Severity.MINOR: 4}, per_hit=True, cap=12)}
    assert score({"banned_phrase": Judgement(VIOLATED, hits)}, capped)[0] == 88


def test_per_call_only_the_gravest_hit_counts() -> None:
    weight = {"banned_phrase": Weight(40, {Severity.MAJOR: 10, Severity.MINOR: 4})}
    assert score({"banned_phrase": Judgement(VIOLATED, (hit(Severity.MINOR), hit(Severity.MAJOR)))}, weight)[0] == 90


def test_a_violated_veto_rule_makes_it_nothing() -> None:
    weight = {"speech_rate": Weight(5, 5, veto=True)}
    assert score({"speech_rate": VIOLATED}, weight) == (0, Verdict.FAIL)
    assert score({"speech_rate": UNSURE}, weight) == (100, Verdict.REVIEW)


def test_a_bonus_is_added_and_the_score_stays_within_a_hundred() -> None:
    weight = {"speech_rate": Weight(5, 5, bonus=3)}
    assert score({"opening": Judgement(VIOLATED, level="partial")}, weight)[0] == 93
    assert score({}, weight)[0] == 100


def test_much_that_is_unsure_goes_to_a_human() -> None:
    assert score({"opening": UNSURE}) == (100, Verdict.PASS)  # exactly a fifth
    assert score({"opening": UNSURE, "speech_rate": UNSURE}) == (100, Verdict.REVIEW)
    assert score({"opening": UNSURE, "speech_rate": UNSURE, "closing": VIOLATED})[1] is Verdict.FAIL


def test_nothing_judged_is_no_score() -> None:
    assert score(dict.fromkeys(POINTS, NONE)) == (None, Verdict.REVIEW)


def test_trial_rules_do_not_count() -> None:
    rules = tuple(replace(rule, status=Status.TRIAL) if rule.id == "opening" else rule for rule in pack().rules)
    judgements = {rule.id: Judgement(UNSURE if rule.id == "opening" else MET) for rule in rules}
    card = score_call(judgements, replace(pack(), rules=rules))
    assert (card.score, card.verdict, card.rules["opening"].max_points) == (100, Verdict.PASS, 0)


def test_a_rule_without_a_weight_counts_by_severity() -> None:
    bare = replace(pack(), profile=Profile("bare"))
    judgements = {rule.id: Judgement(VIOLATED if rule.id == "opening" else MET) for rule in bare.rules}
    assert score_call(judgements, bare).score == 75  # major 10 of 10+10+10+5+5


def test_truth_combines_as_documented() -> None:
    assert every([MET, UNSURE, VIOLATED, NONE]) is VIOLATED
    assert every([MET, UNSURE, Truth.PENDING]) is Truth.PENDING
    assert every([NONE, MET]) is MET
    assert every([NONE]) is NONE
    assert some([MET, VIOLATED, UNSURE]) is MET
    assert some([VIOLATED, UNSURE, NONE]) is UNSURE
    assert some([NONE, VIOLATED]) is VIOLATED
    assert [negation(t) for t in (MET, VIOLATED, UNSURE, NONE)] == [VIOLATED, MET, UNSURE, NONE]
