"""English or Chinese, as the user's locale asks: for help texts and progress. Reports and scorecards are Chinese."""

from __future__ import annotations

import os


def chinese() -> bool:
    """$ANALYZER_LANG decides, else the locale (LC_ALL, LC_MESSAGES, LANG), as gettext reads it."""
    names = ("ANALYZER_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    return next((value for name in names if (value := os.environ.get(name))), "").lower().startswith("zh")


def either(english: str, in_chinese: str) -> str:
    """The text in the user's language."""
    return in_chinese if chinese() else english
