"""Work beside the server: one after another, in processes of their own."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path

import pytest

from analyzer.desk.jobs import NICENESS, Line, apart
from analyzer.errors import ConfigError, StoreError
from analyzer.settings import read_settings


def test_jobs_run_in_order_one_at_a_time_and_a_failure_stops_none(caplog: pytest.LogCaptureFixture) -> None:
    line, done, running, over = Line("tests"), list[int](), threading.Lock(), threading.Event()

    def job(number: int) -> None:
        assert running.acquire(blocking=False)
        done.append(number)
        running.release()
        if number == 1:
            raise ValueError("a job of a test")

    with caplog.at_level(logging.ERROR):
        for number in range(4):
            line.add(lambda number=number: job(number))  # type: ignore[misc]
        line.add(over.set)
        assert over.wait(10)
    assert done == [0, 1, 2, 3]
    assert [record.message for record in caplog.records] == ["tests: a job failed"]


def test_a_process_of_its_own_answers_gives_way_and_brings_its_fault_back(tmp_path: Path) -> None:
    assert apart(os.nice, 0) >= NICENESS
    with pytest.raises(ConfigError, match="nowhere"):
        apart(read_settings, tmp_path / "nowhere.toml")
    with pytest.raises(StoreError, match=r"_exit: its process ended \(3\)"):
        apart(os._exit, 3)
