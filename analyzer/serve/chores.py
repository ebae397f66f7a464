"""What the server does for the desk when nobody asks: recordings made ready for who reviews next, and what is too old
deleted, once a day. One thread, one thing at a time; the heavy part in a process that gives way."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import select

from analyzer.desk.review_desk import ReviewDesk
from analyzer.desk.upkeep import run_retention
from analyzer.errors import AnalyzerError, InputError
from analyzer.media import MediaFolder, content_key, recording_of
from analyzer.runs import describe
from analyzer.store.recordings import bleeps_of, note_media
from analyzer.store.tables import Assignment, Call
from analyzer.types import Span

log = logging.getLogger(__name__)

EVERY_S = 60.0
AT_ONCE = 10  # recordings per process: it takes a second to begin

Ready = tuple[str, dict[str, Any], tuple[Span, ...]]  # call id, its recording as described, what to bleep


class Chores:
    """Runs until ``stop``. What fails is logged and tried again later."""

    def __init__(self, desk: ReviewDesk) -> None:
        self._desk = desk
        self._given_up: set[int] = set()  # calls whose recordings cannot be read
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="chores", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns at once: what runs in a process ends with the server, and goes on where it stopped with the next."""
        self._stopping.set()

    def _work(self) -> None:
        while not self._stopping.is_set():
            count = 0
            for chore in (self.keep_retention, self.prepare):
                try:
                    count = chore()
                except Exception as error:  # the database may be away for a while
                    log.error("%s: %s", chore.__name__, describe(error))
            self._stopping.wait(0 if count == AT_ONCE else EVERY_S)

    def keep_retention(self) -> int:
        done = run_retention(self._desk)
        if done is not None:
            log.warning("retention: %s calls deleted, %s files, %s kept", done.calls, done.files, len(done.kept))
        return 0

    def prepare(self) -> int:
        """Make peaks and playback copies of recordings that are assigned to somebody and were never heard, by when
        they are due. Returns how many."""
        if not self._desk.settings.recordings.prepare:
            return 0
        waiting = self._waiting()
        ready: list[Ready] = []
        for call_pk, call_id, place in waiting:
            try:
                key = content_key(recording_of(call_id, place))
            except InputError as error:
                log.warning("not prepared: %s", error)
                self._given_up.add(call_pk)
                continue
            with self._desk.store.reading() as session:
                ready.append((call_id, place, bleeps_of(session, call_pk)))
            note_media(self._desk.store, call_pk, key)
        if ready:
            self._desk.apart(make_ready, self._desk.media, ready)
        return len(waiting)

    def _waiting(self) -> list[tuple[int, str, dict[str, Any]]]:
        statement = (
            select(Call.id, Call.call_id, Call.recording)
            .join(Assignment, Assignment.call_pk == Call.id)
            .where(Assignment.state == "open", Call.recording.is_not(None), Call.media_id.is_(None))
            .order_by(Assignment.due_at.is_(None), Assignment.due_at, Assignment.id)
            .limit(AT_ONCE + len(self._given_up))
        )
        with self._desk.store.reading() as session:
            found = {call_pk: (call_pk, call_id, place or {}) for call_pk, call_id, place in session.execute(statement)}
        return [one for call_pk, one in found.items() if call_pk not in self._given_up][:AT_ONCE]


def make_ready(folder: Path, wanted: list[Ready]) -> int:
    """Peaks, and the copy that reviewers hear: identifiers bleeped. How many were made."""
    media, made = MediaFolder(folder), 0
    for call_id, place, bleeps in wanted:
        try:
            recording = recording_of(call_id, place)
            media.peaks(recording)
            media.playback(recording, bleeps)
            made += 1
        except AnalyzerError as error:
            log.warning("not prepared: %s", error)
    return made
