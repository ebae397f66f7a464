"""The final score of a call in the store: recomputed with every decision."""

from __future__ import annotations

from operator import attrgetter

from sqlalchemy.orm import Session

from analyzer.review.final import FinalCard, FindingSeen, ManualSeen, RuleSeen, final_card
from analyzer.store.tables import Call, Finding, ManualScore, RuleResult
from analyzer.types import Direction, Outcome, Severity


def card_of(call: Call) -> FinalCard:
    """The call's score with all that people decided."""
    return final_card(
        call.pack.weights,
        call.pack.pass_mark,
        direction=Direction(call.direction),
        rules={one.rule: _rule_seen(one) for one in call.results},
        findings=[_finding_seen(one) for one in sorted(call.findings, key=attrgetter("id"))],
        manual=[_manual_seen(one) for one in newest_manual(call).values()],
    )


def refresh_final(session: Session, call: Call) -> FinalCard:
    """Recompute and store the final score, verdict and outcomes of the call."""
    session.flush()
    card = card_of(call)
    call.final_score = card.score
    call.final_verdict = card.verdict.value if card.verdict else None
    for result in call.results:
        result.final_outcome = card.rules[result.rule].outcome.value
    return card


def _rule_seen(result: RuleResult) -> RuleSeen:
    elements = {name: bool(one["present"]) for name, one in (result.elements or {}).items()}
    return RuleSeen(Outcome(result.outcome), result.level, elements or None)


def _finding_seen(finding: Finding) -> FindingSeen:
    return FindingSeen(
        finding.rule,
        Severity(finding.severity),
        Outcome(finding.outcome),
        decision=finding.decision,
        is_added=finding.source == "added",
        category=finding.category,
        absent=finding.match == "absent",
    )


def _manual_seen(score: ManualScore) -> ManualSeen:
    return ManualSeen(score.item, Outcome(score.outcome), score.max_points, -score.points)


def newest_manual(call: Call) -> dict[str, ManualScore]:
    """What counts of what was scored by hand, by item."""
    return {score.item: score for score in call.manual_scores}
