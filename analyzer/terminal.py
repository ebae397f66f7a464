"""What all commands say the same way: help in the user's language, complaints and notes on standard error."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from analyzer.language import either


def help_text(english: str, in_chinese: str) -> str:
    """A help text. Typer breaks lines at blanks only and cuts off what is longer, so Chinese gets some."""
    return either(english, re.sub(r"(?<=[，。；：、）])(?!$)|(?<!^)(?<![，。；：、）])(?=（)", " ", in_chinese))


def complain(fault: object) -> None:
    typer.secho(f"error: {fault}", err=True, fg="red")


def note(text: str) -> None:
    typer.echo(text, err=True)


class CallDirection(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


RULES_PANEL = either("Rules and results", "规则与结果")

PackOption = Annotated[
    str,
    typer.Option(
        "--pack",
        metavar="NAME|FOLDER",
        rich_help_panel=RULES_PANEL,
        help=help_text("Rule pack.", "规则包（名称或文件夹）。"),
    ),
]
ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME",
        rich_help_panel=RULES_PANEL,
        help=help_text("Points and thresholds of a business line.", "质检方案：分值与阈值。"),
    ),
]
