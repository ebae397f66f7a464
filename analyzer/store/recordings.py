"""The recordings of calls: where they lie, what is masked in them, and which are copied into the media folder."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from analyzer.audio import Recording
from analyzer.errors import AnalyzerError
from analyzer.media import MediaFolder, Said, bleep_spans, content_key, described, recording_of
from analyzer.store import audit
from analyzer.store.database import Store, own_numbers
from analyzer.store.tables import Call, Turn
from analyzer.types import Span


def bleeps_of(session: Session, call_pk: int) -> tuple[Span, ...]:
    """Where identifiers are said in a call."""
    columns = (Turn.role, Turn.text, Turn.start_ms, Turn.end_ms, Turn.chars)
    rows = session.execute(select(*columns).where(Turn.call_pk == call_pk).order_by(Turn.number))
    return bleep_spans([Said(*row) for row in rows], own_numbers(session))


def note_media(store: Store, call_pk: int, key: str) -> None:
    """Remember under which key something was made of a call's recording, so that a purge finds it."""
    with store.writing() as session:
        _set(session, call_pk, media_id=key)


def copy_recordings(
    store: Store, media: MediaFolder, *, actor: str = "cli", on_fault: Callable[[AnalyzerError], None]
) -> int:
    """Copy into the media folder every recording that lies elsewhere; how many were copied.

    on_fault  told of each one that cannot be read; it stays where it is
    """
    copied = 0
    with store.reading() as session:
        found = session.execute(select(Call.id, Call.call_id, Call.recording).where(Call.recording.is_not(None))).all()
    for call_pk, call_id, place in found:
        try:
            copied += _copy_one(store, media, call_pk, recording_of(call_id, place), actor)
        except AnalyzerError as fault:
            on_fault(fault)
    return copied


def _copy_one(store: Store, media: MediaFolder, call_pk: int, recording: Recording, actor: str) -> int:
    if media.holds(recording):
        return 0
    key = content_key(recording)
    note_media(store, call_pk, key)  # first, so that no purge takes the copy for a left-over
    place_recording(store, call_pk, key, described(media.keep(recording)), actor)
    return 1


def place_recording(store: Store, call_pk: int, key: str, place: dict[str, object], actor: str) -> None:
    """Say that a call's recording lies elsewhere from now on: where ``media.described`` says."""
    with store.writing() as session:
        _set(session, call_pk, recording=place, media_id=key)
        audit.append(session, actor, "recording.copied", f"call:{call_pk}")


def _set(session: Session, call_pk: int, **columns: object) -> None:
    """Past the version, which is for what reviewers change."""
    session.execute(update(Call.__table__).where(Call.__table__.c.id == call_pk).values(**columns))  # type: ignore[arg-type]
