"""CSV and XLSX: what Excel and a program find in them."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import export
from analyzer.errors import StoreError
from analyzer.export import write_tables

RULES = {"opening": "开场白", "banned_phrase": "服务禁语"}


def a_report(call_id: str = "c1", quote: str | None = "不关我的事") -> dict[str, Any]:
    finding = {
        "category": "推诿",
        "severity": "critical",
        "role": "agent",
        "turn": 1,
        "spans": [{"turn": 1, "char_start": 0, "char_end": 5}],
        "start_ms": 40_210,
        "end_ms": 41_630,
        "quote": quote,
        "match": "exact",
        "confidence": 0.91,
        "message": "坐席使用了服务禁语",
        "suggestion": "我来帮您跟进这件事",
    }
    return {
        "schema": "analyzer.report/1",
        "call_id": call_id,
        "direction": "inbound",
        "pack": {"name": "standard", "version": "2026.11", "digest": "sha256:0"},
        "score": 62.5,
        "verdict": "fail",
        "rules": [
            {"rule": "opening", "outcome": "pass", "severity": "major", "points": 0, "clauses": [], "findings": []},
            {
                "rule": "banned_phrase",
                "outcome": "violation",
                "severity": "critical",
                "points": -30,
                "clauses": ["S003-B2.5.2"],
                "findings": [finding],
            },
        ],
        "metrics": {"rate": {"agent": {"turn": 138}, "customer": {"turn": 0}}, "talk_ratio": 0.58, "silence_ms": 9100},
        "recogniser": {"name": "demo", "notice": "demo (synthetic voices only)"},
        "turns": [],
        "warnings": [],
    }


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def sheet_rows(path: Path, name: str) -> list[tuple[Any, ...]]:
    book = openpyxl.load_workbook(path, read_only=True)
    rows = list(book[name].iter_rows(values_only=True))
    book.close()
    return rows


def test_a_call_is_a_row_and_a_finding_is_a_row_of_the_other_sheet(tmp_path: Path) -> None:
    write_tables([a_report("c1"), a_report("c2")], RULES, tmp_path)
    calls, findings = csv_rows(tmp_path / "calls.csv"), csv_rows(tmp_path / "findings.csv")
    assert [row["call_id"] for row in calls] == ["c1", "c2"]
    assert calls[0]["score"] == "62.5"
    assert calls[0]["opening"] == "pass"
    assert calls[0]["banned_phrase"] == "violation"
    assert calls[0]["recogniser"] == findings[0]["recogniser"] == "demo (synthetic voices only)"
    assert [(row["call_id"], row["rule"], row["quote"], row["start_ms"]) for row in findings] == [
        ("c1", "banned_phrase", "不关我的事", "40210"),
        ("c2", "banned_phrase", "不关我的事", "40210"),
    ]


def test_no_two_columns_have_one_name(tmp_path: Path) -> None:
    """Who reads rows as mappings would get one for the other."""
    write_tables([a_report()], {**RULES, "talk_ratio": "说话比例"}, tmp_path)
    heading = (tmp_path / "calls.csv").read_text("utf-8-sig").splitlines()[0].split(",")
    assert len(heading) == len(set(heading))
    assert {"talk_ratio", "rule_talk_ratio"} <= set(heading)


def test_the_workbook_speaks_the_floors_language(tmp_path: Path) -> None:
    write_tables([a_report()], RULES, tmp_path)
    heading, row = sheet_rows(tmp_path / "calls.xlsx", "通话")
    call = dict(zip(heading, row, strict=True))
    assert (call["通话"], call["方向"], call["得分"], call["结论"]) == ("c1", "呼入", 62.5, "不合格")
    assert (call["开场白"], call["服务禁语"], call["发现数"]) == ("符合", "违规", 1)
    heading, row = sheet_rows(tmp_path / "calls.xlsx", "质检发现")
    finding = dict(zip(heading, row, strict=True))
    assert (finding["规则"], finding["开始"], finding["原话"], finding["条款"]) == (
        "服务禁语",
        "00:40.2",
        "不关我的事",
        "S003-B2.5.2",
    )


def test_what_was_not_said_is_named_in_the_workbook_by_its_title(tmp_path: Path) -> None:
    report = a_report(quote=None)
    report["rules"][1]["findings"][0]["category"] = "greeting"
    write_tables([report], RULES, tmp_path, elements={("banned_phrase", "greeting"): "问候"})
    assert sheet_rows(tmp_path / "calls.xlsx", "质检发现")[1][2] == "问候"
    assert csv_rows(tmp_path / "findings.csv")[0]["category"] == "greeting"


@pytest.mark.parametrize("said", ["=1+1", "+861", "-5", "@SUM(A1)", "\t=1", " =1+1", "\uff1d1", "\r=1"])
def test_what_a_caller_said_never_becomes_a_formula(tmp_path: Path, said: str) -> None:
    write_tables([a_report(quote=said)], RULES, tmp_path)
    (row,) = csv_rows(tmp_path / "findings.csv")
    assert row["quote"] == "'" + said
    book = openpyxl.load_workbook(tmp_path / "calls.xlsx")
    cell = next(cell for cell in book["质检发现"][2] if cell.column_letter == "I")
    assert cell.data_type == "s", "stored as text, not as a formula"
    assert cell.quotePrefix, "and still text after somebody edits the cell"
    assert cell.value.removeprefix("_x000D_").strip() == said.strip(), "openpyxl leaves an escaped \\r as it is"


@pytest.mark.parametrize("call_id", ["0017", "1e5", "3-12", "TRUE", "13800138000123456", "https://x.cn"])
def test_text_that_looks_like_a_number_or_date_stays_text(tmp_path: Path, call_id: str) -> None:
    write_tables([a_report(call_id)], RULES, tmp_path)
    _, row = sheet_rows(tmp_path / "calls.xlsx", "通话")
    assert row[0] == call_id


@given(st.text())
def test_every_text_comes_back_from_the_csv_inert_and_complete(said: str) -> None:
    cell = export._inert(said)
    assert isinstance(cell, str)
    assert cell in (said, "'" + said)
    assert not cell.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    text = io.StringIO(newline="")
    csv.writer(text).writerow([cell])
    assert next(csv.reader(io.StringIO(text.getvalue(), newline=""))) == [cell]


def test_characters_that_xml_or_utf8_cannot_hold_do_not_break_the_tables(tmp_path: Path) -> None:
    write_tables([a_report(quote="嗯\x00\x0b\ud800好")], RULES, tmp_path)
    (row,) = csv_rows(tmp_path / "findings.csv")
    assert row["quote"].endswith("好")
    assert zipfile.is_zipfile(tmp_path / "calls.xlsx")
    assert sheet_rows(tmp_path / "calls.xlsx", "质检发现")[1][8].endswith("好")


def test_a_full_worksheet_goes_on_in_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_SHEET_ROWS", 3)
    write_tables([a_report(f"c{n}") for n in range(5)], RULES, tmp_path)
    shown = [row[0] for name in ("通话", "通话 2", "通话 3") for row in sheet_rows(tmp_path / "calls.xlsx", name)[1:]]
    assert shown == ["c0", "c1", "c2", "c3", "c4"]


def test_tables_that_cannot_be_written_are_a_store_error_and_leave_the_old_ones(tmp_path: Path) -> None:
    write_tables([a_report("old")], RULES, tmp_path)

    def breaks() -> Any:
        yield a_report("new")
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left on device"):
        write_tables(breaks(), RULES, tmp_path)
    assert [row["call_id"] for row in csv_rows(tmp_path / "calls.csv")] == ["old"]


@pytest.mark.parametrize("unmasked", [False, True])
def test_identifiers_leave_in_the_tables_only_where_asked(tmp_path: Path, unmasked: bool) -> None:
    write_tables([a_report(quote="号码一三八零零一三八零零零")], RULES, tmp_path, unmasked=unmasked)
    book = openpyxl.load_workbook(tmp_path / "calls.xlsx")
    cells = [str(cell.value) for row in book["质检发现"].iter_rows() for cell in row]
    assert ("号码一三八零零一三八零零零" in cells) is unmasked
    assert ("号码***********" in cells) is not unmasked
    assert ("一三八零零" in (tmp_path / "findings.csv").read_text("utf-8-sig")) is unmasked
