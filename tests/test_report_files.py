"""``analyzer report`` into a file: of run folders, and of the review desk's store."""

from __future__ import annotations

import io
import re
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path

import pytest
from openpyxl import load_workbook
from typer.testing import CliRunner

from analyzer.cli import app
from analyzer.errors import ConfigError, StoreError
from analyzer.review.overview import figures_of, of_reports
from analyzer.review.tally import tally
from analyzer.review.trends import Figures, Scope, Sums
from analyzer.store import open_store, trends
from analyzer.store.importing import import_run
from analyzer.store.users import Principal
from analyzer.web.booklet import parts_of
from tests.desk_calls import many_reports, write_run
from tests.many_calls import add_calls, add_people
from tests.test_review_tally import centre


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", many_reports(40))


def report(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.stderr
    return result.stderr


def tidy(sums: Sums) -> Sums:
    return replace(sums, score_sum=round(sums.score_sum, 6))


@pytest.fixture(scope="module")
def figures() -> Figures:
    return of_reports(many_reports(40))


def test_every_report_is_counted_once_however_they_are_grouped(figures: Figures) -> None:
    for group in (figures.days, figures.teams, figures.agents):
        assert sum(one.calls for one in group) == figures.total.calls == 40
        assert sum(one.violations for one in group) == figures.total.violations > 0
    assert sum(cell.calls for cell in figures.hours) == 40


def test_reports_count_as_the_store_counts_them_once_imported(figures: Figures, run: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "desk.db"))
    import_run(store, run)
    with store.reading() as session:
        zone = timezone(timedelta(hours=8))  # that of the reports' own times
        stored = trends.figures(session, Principal(1, "lead", "", "lead"), Scope(), zone)
    store.close()
    for group in ("days", "teams"):
        assert [tidy(one) for one in getattr(stored, group)] == [tidy(one) for one in getattr(figures, group)]
    assert (tidy(stored.total), stored.hours) == (tidy(figures.total), figures.hours)
    assert {(one.rule, one.calls, one.points) for one in stored.rules} == {
        (one.rule, one.calls, one.points) for one in figures.rules
    }
    assert sorted(stored.rates) == sorted(figures.rates)
    assert stored.notices == figures.notices


def test_a_run_folder_becomes_one_html_file_with_charts_and_kpi(run: Path, tmp_path: Path) -> None:
    told = report(run, "--format", "html", "--out", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "40" in told
    assert page.count('<svg class="chart"') >= 6
    assert "标准指标" in page
    assert not re.search(r'(src|href)="', page)


def test_a_run_folder_becomes_a_workbook(run: Path, tmp_path: Path) -> None:
    report(run, "--format", "xlsx", "--out", tmp_path / "r.xlsx")
    book = load_workbook(io.BytesIO((tmp_path / "r.xlsx").read_bytes()))
    assert {"概览", "违规帕累托", "坐席得分", "标准指标"} <= set(book.sheetnames)


def test_every_file_names_the_demo_model(tmp_path: Path) -> None:
    heard = {"name": "demo", "notice": "demo (synthetic voices only)"}
    reports = [{**report, "recogniser": heard} for report in many_reports(3)]
    run = write_run(tmp_path / "run", reports)
    store = tmp_path / "desk.db"
    with closing(open_store(str(store))) as opened:
        import_run(opened, run)
    for source in ([run], ["--store", store]):
        report(*source, "--format", "html", "--out", tmp_path / "r.html")
        report(*source, "--format", "csv", "--out", tmp_path / "r.csv")
        report(*source, "--format", "xlsx", "--out", tmp_path / "r.xlsx")
        words = "3 通的识别模型：demo (synthetic voices only)"
        assert words in (tmp_path / "r.html").read_text(encoding="utf-8")
        assert words in (tmp_path / "r.csv").read_text(encoding="utf-8-sig")
        assert words in load_workbook(tmp_path / "r.xlsx")["概览"]["A2"].value


def printed(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    return result.exit_code, result.stderr


def test_what_makes_sums_doubtful_is_told(run: Path, tmp_path: Path) -> None:
    assert printed(run, "--format", "json") == (0, "")
    other = [{**report, "pack": {**report["pack"], "version": "2027.1"}} for report in many_reports(2)]
    code, told = printed(run, write_run(tmp_path / "other", other), "--format", "json")
    assert code == 0
    assert "2 reports bear the id of another" in told
    assert "2027.1" in told
    assert "no call is in this scope" in printed(run, "--team", "nobody", "--format", "json")[1]


def test_a_period_that_ends_before_it_begins_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="exchange them"):
        report(run, "--since", "2026-11-24", "--until", "2026-11-01")


def test_groups_that_were_asked_for_stand_in_every_file(run: Path, tmp_path: Path) -> None:
    options = ("--by", "team", "--by", "agent,rule", "--since", "2026-10-01")
    report(run, *options, "--format", "html", "--out", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    report(run, *options, "--format", "csv", "--out", tmp_path / "r.csv")
    text = (tmp_path / "r.csv").read_text(encoding="utf-8-sig")
    report(run, *options, "--format", "xlsx", "--out", tmp_path / "r.xlsx")
    sheets = load_workbook(io.BytesIO((tmp_path / "r.xlsx").read_bytes())).sheetnames
    for title in ("按班组", "按班组的指标", "按坐席和规则", "规则违规率"):
        assert title in page
        assert f"\n{title}\n" in text.replace("\r", "")
        assert title in sheets
    assert "2026-10-01 至" in page


def test_what_stands_out_comes_first_and_the_funnel_shows_who_is_outside(tmp_path: Path) -> None:
    figures = figures_of(tally(centre()), ())
    parts = parts_of(figures)
    assert [part.key for part in parts[:2]] == ["stand_outs", "scores"]
    funnel = next(part for part in parts if part.key == "funnel")
    assert "3007" in funnel.says
    assert ">3007</text>" in funnel.svg
    assert funnel.rows[0][0] == "3007"
    assert "抽听" in parts[0].head


def test_the_store_s_report_is_of_the_days_and_team_asked_for(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "desk.db"))
    with store.writing() as session:
        add_people(session)
        add_calls(session, 60, days=6)
    store.close()
    options = ("--store", tmp_path / "desk.db", "--team", "一组", "--format", "csv", "--out", tmp_path / "r.csv")
    told = report(*options)
    assert "15" in told
    assert "班组 一组" in (tmp_path / "r.csv").read_text(encoding="utf-8-sig")


def test_the_store_s_report_says_what_rules_are_worth(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "desk.db"))
    with store.writing() as session:
        add_people(session)
        add_calls(session, 60, days=6, decided=0.5)
    store.close()
    report("--store", tmp_path / "desk.db", "--format", "csv", "--out", tmp_path / "r.csv")
    text = (tmp_path / "r.csv").read_text(encoding="utf-8-sig")
    assert "规则效果" in text
    assert "申诉结果" in text


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["run", "--format", "html"], "--out FILE"),
        (["run", "--out", "x.txt"], "--format html"),
        ([], "--store"),
        (["run", "--store", "x.db", "--format", "html", "--out", "x"], "either"),
        (["--store", "x.db"], "--out FILE"),
        (["--store", "x.db", "--by", "team", "--format", "csv", "--out", "x"], "run folders"),
    ],
)
def test_options_that_do_not_go_together_are_refused_with_the_cure(arguments: list[str], cure: str) -> None:
    with pytest.raises(ConfigError, match=cure):
        report(*arguments)


def test_pdf_without_its_extra_ends_with_2_and_the_cure(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "weasyprint", None)
    with pytest.raises(ConfigError, match=r"\.\[pdf\]") as raised:
        report(run, "--format", "pdf", "--out", tmp_path / "r.pdf")
    assert raised.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="--out"):
        report(run, "--format", "csv", "--out", tmp_path / "missing" / "r.csv")
