"""Outcomes and a profile to a score and a verdict. The formula is in ``score_call``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from analyzer.rules import Judgement, Pack, Rule, Weight
from analyzer.types import Outcome, Severity, Verdict

_PARTIAL_SHARE = 0.5
_UNSURE_SHARE = 0.2  # of all points; from more on a human decides
_FULL = 100.0


@dataclass(frozen=True, slots=True)
class RuleScore:
    """``points`` is what the rule moves: 0 or less, more only for a bonus. ``max_points`` is 0 for trial rules."""

    points: float
    max_points: float


@dataclass(frozen=True, slots=True)
class Scorecard:
    """``score`` is null where nothing could be judged."""

    score: float | None
    verdict: Verdict
    rules: Mapping[str, RuleScore]


def score_call(judgements: Mapping[str, Judgement], pack: Pack) -> Scorecard:
    """score = 100 · Σ earned ÷ Σ max over stable rules judged pass or violation, plus bonus, clamped to 0..100.

    Earned is max for a pass, half for a violation at level partial, else max less deductions, at least 0. A violated
    veto rule makes it 0. The verdict is fail below the pass mark or at a veto; else review where a veto or critical
    rule is unsure, where unsure rules hold more than a fifth of all points, or where nothing was judged; else pass.
    """
    profile = pack.profile
    scores = {rule.id: _rule_score(rule, judgements[rule.id], pack) for rule in pack.rules}
    scored = [(rule, judgements[rule.id].truth.outcome) for rule in pack.rules if pack.is_scored(rule)]
    judged = [rule for rule, outcome in scored if outcome in (Outcome.PASS, Outcome.VIOLATION)]
    vetoed = any(profile.weight(rule).veto and outcome is Outcome.VIOLATION for rule, outcome in scored)
    score = 0.0 if vetoed else _score(judged, scores, sum(_bonus(rule, outcome, pack) for rule, outcome in scored))
    unsure = [rule for rule, outcome in scored if outcome is Outcome.UNSURE]
    return Scorecard(score, _verdict(score, vetoed, unsure, scored, pack), scores)


def _score(judged: list[Rule], scores: Mapping[str, RuleScore], bonus: float) -> float | None:
    total = sum(scores[rule.id].max_points for rule in judged)
    if not total:
        return None
    earned = sum(scores[rule.id].max_points + min(0, scores[rule.id].points) for rule in judged)
    return round(min(_FULL, max(0.0, _FULL * earned / total + bonus)), 1)


def _bonus(rule: Rule, outcome: Outcome, pack: Pack) -> float:
    return pack.profile.weight(rule).bonus if outcome is Outcome.PASS else 0


def _verdict(
    score: float | None, vetoed: bool, unsure: list[Rule], scored: list[tuple[Rule, Outcome]], pack: Pack
) -> Verdict:
    if vetoed or (score is not None and score < pack.profile.pass_mark):
        return Verdict.FAIL
    weight = pack.profile.weight
    total = sum(weight(rule).max_points for rule, _ in scored)
    doubtful = sum(weight(rule).max_points for rule in unsure) > _UNSURE_SHARE * total
    grave = any(weight(rule).veto or rule.severity is Severity.CRITICAL for rule in unsure)
    return Verdict.REVIEW if doubtful or grave or score is None else Verdict.PASS


def _rule_score(rule: Rule, judgement: Judgement, pack: Pack) -> RuleScore:
    if not pack.is_scored(rule):
        return RuleScore(0, 0)
    weight = pack.profile.weight(rule)
    match judgement.truth.outcome:
        case Outcome.VIOLATION:
            return RuleScore(-_lost(weight, judgement, rule), weight.max_points)
        case Outcome.PASS:
            return RuleScore(weight.bonus, weight.max_points)
    return RuleScore(0, weight.max_points)


def _lost(weight: Weight, judgement: Judgement, rule: Rule) -> float:
    if judgement.level == "partial":
        return weight.max_points * _PARTIAL_SHARE
    severities = [finding.severity for finding in judgement.findings] or [rule.severity]
    deductions = [_deduction(weight, severity) for severity in severities]
    lost = sum(deductions) if weight.per_hit else max(deductions)
    cap = weight.max_points if weight.cap is None else min(weight.cap, weight.max_points)
    return min(lost, cap)


def _deduction(weight: Weight, severity: Severity) -> float:
    if isinstance(weight.deduct, Mapping):
        return weight.deduct.get(severity, 0)
    return weight.deduct
