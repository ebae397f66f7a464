"""``analyzer report``: what many calls add up to, of run folders or of the review desk, printed or as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer.errors import AnalyzerError, ConfigError, StoreError, worst_exit_code
from analyzer.language import either
from analyzer.store_options import DESK_PANEL, desk_settings, open_desk_store
from analyzer.terminal import PackOption, complain, help_text, note

if TYPE_CHECKING:
    from analyzer.review.tally import Axis, Tally
    from analyzer.review.trends import Figures, Scope

report_app = typer.Typer()


class ReportFormat(StrEnum):
    """``text`` and ``json`` go to standard output, the others into a file."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"
    XLSX = "xlsx"
    PDF = "pdf"
    CSV = "csv"


_PRINTED = (ReportFormat.TEXT, ReportFormat.JSON)
_GROUPS = either("Groups and calls", "分组与范围")


@report_app.command(
    "report",
    help=help_text(
        "Add up reports: verdicts, rules, groups, what stands out, trends and the standards' KPI; as tables, or as a "
        "file with charts.",
        "汇总报告：结论、各规则的结果、分组、异常、趋势，以及标准规定的指标；可输出表格或带图表的文件。",
    ),
)
def report(
    reports: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            show_default=False,
            help=help_text("Run folders, folders of reports, or reports.", "运行文件夹、报告文件夹或报告文件。"),
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="WORD[,WORD]",
            show_default=False,
            rich_help_panel=_GROUPS,
            help=help_text(
                "Groups: agent, team, day, week, hour, direction, rule; with a comma both at once. May be repeated.",
                "分组：agent 坐席、team 班组、day 日、week 周、hour 时段、direction 方向、rule 规则；逗号为交叉。",
            ),
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="DAY",
            show_default=False,
            rich_help_panel=_GROUPS,
            help=help_text("Calls from this day on (2026-11-22).", "从这一天起的通话（2026-11-22）。"),
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="DAY",
            show_default=False,
            rich_help_panel=_GROUPS,
            help=help_text("Calls up to this day, included.", "到这一天为止的通话（含当天）。"),
        ),
    ] = None,
    team: Annotated[
        str,
        typer.Option(
            "--team",
            metavar="NAME",
            show_default=False,
            rich_help_panel=_GROUPS,
            help=help_text("Calls of this team.", "只看这个班组。"),
        ),
    ] = "",
    agent: Annotated[
        str,
        typer.Option(
            "--agent",
            metavar="NUMBER",
            show_default=False,
            rich_help_panel=_GROUPS,
            help=help_text("Calls of this agent.", "只看这个坐席（工号）。"),
        ),
    ] = "",
    pack: PackOption = "standard",
    format_: Annotated[
        ReportFormat,
        typer.Option(
            "--format", help=help_text("Tables, one object, or a file.", "表格、一个 JSON 对象，或一个文件。")
        ),
    ] = ReportFormat.TEXT,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", show_default=False, help=help_text("The file to write.", "写入的文件。")),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FILE|URL",
            show_default=False,
            rich_help_panel=DESK_PANEL,
            help=help_text(
                "Instead of run folders all calls of the review desk, with what people decided.",
                "不用运行文件夹，而用复核台数据库中的全部通话（含人工判定）。",
            ),
        ),
    ] = None,
) -> None:
    from analyzer.review.tally import Tally, read_axes
    from analyzer.review.trends import Scope

    _check(reports, by, format_, out, store)
    axes = read_axes(by or ())
    scope = Scope(_day("--since", since), _day("--until", until), team, agent)
    if scope.since and scope.until and scope.until < scope.since:
        raise ConfigError(f"--until {scope.until} lies before --since {scope.since}; exchange them")
    if store is not None and out is not None:
        _write(_of_store(store, scope), format_, out)
        return
    codes: list[int] = []
    total = Tally(axes, scope)
    for one in _usable(reports or [], codes):
        total.add(one)
    _tell_left_out(total)
    _tell_mixed(total)
    if out is not None:
        from analyzer.review.overview import figures_of

        _write(figures_of(total, axes), format_, out)
    else:
        _print(total, axes, pack, format_)
    raise typer.Exit(worst_exit_code(codes))


def _check(
    reports: list[str] | None, by: list[str] | None, format_: ReportFormat, out: Path | None, store: str | None
) -> None:
    """raises ConfigError"""
    if bool(reports) == (store is not None):
        raise ConfigError("report needs either run folders or --store FILE|URL")
    if (format_ in _PRINTED) == (out is not None):
        needs = "--out FILE" if out is None else "--format html, xlsx, pdf or csv"
        raise ConfigError(f"--format {format_.value}{'' if out is None else f' --out {out}'} needs {needs}")
    if store is not None and format_ in _PRINTED:
        raise ConfigError("--store needs --format html, xlsx, pdf or csv, and --out FILE")
    if store is not None and by:
        raise ConfigError("--by needs run folders; with --store the file holds days, teams, agents and rules anyway")


def _day(option: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: not a day; write it like 2026-11-22") from None


def _usable(sources: list[str], codes: list[int]) -> Iterator[dict[str, Any]]:
    from analyzer.summary import read_reports

    for found in read_reports(sources):
        if isinstance(found, AnalyzerError):
            complain(found)
            codes.append(found.exit_code)
        else:
            yield found


def _tell_left_out(total: Tally) -> None:
    if total.undated:
        note(either(
            f"{total.undated} calls left out: their day is not known (started_at)",
            f"{total.undated} 通未计入：缺少通话属性 started_at，不知道是哪一天",
        ))  # fmt: skip


def _tell_mixed(total: Tally) -> None:
    """What makes sums doubtful: nothing is left out."""
    if not total.total.calls:
        note(either("no call is in this scope", "没有符合条件的通话"))
    if again := total.repeated():
        note(either(
            f"{again} reports bear the id of another and count again; is a run given twice, or one and its rescore?",
            f"{again} 份报告与其他报告的通话编号相同，被重复计入；是否重复给出了同一批（或重评前后的）运行文件夹？",
        ))  # fmt: skip
    if len(total.packs) > 1:
        told = ", ".join(f"{pack}: {calls}" for pack, calls in total.packs.most_common())
        note(either(f"reports by different rules are added up ({told})", f"汇总了按不同规则评出的报告（{told}）"))


# ---- printed


def _print(total: Tally, axes: Sequence[Axis], pack: str, format_: ReportFormat) -> None:
    from rich.console import Console

    from analyzer.catalog import load_pack
    from analyzer.summary import summary_of
    from analyzer.totals import print_totals

    if format_ is ReportFormat.TEXT and not axes and any(group.key[0] for group in total.groups(("team",))):
        axes = (("team",),)
    summary = summary_of(total, axes)
    if format_ is ReportFormat.JSON:
        typer.echo(json.dumps(summary, ensure_ascii=False).encode())  # UTF-8 whatever the locale
    else:
        print_totals(summary, {rule.id: rule.title for rule in load_pack(pack).rules}, Console())


# ---- into a file


def _of_store(store: str, scope: Scope) -> Figures:
    from dataclasses import replace

    from analyzer.review.worth import Floor
    from analyzer.store.trends import conditions, figures, local_zone
    from analyzer.store.users import Principal
    from analyzer.store.worth import rules_worth, second_agreement

    review = desk_settings().review
    everybody, zone = Principal(None, "cli", "", "admin"), local_zone(datetime.now(UTC))
    with closing(open_desk_store(store, upgrade=False)) as opened, opened.reading() as session:
        of = conditions(everybody, scope, zone)
        agreement, _ = second_agreement(session, of)
        worth = tuple(rules_worth(session, of, Floor(review.precision_floor, review.floor_decisions)))
        return replace(figures(session, everybody, scope, zone), worth=worth, agreement=agreement)


def _write(figures: Figures, format_: ReportFormat, out: Path) -> None:
    """Whole or not at all. Raises ConfigError, StoreError."""
    from analyzer.web.booklet import WRITERS

    body = WRITERS[format_.value](figures, f"analyzer report · {datetime.now().astimezone():%Y-%m-%d %H:%M}")
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        beside.write_bytes(body)
        beside.replace(out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(f"{out}: {error.strerror}; choose another place with --out") from None
    note(either(f"{figures.total.calls} calls: {out}", f"{figures.total.calls} 通：{out}"))
