"""What a back-up of the database does not hold: recordings and published rule packs, beside it in a folder.

    desk.db.files/packs/…                 every published version
                  media/ab/abcdef…/…      the recordings, laid out as in the media folder (analyzer.media)
                  recordings.jsonl        a line per call that has a recording: {call, call_id, key, bytes},
                                          or {call, call_id, missing: why}

Interrupted, either direction goes on where it stopped when it is run again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select

from analyzer.audio import Recording
from analyzer.errors import AnalyzerError, InputError, StoreError
from analyzer.media import MediaFolder, content_key, described, recording_of
from analyzer.store import audit
from analyzer.store.database import Store
from analyzer.store.recordings import place_recording
from analyzer.store.tables import Call

LIST = "recordings.jsonl"


@dataclass(slots=True)
class Archived:
    """``missing``: recordings that could not be read, or that the folder does not hold."""

    folder: Path
    recordings: int = 0
    bytes: int = 0
    packs: int = 0
    missing: list[AnalyzerError] = field(default_factory=list)


def files_beside(backup: Path) -> Path:
    """The folder that goes with a back-up of the database."""
    return backup.with_name(backup.name + ".files")


def archive_files(
    store: Store, backup: Path, packs: Path, *, actor: str, on_call: Callable[[], None] = lambda: None
) -> Archived:
    """Copy packs and recordings beside a back-up. raises StoreError where the folder cannot be written"""
    folder = files_beside(backup)
    result = Archived(folder)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        result.packs = _copy_packs(packs, folder / "packs")
        media = MediaFolder(folder / "media")
        with (folder / LIST).open("w", encoding="utf-8") as lines:
            for call_pk, call_id, place in _recordings(store):
                line = {"call": call_pk, "call_id": call_id, **_archived(media, call_id, place, result)}
                lines.write(json.dumps(line, ensure_ascii=False) + "\n")
                on_call()
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror}; choose another place") from None
    with store.writing() as session:
        details = {"recordings": result.recordings, "bytes": result.bytes, "missing": len(result.missing)}
        audit.append(session, actor, "recordings.archived", f"backup:{backup.name}"[:120], details)
    return result


def restore_files(store: Store, folder: Path, packs: Path, media: MediaFolder, *, actor: str) -> Archived:
    """Bring packs and recordings back for a database that was restored: packs that are not here, and into the media
    folder the recordings of calls whose files are gone. raises StoreError for a folder that is none of ours"""
    result, kept = Archived(folder), MediaFolder(folder / "media")
    try:
        lines = [json.loads(line) for line in (folder / LIST).read_text(encoding="utf-8").splitlines()]
        result.packs = _copy_packs(folder / "packs", packs)
    except (OSError, ValueError):
        raise StoreError(f"{folder}: no files of a back-up; name the folder that ends in .files") from None
    keys = {line["call"]: line.get("key") for line in lines}
    for call_pk, call_id, place in _recordings(store):
        try:
            recording = recording_of(call_id, place)
            if all(track.path.exists() for track in recording.tracks):
                continue
            there = _originals(kept, keys.get(call_pk), recording)
            place_recording(store, call_pk, content_key(there), described(media.keep(there)), actor)
            result.recordings += 1
        except AnalyzerError as fault:
            result.missing.append(fault)
    return result


def _recordings(store: Store) -> Iterator[tuple[int, str, dict[str, Any]]]:
    with store.reading() as session:
        found = session.execute(
            select(Call.id, Call.call_id, Call.recording).where(Call.recording.is_not(None)).order_by(Call.id)
        ).all()
    yield from ((call_pk, call_id, place or {}) for call_pk, call_id, place in found)


def _archived(media: MediaFolder, call_id: str, place: dict[str, Any], result: Archived) -> dict[str, Any]:
    try:
        kept = media.keep(recording_of(call_id, place))
    except InputError as fault:
        result.missing.append(fault)
        return {"missing": str(fault)}
    size = sum(track.path.stat().st_size for track in kept.tracks)
    result.recordings += 1
    result.bytes += size
    return {"key": kept.tracks[0].path.parent.name, "bytes": size}


def _originals(kept: MediaFolder, key: str | None, recording: Recording) -> Recording:
    found = kept.originals(key, recording) if key else None
    if found is None:
        raise InputError(f"{recording.call_id}: neither where it was nor in the back-up; its sound is lost")
    return found


def _copy_packs(source: Path, target: Path) -> int:
    """Versions are never changed, so one that is there is the same. How many were copied."""
    copied = 0
    for version in sorted(source.iterdir()) if source.is_dir() else ():
        place = target / version.name
        if version.is_dir() and not place.exists():
            target.mkdir(parents=True, exist_ok=True)
            part = target / f".{version.name}.part"
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(version, part)
            part.rename(place)
            copied += 1
    return copied
