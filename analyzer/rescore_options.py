"""Options that commands share which judge stored calls again: processes, Parquet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.language import either
from analyzer.terminal import help_text

if TYPE_CHECKING:
    from analyzer.rescore.tables import Tables

JobsOption = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        show_default=either("cores", "处理器核数"),
        help=help_text("Processes that judge. Never changes a result.", "同时评判的进程数；不影响结果。"),
    ),
]
ParquetOption = Annotated[
    Path | None,
    typer.Option(
        "--parquet",
        metavar="FOLDER",
        show_default=False,
        help=help_text(
            "Write old and new scores side by side as scores.parquet, rules.parquet and findings.parquet "
            "(docs/rescore.md).",
            "将新旧评分并列写成 scores.parquet、rules.parquet、findings.parquet（见 docs/rescore.md）。",
        ),
    ),
]
UnmaskedOption = Annotated[
    bool,
    typer.Option(
        "--unmasked",
        help=help_text(
            "Leave telephone numbers, ID cards and the like readable in the tables; reports always are.",
            "表格中不遮盖电话、证件等个人信息；报告始终为原文。",
        ),
    ),
]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_tables(folder: Path) -> Tables:
    """raises ConfigError without the extra ``parquet``, StoreError if the disk refuses"""
    from analyzer.rescore.tables import Tables

    return Tables(folder)
