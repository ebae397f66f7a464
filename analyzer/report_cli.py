"""``analyzer report``: what many calls add up to, of run folders or of the review desk, printed or as a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer.errors import AnalyzerError, ConfigError, StoreError, worst_exit_code
from analyzer.language import either
from analyzer.store_options import DESK_PANEL, desk_settings, open_desk_store
from analyzer.terminal import PackOption, complain, help_text, note

if TYPE_CHECKING:
    from analyzer.review.trends import Figures

report_app = typer.Typer()

_NEEDED = ("direction", "duration_ms", "metadata", "metrics", "rules", "verdict", "score", "truncated")


class ReportFormat(StrEnum):
    """``text`` and ``json`` go to standard output, the others into a file."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"
    XLSX = "xlsx"
    PDF = "pdf"
    CSV = "csv"


_PRINTED = (ReportFormat.TEXT, ReportFormat.JSON)


@report_app.command(
    "report",
    help=help_text(
        "Add up reports: verdicts, rules, trends and the standards' KPI; as tables, or as a file with charts.",
        "汇总报告：结论、各规则的结果、趋势，以及标准规定的指标；可输出表格或带图表的文件。",
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
    _check(reports, format_, out, store)
    codes: list[int] = []
    if out is not None:
        figures = _of_store(store) if store is not None else _of_reports(_usable(reports or [], codes))
        _write(figures, format_, out)
    else:
        _print(_usable(reports or [], codes), pack, format_)
    raise typer.Exit(worst_exit_code(codes))


def _check(reports: list[str] | None, format_: ReportFormat, out: Path | None, store: str | None) -> None:
    """raises ConfigError"""
    if bool(reports) == (store is not None):
        raise ConfigError("report needs either run folders or --store FILE|URL")
    if (format_ in _PRINTED) == (out is not None):
        needs = "--out FILE" if out is None else "--format html, xlsx, pdf or csv"
        raise ConfigError(f"--format {format_.value}{'' if out is None else f' --out {out}'} needs {needs}")
    if store is not None and format_ in _PRINTED:
        raise ConfigError("--store needs --format html, xlsx, pdf or csv, and --out FILE")


def _usable(sources: list[str], codes: list[int]) -> Iterator[dict[str, Any]]:
    from analyzer.summary import read_reports

    for found in read_reports(sources):
        if isinstance(found, AnalyzerError):
            complain(found)
            codes.append(found.exit_code)
        else:
            yield found


# ---- printed


def _print(reports: Iterator[dict[str, Any]], pack: str, format_: ReportFormat) -> None:
    from rich.console import Console

    from analyzer.catalog import load_pack
    from analyzer.render import print_totals
    from analyzer.summary import summarise

    summary = summarise(reports)
    if format_ is ReportFormat.JSON:
        typer.echo(json.dumps(summary, ensure_ascii=False).encode())  # UTF-8 whatever the locale
    else:
        print_totals(summary, {rule.id: rule.title for rule in load_pack(pack).rules}, Console())


# ---- into a file


def _of_reports(reports: Iterator[dict[str, Any]]) -> Figures:
    """Read once; of a call nothing is kept that was said but what rules quote."""
    from analyzer.kpi import kpis
    from analyzer.review.trends import of_reports

    kept = [{key: report[key] for key in _NEEDED if key in report} for report in reports]
    return of_reports(kept, kpis(kept))


def _of_store(store: str | None) -> Figures:
    from dataclasses import replace

    from analyzer.review.trends import Scope
    from analyzer.review.worth import Floor
    from analyzer.store.trends import conditions, figures, local_zone
    from analyzer.store.users import Principal
    from analyzer.store.worth import rules_worth, second_agreement

    review = desk_settings().review
    everybody, zone = Principal(None, "cli", "", "admin"), local_zone(datetime.now(UTC))
    with closing(open_desk_store(store, upgrade=False)) as opened, opened.reading() as session:
        of = conditions(everybody, Scope(), zone)
        agreement, _ = second_agreement(session, of)
        worth = tuple(rules_worth(session, of, Floor(review.precision_floor, review.floor_decisions)))
        return replace(figures(session, everybody, Scope(), zone), worth=worth, agreement=agreement)


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
