"""Outcomes and a profile to a score and a verdict. The formula is in ``score_rules`` and nowhere else: the final score,
with what people decided, is made of it too (``analyzer.review.final``)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import fsum

from analyzer.rules import Judgement, Pack, Weight
from analyzer.types import Outcome, Severity, Verdict

PARTIAL = "partial"
_PARTIAL_SHARE = 0.5
_UNSURE_SHARE = 0.2  # of all points; from more on a human decides
_FULL = 100.0


@dataclass(frozen=True, slots=True)
class Judged:
    """What the score needs to know of a rule that counts.

    severity  of the rule
    level     pass, partial or fail, where the rule has levels
    hits      the severity of each finding that counts; a violation without any weighs as much as its rule
    in_doubt  a person could not decide one of its findings, although the others decide the outcome
    """

    outcome: Outcome
    severity: Severity
    weight: Weight
    level: str | None = None
    hits: tuple[Severity, ...] = ()
    in_doubt: bool = False


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
    """The scorecard of a call as its rules judged it. Trial rules are on it, and count nothing."""
    card = score_rules(
        {
            rule.id: Judged(
                judgements[rule.id].truth.outcome,
                rule.severity,
                pack.profile.weight(rule),
                judgements[rule.id].level,
                tuple(finding.severity for finding in judgements[rule.id].findings),
            )
            for rule in pack.rules
            if pack.is_scored(rule)
        },
        pack.profile.pass_mark,
    )
    rules = {rule.id: card.rules.get(rule.id, RuleScore(0, 0)) for rule in pack.rules}
    return Scorecard(card.score, card.verdict, rules)


def score_rules(rules: Mapping[str, Judged], pass_mark: float) -> Scorecard:
    """score = 100 · Σ earned ÷ Σ max over rules judged pass or violation, plus bonus, clamped to 0..100.

    Earned is max for a pass, half for a violation at level partial, else max less deductions, at least 0. A violated
    veto rule makes it 0. The verdict is fail below the pass mark or at a veto; else review where a veto or critical
    rule is unsure, where unsure rules hold more than a fifth of all points, or where nothing was judged; else pass.
    The order of ``rules`` does not matter.

    rules  by id, every stable rule of the pack, also those that do not apply
    """
    scores = {rule_id: RuleScore(_points(rule), rule.weight.max_points) for rule_id, rule in rules.items()}
    vetoed = any(rule.weight.veto and rule.outcome is Outcome.VIOLATION for rule in rules.values())
    score = 0.0 if vetoed else _score(rules.values())
    return Scorecard(score, _verdict(score, vetoed, rules.values(), pass_mark), scores)


def _score(rules: Collection[Judged]) -> float | None:
    judged = [rule for rule in rules if rule.outcome in (Outcome.PASS, Outcome.VIOLATION)]
    total = fsum(rule.weight.max_points for rule in judged)
    if not total:
        return None
    earned = fsum(rule.weight.max_points + min(0, _points(rule)) for rule in judged)
    bonus = fsum(rule.weight.bonus for rule in judged if rule.outcome is Outcome.PASS)
    return round(min(_FULL, max(0.0, _FULL * earned / total + bonus)), 1)


def _verdict(score: float | None, vetoed: bool, rules: Collection[Judged], pass_mark: float) -> Verdict:
    if vetoed or (score is not None and score < pass_mark):
        return Verdict.FAIL
    unsure = [rule for rule in rules if rule.outcome is Outcome.UNSURE or rule.in_doubt]
    total = fsum(rule.weight.max_points for rule in rules)
    doubtful = fsum(rule.weight.max_points for rule in unsure) > _UNSURE_SHARE * total
    grave = any(rule.weight.veto or rule.severity is Severity.CRITICAL for rule in unsure)
    return Verdict.REVIEW if doubtful or grave or score is None else Verdict.PASS


def _points(rule: Judged) -> float:
    match rule.outcome:
        case Outcome.VIOLATION:
            return -_lost(rule)
        case Outcome.PASS:
            return rule.weight.bonus
    return 0


def _lost(rule: Judged) -> float:
    weight = rule.weight
    if rule.level == PARTIAL:
        return weight.max_points * _PARTIAL_SHARE
    deductions = [_deduction(weight, severity) for severity in rule.hits or (rule.severity,)]
    lost = fsum(deductions) if weight.per_hit else max(deductions)
    cap = weight.max_points if weight.cap is None else min(weight.cap, weight.max_points)
    return min(lost, cap)


def _deduction(weight: Weight, severity: Severity) -> float:
    if isinstance(weight.deduct, Mapping):
        return weight.deduct.get(severity, 0)
    return weight.deduct
