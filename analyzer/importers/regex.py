"""Regular expressions of other systems in our pattern language, where both can say the same."""

from __future__ import annotations

import re
import unicodedata

_MOST = 100  # longest open stretch our patterns take
_ANY = 30  # for .* and .+, which have no end: inside one sentence that is as good
_TOKEN = re.compile(
    r"(?P<open>\.(?:\*|\+|\?|\{(?P<low>\d+)(?:,(?P<high>\d*))?\})?\??)|(?P<group>\((?:\?:|(?!\?)))|(?P<digits>\\d(?:\+|\{(?P<n>\d+)\})?)"
    r"|(?P<class>\[\^?[^\]\\-]+\])|(?P<plain>[|)?^$])|(?P<space>\\s[*+?]?)|(?P<character>[^\\.\[\](){}*+?|^$])",
    re.DOTALL,
)


class RegexError(ValueError):
    """The expression uses what our patterns cannot say; the message names it."""


def as_pattern(regex: str) -> str:
    """A regular expression as a pattern. Raises RegexError.

    >>> as_pattern("(你|您).{0,5}办不了")
    '(你|您)…{0-5}办不了'
    """
    text = unicodedata.normalize("NFKC", regex).strip()
    parts: list[str] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if not found:
            raise RegexError(f"{text[position : position + 6]!r} has no counterpart in our patterns")
        parts.append(_translated(found))
        position = found.end()
    pattern = _trimmed(parts)
    if not any(c.isalnum() for c in re.sub(r"\{[^}]*\}", "", pattern)):
        raise RegexError("it spells out no character")
    return pattern


def _translated(found: re.Match[str]) -> str:
    match found.lastgroup:
        case "open" | "low" | "high":
            return _open(found)
        case "digits" | "n":
            return f"{{数字:{found['n']}}}" if found["n"] else "{数字}"
        case "character" | "space":
            return found[0] if found[0].isalnum() else ""
    return _SAME.get(found[0], found[0])


_SAME = {"(?:": "(", "^": "^^", "$": "$$"}


def _open(found: re.Match[str]) -> str:
    written = found["open"]
    if found["low"] is not None:
        low = int(found["low"])
        high = low if found["high"] is None and "," not in written else int(found["high"] or max(low, _ANY))
        if high > _MOST:
            raise RegexError(f"{written!r} is longer than {_MOST} characters")
        return f"…{{{low}-{high}}}"
    if written.startswith((".*", ".+")):
        return f"…{{{int(written.startswith('.+'))}-{_ANY}}}"
    return "…{0-1}" if written == ".?" else "…{1-1}"


def _trimmed(parts: list[str]) -> str:
    """Open stretches at the ends say nothing: a search finds the rest anywhere."""
    while parts and parts[0].startswith("…{0"):
        parts = parts[1:]
    while parts and parts[-1].startswith("…{0"):
        parts = parts[:-1]
    return "".join(parts)
