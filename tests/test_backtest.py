"""``rules backtest``: stored calls judged again, and each change named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from analyzer.backtest import Share, replay, shares_by_profile
from analyzer.catalog import load_pack
from analyzer.errors import ConfigError
from analyzer.report import analyze, dump
from analyzer.rescore.workers import Rules
from analyzer.transcripts import read_call_text
from tests.clean_pack import spoil, write_clean_pack

CALLS = {
    "good": "坐席: 谢谢您，再见。",
    "shirk": "坐席: 不关我的事，谢谢您。",
    "early": "坐席: 谢谢您。\n客户: 还有一个问题。\n坐席: 再见。",
}


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_clean_pack(tmp_path / "pack")


@pytest.fixture
def run(tmp_path: Path, pack: Path) -> Path:
    """A run folder with a report per call."""
    reports = tmp_path / "run" / "reports"
    reports.mkdir(parents=True)
    (tmp_path / "run" / "run.json").write_text("{}", encoding="utf-8")
    (tmp_path / "run" / "journal.jsonl").write_text('{"event": "opened"}\n', encoding="utf-8")
    for name, call in CALLS.items():
        (reports / f"{name}.json").write_text(report(call, name, pack), encoding="utf-8")
    return tmp_path / "run"


def report(call: str, name: str, pack: Path) -> str:
    return dump(analyze(read_call_text(call, name).transcript, load_pack(pack))) + "\n"


def test_the_rules_that_judged_change_nothing(run: Path, pack: Path) -> None:
    result = replay([run], Rules.of(pack, "standard"))
    assert (result.calls, result.changes, result.faults) == (3, [], [])


def test_a_changed_rule_changes_the_calls_it_is_about(run: Path, pack: Path) -> None:
    spoil(pack, "words/shirk.tsv", "不关我的?事", "不归我管")
    result = replay([run], Rules.of(pack, "standard"))
    (change,) = [change.as_json() for change in result.changes]
    assert change["rules"] == {"shirk": ["violation", "pass"]}
    assert (change["call_id"], change["score"], change["verdict"]) == ("shirk", [71.4, 100], ["fail", "pass"])
    assert str(result.changes[0]) == "shirk: 71.4→100  fail→pass  shirk violation→pass"
    assert result.changed_rules() == {"shirk": 1}


def test_another_profile_is_a_change_too(run: Path, pack: Path) -> None:
    changed = {change.call_id: change for change in replay([run], Rules.of(pack, "strict")).changes}
    assert changed["early"].rules == {"thanks": ("violation", "pass")}
    assert changed["shirk"].after.score == 0
    assert "good" not in changed


def test_a_rule_that_is_new_or_gone_is_named(run: Path, pack: Path) -> None:
    spoil(pack, "rules/closing/thanks.yaml", "status: stable", "status: retired")
    assert replay([run], Rules.of(pack, "standard")).changes[0].rules == {"thanks": ("violation", None)}


def test_reports_by_line_are_read_like_those_of_a_run_folder(run: Path, pack: Path, tmp_path: Path) -> None:
    lines = "".join((run / "reports" / f"{name}.json").read_text(encoding="utf-8") for name in CALLS)
    (tmp_path / "day.jsonl").write_text(lines + "{\n", encoding="utf-8")
    spoil(pack, "words/shirk.tsv", "不关我的?事", "不归我管")
    result = replay([tmp_path / "day.jsonl"], Rules.of(pack, "standard"))
    assert [change.call_id for change in result.changes] == ["shirk"]
    assert [str(fault).split(": ")[0] for fault in result.faults] == [f"{tmp_path}/day.jsonl:4"]


def test_bare_transcripts_need_a_baseline(pack: Path, tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    folder.mkdir()
    (folder / "a.txt").write_text(CALLS["shirk"], encoding="utf-8")
    turns: list[dict[str, Any]] = [{"role": "agent", "start_ms": 0, "end_ms": 900, "text": "不关我的事"}]
    (folder / "b.json").write_text(json.dumps({"turns": turns}), encoding="utf-8")
    without = replay([folder], Rules.of(pack, "standard"))
    assert (without.calls, len(without.faults)) == (0, 2)
    assert "--baseline" in str(without.faults[0])
    baseline = Rules.of(shutil.copytree(pack, tmp_path / "before"), "standard")
    spoil(pack, "words/shirk.tsv", "不关我的?事", "不归我管")
    rules = Rules.of(pack, "standard")
    assert [change.call_id for change in replay([folder], rules, baseline).changes] == ["a", "b"]


def test_each_profile_says_which_share_it_would_fail(run: Path, pack: Path) -> None:
    shares, faults = shares_by_profile("thanks", [run], str(pack))
    assert faults == []
    assert {share.profile: share.failed for share in shares} == {"standard": pytest.approx(1 / 3), "strict": 0}
    assert str(shares[0]) == "standard（标准）  违规 33.3%（1/3 通可判，存疑 0，不适用 0）"
    assert "无可判通话" in str(Share("p", "", {"unsure": 2}))
    with pytest.raises(ConfigError, match="nothing"):
        shares_by_profile("nothing", [run], str(pack))
