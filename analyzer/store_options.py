"""Where the review desk keeps things, as commands name it: its database, and the packs published from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.language import either
from analyzer.terminal import help_text

if TYPE_CHECKING:
    from analyzer.store import Store

DESK_PANEL = either("Review desk", "复核台")

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="FILE|URL",
        envvar="ANALYZER_STORE",
        show_default=either("a file of yours", "用户数据目录中的文件"),
        rich_help_panel=DESK_PANEL,
        help=help_text(
            "The review desk's database: an SQLite file, or postgresql://user@host/name.",
            "复核台数据库：SQLite 文件，或 postgresql://user@host/name。",
        ),
    ),
]
PacksOption = Annotated[
    Path | None,
    typer.Option(
        "--packs",
        metavar="FOLDER",
        envvar="ANALYZER_PACKS",
        show_default=either("beside the store", "与数据库同处"),
        rich_help_panel=DESK_PANEL,
        help=help_text("Where published rule packs lie.", "已发布规则包所在的文件夹。"),
    ),
]


def store_url(given: str | None) -> str:
    """What ``--store`` names; without it a file in the user's data folder."""
    return given or str(data_folder() / "desk.db")


def packs_folder(given: Path | None) -> Path:
    return given or data_folder() / "packs"


def media_folder() -> Path:
    """Peaks, playback copies and, where the import copies them, recordings."""
    named = os.environ.get("ANALYZER_MEDIA")
    return Path(named) if named else data_folder() / "media"


def data_folder() -> Path:
    """Where the desk keeps what it is not told to keep elsewhere."""
    from platformdirs import user_data_path

    named = os.environ.get("ANALYZER_DATA")
    return Path(named) if named else user_data_path("analyzer", appauthor=False)


def open_desk_store(given: str | None, *, upgrade: bool = True) -> Store:
    """raises ConfigError, StoreError"""
    from analyzer.store import open_store

    return open_store(store_url(given), upgrade=upgrade)
