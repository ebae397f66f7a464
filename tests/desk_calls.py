"""Judged calls for tests of the review desk: the samples' transcripts, judged by the shipped pack, in a run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from analyzer.catalog import load_pack
from analyzer.errors import InputError
from analyzer.report import analyze, dump
from analyzer.runs import RunFolder
from analyzer.transcripts import read_transcripts

SAMPLES = Path(__file__).parent.parent / "samples"


@cache
def sample_reports() -> tuple[Mapping[str, Any], ...]:
    pack = load_pack()
    transcripts = read_transcripts(*sorted(SAMPLES.glob("*/expected.json")))
    return tuple(analyze(one, pack) for one in transcripts if not isinstance(one, InputError))


def write_run(folder: Path, reports: Iterable[Mapping[str, Any]], recordings: Mapping[str, Path] | None = None) -> Path:
    """A run folder that holds these reports; ``recordings`` are stereo files by call id."""
    with RunFolder(folder, {"pack": "standard"}) as run:
        for report in reports:
            call_id = report["call_id"]
            where = (recordings or {}).get(call_id)
            tracks = [{"path": str(where), "channels": ["agent", "customer"]}] if where else []
            run.record(call_id, f"sha256:{call_id}", dump(report) + "\n", recording=tracks)
    return folder


def many_reports(count: int) -> Iterable[dict[str, Any]]:
    """The samples over and over under other ids, days, agents and teams."""
    samples = sample_reports()
    for number in range(count):
        report = dict(samples[number % len(samples)])
        report["call_id"] = f"{report['call_id']}-{number:05d}"
        agent = number % 17
        report["metadata"] = {
            **report["metadata"],
            "started_at": f"2026-10-{1 + number % 28:02d}T{8 + number % 12:02d}:{number % 60:02d}:00+08:00",
            "agent_id": f"30{agent:02d}",
            "team": f"{agent % 4 + 1}组",
        }
        yield report
