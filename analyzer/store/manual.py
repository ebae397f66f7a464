"""Norms that no rule can judge, scored by hand."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from analyzer.review import workflow
from analyzer.review.workflow import RefusedError
from analyzer.store.deeds import Changed, Deed, actor, lock_call, read_call, require_version
from analyzer.store.finals import newest_manual
from analyzer.store.tables import ManualScore
from analyzer.store.users import Principal
from analyzer.types import Outcome

OUTCOMES = (Outcome.PASS, Outcome.VIOLATION, Outcome.NOT_APPLICABLE)


def score_item(
    session: Session,
    who: Principal,
    call_pk: int,
    item: str,
    outcome: Outcome,
    *,
    points: float | None = None,
    comment: str = "",
    version: int | None = None,
    at: datetime,
) -> Changed:
    """Score a manual item of the call's scheme; the newest score counts. Sent again it is one.

    points  lost, 0 or less; for a violation all of them if not given
    raises  RefusedError
    """
    call = lock_call(session, who, call_pk)
    fields = next((one for one in call.pack.manual or () if one["id"] == item), None)
    if fields is None:
        raise RefusedError("not_found", "质检方案里没有这个人工项")
    lost = _lost(outcome, points, fields["max_points"])
    me, newest = actor(who), newest_manual(call).get(item)
    if newest is not None and (newest.reviewer_id, newest.outcome, newest.points, newest.comment) == (
        me.user_id, outcome.value, lost, comment,
    ):  # fmt: skip
        return Changed(call)
    require_version(call, version)
    workflow.check_add(read_call(call), me)
    call.manual_scores.append(
        ManualScore(item=item, outcome=outcome.value, points=lost, max_points=fields["max_points"], comment=comment,
                    reviewer_id=me.user_id, at=at)
    )  # fmt: skip
    deed = Deed(session, call, who, at, comment)
    deed.changed()
    return deed.tell("manual.scored", item=item, outcome=outcome.value)


def _lost(outcome: Outcome, points: float | None, most: float) -> float:
    if outcome not in OUTCOMES:
        raise RefusedError("invalid", "人工项只能评为合格、违规或不适用")
    if outcome is not Outcome.VIOLATION:
        if points:
            raise RefusedError("invalid", "只有违规才扣分")
        return 0.0
    lost = -most if points is None else points
    if not -most <= lost <= 0:
        raise RefusedError("invalid", f"扣分须在 -{most:g} 到 0 之间")
    return float(lost)
