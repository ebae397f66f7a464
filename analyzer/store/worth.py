"""What people's decisions say of each rule: counts, precision, recall from the audits, agreement of second reviews."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, func, select
from sqlalchemy.orm import Session

from analyzer.review.agreement import Agreement, by_rule
from analyzer.review.worth import (
    NOTHING_KNOWN,
    AuditedCall,
    Estimate,
    Floor,
    RuleWorth,
    precision,
    proposal,
    recall,
)
from analyzer.store.judgements import counts
from analyzer.store.tables import AuditedSegment, Call, Finding, Review, RuleResult

Conditions = Sequence[ColumnElement[bool]]

# An appeal that was upheld overturns, whatever was decided before.
DECISION = case((Finding.state == "upheld", "overturned"), else_=Finding.decision)
_LATEST_CALLS = 500  # from which a rule's present status is read


def rules_worth(session: Session, of: Conditions, floor: Floor) -> list[RuleWorth]:
    """Every rule that flagged or missed anything in the calls under the conditions ``of`` (store.trends), by id."""
    claimed, resolved, titles = _decisions(session, of)
    status = _status(session)
    audits = _Audits(session, of)
    rules = []
    for rule in sorted({*claimed, *resolved, *audits.missed}):
        counts = claimed.get(rule, Counter())
        measured = precision(counts["confirmed"], counts["overturned"])
        stands = status.get(rule, "stable")
        rules.append(
            RuleWorth(
                rule=rule,
                title=titles.get(rule, rule),
                status=stands,
                flagged=counts.total(),
                confirmed=counts["confirmed"],
                overturned=counts["overturned"],
                unsure=counts["unsure"],
                resolved=resolved.get(rule, 0),
                precision=measured,
                recall=audits.recall(rule, measured),
                proposal=proposal(stands, measured, floor),
            )
        )
    return rules


def _decisions(
    session: Session, of: Conditions
) -> tuple[dict[str, Counter[str | None]], dict[str, int], dict[str, str]]:
    """Decisions on findings that claim a violation, those on unsure ones, and titles, by rule."""
    rows = session.execute(
        select(Finding.rule, Finding.outcome, DECISION, func.max(Finding.title), func.count())
        .where(Finding.source == "auto", Finding.outcome.in_(("violation", "unsure")),
               Finding.call_pk.in_(select(Call.id).where(*of)))
        .group_by(Finding.rule, Finding.outcome, DECISION)
    )  # fmt: skip
    claimed: dict[str, Counter[str | None]] = defaultdict(Counter)
    resolved: dict[str, int] = defaultdict(int)
    titles = {}
    for rule, outcome, decision, title, n in rows:
        titles[rule] = title
        if outcome == "violation":
            claimed[rule][decision] += n
        elif decision in ("confirmed", "overturned"):
            resolved[rule] += n
    return claimed, resolved, titles


def _status(session: Session) -> dict[str, str]:
    """How each rule stood in the newest calls."""
    newest = select(Call.id).where(counts()).order_by(Call.id.desc()).limit(_LATEST_CALLS)
    rows = session.execute(
        select(RuleResult.rule, RuleResult.status)
        .where(RuleResult.call_pk.in_(newest.scalar_subquery()))
        .order_by(RuleResult.call_pk)
    )
    return dict(rows.all())


class _Audits:
    """The calls of which unflagged utterances were listened to."""

    def __init__(self, session: Session, of: Conditions) -> None:
        heard = session.execute(
            select(AuditedSegment.assignment_id, AuditedSegment.call_pk, AuditedSegment.unflagged,
                   AuditedSegment.call_weight, AuditedSegment.missed)
            .where(AuditedSegment.missed.is_not(None), AuditedSegment.call_pk.in_(select(Call.id).where(*of)))
        )  # fmt: skip
        self._calls: dict[int, _Heard] = {}
        for assignment, call_pk, unflagged, weight, missed in heard:
            known = self._calls.setdefault(assignment, _Heard(call_pk, unflagged, weight, 0, Counter()))
            known.heard += 1
            known.missed.update(set(missed or ()))
        self.missed = {rule for call in self._calls.values() for rule in call.missed}
        self._flagged = self._decided(session)

    def _decided(self, session: Session) -> Mapping[tuple[int, str], Counter[str | None]]:
        decided: dict[tuple[int, str], Counter[str | None]] = defaultdict(Counter)
        audited = select(AuditedSegment.call_pk).where(AuditedSegment.missed.is_not(None))
        rows = session.execute(
            select(Finding.call_pk, Finding.rule, DECISION, func.count())
            .where(Finding.source == "auto", Finding.outcome == "violation", Finding.call_pk.in_(audited))
            .group_by(Finding.call_pk, Finding.rule, DECISION)
        )
        for call_pk, rule, decision, n in rows:
            decided[call_pk, rule][decision] += n
        return decided

    def recall(self, rule: str, measured: Estimate) -> Estimate:
        """Findings nobody decided count with the rule's precision; where that is unknown, so is its recall."""
        if not self._calls:
            return NOTHING_KNOWN
        calls = []
        for call in self._calls.values():
            counts = self._flagged.get((call.call_pk, rule), Counter())
            if counts[None] and measured.value is None:
                return Estimate(None, None, None, sum(one.heard for one in self._calls.values()))
            right = counts["confirmed"] + counts[None] * (measured.value or 0.0)
            calls.append(AuditedCall(call.weight, right, call.unflagged, call.heard, call.missed[rule]))
        return recall(calls)


@dataclass(slots=True)
class _Heard:
    call_pk: int
    unflagged: int
    weight: float
    heard: int
    missed: Counter[str]


# ---- second reviews


def second_agreement(session: Session, of: Conditions) -> tuple[Agreement, dict[str, Agreement]]:
    """Cohen's kappa of first and blind second reviews: over everything, and per rule."""
    twice = select(Review.finding_id).where(Review.round == "second", Review.call_pk.in_(select(Call.id).where(*of)))
    rows = session.execute(
        select(Review.finding_id, Review.rule, Review.round, Review.decision)
        .where(Review.finding_id.in_(twice), Review.round.in_(("first", "second")))
        .order_by(Review.id)
    )
    newest: dict[int, dict[str, str]] = defaultdict(dict)
    rule_of = {}
    for finding, rule, round_, decision in rows:
        newest[finding][round_] = decision
        rule_of[finding] = rule
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for finding, said in newest.items():
        if len(said) == 2:
            pairs[rule_of[finding]].append((said["first"], said["second"]))
    return by_rule(pairs)


# ---- the findings behind a figure


def findings_behind(
    session: Session, of: Conditions, rule: str, decision: str | None, *, after: int, limit: int
) -> list[tuple[Finding, Call]]:
    """Findings of a rule that claim a violation, by decision (``undecided`` for none), in the order of their ids."""
    wanted = [Finding.rule == rule, Finding.source == "auto", Finding.outcome == "violation", Finding.id > after]
    if decision == "undecided":
        wanted.append(DECISION.is_(None))
    elif decision:
        wanted.append(DECISION.in_((decision,)))
    statement = select(Finding, Call).join(Call, Call.id == Finding.call_pk).where(*wanted, *of)
    rows = session.execute(statement.order_by(Finding.id).limit(limit))
    return [(finding, call) for finding, call in rows]
