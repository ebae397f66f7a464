"""How far a run is: the arithmetic, and what a log file gets."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from analyzer import progress
from analyzer.asr import Plan
from analyzer.progress import Meter, RunProgress, describe, describe_plan, stage_table


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYZER_LANG", "en")


def test_speed_is_audio_hours_per_hour_and_time_left_follows_from_bytes() -> None:
    clock = Clock()
    meter = Meter({"a": 1_000, "b": 3_000, "c": 0}, clock)
    assert meter.left_s is None, "nothing measured yet"
    clock.now += 10
    meter.listened(60_000)
    meter.finished("a", 60_000)
    assert meter.speed == 6
    assert meter.left_s == 30
    assert describe(meter) == "1/3 calls, 0.10 calls per second, 6.0 audio-hours per hour, 0:00:30 left"


def test_what_is_listened_to_already_of_the_calls_in_work_is_not_counted_again() -> None:
    clock = Clock()
    meter = Meter({"a": 1_000, "b": 1_000}, clock)
    clock.now += 10
    meter.listened(60_000)
    meter.finished("a", 60_000)
    meter.listened(30_000)
    assert meter.left_s == pytest.approx(30 / 9)
    meter.listened(1_000_000)
    assert meter.left_s == 0


def test_calls_that_cost_nothing_shorten_the_rest_without_pretending_speed() -> None:
    clock = Clock()
    meter = Meter({"resumed": 5_000, "a": 1_000, "bad": 10, "b": 1_000}, clock)
    meter.finished("resumed")
    meter.finished("bad", failed=True)
    clock.now += 10
    meter.listened(60_000)
    meter.finished("a", 60_000)
    assert meter.left_s == 10
    assert describe(meter) == "3/4 calls, 1 failed, 0.10 calls per second, 6.0 audio-hours per hour, 0:00:10 left"


def test_a_log_gets_a_line_now_and_then_and_no_control_codes() -> None:
    clock = Clock()
    log = io.StringIO()
    meter = Meter({"a": 1_000}, clock)
    with RunProgress(meter, Console(file=log, width=80)) as run:
        run.listened(1_000)
        clock.now += progress.LOG_EVERY_S
        run.listened(1_000)
        run.listened(1_000)
        with run.aside():
            pass
    assert log.getvalue() == "0/1 calls, 0.00 calls per second, 0.1 audio-hours per hour\n"


def test_a_terminal_gets_a_line_that_moves_and_goes_away() -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    with RunProgress(Meter({"a": 1_000}, Clock()), console) as run, run.aside():
        screen.write("a scorecard\n")
    assert "0/1 calls" in screen.getvalue()
    assert screen.getvalue().rstrip().endswith("\x1b[2K\x1b[?25h") or "\x1b[2K" in screen.getvalue()


def test_the_plan_says_how_the_machine_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    info = {"name": "small", "compute_type": "int8", "window": "30s", "beam_size": 5}
    plan = Plan("cpu", workers=4, threads=2, batch_size=8)
    assert describe_plan(plan, info, jobs=6) == (
        "model small on cpu int8: 4 batches at once x 2 threads, up to 8 windows each, window 30s, beam 5; "
        "6 calls listened to at once"
    )
    monkeypatch.setenv("ANALYZER_LANG", "zh")
    gpu = describe_plan(Plan("cuda", 1, 0, 16), info, jobs=6)
    assert gpu == "模型 small（cuda int8）：同时 1 批、至多 16 个窗口，窗口 30s，束宽 5；同时听 6 通"


def test_the_stage_table_adds_up() -> None:
    screen = io.StringIO()
    seconds = {"vad": 1.0, "generate": 6.0, "rules": 1.0}
    Console(file=screen, width=80).print(stage_table(seconds, 1_800_000, on_gpu=False))
    lines = [line.split() for line in screen.getvalue().splitlines()]
    assert ["generate", "6.0", "75.0%", "12.0"] in lines
    assert ["together", "8.0", "100.0%", "16.0"] in lines
