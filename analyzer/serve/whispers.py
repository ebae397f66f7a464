"""A supervisor's line on its way to the agent, each step in the audit first. Callers shield it from being cancelled.

With a review desk there are two audits: that of the live calls and the desk's, which says what its users did.
"""

from __future__ import annotations

import asyncio
import logging
import uuid

from sqlalchemy.exc import SQLAlchemyError

from analyzer.desk.access import Principal
from analyzer.desk.review_desk import ReviewDesk
from analyzer.errors import StoreError
from analyzer.live.hub import Session, WhisperState
from analyzer.live.refusal import Refusal
from analyzer.serve.desk import Desk
from analyzer.store import audit

log = logging.getLogger(__name__)

LONGEST_OBJECT = 120  # characters, of the desk's audit


class AuditError(Exception):
    """An audit could not be written; what it was to tell of has not happened."""


async def send_whisper(desk: Desk, session: Session, text: str, sender: str, who: Principal) -> str:
    """Send it, unless the audit cannot say who asked for that; returns its id. raises AuditError, Refusal"""
    if session.is_ending:
        raise Refusal("call_ended", f"call {session.call_id} has ended")
    name = uuid.uuid4().hex[:12]
    async with desk.whispering:
        await _note_asked(desk, session, name, sender, who)
        try:
            session.whisper(name, text, sender)
        except Refusal:
            await _note_outcome(desk, "refused", session, name)
            raise
        desk.metrics.whispers.labels("sent").inc()
        await _note_outcome(desk, "sent", session, name)
    return name


async def note_whisper(desk: Desk, session: Session, name: str, state: WhisperState) -> None:
    """How far a whisper got, once. If the audit cannot be written nobody is told; who has seen it will say so again."""
    async with desk.whispering:
        if session.whisper_got(name, state) or not await _note_outcome(desk, state, session, name):
            return
        session.whisper_is(name, state)
        desk.metrics.whispers.labels(state).inc()


async def _note_asked(desk: Desk, session: Session, name: str, sender: str, who: Principal) -> None:
    """raises AuditError"""
    try:
        await _note(desk, "asked", session, name, sender=sender, by=who.actor)
        if desk.review is not None:
            await asyncio.to_thread(_tell_review_desk, desk.review, session.call_id, name, who)
    except (OSError, SQLAlchemyError, StoreError) as error:
        log.error("call %s: whisper %s is not sent: no audit of it: %s", session.call_id, name, type(error).__name__)
        raise AuditError from error


def _tell_review_desk(review: ReviewDesk, call_id: str, name: str, who: Principal) -> None:
    with review.store.writing() as session:
        audit.append(session, who.actor, "whisper.asked", f"live:{call_id}"[:LONGEST_OBJECT], {"whisper": name},
                     at=review.clock())  # fmt: skip


async def _note_outcome(desk: Desk, outcome: str, session: Session, name: str) -> bool:
    """returns whether the audit holds it"""
    try:
        await _note(desk, outcome, session, name)
    except OSError as error:
        log.error("call %s: the audit does not say that whisper %s was %s: %s", session.call_id, name, outcome, error)
        return False
    return True


async def _note(desk: Desk, step: str, session: Session, name: str, **fields: str) -> None:
    await asyncio.to_thread(desk.audit.note, f"whisper_{step}", call_id=session.call_id, whisper=name, **fields)
