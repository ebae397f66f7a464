"""An agent's objections to findings, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from analyzer.review import workflow
from analyzer.review.workflow import Action, RefusedError
from analyzer.store.calls import visible_to
from analyzer.store.case_drafts import draft_silent_case
from analyzer.store.deeds import Changed, Deed, actor, lock_finding, read_call
from analyzer.store.tables import Appeal, Call, Finding
from analyzer.store.users import Principal

STATES = ("open", "upheld", "rejected")


def appeal(session: Session, who: Principal, finding_id: int, *, text: str, at: datetime) -> Changed:
    """Object to a finding, once, before the call's deadline. The same text sent again is one appeal. raises
    RefusedError"""
    call, finding = lock_finding(session, who, finding_id)
    before = next((one for one in call.appeals if one.finding_id == finding.id), None)
    if before is not None and before.by_id == who.user_id and before.text == text and before.state == "open":
        return Changed(call, finding)
    now = read_call(call)
    after = workflow.appeal(now, finding_id, actor(who), at, text)
    made = Appeal(finding_id=finding.id, by_id=actor(who).user_id, text=text, at=at, state="open")
    call.appeals.append(made)
    deed = Deed(session, call, who, at, text)
    deed.write(now, after, Action.APPEAL)
    return deed.tell("appeal.made", finding, appeal=made.id)


def decide_appeal(
    session: Session, who: Principal, appeal_id: int, *, upheld: bool, reason: str, at: datetime
) -> Changed:
    """Uphold an appeal, which overturns the finding and drafts a silent case of its rule, or reject it. The same
    answer sent again is one. raises RefusedError"""
    made = session.get(Appeal, appeal_id)
    if made is None:
        raise RefusedError("not_found", "没有这条申诉，或您无权查看")
    call, finding = lock_finding(session, who, made.finding_id)
    session.refresh(made)
    state = "upheld" if upheld else "rejected"
    if (made.state, made.decided_by, made.reason) == (state, who.user_id, reason):
        return Changed(call, finding)
    now, me = read_call(call), actor(who)
    after = workflow.decide_appeal(now, finding.id, upheld, me, reason)
    made.state, made.decided_by, made.decided_at, made.reason = state, me.user_id, at, reason
    deed = Deed(session, call, who, at, reason)
    deed.write(now, after, Action.UPHOLD if upheld else Action.REJECT)
    if upheld:
        draft_silent_case(session, call, finding, by=me.user_id, at=at)
    return deed.tell("appeal.decided", finding, appeal=made.id, state=state)


def list_appeals(
    session: Session, who: Principal, *, state: str = "", before: int | None = None, limit: int = 50
) -> Sequence[tuple[Appeal, Finding, Call]]:
    """Appeals on calls that this person may see, newest first; an agent's own only.

    before  the id to go on from
    """
    wanted = [visible_to(who)]
    if state:
        wanted.append(Appeal.state == state)
    if before is not None:
        wanted.append(Appeal.id < before)
    rows = session.execute(
        select(Appeal, Finding, Call)
        .join(Finding, Finding.id == Appeal.finding_id)
        .join(Call, Call.id == Appeal.call_pk)
        .where(*wanted)
        .order_by(Appeal.id.desc())
        .limit(limit)
    )
    return [(made, finding, call) for made, finding, call in rows]
