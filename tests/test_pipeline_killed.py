"""A run that is killed or stopped and started again ends like one that was left alone."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fake_speech import write_call
from tests.tiny_pack import write_tiny_pack

ROOT = Path(__file__).parent.parent
N_CALLS = 30
PATIENCE_S = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("day")
    write_tiny_pack(folder / "pack")
    for seed in range(N_CALLS):
        write_call(folder / "in" / f"c{seed:02}.wav", seed, seconds=8, poison_hz=None)
    (folder / "in" / "bad.wav").write_bytes(b"not a recording")
    return folder


def start(folder: Path, run: Path) -> subprocess.Popen[str]:
    arguments = ["score", str(folder / "in"), "--pack", str(folder / "pack"), "--run", str(run), "--jobs", "2", "-q"]
    command = [sys.executable, "-m", "tests.score_with_fakes", *arguments, "--model", "fake"]
    # a shell starts background jobs deaf to Ctrl-C, and they pass that on: hear it, wherever the tests run
    hearing = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, hearing)


def done_lines(run: Path) -> list[str]:
    """Call ids of the journal's whole ``done`` lines."""
    journal = run / "journal.jsonl"
    text = journal.read_text(encoding="utf-8") if journal.exists() else ""
    events = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [event["call_id"] for event in events if event["event"] == "done"]


def wait_until_done(process: subprocess.Popen[str], run: Path, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(done_lines(run)) < count and process.poll() is None:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.005)


def finish(folder: Path, run: Path) -> tuple[int, str]:
    process = start(folder, run)
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def reports(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "reports").iterdir()}


@pytest.fixture(scope="module")
def clean(folder: Path) -> Path:
    code, errors = finish(folder, folder / "clean")
    assert code == 3, errors
    assert len(reports(folder / "clean")) == N_CALLS
    return folder / "clean"


def test_killed_five_times_at_random_moments_the_reports_are_the_same_bytes(folder: Path, clean: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # shown when the test fails
    moments = random.Random(seed)
    run = folder / "killed"
    unfinished = 0
    for _ in range(5):
        process = start(folder, run)
        wait_until_done(process, run, len(done_lines(run)) + moments.randrange(0, 4))
        time.sleep(moments.random() * 0.01)  # calls of 8 s and no recogniser: a quick machine scores several meanwhile
        process.kill()
        process.communicate()
        unfinished += len(done_lines(run)) < N_CALLS
    code, errors = finish(folder, run)
    assert code == 3, errors
    assert reports(run) == reports(clean)
    assert set(Counter(done_lines(run)).values()) == {1}, "no call counts twice"
    assert len(done_lines(run)) == N_CALLS
    assert unfinished >= 3, "it was killed before the end"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_ctrl_c_it_says_how_to_go_on_and_does(folder: Path, clean: Path, how: signal.Signals) -> None:
    run = folder / f"stopped-{how.name}"
    process = start(folder, run)
    wait_until_done(process, run, 2)
    process.send_signal(how)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, errors
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["state"] == "interrupted"
    assert 2 <= len(done_lines(run)) < N_CALLS
    code, _ = finish(folder, run)
    assert code == 3
    assert reports(run) == reports(clean)
    assert set(Counter(done_lines(run)).values()) == {1}


def test_a_call_that_failed_is_reported_again_when_the_run_goes_on(folder: Path, clean: Path) -> None:
    code, errors = finish(folder, clean)
    assert code == 3
    assert "bad.wav" in errors
    assert "bad.json" not in reports(clean)
