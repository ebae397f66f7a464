"""A call's events on disk: what was told is there, whatever kills the process or fills the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from analyzer.live.journal import MARK_EVERY, EventLog
from analyzer.live.messages import CallEvent


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    opened = EventLog(tmp_path, "c1", {})
    yield opened
    opened.close()


def test_an_event_is_in_the_file_before_anybody_is_told(log: EventLog) -> None:
    seen: list[dict[str, object]] = []
    log.watch(lambda: seen.append(json.loads(log.path.read_bytes().splitlines()[-1])))
    log.add(CallEvent, 0, state="started")
    assert [event["seq"] for event in seen] == [1]


def test_events_long_gone_from_memory_are_read_from_their_place(log: EventLog) -> None:
    for at_ms in range(3 * MARK_EVERY):
        log.add(CallEvent, at_ms, state="started")
    assert [seq for seq, _ in log.after(MARK_EVERY + 3, 3)] == [MARK_EVERY + 4, MARK_EVERY + 5, MARK_EVERY + 6]


def test_an_event_the_disk_refuses_takes_no_number_and_leaves_no_half_line(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        """Takes ten bytes of a line."""

        def __init__(self, file: object) -> None:
            self._file = file

        def write(self, content: bytes) -> int:
            return self._file.write(content[:10])  # type: ignore[attr-defined, no-any-return]

        def __getattr__(self, name: str) -> object:
            return getattr(self._file, name)

    with monkeypatch.context() as patch:
        patch.setattr(log, "_file", Full(log._file))
        with pytest.raises(OSError, match="No space left"):
            log.add(CallEvent, 0, state="started")
    log.add(CallEvent, 7, state="ended")
    (event,) = [json.loads(line) for line in log.path.read_bytes().splitlines()[1:]]
    assert (event["seq"], event["at_ms"]) == (1, 7)


def test_a_disk_that_fails_in_the_end_leaves_no_watcher_waiting(
    log: EventLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: int) -> None:
        raise OSError("input/output error")

    told: list[bool] = []
    log.add(CallEvent, 0, state="started")
    log.watch(lambda: told.append(log.is_closed))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        log.close()
    assert told == [True]
    assert "input/output error" in caplog.text


def test_what_comes_after_the_end_is_ignored(log: EventLog) -> None:
    log.close()
    log.add(CallEvent, 0, state="started")
    log.note_heard(at_ms=1)
    assert len(log.path.read_bytes().splitlines()) == 1


def test_events_that_could_not_be_made_durable_are_tried_again(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []

    def fails(_: int) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="no space left"):
            log.sync()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", synced.append)
        log.sync()
        log.sync()
    assert len(synced) == 1
