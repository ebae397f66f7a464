"""Call attributes that neither the sound nor the words carry: which there are, and how each is read.

The same table serves recordings (a manifest's columns, all text) and transcripts (JSON values): docs/metadata.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from analyzer.errors import InputError

COUNTS = ("ring_ms", "ring_count", "transfer_ring_count", "after_call_ms")  # whole numbers from 0
FLAGS = (
    "transferred", "truncated", "connected", "agent_requested", "agent_answered", "recorded", "replied", "repeated",
    "satisfied", "major_customer", "new_customer",
)  # fmt: skip
CHOICES = {
    "hung_up_by": ("agent", "customer", "system"),
    "ended_by": ("agent", "customer", "dropped", "transfer"),
    "matter": ("inquiry", "complaint", "business", "other"),
    "agent_role": ("agent", "account_manager", "department_manager", "leader", "president"),
}
TIMES = ("started_at", "replied_at", "reply_due_at", "callback_due_at")  # ISO 8601, kept as text
TEXTS = (
    "company", "agent_id", "agent_name", "team", "customer_surname", "customer_id", "customer_tier", "ticket_id",
    "holiday",
)  # fmt: skip
KEYS = (*COUNTS, *FLAGS, *CHOICES, *TIMES, *TEXTS)

_TRUE = ("true", "yes", "1", "是")
_FALSE = ("false", "no", "0", "否")


def read_metadata(fields: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Typed attributes, and the keys that no rule of ours knows (kept as they are: a pack may ask for them).

    An absent key, None and blank text all mean unknown and are left out.

    raises InputError naming key and value for a value that its key cannot have

    >>> read_metadata({"ring_ms": "4000", "company": " ", "city": "昆明"})
    ({'ring_ms': 4000, 'city': '昆明'}, ('city',))
    """
    stripped = {key: value.strip() if isinstance(value, str) else value for key, value in fields.items()}
    known = {key: _typed(key, value) for key, value in stripped.items() if value is not None and value != ""}
    return known, tuple(key for key in known if key not in KEYS)


def check_writable(fields: Mapping[str, Any]) -> None:
    """Of attributes that a sender brings, not a file. raises InputError for what no message of ours could carry on"""
    for key, value in fields.items():
        if (problem := _unwritable({key: value})) is not None:
            raise InputError(f"{key!a} is or holds {problem}, which no report can; leave it out, or send it whole")


def _unwritable(value: Any) -> str | None:
    """What in a value JSON in UTF-8 has no place for; None if nothing."""
    match value:
        case str() if any("\ud800" <= character <= "\udfff" for character in value):
            return "half of a character pair"
        case float() if not math.isfinite(value):
            return f"the number {value}"
        case Mapping():
            return next((problem for part in value.items() for one in part if (problem := _unwritable(one))), None)
        case list() | tuple():
            return next((problem for one in value if (problem := _unwritable(one))), None)
    return None


def _typed(key: str, value: Any) -> Any:
    if key in COUNTS:
        return _count(key, value)
    if key in FLAGS:
        return _flag(key, value)
    if key in CHOICES:
        return _choice(key, value)
    if key in TIMES:
        return _moment(key, value)
    if key in TEXTS:
        return _text(key, value)
    return value


def _count(key: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, float) and value.is_integer() and value >= 0:
        return int(value)
    raise InputError(f"{key} is {value!r}; it must be a whole number, 0 or more")


def _flag(key: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    folded = str(value).lower()
    if folded in _TRUE or folded in _FALSE:
        return folded in _TRUE
    raise InputError(f"{key} is {value!r}; it must be true or false")


def _choice(key: str, value: Any) -> str:
    folded = value.lower() if isinstance(value, str) else value
    if folded in CHOICES[key]:
        return str(folded)
    raise InputError(f"{key} is {value!r}; it must be one of {', '.join(CHOICES[key])}")


def _moment(key: str, value: Any) -> str:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise InputError(f"{key} is {value!r}; it must be a date and time like 2026-11-22T09:30:00") from None
    return str(value)


def _text(key: str, value: Any) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{key} must be text")
