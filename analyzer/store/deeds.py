"""One thing that somebody does with a call, as one transaction: looked at, allowed, written down, told.

    call locked → permission and state (analyzer.review.workflow) → version → review, states, history, final score
    → events → audit log

The rules are all in ``analyzer.review.workflow``. Here a call is read into its ``CallNow``, and what an action made of
it is written back. Sessions are those of ``Store.writing()``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from analyzer.review import workflow
from analyzer.review.workflow import (
    Action,
    Actor,
    AppealNow,
    AssignmentNow,
    CallNow,
    Decision,
    FindingNow,
    RefusedError,
    ReviewNow,
    Round,
    State,
)
from analyzer.store import audit, webhooks
from analyzer.store.calls import visible_to
from analyzer.store.finals import refresh_final
from analyzer.store.tables import Assignment, Call, Finding, Review, Transition
from analyzer.store.users import Principal
from analyzer.types import Severity

NO_CALL, NO_FINDING = "没有这通电话，或您无权查看", "没有这条发现，或您无权查看"
_PAIR = (Round.FIRST.value, Round.SECOND.value)
_TO_DECIDE = ("violation", "unsure")


@dataclass(frozen=True, slots=True)
class Changed:
    """What an action left behind. ``finding``: the one it was about."""

    call: Call
    finding: Finding | None = None


# ---- reading a call


def actor(who: Principal) -> Actor:
    """raises RefusedError for who is no person"""
    if who.user_id is None:
        raise RefusedError("forbidden", "只有登录的人员可以这样做")
    return Actor(who.user_id, who.role, who.agent_id)


def needs_decision(finding: Finding) -> bool:
    """Whether it must be decided before the call is shared; trial rules, remarks and ``info`` need not be."""
    return finding.status == "stable" and finding.outcome in _TO_DECIDE and finding.severity != Severity.INFO


def read_call(call: Call) -> CallNow:
    """The call as the rules of the workflow look at it."""
    reviews: dict[int, list[ReviewNow]] = defaultdict(list)
    for one in call.reviews:
        if one.round != Round.CALIBRATION:
            reviews[one.finding_id].append(ReviewNow(one.reviewer_id, Round(one.round), Decision(one.decision)))
    appeals = {one.finding_id: AppealNow(one.by_id, one.state == "open") for one in call.appeals}
    return CallNow(
        state=State(call.state),
        agent_id=call.agent_id,
        findings={
            one.id: FindingNow(
                one.id,
                State(one.state),
                needs_decision(one),
                one.source == "added",
                Decision(one.decision) if one.decision else None,
                one.decided_by,
                tuple(reviews[one.id]),
                appeals.get(one.id),
            )
            for one in call.findings
        },
        assignments=tuple(
            AssignmentNow(one.reviewer_id, Round(one.round), one.state == "open") for one in pair_of(call)
        ),
        appeal_until=call.appeal_until,
    )


def pair_of(call: Call) -> list[Assignment]:
    """The call's first and second reviews, open and done."""
    return [one for one in call.assignments if one.round in _PAIR and one.state != "withdrawn"]


def lock_call(session: Session, who: Principal, call_pk: int) -> Call:
    """The call for this transaction alone, if this person may see it; all of it is read anew. Raises RefusedError."""
    wanted = select(Call).where(Call.id == call_pk, visible_to(who)).with_for_update(of=Call)
    call = session.scalar(wanted.execution_options(populate_existing=True))
    if call is None:
        raise RefusedError("not_found", NO_CALL)
    return call


def lock_finding(session: Session, who: Principal, finding_id: int) -> tuple[Call, Finding]:
    """A finding with its call. Raises RefusedError."""
    call_pk = session.scalar(select(Finding.call_pk).where(Finding.id == finding_id))
    if call_pk is None:
        raise RefusedError("not_found", NO_FINDING)
    try:
        call = lock_call(session, who, call_pk)
    except RefusedError:
        raise RefusedError("not_found", NO_FINDING) from None
    finding = session.get_one(Finding, finding_id, populate_existing=True)
    if is_hidden(read_call(call), finding_id, who):
        raise RefusedError("not_found", NO_FINDING)
    return call, finding


def is_hidden(now: CallNow, finding_id: int, who: Principal) -> bool:
    """Whether another reviewer added it, who is not to be known of yet."""
    me = actor(who)
    return workflow.is_blind_to(now, me) and workflow.seen_alone(now.all[finding_id], me) is None


def require_version(call: Call, version: int | None) -> None:
    """raises RefusedError where somebody changed the call since it was looked at"""
    if version is not None and version != call.version:
        raise RefusedError("conflict", "其他人刚刚修改过这通电话，请刷新后重试")


# ---- doing


@dataclass(frozen=True, slots=True)
class Deed:
    """``who`` None: what the rules themselves do. ``why``: the reason given."""

    session: Session
    call: Call
    who: Principal | None
    at: datetime
    why: str = ""

    def write(self, before: CallNow, after: CallNow, action: Action) -> None:
        """Write down what ``action`` changed: reviews, decisions, states, history, the final score."""
        rows = {one.id: one for one in self.call.findings}
        for number, new in after.all.items():
            old = before.all.get(number) or FindingNow(number, new.state, is_added=True)
            if new != old:
                self._write_finding(rows[number], old, new, action)
        if action in workflow.CALL_ACTIONS:
            self._note(action, None, before.state, after.state)
        self.call.state, self.call.appeal_until = after.state.value, after.appeal_until
        self.changed()

    def changed(self) -> None:
        """Something of the call changed, so its version grows and its final score is another."""
        flag_modified(self.call, "state")
        refresh_final(self.session, self.call)

    def tell(self, event: str, finding: Finding | None = None, **details: Any) -> Changed:
        """Tell webhooks and the audit log: ids and states. The log last, since its writers wait for each other."""
        about = {"call": self.call.id, **({"finding": finding.id} if finding else {}), **details}
        who = self.who
        webhooks.emit(self.session, event, {**about, "by": who.user_id if who else None}, at=self.at)
        thing = f"finding:{finding.id}" if finding else f"call:{self.call.id}"
        audit.append(self.session, who.actor if who else "system", event, thing, about, at=self.at)
        return Changed(self.call, finding)

    def _write_finding(self, row: Finding, old: FindingNow, new: FindingNow, action: Action) -> None:
        for review in new.reviews[len(old.reviews) :]:
            self.call.reviews.append(
                Review(finding_id=row.id, rule=row.rule, round=review.round.value, decision=review.decision.value,
                       reason=self.why, reviewer_id=review.by, at=self.at, pack_digest=self.call.pack.digest)
            )  # fmt: skip
        if (new.decision, new.decided_by) != (old.decision, old.decided_by):
            row.decision = new.decision.value if new.decision else None
            row.decided_by, row.decided_at = new.decided_by, self.at if new.decision else None
        row.state = new.state.value
        if new.state is State.DISPUTED and old.state is not State.DISPUTED:
            self._note(Action.DISPUTE, row.id, old.state, new.state)
        elif action is Action.DISPUTE and new.decision is not None:  # the only decision there was stands
            self._note(workflow.DECIDING[new.decision], row.id, old.state, new.state)
        elif action not in workflow.CALL_ACTIONS:
            self._note(action, row.id, old.state, new.state)

    def _note(self, action: Action, finding_id: int | None, before: State, after: State) -> None:
        self.session.add(
            Transition(call_pk=self.call.id, finding_id=finding_id, action=action.value, state_before=before.value,
                       state_after=after.value, by_id=self.who.user_id if self.who else None, at=self.at,
                       why=self.why, pack_digest=self.call.pack.digest)
        )  # fmt: skip
