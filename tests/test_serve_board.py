"""How calls stand, read by several at once."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzer.live.hub import Session
from analyzer.live.intake import Chunk
from analyzer.serve import board as module
from analyzer.serve.board import Board
from analyzer.serve.metrics import Metrics
from analyzer.types import Direction, Role
from tests.serving import a_hub, until


def test_the_calls_are_read_by_one_thread_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_hub(tmp_path) as hub:
        board = Board(hub, Metrics())
        reading, most, read = threading.Semaphore(1), [], board._read

        def slowly() -> Any:
            most.append(reading.acquire(blocking=False))
            time.sleep(0.02)
            reading.release()
            return read()

        monkeypatch.setattr(board, "_read", slowly)

        async def together() -> None:
            await asyncio.gather(*(board.refresh() for _ in range(3)))

        asyncio.run(together())
    assert most == [True, True, True]


def test_a_failed_reading_does_not_stop_the_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLLOW_S", 0.001)
    with a_hub(tmp_path) as hub:
        board = Board(hub, Metrics())
        again, read = threading.Event(), board._read

        def once_broken() -> Any:
            if not again.is_set():
                again.set()
                raise OSError("no")
            done.set()
            return read()

        done = threading.Event()
        monkeypatch.setattr(board, "_read", once_broken)

        async def follow() -> None:
            task = asyncio.create_task(board.follow())
            await asyncio.to_thread(done.wait, 2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(follow())
    assert done.is_set()


def test_the_clock_overrules_no_scorecard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    with a_hub(tmp_path) as hub:
        record = hub.run.record

        def slowly(*args: Any) -> None:
            assert gate.wait(20)
            record(*args)

        monkeypatch.setattr(hub.run, "record", slowly)
        monkeypatch.setattr(Session, "clock_ms", 2_092)
        board = Board(hub, Metrics())
        session = hub.open("c1", direction=Direction.INBOUND, roles=(Role.AGENT,), rate=8000, metadata={})
        session.feed(Chunk((Role.AGENT,), np.zeros((16_000, 1), np.int16)))
        session.end()
        until(lambda: any('"scorecard"' in line for _, line in session.events.after(0)))
        try:
            asyncio.run(board.refresh())
            (call,) = board.calls
        finally:
            gate.set()
        assert (call.state, call.duration_ms) == ("ending", 2_000)
