"""A rescoring that is killed or stopped and started again ends like one that was left alone, and leaves no worker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from analyzer.catalog import load_pack
from analyzer.report import analyze, dump
from analyzer.transcripts import read_call_text
from tests.clean_pack import write_clean_pack

ROOT = Path(__file__).parent.parent
N_CALLS = 800
PATIENCE_S = 180


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("again")
    pack = load_pack(write_clean_pack(folder / "pack"))
    report = analyze(read_call_text("坐席: 不关我的事，谢谢您。\n客户: 好。\n坐席: 再见。").transcript, pack)
    lines = (dump({**report, "call_id": f"c{number:04}"}) for number in range(N_CALLS))
    (folder / "day.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def start(folder: Path, run: Path) -> subprocess.Popen[str]:
    options = ["--pack", folder / "pack", "--profile", "strict", "--run", run, "--jobs", 2, "-q"]
    hearing = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs deaf to Ctrl-C
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "analyzer", "rescore", str(folder / "day.jsonl"), *map(str, options)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, hearing)


def done_lines(run: Path) -> list[str]:
    journal = run / "journal.jsonl"
    text = journal.read_text(encoding="utf-8") if journal.exists() else ""
    events = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [event["call_id"] for event in events if event["event"] == "done"]


def wait_until_done(process: subprocess.Popen[str], run: Path, count: int) -> list[int]:
    """Process ids of the workers then."""
    deadline = time.monotonic() + PATIENCE_S
    while len(done_lines(run)) < count and process.poll() is None:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.03)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return list(map(int, children.read_text().split())) if children.exists() else []


def are_gone(pids: list[int]) -> bool:
    """Nobody of them runs; who ended is nobody's child here and may wait to be reaped."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        places = [place for pid in pids if (place := Path(f"/proc/{pid}/stat")).exists()]
        states = [place.read_text().rpartition(")")[2].split()[0] for place in places]
        if all(state == "Z" for state in states):
            return True
        time.sleep(0.01)
    return False


def test_killed_and_stopped_a_rescoring_goes_on_to_the_same_bytes(folder: Path) -> None:
    run = folder / "run"
    process = start(folder, run)
    workers = wait_until_done(process, run, 60)
    process.kill()
    process.communicate()
    assert workers
    assert are_gone(workers), "a killed parent leaves no worker behind"
    killed_at = len(done_lines(run))
    assert killed_at < N_CALLS

    process = start(folder, run)
    workers = wait_until_done(process, run, killed_at + 60)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, "Traceback" in errors) == (130, False), errors
    assert "the same command goes on from here" in errors
    assert are_gone(workers)
    assert killed_at < len(done_lines(run)) < N_CALLS

    process = start(folder, run)
    out, errors = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, errors) == (0, "")
    assert out.startswith(f"共 {N_CALLS} 通，{N_CALLS} 通有变化")
    assert Counter(Counter(done_lines(run)).values()) == {1: N_CALLS}, "each call counts exactly once"
    pack = load_pack(folder / "pack", "strict")
    first = analyze(read_call_text("坐席: 不关我的事，谢谢您。\n客户: 好。\n坐席: 再见。").transcript, pack)
    names = set()
    for path in (run / "reports").iterdir():
        assert path.read_text(encoding="utf-8") == dump({**first, "call_id": path.stem}) + "\n"
        names.add(path.name)
    assert len(names) == N_CALLS
