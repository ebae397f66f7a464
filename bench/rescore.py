"""Judging stored calls again: rate, memory, and whether identical rules give identical bytes.

    python -m bench.rescore [--number 100000] [--jobs N] [--profile modern] [--folder FOLDER]

Makes stored calls of the samples' turns (seeded: other ids, days, agents, teams; some turns left out, some calls put
together of two), judges them once into a run folder, judges that run again by the same rules and compares every
report byte for byte, then by another profile with Parquet tables, which DuckDB and pandas read back. Each step is the
command a user types; a step that was stopped goes on when the same ``--folder`` is given again. A stored call takes
50 KB, three times: 100,000 need 15 GB.

Rates are of wall time, and of CPU time of parent and workers together, which other work on the machine disturbs less.
Memory is the highest resident size, of the parent and of the largest worker.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas

SAMPLES = Path(__file__).parent.parent / "samples"
SEED = 6
DAYS = 60
_POLL_S = 0.5


@dataclass(slots=True)
class Step:
    """What one command took. peaks: highest resident size by process, in KiB."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peaks: dict[int, int] = field(default_factory=dict)
    parent: int = 0
    lines: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        workers = [peak for pid, peak in self.peaks.items() if pid != self.parent]
        parent, worker = self.peaks.get(self.parent, 0) >> 10, max(workers, default=0) >> 10
        return f"{self.wall_s:.0f} s, {self.cpu_s:.0f} CPU s, parent {parent} MiB, largest worker {worker} MiB"


# ---- stored calls


def stored_calls(number: int) -> Iterator[dict[str, Any]]:
    """Calls as reports hold them, without a verdict."""
    samples = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(SAMPLES.glob("*/expected.json"))]
    for index in range(number):
        yield _call(random.Random(SEED * 1_000_003 + index), samples, index)


def _call(choose: random.Random, samples: list[dict[str, Any]], index: int) -> dict[str, Any]:
    parts = choose.sample(samples, choose.choice((1, 1, 1, 2)))
    base, turns, activity, offset = parts[0], [], {"agent": [], "customer": []}, 0
    for part in parts:
        kept = [turn for turn in part["turns"] if choose.random() < 0.9] or part["turns"][:3]
        turns += [_later(turn, offset) for turn in kept]
        for role, spans in (part.get("activity") or {}).items():
            activity.setdefault(role, []).extend([start + offset, end + offset] for start, end in spans)
        offset += part["duration_ms"]
    agent = 3000 + choose.randrange(200)
    started = date(2026, 9, 1) + timedelta(days=index * DAYS // 100_000 if index < 100_000 else choose.randrange(DAYS))
    metadata = {**base["metadata"], "agent_id": str(agent), "team": f"{agent % 8 + 1} 组"}
    metadata["started_at"] = f"{started}T{choose.randrange(8, 20):02}:{choose.randrange(60):02}:00+08:00"
    keys = ("schema", "direction", "recogniser", "truncated", "recording_offset_ms", "warnings")
    fields = {key: base[key] for key in keys if key in base}
    return {
        **fields, "call_id": f"{started:%m%d}/{index:06}", "duration_ms": offset, "metadata": metadata,
        "activity": activity, "turns": turns,
    }  # fmt: skip


def _later(turn: dict[str, Any], offset: int) -> dict[str, Any]:
    chars = [[start + offset, end + offset] for start, end in turn.get("chars") or ()]
    times = {"start_ms": turn["start_ms"] + offset, "end_ms": turn["end_ms"] + offset}
    return {**turn, **times, **({"chars": chars} if chars else {})}


# ---- steps


def run(*arguments: object) -> Step:
    """``analyzer rescore …`` as users start it; standard output is kept."""
    step, before = Step(), resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    command = [sys.executable, "-m", "analyzer", "rescore", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, env={**os.environ, "PYTHONPATH": str(SAMPLES.parent)})
        step.parent = process.pid
        while process.poll() is None:
            _note_peaks(step)
            time.sleep(_POLL_S)
        out.seek(0)
        step.lines = out.read().splitlines()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    step.wall_s = time.monotonic() - start
    step.cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exit {process.returncode}")
    return step


def _note_peaks(step: Step) -> None:
    try:
        children = Path(f"/proc/{step.parent}/task/{step.parent}/children").read_text()
        for pid in (step.parent, *map(int, children.split())):
            status = Path(f"/proc/{pid}/status").read_text()
            line = next((line for line in status.splitlines() if line.startswith("VmHWM")), None)
            if line is not None:
                step.peaks[pid] = max(step.peaks.get(pid, 0), int(line.split()[1]))
    except (FileNotFoundError, ProcessLookupError):
        return  # it has just ended


def rated(what: str, step: Step, calls: int) -> None:
    rates = f"{calls / step.wall_s:.1f} calls/s, {calls / step.cpu_s:.1f} per CPU second"
    print(f"{what}: {calls:,} calls, {rates}; {step}", flush=True)


def compare(one: Path, other: Path) -> int:
    """How many reports differ. Exits if a call is in one run only."""
    names = [sorted(path.name for path in (run / "reports").iterdir()) for run in (one, other)]
    if names[0] != names[1]:
        sys.exit(f"{one} and {other} do not hold the same calls")
    return sum((one / "reports" / name).read_bytes() != (other / "reports" / name).read_bytes() for name in names[0])


def query(folder: Path, calls: int, changed: int) -> None:
    """The tables as analysts read them, held against what the command printed."""
    for path in sorted(folder.glob("*.parquet")):
        ((rows,),) = duckdb.sql(f"select count(*) from '{path}'").fetchall()
        print(f"  {path.name}: {path.stat().st_size / 1e3:,.0f} kB, {rows:,} rows")
    start = time.monotonic()
    (found,) = duckdb.sql(
        f"select count(*), count(*) filter (changed), avg(old_score), avg(new_score) from '{folder}/scores.parquet'"
    ).fetchall()
    flips = duckdb.sql(
        f"select rule, count(*) n from '{folder}/rules.parquet' where flipped group by rule order by n desc limit 3"
    ).fetchall()
    print(f"  DuckDB in {time.monotonic() - start:.2f} s: mean {found[2]:.2f} → {found[3]:.2f}; flipped most: {flips}")
    frame = pandas.read_parquet(folder / "scores.parquet")
    assert found[:2] == (calls, changed) == (len(frame), int(frame["changed"].sum())), "tables and list disagree"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rescore", description=__doc__.split("\n")[0])
    parser.add_argument("--number", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--profile", default="modern")
    parser.add_argument("--folder", type=Path, help="kept; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        measure(options.folder or Path(temporary), options.number, options.jobs, options.profile)


def measure(folder: Path, number: int, jobs: int, profile: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    calls = folder / f"calls-{number}.jsonl"
    if not calls.exists():
        with calls.with_suffix(".part").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(call, ensure_ascii=False) + "\n" for call in stored_calls(number))
        calls.with_suffix(".part").rename(calls)
    print(f"{number:,} calls, {jobs} jobs, load {os.getloadavg()[0]:.1f}", flush=True)
    old, same, other = (folder / f"{name}-{number}" for name in ("old", "same", "other"))
    rated("transcripts, judged first", run(calls, "--run", old, "--jobs", jobs, "-q"), number)
    again = run(old, "--run", same, "--jobs", jobs, "--format", "jsonl")
    rated("the same rules", again, number)
    differing = compare(old, same)
    print(f"  reports that differ: {differing}; calls listed as changed: {len(again.lines)}")
    rated("nothing left to do", run(old, "--run", same, "--jobs", jobs, "-q"), number)
    tables = folder / f"tables-{number}"
    flipped = run(old, "--run", other, "--jobs", jobs, "--profile", profile, "--parquet", tables, "--format", "jsonl")
    rated(f"profile {profile}, with Parquet", flipped, number)
    verdicts = sum(verdict[0] != verdict[1] for verdict in (json.loads(line)["verdict"] for line in flipped.lines))
    print(f"  calls listed as changed: {len(flipped.lines):,}; another verdict: {verdicts:,}")
    query(tables, number, len(flipped.lines))
    if differing or again.lines:
        sys.exit("the same rules gave another report")


if __name__ == "__main__":
    main()
