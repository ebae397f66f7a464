"""The final score of a call: what the analyzer said, with what people decided laid over it.

Theory of operation. Decisions change which findings count; what counts decides each rule's outcome and level; those go
through the very formula of the automatic score (``analyzer.scoring.score_rules``). So a call on which nobody decided
anything has the automatic score and verdict as its final ones.

    the rule was        of its findings                        is finally
    violation           one counts                             violation, of those that count
                        none counts, one was overturned        pass
                        nobody could decide any                unsure: left out of the score
    unsure              one was confirmed                      violation, of those confirmed
                        all were overturned                    pass
                        else                                   unsure: left out of the score
    pass, or it does    one was added                          violation, of those added
    not apply           all that were added are overturned     pass

A finding of a violated rule counts until it is overturned or nobody can decide it; of an unsure rule once it is
confirmed. A violation is never overturned into unsure, since leaving the score's denominator could lower the score;
what nobody could decide beside it still sends the call to review where the rule is grave.

Where a rule has levels (opening, closing), an element whose absence was overturned counts as said, and the level is
reckoned anew from the scheme's levels; a finding of words said, or an added one, caps a pass at partial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analyzer.rules import Pack, PhraseSet, Rule, Status, Weight
from analyzer.rules.require import FAIL, PARTIAL, PASS, ElementSpec, Plan, Require, element_titles
from analyzer.rules.require import Level as Amount
from analyzer.scoring import Judged, RuleScore, score_rules
from analyzer.types import Direction, Outcome, Severity, Verdict

CONFIRMED, OVERTURNED, UNDECIDABLE = "confirmed", "overturned", "unsure"
NO_WEIGHTS = "本机没有这通电话所用版本的规则包，不知道各项分值，无法计算终审分；请导入该版本的规则包"
_MANUAL = "manual:"  # before the id of a manual item, so that none is taken for a rule
_OPEN = (Outcome.VIOLATION, Outcome.UNSURE)


@dataclass(frozen=True, slots=True)
class RuleSeen:
    """What the report says of a rule. ``elements``: whether each was said, where the rule has elements."""

    outcome: Outcome
    level: str | None = None
    elements: Mapping[str, bool] | None = None


@dataclass(frozen=True, slots=True)
class FindingSeen:
    """A finding with what was decided of it.

    outcome   of its rule, as the report says
    decision  confirmed | overturned | unsure, None before anybody decided
    category  of a missing element: its name
    absent    something missing, not something said
    """

    rule: str
    severity: Severity
    outcome: Outcome
    decision: str | None = None
    is_added: bool = False
    category: str | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True)
class ManualSeen:
    """A manual item that somebody scored. ``lost``: points, 0 or more."""

    item: str
    outcome: Outcome
    max_points: float
    lost: float = 0


@dataclass(frozen=True, slots=True)
class FinalRule:
    """``points`` and ``max_points`` are null where the pack's weights are not known."""

    outcome: Outcome
    level: str | None
    points: float | None
    max_points: float | None


@dataclass(frozen=True, slots=True)
class FinalCard:
    """``rules``: those that the report or a finding names. ``why_not``: in Chinese, why there is no score."""

    score: float | None
    verdict: Verdict | None
    rules: Mapping[str, FinalRule]
    why_not: str | None = None


def final_card(
    weights: Mapping[str, Any] | None,
    pass_mark: float | None,
    *,
    direction: Direction,
    rules: Mapping[str, RuleSeen],
    findings: Iterable[FindingSeen],
    manual: Iterable[ManualSeen] = (),
) -> FinalCard:
    """What the call scores with all that people decided.

    weights, pass_mark  of the pack the call was judged by (``pack_weights``); without them outcomes only
    rules               by id, what the report says; a rule that is not there did not apply
    """
    by_rule: dict[str, list[FindingSeen]] = {rule_id: [] for rule_id in rules}
    for finding in findings:
        by_rule.setdefault(finding.rule, []).append(finding)
    idle = RuleSeen(Outcome.NOT_APPLICABLE)
    finals = {
        rule_id: _final(rules.get(rule_id, idle), found, _plan(weights, rule_id, direction))
        for rule_id, found in by_rule.items()
    }
    if weights is None or pass_mark is None:
        unknown = {rule_id: FinalRule(final.outcome, final.level, None, None) for rule_id, final in finals.items()}
        return FinalCard(None, None, unknown, NO_WEIGHTS)
    judged = {
        rule_id: _judged(finals.get(rule_id, _Final(idle.outcome)), fields)
        for rule_id, fields in weights.items()
        if fields["status"] == Status.STABLE
    }
    judged |= {_MANUAL + item.item: _judged_by_hand(item) for item in manual}
    card = score_rules(judged, pass_mark)
    scored = {rule_id: card.rules.get(rule_id, RuleScore(0, 0)) for rule_id in finals}
    return FinalCard(
        card.score,
        card.verdict,
        {
            rule_id: FinalRule(final.outcome, final.level, scored[rule_id].points, scored[rule_id].max_points)
            for rule_id, final in finals.items()
        },
    )


# ---- a rule


@dataclass(frozen=True, slots=True)
class _Final:
    outcome: Outcome
    level: str | None = None
    hits: tuple[Severity, ...] = ()
    in_doubt: bool = False


def _final(seen: RuleSeen, findings: Sequence[FindingSeen], plan: Plan | None) -> _Final:
    relevant = [finding for finding in findings if finding.is_added or finding.outcome in _OPEN]
    if not any(finding.decision for finding in relevant):
        return _Final(seen.outcome, seen.level, tuple(finding.severity for finding in findings if not finding.is_added))
    standing = [finding for finding in relevant if _counts(finding)]
    in_doubt = any(_is_open(finding) for finding in relevant)
    level = _level(seen, relevant, standing, plan)
    if standing and level != PASS:
        return _Final(Outcome.VIOLATION, level, tuple(finding.severity for finding in standing), in_doubt)
    outcome = _without_hits(seen, relevant, in_doubt)
    passes_by_level = seen.level is not None and outcome is Outcome.PASS
    return _Final(outcome, PASS if passes_by_level else seen.level, in_doubt=in_doubt)


def _counts(finding: FindingSeen) -> bool:
    if finding.is_added or finding.outcome is Outcome.UNSURE:
        return finding.decision == CONFIRMED
    return finding.decision not in (OVERTURNED, UNDECIDABLE)


def _is_open(finding: FindingSeen) -> bool:
    """A person could not decide it; or nobody has yet, and the analyzer could not."""
    is_waiting = finding.decision is None and finding.outcome is Outcome.UNSURE and not finding.is_added
    return is_waiting or finding.decision == UNDECIDABLE


def _without_hits(seen: RuleSeen, relevant: Sequence[FindingSeen], in_doubt: bool) -> Outcome:
    overturned = any(finding.decision == OVERTURNED for finding in relevant)
    if in_doubt and (seen.outcome is Outcome.UNSURE or not overturned):
        return Outcome.UNSURE
    return Outcome.PASS if overturned else seen.outcome


_RANKS = (FAIL, PARTIAL, PASS)


def _level(
    seen: RuleSeen, relevant: Sequence[FindingSeen], standing: Sequence[FindingSeen], plan: Plan | None
) -> str | None:
    """The level with overturned absences taken as said; capped at partial by what is wrong besides absent elements."""
    if seen.level is None:
        return None
    level = seen.level if plan is None else max(seen.level, _reckoned(seen, relevant, plan), key=_RANKS.index)
    is_capped = any(finding.is_added or not finding.absent or finding.category is None for finding in standing)
    return PARTIAL if level == PASS and is_capped else level


def _reckoned(seen: RuleSeen, relevant: Sequence[FindingSeen], plan: Plan) -> str:
    said = {name for name, is_present in (seen.elements or {}).items() if is_present}
    for finding in relevant:
        if finding.absent and finding.decision == OVERTURNED:
            others = (element.name for element in plan.elements if not element.core)
            said |= set(others) if finding.category is None else {finding.category}
    return plan.level(said)


# ---- weights


def pack_weights(pack: Pack) -> dict[str, Any]:
    """What final scores need of a pack, as JSON: per rule id what it is worth in the pack's profile.

    ``levels`` stands where a rule has them, by direction of the call ("" for any): the elements that are core and those
    that are not, and what is needed to pass and for half the points; ``elements`` where it has some: their titles.
    """
    return {rule.id: _rule_weights(rule, pack) for rule in pack.rules}


def manual_items(pack: Pack) -> list[dict[str, Any]]:
    """The manual items of the pack's profile, as JSON."""
    return [
        {"id": item.id, "title": item.title, "clause": item.clause, "max_points": item.max_points}
        for item in pack.profile.manual
    ]


def _rule_weights(rule: Rule, pack: Pack) -> dict[str, Any]:
    weight = pack.profile.weight(rule)
    deduct: Any = weight.deduct
    if isinstance(deduct, Mapping):
        deduct = {severity.value: points for severity, points in deduct.items()}
    fields: dict[str, Any] = {
        "title": rule.title,
        "status": rule.status.value,
        "severity": rule.severity.value,
        "max_points": weight.max_points,
        "deduct": deduct,
        "per_hit": weight.per_hit,
        "cap": weight.cap,
        "veto": weight.veto,
        "bonus": weight.bonus,
    }
    if isinstance(rule.check, Require):
        fields["levels"] = {(side.value if side else ""): _levels(plan) for side, plan in rule.check.plans.items()}
    titles = dict(element_titles(rule.check))
    return {**fields, "elements": titles} if titles else fields


def _levels(plan: Plan) -> dict[str, Any]:
    return {
        "core": [element.name for element in plan.elements if element.core],
        "others": [element.name for element in plan.elements if not element.core],
        "pass": asdict(plan.passing),
        "partial": asdict(plan.partial) if plan.partial else None,
    }


def _plan(weights: Mapping[str, Any] | None, rule_id: str, direction: Direction) -> Plan | None:
    levels = ((weights or {}).get(rule_id) or {}).get("levels") or {}
    fields = levels.get(direction.value) or levels.get("")
    if fields is None:
        return None
    elements = [ElementSpec(name, name, PhraseSet(()), core=True) for name in fields["core"]]
    elements += [ElementSpec(name, name, PhraseSet(())) for name in fields["others"]]
    partial = fields["partial"]
    return Plan(
        tuple(elements), passing=Amount(**fields["pass"]), partial=Amount(**partial) if partial is not None else None
    )


def _judged(final: _Final, fields: Mapping[str, Any]) -> Judged:
    deduct = fields["deduct"]
    weight = Weight(
        fields["max_points"],
        {Severity(key): points for key, points in deduct.items()} if isinstance(deduct, Mapping) else deduct,
        fields["per_hit"],
        fields["cap"],
        fields["veto"],
        fields["bonus"],
    )
    return Judged(final.outcome, Severity(fields["severity"]), weight, final.level, final.hits, final.in_doubt)


def _judged_by_hand(item: ManualSeen) -> Judged:
    return Judged(item.outcome, Severity.MINOR, Weight(item.max_points, item.lost))
