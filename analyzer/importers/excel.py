"""Word lists kept in a spreadsheet: a sheet per list, a row per phrase, the columns named in its first filled row."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from analyzer.errors import ConfigError
from analyzer.importers.drafts import Drafts, Row, literal

_COLUMNS = {
    "phrase": ("词语", "关键词", "禁语", "服务禁语", "禁用语", "敏感词", "短语", "话术", "用语", "词", "phrase",
               "keyword", "word"),
    "category": ("类别", "分类", "类型", "category", "type"),
    "severity": ("级别", "严重程度", "等级", "程度", "severity", "level"),
    "suggestion": ("建议", "建议用语", "推荐话术", "正确用语", "替换为", "规范用语", "suggestion"),
    "allow": ("例外", "排除", "排除词", "放行", "allow", "except"),
    "clauses": ("条款", "条款号", "编号", "clause", "clauses"),
    "notes": ("备注", "说明", "notes", "remark", "comment"),
}  # fmt: skip
_SEVERITIES = {
    "严重": "critical", "致命": "critical", "高": "critical", "critical": "critical",
    "较重": "major", "重要": "major", "中": "major", "major": "major",
    "一般": "minor", "轻微": "minor", "较轻": "minor", "低": "minor", "minor": "minor",
    "提示": "info", "info": "info",
}  # fmt: skip
_SEVERAL = re.compile(r"[/;\n]")
_LISTED = re.compile(r"[/;\n、,]")
_NAMED = {name: column for column, names in _COLUMNS.items() for name in names}


def read_workbook(path: Path) -> Drafts:
    """Every sheet as a word list with a ``forbid`` rule that uses it. Raises ConfigError if it is no workbook."""
    import zipfile  # noqa: PLC0415

    import openpyxl  # noqa: PLC0415
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415

    drafts = Drafts(path.name)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except (InvalidFileException, zipfile.BadZipFile, KeyError, OSError) as error:
        raise ConfigError(f"{path}: not an Excel workbook ({error}); save it as .xlsx") from None
    try:
        for sheet in book.worksheets:
            _add_sheet(drafts, sheet.title, [list(row) for row in sheet.iter_rows(values_only=True)])
    finally:
        book.close()
    if not drafts.rules:
        raise ConfigError(f"{path}: no sheet with a column of phrases; name it 词语 (or 关键词, 禁语, phrase)")
    return drafts


def _add_sheet(drafts: Drafts, title: str, cells: Sequence[Sequence[Any]]) -> None:
    head = next((number for number, row in enumerate(cells) if "phrase" in _columns(row).values()), None)
    if head is None:
        if any(any(row) for row in cells):
            drafts.leave(f"sheet “{title}”", "no column is named 词语, 关键词, 禁语 or phrase")
        return
    columns = _columns(cells[head])
    for index, cell in enumerate(cells[head]):
        if cell not in (None, "") and index not in columns:
            drafts.leave(f"sheet “{title}”", f"column {str(cell)!r} has no counterpart")
    rows = [
        row
        for number, values in enumerate(cells[head + 1 :], head + 2)
        for row in _rows(drafts, f"sheet “{title}” row {number}", columns, values)
    ]
    if rows:
        rule_id = drafts.new_id(title)
        drafts.add_words(rule_id, title, rows)
        categories = list(dict.fromkeys(row["category"] for row in rows if row.get("category")))
        keys: dict[str, Any] = {"categories": categories} if all(row.get("category") for row in rows) else {}
        drafts.add_rule(rule_id, title, "forbid", speaker="agent", any_in=[rule_id], **keys)


def _columns(row: Sequence[Any]) -> dict[int, str]:
    """Our column by the number of theirs; of two that mean one the first counts."""
    found: dict[int, str] = {}
    for index, cell in enumerate(row):
        column = _NAMED.get(str(cell).strip().lower()) if cell is not None else None
        if column and column not in found.values():
            found[index] = column
    return found


def _rows(drafts: Drafts, place: str, columns: dict[int, str], values: Sequence[Any]) -> Iterator[Row]:
    """The row, once per phrase its cell holds: 不知道/不清楚 are two."""
    cells = {column: _text(values[index]) for index, column in columns.items() if index < len(values)}
    if not any(cells.values()):
        return
    rest = {key: value for key, value in cells.items() if value and key not in ("phrase", "severity", "allow")}
    if given := cells.get("severity"):
        severity = _SEVERITIES.get(given.lower())
        if severity:
            rest["severity"] = severity
        else:
            drafts.leave(place, f"severity {given!r} is not one of {', '.join(_SEVERITIES)}")
    allowed = [
        literal(part) for part in re.split(r"[、,，]|" + _SEVERAL.pattern, cells.get("allow", "")) if literal(part)
    ]
    if allowed:
        rest["allow"] = ";".join(allowed)
    phrases = [phrase for part in _SEVERAL.split(cells.get("phrase", "")) if (phrase := literal(part))]
    if not phrases:
        drafts.leave(place, f"no phrase in {cells.get('phrase', '')!r}")
    for phrase in phrases:
        yield {"phrase": phrase, **rest}


def _text(value: Any) -> str:
    return "" if value is None else unicodedata.normalize("NFKC", str(value)).strip()
