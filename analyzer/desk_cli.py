"""``analyzer db``, ``user`` and ``audit``: the review desk's store from the command line. Parses, calls and shows;
nothing heavy is imported before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.errors import AnalyzerError, worst_exit_code
from analyzer.language import either
from analyzer.store_options import PacksOption, StoreOption, packs_folder, store_url
from analyzer.terminal import complain, help_text, note

if TYPE_CHECKING:
    from analyzer.store import Store

desk_app = typer.Typer()
db_app = typer.Typer(no_args_is_help=True, help=help_text("The review desk's database.", "复核台数据库。"))
desk_app.add_typer(db_app, name="db")


def open_desk_store(given: str | None, *, upgrade: bool = True) -> Store:
    """raises ConfigError, StoreError"""
    from analyzer.store import open_store

    return open_store(store_url(given), upgrade=upgrade)


# ---- db


@db_app.command("upgrade", help=help_text("Bring the tables to this version.", "把数据表升级到当前版本。"))
def upgrade(store: StoreOption = None) -> None:
    from analyzer.store.database import newest_revision, revision

    opened = open_desk_store(store)
    at = revision(opened.engine)
    opened.close()
    typer.echo(either(f"revision {at} of {newest_revision()}", f"版本 {at}（最新 {newest_revision()}）"))


@db_app.command(
    "import",
    help=help_text(
        "Bring finished calls of run folders into the database; again changes nothing.",
        "把运行文件夹中已完成的通话导入数据库；重复导入不会改变任何内容。",
    ),
)
def import_(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help=help_text("Run folders.", "运行文件夹。"))],
    recordings: Annotated[
        list[str] | None,
        typer.Option(
            "--recordings",
            metavar="RECORDING",
            help=help_text(
                "Where recordings are that a run does not know of; may be repeated.", "录音所在位置（可重复）。"
            ),
        ),
    ] = None,
    store: StoreOption = None,
    packs: PacksOption = None,
) -> None:
    from analyzer.store.importing import import_runs

    opened = open_desk_store(store)
    codes: list[int] = []
    try:
        for run, result in import_runs(opened, runs, recordings=recordings or (), packs=packs_folder(packs)):
            if isinstance(result, AnalyzerError):
                complain(result)
                codes.append(result.exit_code)
                continue
            for fault in result.faults:
                complain(fault)
                codes.append(fault.exit_code)
            typer.echo(
                either(
                    f"{run}: {result.new} new, {result.replaced} replaced, {result.unchanged} unchanged, "
                    f"{result.kept} kept as reviewed",
                    f"{run}：新增 {result.new}，更新 {result.replaced}，未变 {result.unchanged}，"
                    f"已复核保留 {result.kept}",
                )
            )
    finally:
        opened.close()
    if codes:
        raise typer.Exit(worst_exit_code(codes))
    note(either("open the desk with `analyzer serve --no-live`", "用 analyzer serve --no-live 打开复核台"))
