"""Old and new scores side by side as Parquet, for DuckDB, pandas and Spark: docs/rescore.md lists the columns.

    scores.parquet     a row per call
    rules.parquet      a row per call and rule of either pack
    findings.parquet   a row per finding of the old report, the new one or both

Workers turn calls into rows (``Sheets``), the parent strings them together (``Tables``); neither holds more than a row
group. Types are those that all three readers have: UTF-8 text, signed integers, doubles, booleans, dates, instants in
microseconds of UTC, lists of text. Nothing unsigned, no dictionary type, no nanoseconds.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analyzer.errors import ConfigError, StoreError
from analyzer.privacy import mask_report
from analyzer.report import recognised_by
from analyzer.rescore.changes import is_flip
from analyzer.rescore.stored import Day, Place

try:
    import pyarrow as arrow
    import pyarrow.parquet
except ModuleNotFoundError as missing:  # 160 MB, so an extra
    raise ConfigError(f"Parquet needs pyarrow ({missing}); pip install '.[parquet]' in the checkout") from None

Report = Mapping[str, Any]
Row = Sequence[Any]

_TEXT, _REAL, _COUNT, _MS, _FLAG = arrow.string(), arrow.float64(), arrow.int32(), arrow.int64(), arrow.bool_()
_CALL = (
    ("call_id", _TEXT),
    ("date", arrow.date32()),
    ("agent_id", _TEXT),
    ("team", _TEXT),
    ("recogniser", _TEXT),
)
_SIDES = ("old", "new")


def _both(*columns: tuple[str, Any]) -> list[tuple[str, Any]]:
    return [(f"{side}_{name}", kind) for name, kind in columns for side in _SIDES]


SCHEMAS: Mapping[str, Any] = {
    "scores": arrow.schema(
        [
            *_CALL,
            ("date_from", _TEXT),
            ("started_at", arrow.timestamp("us", "UTC")),
            ("direction", _TEXT),
            ("duration_ms", _MS),
            ("source", _TEXT),
            *_both(("score", _REAL), ("verdict", _TEXT), ("criticals", _COUNT), ("pack", _TEXT)),
            *_both(("pack_version", _TEXT), ("pack_digest", _TEXT), ("profile", _TEXT)),
            ("changed", _FLAG),
            ("flipped_rules", arrow.list_(_TEXT)),
        ]
    ),
    "rules": arrow.schema(
        [
            *_CALL,
            ("rule", _TEXT),
            *_both(("outcome", _TEXT), ("severity", _TEXT), ("points", _REAL), ("max_points", _REAL)),
            ("flipped", _FLAG),
        ]
    ),
    "findings": arrow.schema(
        [
            *_CALL,
            ("rule", _TEXT),
            ("side", _TEXT),
            ("category", _TEXT),
            ("severity", _TEXT),
            ("role", _TEXT),
            ("turn", _COUNT),
            ("start_ms", _MS),
            ("end_ms", _MS),
            ("quote", _TEXT),
            ("match", _TEXT),
            ("confidence", _REAL),
            ("message", _TEXT),
            *_both(("outcome", _TEXT)),
        ]
    ),
}
_GROUP_ROWS = {"scores": 20_000, "rules": 200_000, "findings": 50_000}  # some 10 to 30 MB each before it is written


# --- a worker's part ---


class Sheets:
    """The rows of some calls."""

    def __init__(self) -> None:
        self._columns: dict[str, list[list[Any]]] = {name: [[] for _ in schema] for name, schema in SCHEMAS.items()}

    def add(
        self, old: Report | None, new: Report, place: Place, day: Day | None, *, unmasked: bool = False
    ) -> tuple[int, ...]:
        """One call. old: None where it was never judged. Returns how many rows each table got, as in ``SCHEMAS``."""
        attributes = new["metadata"]
        whose = _text(attributes.get("agent_id")), _text(attributes.get("team"))
        call = new["call_id"], day and day.day, *whose, recognised_by(new)
        rows = {
            "scores": [(*call, *_score_row(old, new, place, day))],
            "rules": [(*call, *row) for row in _rule_rows(old, new)],
            "findings": [(*call, *row) for row in _finding_rows(old, new, unmasked)],
        }
        for name, columns in self._columns.items():
            for column, values in zip(columns, zip(*rows[name], strict=True), strict=False):
                column.extend(values)
        return tuple(len(rows[name]) for name in SCHEMAS)

    def sealed(self) -> tuple[bytes, ...]:
        """Each table as an Arrow stream, for the way to the parent."""
        return tuple(_sealed(schema, self._columns[name]) for name, schema in SCHEMAS.items())


def _sealed(schema: Any, columns: list[list[Any]]) -> bytes:
    arrays = [_array(values, column.type) for values, column in zip(columns, schema, strict=True)]
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(arrow.record_batch(arrays, schema=schema))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _array(values: list[Any], kind: Any) -> Any:
    try:
        return arrow.array(values, kind)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON allows
        return arrow.array([_whole(value) for value in values], kind)


def _whole(value: Any) -> Any:
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _score_row(old: Report | None, new: Report, place: Place, day: Day | None) -> Iterator[Any]:
    yield day and day.basis
    yield _instant(new["metadata"].get("started_at"))
    yield new["direction"]
    yield new["duration_ms"]
    yield str(place)
    for key in ("score", "verdict"):
        yield from (report and report[key] for report in (old, new))
    yield from (report and _criticals(report) for report in (old, new))
    for key in ("name", "version", "digest"):
        yield from (report and report["pack"][key] for report in (old, new))
    yield from (report and report.get("profile") for report in (old, new))
    flipped = [rule for rule, was, becomes in _entries(old, new) if is_flip(_outcome(was), _outcome(becomes))]
    is_same = old is not None and not flipped and (old["score"], old["verdict"]) == (new["score"], new["verdict"])
    yield None if old is None else not is_same
    yield None if old is None else flipped


def _instant(text: str | None) -> datetime | None:
    """Local time where the attribute names no zone. Years that no calendar carries over are none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except OverflowError:
        return None


def _criticals(report: Report) -> int:
    """Critical findings of stable rules that were violated; one of the whole call where a rule points nowhere."""
    violated = [rule for rule in report["rules"] if rule["outcome"] == "violation" and "status" not in rule]
    severities = Counter(finding["severity"] for rule in violated for finding in rule["findings"] or [rule])
    return severities["critical"]


Entry = Mapping[str, Any]


def _entries(old: Report | None, new: Report) -> Iterator[tuple[str, Entry | None, Entry | None]]:
    """The rules of both reports, the new one's first."""
    before = {entry["rule"]: entry for entry in old["rules"]} if old else {}
    for entry in new["rules"]:
        yield entry["rule"], before.pop(entry["rule"], None), entry
    for rule, entry in before.items():
        yield rule, entry, None


def _outcome(entry: Entry | None) -> str | None:
    return None if entry is None else entry["outcome"]


def _rule_rows(old: Report | None, new: Report) -> Iterator[Row]:
    for rule, was, becomes in _entries(old, new):
        sides = [entry or {} for entry in (was, becomes)]
        values = [side.get(key) for key in ("outcome", "severity", "points", "max_points") for side in sides]
        yield rule, *values, None if old is None else is_flip(_outcome(was), _outcome(becomes))


_OF_FINDING = ("category", "severity", "role", "turn", "start_ms", "end_ms", "quote", "match", "confidence", "message")
_PLACE = ("category", "severity", "role", "turn", "char_start", "char_end", "start_ms", "end_ms")


def _finding_rows(old: Report | None, new: Report, unmasked: bool) -> Iterator[Row]:
    """Findings at one place, of one category and severity, are the same finding."""
    heads: list[tuple[str, str]] = []
    outcomes: list[tuple[str | None, str | None]] = []
    findings: list[Entry] = []
    for rule, was, becomes in _entries(old, new):
        before, after = _placed(was), _placed(becomes)
        for key, finding in {**before, **after}.items():
            heads.append((rule, "both" if key in before and key in after else "new" if key in after else "old"))
            outcomes.append((_outcome(was), _outcome(becomes)))
            findings.append(finding)
    shown = findings if unmasked or not findings else _masked(findings, new["turns"])
    for head, finding, outcome in zip(heads, shown, outcomes, strict=True):
        yield *head, *(finding[name] for name in _OF_FINDING), *outcome


def _placed(entry: Entry | None) -> dict[Row, Entry]:
    """Findings by what tells them apart, and by number where even that does not."""
    seen: Counter[Row] = Counter()
    placed: dict[Row, Entry] = {}
    for finding in entry["findings"] if entry else ():
        place = tuple(finding[name] for name in _PLACE)
        placed[*place, seen[place]] = finding
        seen[place] += 1
    return placed


def _masked(findings: list[Entry], turns: Sequence[Entry]) -> list[Entry]:
    words = [{"role": turn["role"], "text": turn["text"]} for turn in turns]
    masked: list[Entry] = mask_report({"turns": words, "rules": [{"findings": findings}]})["rules"][0]["findings"]
    return masked


# --- the parent's part ---


class Tables:
    """The files, written a row group at a time; each appears whole, when ``finish`` returns, or not at all.

    raises StoreError if the disk refuses
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = {name: folder / f"{name}.parquet.part" for name in SCHEMAS}
        self._waiting: dict[str, list[Any]] = {name: [] for name in SCHEMAS}
        self._writers: dict[str, Any] = {}
        self._is_finished = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, schema in SCHEMAS.items():
                self._writers[name] = pyarrow.parquet.ParquetWriter(
                    self._parts[name], schema, compression="zstd", version="2.6", store_schema=False
                )
        except OSError as error:
            raise self._refused(error) from None

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, *_: object) -> None:
        """Without ``finish`` nothing is left behind."""
        if not self._is_finished:
            for name, writer in self._writers.items():
                writer.close()
                self._parts[name].unlink(missing_ok=True)

    def add(self, sheets: Sequence[bytes], rows: Sequence[tuple[int, ...]], wanted: Sequence[bool]) -> None:
        """What a worker sent.

        rows    of each call in it, as ``Sheets.add`` said
        wanted  which of these calls
        """
        for index, (name, sealed) in enumerate(zip(SCHEMAS, sheets, strict=True)):
            batch = arrow.ipc.open_stream(sealed).read_next_batch()
            counts = [count[index] for count in rows]
            self._waiting[name] += [batch] if all(wanted) else _slices(batch, counts, wanted)
            if sum(len(part) for part in self._waiting[name]) >= _GROUP_ROWS[name]:
                self._write(name)

    def _write(self, name: str) -> None:
        table = arrow.Table.from_batches(self._waiting[name], SCHEMAS[name]).combine_chunks()
        self._waiting[name] = []
        try:
            if len(table):
                self._writers[name].write_table(table, row_group_size=len(table))
        except OSError as error:
            raise self._refused(error) from None

    def finish(self) -> tuple[Path, ...]:
        """Returns the files."""
        try:
            for name, writer in self._writers.items():
                self._write(name)
                writer.close()
                with self._parts[name].open("rb") as file:
                    os.fsync(file.fileno())
            for name, part in self._parts.items():
                part.replace(self._path(name))
        except OSError as error:
            raise self._refused(error) from None
        self._is_finished = True
        return tuple(map(self._path, SCHEMAS))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    def _refused(self, error: OSError) -> StoreError:
        reason = error.strerror or error
        return StoreError(f"{self._folder}: tables not written: {reason}; free the disk or choose another --parquet")


def _slices(batch: Any, counts: Sequence[int], wanted: Sequence[bool]) -> Iterator[Any]:
    start = 0
    for count, is_wanted in zip(counts, wanted, strict=True):
        if is_wanted:
            yield batch.slice(start, count)
        start += count
