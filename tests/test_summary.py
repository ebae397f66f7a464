"""What many reports add up to, and ``analyzer report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from analyzer.cli import app
from analyzer.errors import InputError
from analyzer.runs import RunFolder
from analyzer.summary import read_reports, summarise

SCHEMA = json.loads(Path("docs/schemas/summary.schema.json").read_text(encoding="utf-8"))


def report(call_id: str, outcome: str, score: float | None, **metadata: Any) -> dict[str, Any]:
    findings = [{"quote": "不关我的事", "category": "推诿"}] if outcome == "violation" else []
    return {
        "schema": "analyzer.report/1",
        "call_id": call_id,
        "direction": "inbound",
        "duration_ms": 60_000,
        "metadata": metadata,
        "verdict": "fail" if findings else "pass",
        "score": score,
        "rules": [{"rule": "banned_phrase", "outcome": outcome, "findings": findings}],
        "turns": [],
    }


def test_verdicts_outcomes_findings_and_the_mean_of_the_scores_that_exist() -> None:
    summary = summarise([report("a", "violation", 60), report("b", "pass", 100), report("c", "unsure", None)])
    jsonschema.validate(summary, SCHEMA)
    assert (summary["calls"], summary["mean_score"]) == (3, 80)
    assert summary["verdicts"] == {"pass": 2, "fail": 1, "review": 0}
    assert summary["rules"]["banned_phrase"] == {
        "pass": 1, "violation": 1, "unsure": 1, "not_applicable": 0, "findings": 1
    }  # fmt: skip


def test_attempts_nobody_answered_count_in_the_kpi_only() -> None:
    attempt = {"direction": "inbound", "metadata": {"connected": False}}
    summary = summarise([report("a", "pass", 100, connected=True), attempt])
    assert (summary["calls"], summary["unanswered"]) == (1, 1)
    assert summary["kpis"]["call_loss_rate"]["value"] == 50


def test_reads_run_folders_folders_and_files(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run", {}) as run:
        run.record("a", "sha256:1", json.dumps(report("a", "pass", 90)))
    (tmp_path / "day").mkdir()
    lines = [json.dumps(report(name, "pass", 80)) for name in "bc"]
    (tmp_path / "day" / "more.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "array.json").write_text(f"[{lines[0]}]", encoding="utf-8")
    found = list(read_reports([tmp_path / "run", tmp_path / "day", tmp_path / "array.json"]))
    assert [fields["call_id"] for fields in found if isinstance(fields, dict)] == ["a", "b", "c", "b"]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", "{", "not JSON"),
        ("a.json", '{"call_id": "a", "turns": []}', "no report"),
        ("a.jsonl", '\n{"schema": "analyzer.report/2"}\n', r"a\.jsonl:2: no report"),
        ("a.json", b"\xff\xfe\xfd", "not UTF-8"),
        ("missing.json", None, "cannot be read"),
    ],
)
def test_what_is_no_report_is_named(tmp_path: Path, name: str, content: str | bytes | None, problem: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (error,) = read_reports([path])
    assert isinstance(error, InputError)
    with pytest.raises(InputError, match=problem):
        raise error


def test_the_command_prints_tables_or_one_object_and_names_what_it_left_out(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(report("a", "violation", 60, ring_ms=9_000)), encoding="utf-8")
    bad.write_text("{}", encoding="utf-8")
    shown = CliRunner().invoke(app, ["report", str(good)])
    assert shown.exit_code == 0
    assert "服务禁语 banned_phrase" in shown.stdout
    assert "平均振铃时长" in shown.stdout
    both = CliRunner().invoke(app, ["report", "--format", "json", str(good), str(bad)])
    assert both.exit_code == InputError.exit_code
    assert json.loads(both.stdout)["calls"] == 1
    assert "bad.json: no report" in both.stderr
