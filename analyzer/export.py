"""Reports as tables: CSV for programs and any spreadsheet, XLSX for people.

``calls.csv`` and the sheet 通话 hold a row per call, ``findings.csv`` and the sheet 质检发现 a row per finding. CSV
columns carry the report's own names, the workbook Chinese headings. Text stays text: a call id ``0017`` keeps its zeros
in the workbook, and what a caller said can never become a formula. In the workbook text is stored as text and marked so
(quote prefix); CSV has no types, so there a cell that a spreadsheet would calculate gets a leading apostrophe.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import xlsxwriter

from analyzer.errors import StoreError
from analyzer.labels import DIRECTIONS, OUTCOMES, ROLES, SEVERITIES, VERDICTS, clock
from analyzer.privacy import mask_report
from analyzer.report import recognised_by
from analyzer.runs import Failure

Report = Mapping[str, Any]
Cell = str | int | float | None

TABLES = ("calls.csv", "findings.csv", "calls.xlsx")
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four: full-width = + - @, which Excel folds
_SHEET_ROWS = 1_048_576  # the format's limit, heading included
_CELL_CHARACTERS = 32_767  # likewise


class Column(NamedTuple):
    """name is the CSV heading, title the workbook's; width in characters; value reads one cell from a row."""

    name: str
    title: str
    width: int
    value: Callable[[Any], Cell]
    shown: Callable[[Any], Cell] | None = None  # what the workbook shows where it differs: Chinese words for codes


def write_tables(
    reports: Iterable[Report],
    rules: Mapping[str, str],
    folder: Path,
    failures: Iterable[Failure] = (),
    elements: Mapping[tuple[str, str], str] = MappingProxyType({}),
    *,
    unmasked: bool = False,
    own_numbers: Collection[str] = (),
) -> tuple[Path, ...]:
    """Write ``calls.csv``, ``findings.csv`` and ``calls.xlsx`` into ``folder``; a reader never sees one half written.

    reports   read once, one at a time: memory does not grow with the run
    rules     id -> title of every rule of the pack, in the order wanted for the columns
    failures  calls without a report, for a sheet of their own (无法处理)
    elements  (rule id, element) -> title, for findings of something that was not said
    unmasked  quotes as they were said, telephone numbers and all
    own_numbers  digits of the company's own telephone numbers, which are not masked
    raises    StoreError if a file cannot be written (it may be open in Excel)
    """
    paths = tuple(folder / name for name in TABLES)
    parts = tuple(path.with_name(path.name + ".part") for path in paths)
    shown = reports if unmasked else (mask_report(report, own_numbers) for report in reports)
    try:
        _write(shown, _call_columns(rules), _finding_columns(rules, elements), failures, parts)
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
    except (OSError, xlsxwriter.exceptions.XlsxWriterException) as error:
        raise StoreError(f"{folder}: tables not written: {error}; close them elsewhere or free the disk") from None
    return paths


def _write(
    reports: Iterable[Report],
    call_columns: list[Column],
    finding_columns: list[Column],
    failures: Iterable[Failure],
    parts: Sequence[Path],
) -> None:
    calls, findings, book = parts
    with ExitStack() as stack:
        call_rows = stack.enter_context(_CsvTable(calls, call_columns))
        finding_rows = stack.enter_context(_CsvTable(findings, finding_columns))
        workbook = stack.enter_context(_Workbook(book))
        call_sheet = workbook.sheet("通话", call_columns)
        finding_sheet = workbook.sheet("质检发现", finding_columns)
        for report in reports:
            call_rows.add(report)
            call_sheet.add(report)
            for row in _finding_rows(report):
                finding_rows.add(row)
                finding_sheet.add(row)
        failed = list(failures)
        if failed:
            failure_sheet = workbook.sheet("无法处理", _FAILURE_COLUMNS)
            for failure in failed:
                failure_sheet.add(failure)


def _finding_rows(report: Report) -> Iterator[tuple[Report, Mapping[str, Any], Mapping[str, Any]]]:
    for rule in report["rules"]:
        for finding in rule.get("findings", ()):
            yield report, rule, finding


# ---- columns


def _call_columns(rules: Mapping[str, str]) -> list[Column]:
    first = [
        Column("call_id", "通话", 24, lambda report: report["call_id"]),
        _coded("direction", "方向", 8, lambda report: report.get("direction"), DIRECTIONS),
        Column("score", "得分", 8, lambda report: report["score"]),
        _coded("verdict", "结论", 8, lambda report: report["verdict"], VERDICTS),
        Column("findings", "发现数", 8, lambda report: sum(1 for _ in _finding_rows(report))),
        Column("agent_rate", "坐席语速(字/分钟)", 16, lambda report: _rate(report, "agent")),
        Column("customer_rate", "客户语速(字/分钟)", 16, lambda report: _rate(report, "customer")),
        Column("talk_ratio", "坐席说话占比", 12, lambda report: _metric(report, "talk_ratio")),
        Column("silence_ms", "静音(毫秒)", 12, lambda report: _metric(report, "silence_ms")),
    ]
    last = [
        Column("truncated", "录音不完整", 10, lambda report: "是" if report.get("truncated") else None),
        Column("warnings", "提示", 30, lambda report: "; ".join(report.get("warnings") or ())),
        Column("recogniser", "识别模型", 30, recognised_by),
        Column("pack", "规则包", 20, lambda report: f"{report['pack']['name']} {report['pack']['version']}"),
    ]
    taken = {column.name for column in (*first, *last)}
    return [*first, *(_rule_column(rule, title, taken) for rule, title in rules.items()), *last]


def _rule_column(rule: str, title: str, taken: Collection[str]) -> Column:
    """Headed by the rule's id; where a column has that name (``talk_ratio``), by ``rule_`` and the id."""
    name = f"rule_{rule}" if rule in taken else rule
    return _coded(name, title, 12, lambda report: _outcome(report, rule), OUTCOMES)


def _finding_columns(rules: Mapping[str, str], elements: Mapping[tuple[str, str], str]) -> list[Column]:
    def category(row: Any) -> Cell:
        """Of a finding of something missing it is the element's id."""
        code: Cell = row[2].get("category")
        return elements.get((row[1]["rule"], str(code)), code)

    return [
        Column("call_id", "通话", 24, lambda row: row[0]["call_id"]),
        Column("rule", "规则", 18, lambda row: row[1]["rule"], lambda row: rules.get(row[1]["rule"], row[1]["rule"])),
        Column("category", "类别", 12, lambda row: row[2].get("category"), category),
        _coded("severity", "严重度", 8, lambda row: row[2].get("severity") or row[1].get("severity"), SEVERITIES),
        _coded("outcome", "规则结论", 10, lambda row: row[1]["outcome"], OUTCOMES),
        _coded("role", "说话人", 8, lambda row: row[2].get("role"), ROLES),
        Column("start_ms", "开始", 10, lambda row: row[2].get("start_ms"), lambda row: clock(row[2].get("start_ms"))),
        Column("end_ms", "结束", 10, lambda row: row[2].get("end_ms"), lambda row: clock(row[2].get("end_ms"))),
        Column("quote", "原话", 30, lambda row: row[2].get("quote")),
        Column("message", "说明", 50, lambda row: row[2].get("message")),
        Column("suggestion", "建议", 50, lambda row: row[2].get("suggestion")),
        Column("clauses", "条款", 16, lambda row: " ".join(row[1].get("clauses", ()))),
        Column("match", "匹配方式", 10, lambda row: row[2].get("match")),
        Column("confidence", "置信度", 8, lambda row: row[2].get("confidence")),
        Column("recogniser", "识别模型", 30, lambda row: recognised_by(row[0])),
    ]


_FAILURE_COLUMNS = [
    Column("call_id", "通话", 24, lambda failure: failure.call_id),
    Column("message", "原因", 80, lambda failure: failure.message),
]


def _coded(name: str, title: str, width: int, value: Callable[[Any], Cell], words: Mapping[str, str]) -> Column:
    """A column of codes that the workbook shows in words."""

    def shown(row: Any) -> Cell:
        code = value(row)
        return words.get(code, code) if isinstance(code, str) else code

    return Column(name, title, width, value, shown)


def _metric(report: Report, name: str) -> Cell:
    value: Cell = report.get("metrics", {}).get(name)
    return value


def _rate(report: Report, role: str) -> Cell:
    value: Cell = report.get("metrics", {}).get("rate", {}).get(role, {}).get("turn")
    return value


def _outcome(report: Report, rule: str) -> Cell:
    return next((entry["outcome"] for entry in report["rules"] if entry["rule"] == rule), None)


# ---- files


class _CsvTable:
    """UTF-8 with a byte order mark, because Excel takes Chinese for something else without it."""

    def __init__(self, path: Path, columns: list[Column]) -> None:
        self._columns = columns
        self._file = path.open("w", encoding="utf-8-sig", errors="backslashreplace", newline="")
        self._rows = csv.writer(self._file)
        self._rows.writerow([column.name for column in columns])

    def __enter__(self) -> _CsvTable:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, row: Any) -> None:
        self._rows.writerow([_inert(column.value(row)) for column in self._columns])


def _inert(cell: Cell) -> Cell:
    """A cell that no spreadsheet calculates.

    >>> _inert("=HYPERLINK(1)"), _inert(" @x"), _inert("您好"), _inert(-5)
    ("'=HYPERLINK(1)", "' @x", '您好', -5)
    """
    if isinstance(cell, str) and (cell.startswith(_FORMULA_STARTS) or cell.lstrip().startswith(_FORMULA_STARTS)):
        return "'" + cell
    return cell


class _Workbook:
    def __init__(self, path: Path) -> None:
        as_text = dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False)
        self._book = xlsxwriter.Workbook(os.fspath(path), {"constant_memory": True, **as_text})
        self.heading = self._book.add_format({"bold": True, "bg_color": "#DDE7F3", "text_wrap": True, "valign": "top"})
        self.text = self._book.add_format({"quote_prefix": True, "num_format": "@", "valign": "top"})

    def __enter__(self) -> _Workbook:
        return self

    def __exit__(self, *_: object) -> None:
        self._book.close()

    def sheet(self, name: str, columns: list[Column]) -> _Sheet:
        return _Sheet(self, name, columns)

    def add_worksheet(self, name: str) -> Any:
        return self._book.add_worksheet(name)


class _Sheet:
    """A table that goes on in another worksheet when the format's row limit is reached."""

    def __init__(self, book: _Workbook, name: str, columns: list[Column]) -> None:
        self._book = book
        self._name = name
        self._columns = columns
        self._part = 0
        self._begin()

    def _begin(self) -> None:
        self._part += 1
        self._row = 0
        self._sheet = self._book.add_worksheet(self._name if self._part == 1 else f"{self._name} {self._part}")
        self._sheet.freeze_panes(1, 1)
        self._sheet.autofilter(0, 0, _SHEET_ROWS - 1, len(self._columns) - 1)
        for index, column in enumerate(self._columns):
            self._sheet.set_column(index, index, column.width)
            self._sheet.write_string(0, index, column.title, self._book.heading)

    def add(self, row: Any) -> None:
        if self._row + 1 == _SHEET_ROWS:
            self._begin()
        self._row += 1
        for index, column in enumerate(self._columns):
            self._write(index, (column.shown or column.value)(row))

    def _write(self, index: int, cell: Cell) -> None:
        if isinstance(cell, str):
            text = cell.encode("utf-8", "backslashreplace").decode("utf-8")[:_CELL_CHARACTERS]
            self._sheet.write_string(self._row, index, text, self._book.text)
        elif cell is not None:
            self._sheet.write_number(self._row, index, cell)
