"""Where the review desk keeps things, as commands name it: its database, and the packs published from it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer.language import either
from analyzer.terminal import help_text

if TYPE_CHECKING:
    from analyzer.settings import Settings
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
        show_default=either("packs in the data folder", "数据文件夹的 packs"),
        rich_help_panel=DESK_PANEL,
        help=help_text("Where published rule packs lie.", "已发布规则包所在的文件夹。"),
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        metavar="FILE",
        envvar="ANALYZER_SETTINGS",
        show_default=either("desk.toml in the data folder, if there is one", "数据目录中的 desk.toml（如有）"),
        rich_help_panel=DESK_PANEL,
        help=help_text(
            "Logins, deadlines, retention, own telephone numbers (docs/desk.md).",
            "登录、期限、保存期限、本公司号码等设置（TOML，见 docs/desk.md）。",
        ),
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


def desk_settings(given: Path | None = None) -> Settings:
    """What ``--settings`` or ANALYZER_SETTINGS names; without them ``desk.toml`` in the data folder, or the defaults.

    raises ConfigError
    """
    from analyzer.settings import Settings, read_settings

    named = given or (Path(name) if (name := os.environ.get("ANALYZER_SETTINGS")) else None)
    usual = data_folder() / "desk.toml"
    if named is None and not usual.exists():
        return Settings()
    return read_settings(named or usual)


def open_desk_store(given: str | None, *, upgrade: bool = True, settings: Settings | None = None) -> Store:
    """raises ConfigError, StoreError"""
    from analyzer.store import open_store

    found = settings or desk_settings()
    return open_store(store_url(given), upgrade=upgrade, own_numbers=found.masking.own_numbers)
