"""What people decided, as drafts of a rule's cases (analyzer.review.examples)."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from analyzer.privacy import mask_turns
from analyzer.review.examples import Line, Mark, around, case_yaml
from analyzer.store.database import own_numbers
from analyzer.store.tables import Call, CaseDraft, Finding, Turn


def draft_firing_case(session: Session, call: Call, finding: Finding, *, by: int, at: datetime) -> None:
    """A violation that somebody added, as an example that its rule must find."""
    mark = None
    if finding.turn is not None and finding.char_start is not None and finding.char_end is not None:
        mark = Mark(finding.turn, finding.char_start, finding.char_end)
    _draft(session, call, finding, f"补充的违规（通话 {call.id}，发现 {finding.id}）", mark, by=by, at=at)


def draft_silent_case(session: Session, call: Call, finding: Finding, *, by: int, at: datetime) -> None:
    """A finding that an appeal overturned, as an example on which its rule must stay silent."""
    _draft(session, call, finding, f"申诉成立（通话 {call.id}，发现 {finding.id}）", None, by=by, at=at)


def _draft(
    session: Session, call: Call, finding: Finding, name: str, mark: Mark | None, *, by: int, at: datetime
) -> None:
    turns = list(session.scalars(select(Turn).where(Turn.call_pk == call.id).order_by(Turn.number)))
    texts = mask_turns([(turn.role, turn.text) for turn in turns], own_numbers(session))
    lines = [
        Line(turn.number, turn.role, turn.start_ms, turn.end_ms, masked.text)
        for turn, masked in zip(turns, texts, strict=True)
    ]
    shown = around(lines, finding.turn, finding.start_ms)
    session.add(
        CaseDraft(rule=finding.rule, call_pk=call.id, finding_id=finding.id, created_by=by, created_at=at,
                  yaml=case_yaml(name, call.direction, shown, mark))
    )  # fmt: skip
