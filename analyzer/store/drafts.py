"""Rule files that are being edited, and the examples that decisions left for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from analyzer.store.tables import CaseDraft, RuleDraft

OPEN, PUBLISHED, DROPPED, TAKEN = "open", "published", "dropped", "taken"


def open_drafts(session: Session) -> Sequence[RuleDraft]:
    return session.scalars(select(RuleDraft).where(RuleDraft.state == OPEN).order_by(RuleDraft.file)).all()


def find_draft(session: Session, draft_id: int) -> RuleDraft | None:
    """An open draft."""
    return session.scalar(select(RuleDraft).where(RuleDraft.id == draft_id, RuleDraft.state == OPEN))


def draft_of(session: Session, file: str) -> RuleDraft | None:
    """The open draft of a file: there is one at most, so nobody edits beside somebody else."""
    return session.scalar(select(RuleDraft).where(RuleDraft.file == file, RuleDraft.state == OPEN))


def begin_draft(
    session: Session, *, rule: str, file: str, base_digest: str, text: str, author_id: int, at: datetime
) -> RuleDraft:
    draft = RuleDraft(
        rule=rule, file=file, base_digest=base_digest, text=text, author_id=author_id, created_at=at, updated_at=at,
        state=OPEN,
    )  # fmt: skip
    session.add(draft)
    session.flush()
    return draft


def close_drafts(session: Session, drafts: Sequence[RuleDraft], state: str, *, at: datetime) -> None:
    for draft in drafts:
        draft.state, draft.updated_at = state, at


def open_cases(session: Session, rule: str) -> Sequence[CaseDraft]:
    """Examples for a rule that nobody has taken or dropped yet, oldest first."""
    statement = select(CaseDraft).where(CaseDraft.rule == rule, CaseDraft.state == OPEN)
    return session.scalars(statement.order_by(CaseDraft.id)).all()


def settle_case(session: Session, case_id: int, state: str) -> bool:
    """Take or drop an example. False if somebody did before."""
    statement = update(CaseDraft).where(CaseDraft.id == case_id, CaseDraft.state == OPEN).values(state=state)
    return session.connection().execute(statement).rowcount == 1
