"""Places in lists that go on from a row, not from a count: nothing is shown twice or left out when rows come or go."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

MOST = 2**31 - 1


def write_cursor(*place: datetime | float | str | None) -> str:
    """
    >>> read_cursor(write_cursor(88.5, 7), float, int)
    (88.5, 7)
    """
    values = [one.isoformat() if isinstance(one, datetime) else one for one in place]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def read_cursor(cursor: str, *kinds: type[Any]) -> tuple[Any, ...]:
    """The place again, every value of its kind or None. raises ValueError for what no list gave out"""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return tuple(_read(value, kind) for value, kind in zip(values, kinds, strict=True))
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise ValueError("cursor: not one that this list gave out") from None


def _read(value: Any, kind: type[Any]) -> Any:
    if value is None:
        return None
    if kind is datetime:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment
    read = kind(value)
    if kind is int and abs(read) > MOST:
        raise ValueError
    return read
