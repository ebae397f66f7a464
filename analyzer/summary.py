"""What many reports add up to: verdicts, outcomes per rule, groups, what stands out, and the standards' KPI.

``analyzer report`` prints it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from analyzer.errors import InputError
from analyzer.labels import OUTCOMES
from analyzer.report import SCHEMA as REPORT_SCHEMA
from analyzer.review import overview
from analyzer.review.tally import RULE, Axis, Tally, tally
from analyzer.review.trends import GroupFigures, RuleShare, Scope
from analyzer.review.worth import wilson
from analyzer.runs import REPORTS

SCHEMA = "analyzer.summary/1"
Report = Mapping[str, Any]
_DIGITS = 4  # of shares


def summarise(reports: Iterable[Report], axes: Sequence[Axis] = (), scope: Scope | None = None) -> dict[str, Any]:
    """The ``analyzer.summary/1`` object. Reports are read once, and none is kept.

    An object without ``verdict`` stands for a call attempt that was never answered: it takes part in the KPI alone.
    axes   the groups wanted (``read_axes``)
    """
    return summary_of(tally(reports, axes, scope), axes)


def summary_of(total: Tally, axes: Sequence[Axis] = ()) -> dict[str, Any]:
    """The ``analyzer.summary/1`` object of a tally that was made for these ``axes``."""
    everything = total.total
    mean = everything.mean_score
    interval = everything.score_interval
    return {
        "schema": SCHEMA,
        "calls": everything.calls,
        "unanswered": total.attempts,
        "mean_score": None if mean is None else round(mean, 2),
        "verdicts": {"pass": everything.passed, "fail": everything.failed, "review": everything.review},
        "rules": {
            name: {**{outcome: rule.outcomes[outcome] for outcome in OUTCOMES}, "findings": rule.findings}
            for name, rule in sorted(total.rules.items())
        },
        "kpis": total.kpis.figures(),
        "notices": dict(total.notices),
        "packs": dict(total.packs),
        "scope": _scope(total.scope, total.undated),
        "score_interval": None if interval is None else [round(bound, 2) for bound in interval],
        "by_rule": [_rule(share) for share in overview.rule_shares(total)],
        "groups": [
            {"by": list(table.by), "groups": [_group(group) for group in table.groups]}
            for table in (overview.table(total, axis) for axis in axes if axis != (RULE,))
        ],
        "stand_outs": [_rounded(asdict(one)) for one in overview.stand_outs(total)],
        "movements": [_rounded(asdict(one)) for one in overview.movements(total)],
    }


def _scope(scope: Scope, undated: int) -> dict[str, Any]:
    return {
        "since": scope.since and scope.since.isoformat(),
        "until": scope.until and scope.until.isoformat(),
        "team": scope.team or None,
        "agent": scope.agent or None,
        "undated": undated,
    }


def _rule(share: RuleShare) -> dict[str, Any]:
    rounded: dict[str, Any] = _rounded({**asdict(share), "share": share.share, "unsure_share": share.unsure_share})
    return rounded


def _group(group: GroupFigures) -> dict[str, Any]:
    """Counts as they are; the shares are of all calls of the group, with their 95 % intervals."""
    n, verdicts = group.calls, {"pass": group.passed, "fail": group.failed, "review": group.review}
    entry = asdict(group)
    for name in ("passed", "review", "failed"):
        del entry[name]
    rounded: dict[str, Any] = _rounded({
        **entry,
        "verdicts": verdicts,
        "shares": {name: [hits / n, *wilson(hits, n)] if n else None for name, hits in verdicts.items()},
        "off_pace_share": group.off_pace / group.paced if group.paced else None,
        "top": [_rule(share) for share in group.top],
        "rules": None if group.rules is None else [_rule(share) for share in group.rules],
    })  # fmt: skip
    return rounded


def _rounded(value: Any) -> Any:
    """Shares are below one; whatever is above is rounded where it is made. Tiny chances keep their size."""
    if isinstance(value, float):
        return round(value, _DIGITS) if abs(value) >= 10**-_DIGITS else float(f"{value:.1e}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def read_reports(sources: Iterable[str | Path]) -> Iterator[dict[str, Any] | InputError]:
    """The reports of run folders, of other folders and of files, in order; what is no report stands in its place as an
    error. A ``.json`` file holds one or an array, a ``.jsonl`` file one a line."""
    for source in sources:
        path = Path(source)
        folder = path / REPORTS if (path / REPORTS).is_dir() else path
        if not folder.is_dir():
            yield from _read_file(path)
            continue
        names = sorted(name for name in os.listdir(folder) if name.endswith((".json", ".jsonl")))
        if not names:
            yield InputError(f"{path}: no reports in this folder; give a run folder, or files analyzer score wrote")
        for name in names:
            yield from _read_file(folder / name)


def _read_file(path: Path) -> Iterator[dict[str, Any] | InputError]:
    """A line at a time where a line is a report: such files may be larger than the memory."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, part in enumerate(file if path.suffix == ".jsonl" else [file.read()], 1):
                place = f"{path}:{number}" if path.suffix == ".jsonl" else str(path)
                if part.strip():
                    yield from _read_json(part, place)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        after = f" after line {number}" if number else ""
        yield InputError(f"{path}: cannot be read{after} ({reason}); check the file")


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
