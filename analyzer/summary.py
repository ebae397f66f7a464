"""What many reports add up to: verdicts, outcomes per rule and the standards' KPI. ``analyzer report`` prints it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from analyzer.errors import InputError
from analyzer.kpi import kpis
from analyzer.labels import OUTCOMES, VERDICTS
from analyzer.report import SCHEMA as REPORT_SCHEMA
from analyzer.runs import REPORTS

SCHEMA = "analyzer.summary/1"
Report = Mapping[str, Any]

_NEEDED = ("direction", "duration_ms", "metadata", "rules", "verdict", "score")  # of a report; the rest is its call's


def summarise(reports: Iterable[Report]) -> dict[str, Any]:
    """The ``analyzer.summary/1`` object. Reports are read once; what was said in the calls is not kept.

    An object without ``verdict`` stands for a call attempt that was never answered: it takes part in the KPI alone.
    """
    kept = [{key: report[key] for key in _NEEDED if key in report} for report in reports]
    judged = [report for report in kept if "verdict" in report]
    scores = [report["score"] for report in judged if report["score"] is not None]
    verdicts = Counter(report["verdict"] for report in judged)
    rules: dict[str, Counter[str]] = {}
    for report in judged:
        for entry in report["rules"]:
            counts = rules.setdefault(entry["rule"], Counter())
            counts[entry["outcome"]] += 1
            counts["findings"] += len(entry["findings"])
    return {
        "schema": SCHEMA,
        "calls": len(judged),
        "unanswered": len(kept) - len(judged),
        "mean_score": round(sum(scores) / len(scores), 2) if scores else None,
        "verdicts": {verdict: verdicts[verdict] for verdict in VERDICTS},
        "rules": {
            rule: {name: counts[name] for name in (*OUTCOMES, "findings")} for rule, counts in sorted(rules.items())
        },
        "kpis": kpis(kept),
    }


def read_reports(sources: Iterable[str | Path]) -> Iterator[dict[str, Any] | InputError]:
    """The reports of run folders, of other folders and of files, in order; what is no report stands in its place as an
    error. A ``.json`` file holds one or an array, a ``.jsonl`` file one a line."""
    for source in sources:
        path = Path(source)
        folder = path / REPORTS if (path / REPORTS).is_dir() else path
        files = sorted(f for f in folder.iterdir() if f.suffix in (".json", ".jsonl")) if folder.is_dir() else [path]
        if not files:
            yield InputError(f"{path}: no reports in this folder; give a run folder, or files analyzer score wrote")
        for file in files:
            yield from _read_file(file)


def _read_file(path: Path) -> Iterator[dict[str, Any] | InputError]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        yield InputError(f"{path}: cannot be read ({reason}); check the file")
        return
    for number, part in enumerate(text.splitlines() if path.suffix == ".jsonl" else [text], 1):
        place = f"{path}:{number}" if path.suffix == ".jsonl" else str(path)
        if part.strip():
            yield from _read_json(part, place)


def _read_json(text: str, place: str) -> Iterator[dict[str, Any] | InputError]:
    try:
        value = json.loads(text)
    except ValueError as error:
        yield InputError(f"{place}: not JSON ({error}); check the file")
        return
    for fields in value if isinstance(value, list) else [value]:
        is_report = isinstance(fields, dict) and fields.get("schema") == REPORT_SCHEMA
        is_attempt = isinstance(fields, dict) and "turns" not in fields and isinstance(fields.get("metadata"), dict)
        if is_report or is_attempt:
            yield fields
        else:
            yield InputError(f"{place}: no report ({REPORT_SCHEMA}); make one of a transcript with analyzer check")
