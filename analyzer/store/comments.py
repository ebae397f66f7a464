"""Remarks on calls, on moments of them, on findings."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from analyzer.review.workflow import RefusedError, State
from analyzer.store.deeds import Changed, Deed, actor, is_hidden, lock_call, read_call
from analyzer.store.tables import Comment, Finding
from analyzer.store.users import Principal


def add_comment(
    session: Session,
    who: Principal,
    call_pk: int,
    *,
    text: str,
    at_ms: int | None = None,
    finding_id: int | None = None,
    is_internal: bool = False,
    at: datetime,
) -> Changed:
    """Say something about a call, a moment or a finding of it. Internal remarks are not for agents, nor by them.

    raises  RefusedError
    """
    call, me = lock_call(session, who, call_pk), actor(who)
    if call.state == State.FINAL:
        raise RefusedError("locked", "已经终审，不能再评论")
    if not text.strip():
        raise RefusedError("invalid", "请填写评论内容")
    if is_internal and who.role == "agent":
        raise RefusedError("forbidden", "坐席的评论不能设为内部")
    if at_ms is not None and not 0 <= at_ms <= call.duration_ms:
        raise RefusedError("invalid", "时间不在这通电话之内")
    if finding_id is not None:
        _require_finding(session, who, call_pk, finding_id)
    comment = Comment(call_pk=call.id, finding_id=finding_id, at_ms=at_ms, text=text, is_internal=is_internal,
                      author_id=me.user_id, at=at)  # fmt: skip
    session.add(comment)
    session.flush()
    return Deed(session, call, who, at).tell("comment.added", comment=comment.id)


def _require_finding(session: Session, who: Principal, call_pk: int, finding_id: int) -> None:
    found = session.scalar(select(Finding).where(Finding.id == finding_id, Finding.call_pk == call_pk))
    if found is None or is_hidden(read_call(found.call), finding_id, who):
        raise RefusedError("not_found", "这通电话没有这条发现")
