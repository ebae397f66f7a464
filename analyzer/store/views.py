"""Saved views: filters of the list of calls under a name; shared ones are seen by everyone."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from analyzer.review.workflow import RefusedError
from analyzer.store.tables import SavedView, User

MOST = 100  # of one person


def list_views(session: Session, user_id: int) -> list[tuple[SavedView, str]]:
    """One's own first, then what others share, with their owners' names."""
    rows = session.execute(
        select(SavedView, User.display_name)
        .join(User, User.id == SavedView.user_id)
        .where(or_(SavedView.user_id == user_id, SavedView.is_shared))
        .order_by(SavedView.name, SavedView.id)
    )
    return sorted(((view, name) for view, name in rows), key=lambda row: row[0].user_id != user_id)


def save_view(session: Session, user_id: int, name: str, query: str, *, is_shared: bool, now: datetime) -> SavedView:
    """Under the same name the new one takes the place of the old. Raises RefusedError."""
    mine = {view.name: view for view in session.scalars(select(SavedView).where(SavedView.user_id == user_id))}
    view = mine.get(name)
    if view is None:
        if len(mine) >= MOST:
            raise RefusedError("conflict", f"最多保存 {MOST} 个视图，请先删除不用的")
        view = SavedView(user_id=user_id, name=name, query=query, is_shared=is_shared, created_at=now)
        session.add(view)
    view.query, view.is_shared = query, is_shared
    session.flush()
    return view


def delete_view(session: Session, user_id: int, view_id: int) -> None:
    """Only one's own. Raises RefusedError."""
    view = session.scalar(select(SavedView).where(SavedView.id == view_id, SavedView.user_id == user_id))
    if view is None:
        raise RefusedError("not_found", "没有这个视图")
    session.delete(view)
