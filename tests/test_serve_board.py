"""How calls stand, read by several at once."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from analyzer.serve import board as module
from analyzer.serve.board import Board
from analyzer.serve.metrics import Metrics
from tests.serving import a_hub


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
