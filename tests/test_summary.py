"""What many reports add up to, and ``analyzer report``."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from analyzer.cli import app
from analyzer.errors import ConfigError, InputError
from analyzer.review.tally import read_axes
from analyzer.review.trends import Scope
from analyzer.runs import RunFolder
from analyzer.summary import read_reports, summarise
from tests.test_review_tally import centre

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


def test_groups_and_what_stands_out_follow_the_schema() -> None:
    axes = read_axes(["team,rule", "agent", "day", "rule"])
    summary = summarise(centre(), axes, Scope(since=date(2026, 11, 1)))
    jsonschema.validate(summary, SCHEMA)
    assert [table["by"] for table in summary["groups"]] == [["team", "rule"], ["agent"], ["day"]]
    assert summary["scope"]["since"] == "2026-11-01"
    agent = next(group for group in summary["groups"][1]["groups"] if group["key"] == {"agent": "3007"})
    assert sum(agent["verdicts"].values()) == agent["calls"] == 50
    value, low, high = agent["shares"]["fail"]
    assert low < value < high
    assert any(one["key"] == {"agent": "3007"} and one["listen"] for one in summary["stand_outs"])


def test_what_recognisers_say_of_themselves_is_told_with_how_many_calls_they_heard() -> None:
    heard = {**report("a", "pass", 100), "recogniser": {"name": "demo", "notice": "demo (synthetic voices only)"}}
    summary = summarise([heard, {**heard, "call_id": "b"}, report("c", "pass", 100)])
    jsonschema.validate(summary, SCHEMA)
    assert summary["notices"] == {"demo (synthetic voices only)": 2}


def test_a_summary_is_the_same_however_reports_are_ordered() -> None:
    reports = list(centre())
    axes = read_axes(["team,day"])
    assert json.dumps(summarise(reports[::-1], axes)) == json.dumps(summarise(reports, axes))


def test_a_recording_that_starts_late_is_not_complete() -> None:
    whole = report("a", "pass", 90) | {"truncated": False, "recording_offset_ms": 0}
    late = whole | {"recording_offset_ms": 5000}
    assert summarise([whole, late])["kpis"]["complete_recording_rate"]["value"] == 50


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


def test_the_command_takes_groups_and_days(tmp_path: Path) -> None:
    lines = [json.dumps({"schema": "analyzer.report/1", "turns": [], **one}) for one in centre()]
    (tmp_path / "day.jsonl").write_text("\n".join(lines), encoding="utf-8")
    undated = json.dumps(report("undated", "pass", 90))
    (tmp_path / "more.jsonl").write_text(undated, encoding="utf-8")
    options = ["--by", "team,day", "--by", "rule", "--since", "2026-11-02", "--until", "2026-11-03", "--agent", "3007"]
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--format", "json", *options])
    assert done.exit_code == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["calls"] == 10
    assert [group["key"] for group in summary["groups"][0]["groups"]] == [
        {"team": "B", "day": "2026-11-02"},
        {"team": "B", "day": "2026-11-03"},
    ]
    shown = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert "按班组" in shown.stdout


def test_calls_without_a_day_are_told_of_where_days_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(report("a", "pass", 90)), encoding="utf-8")
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--since", "2026-11-01"], env={"ANALYZER_LANG": "en"})
    assert done.exit_code == 0
    assert "started_at" in done.stderr


@pytest.mark.parametrize("options", [["--by", "teams"], ["--since", "yesterday"], ["--until", "2026-13-01"]])
def test_a_wrong_word_or_day_ends_with_2_and_the_cure(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(report("a", "pass", 90)), encoding="utf-8")
    done = CliRunner().invoke(app, ["report", str(tmp_path), *options])
    assert isinstance(done.exception, ConfigError)
    assert options[1] in str(done.exception)
