"""A call's events: numbered, kept, and told to whoever watches. What a crash leaves is read back from here.

``<run>/live/<call>.jsonl`` gets each event as one line before anybody is told of it, so that a kill loses none that was
seen; ``sync`` makes them durable about once a second, for the case that the machine itself goes down. Two kinds of
lines are not events: ``{"journal": …}`` at the start (what the call is) and ``{"heard": …}`` (voiced time), from which,
with the utterances, the call can be judged as far as it was heard.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from analyzer.live.messages import as_json
from analyzer.runs import events_path

log = logging.getLogger(__name__)

KEPT = 512  # events in memory; older ones are read from the file
MARK_EVERY = 256  # events between known places in the file
JOURNAL_SCHEMA = "analyzer.live-journal/1"


class EventLog:
    """Append from one thread, read from any. raises OSError where the disk refuses

    head   what the call is: direction, channels, metadata, pack, recogniser
    """

    def __init__(self, folder: Path, call_id: str, head: Mapping[str, Any]) -> None:
        self.call_id = call_id
        self.path = events_path(folder, call_id)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("wb", buffering=0)
        self._recent: deque[tuple[int, str]] = deque(maxlen=KEPT)
        self._watchers: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._is_dirty = False
        self._marks: list[int] = []  # where in the file events 1, 1 + MARK_EVERY, … begin
        self.seq = 0
        self.is_closed = False
        self._write({"journal": JOURNAL_SCHEMA, "call_id": call_id, **head})

    def add(self, kind: type[BaseModel], at_ms: int, /, **fields: Any) -> None:
        """One more event; none after ``close``."""
        with self._lock:
            if self.is_closed:
                return
            seq = self.seq + 1
            line = as_json(kind(call_id=self.call_id, seq=seq, at_ms=max(0, at_ms), **fields))
            begins = self._append(line)
            if seq % MARK_EVERY == 1:
                self._marks.append(begins)
            self.seq = seq
            self._recent.append((seq, line))
            watchers = list(self._watchers)
        for tell in watchers:
            tell()

    def note_heard(self, **fields: Any) -> None:
        """What the call's judgement rests on besides the utterances."""
        self._write({"heard": fields})

    def after(self, seq: int, most: int = 200) -> list[tuple[int, str]]:
        """Up to ``most`` events that follow ``seq``, each with its number, oldest first."""
        with self._lock:
            if seq >= self.seq:
                return []
            if self._recent and self._recent[0][0] <= seq + 1:
                first = seq + 1 - self._recent[0][0]
                return list(islice(self._recent, first, first + most))
            marks = list(self._marks)
        return read_numbered(self.path, seq, most, marks)

    def watch(self, tell: Callable[[], None]) -> Callable[[], None]:
        """``tell`` is called, from any thread, when there is more; returns what ends that."""
        with self._lock:
            self._watchers.append(tell)

        def stop() -> None:
            with self._lock:
                if tell in self._watchers:
                    self._watchers.remove(tell)

        return stop

    def sync(self) -> None:
        """Make what was added durable."""
        with self._lock:
            if self.is_closed or not self._is_dirty:
                return
            self._is_dirty = False
            file = os.dup(self._file.fileno())
        try:
            os.fsync(file)  # may take a disk's time: nobody who reads or adds events should wait for it
        except OSError:
            self._is_dirty = True
            raise
        finally:
            os.close(file)

    def close(self) -> None:
        """Whoever watches is told first: a disk that fails, which is only logged, must not leave them waiting."""
        with self._lock:
            if self.is_closed:
                return
            self.is_closed = True
            self._recent.clear()  # the file has it all; many ended calls are remembered
            watchers = list(self._watchers)
        for tell in watchers:
            tell()
        try:
            with self._file:
                os.fsync(self._file.fileno())
        except OSError as error:
            log.error("call %s: %s may lack its last events: %s", self.call_id, self.path, error)

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self._lock:
            if not self.is_closed:
                self._append(json.dumps(entry, ensure_ascii=False))

    def _append(self, line: str) -> int:
        """One line, whole or not at all, in one write: a client that saw an event finds it after a crash of this
        process. returns where it begins"""
        content = line.encode("utf-8", "backslashreplace") + b"\n"
        begins = self._file.tell()
        self._is_dirty = True
        if self._file.write(content) < len(content):
            self._file.seek(begins)
            self._file.truncate()  # no half line for the next one to run into
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return begins


def read_numbered(path: Path, seq: int, most: int, marks: Sequence[int] = ()) -> list[tuple[int, str]]:
    """Up to ``most`` events after ``seq`` from a call's file, as ``EventLog.after``.

    marks  byte positions of events 1, 1 + MARK_EVERY, …, as far as known
    """
    found: list[tuple[int, str]] = []
    with path.open("rb") as file:
        if marks:
            file.seek(marks[min(seq // MARK_EVERY, len(marks) - 1)])
        for line in file:
            if not line.endswith(b"\n") or len(found) == most:
                break
            entry = json.loads(line)
            if entry.get("seq", 0) > seq:
                found.append((entry["seq"], line.decode("utf-8").rstrip("\n")))
    return found


def read_head(path: Path) -> dict[str, Any]:
    """The head of a call's journal, however long that is. raises ValueError if it is none"""
    with path.open("rb") as file:
        line = file.readline()
    head: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
    if head.get("journal") != JOURNAL_SCHEMA:
        raise ValueError(f"{path}: not a call's journal")
    return head


def read_journal(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The head of a call's journal and all its whole lines after it. raises ValueError if it is none"""
    entries: list[dict[str, Any]] = []
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # torn by a crash
            entries.append(json.loads(line))
    if not entries or entries[0].get("journal") != JOURNAL_SCHEMA:
        raise ValueError(f"{path}: not a call's journal")
    return entries[0], entries[1:]
