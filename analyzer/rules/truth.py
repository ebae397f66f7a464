"""Five-valued truth of a check, and how checks combine (``all``, ``any``, ``not``)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from analyzer.types import Outcome


class Truth(StrEnum):
    """``PENDING`` is never left once the call is over."""

    MET = "met"
    VIOLATED = "violated"
    PENDING = "pending"
    UNSURE = "unsure"
    NOT_APPLICABLE = "not_applicable"

    @property
    def outcome(self) -> Outcome:
        return _OUTCOMES[self]


_OUTCOMES = {
    Truth.MET: Outcome.PASS,
    Truth.VIOLATED: Outcome.VIOLATION,
    Truth.PENDING: Outcome.UNSURE,
    Truth.UNSURE: Outcome.UNSURE,
    Truth.NOT_APPLICABLE: Outcome.NOT_APPLICABLE,
}
_ALL = (Truth.VIOLATED, Truth.PENDING, Truth.UNSURE, Truth.MET)
_ANY = (Truth.MET, Truth.PENDING, Truth.UNSURE, Truth.VIOLATED)


def every(members: Iterable[Truth]) -> Truth:
    """``all``: the gravest of violated > pending > unsure > met among the applicable members.

    >>> every([Truth.MET, Truth.UNSURE, Truth.NOT_APPLICABLE])
    <Truth.UNSURE: 'unsure'>
    """
    return _first(_ALL, members)


def some(members: Iterable[Truth]) -> Truth:
    """``any``: the best of met > pending > unsure > violated among the applicable members."""
    return _first(_ANY, members)


def negation(truth: Truth) -> Truth:
    """``not``: swaps met and violated."""
    return {Truth.MET: Truth.VIOLATED, Truth.VIOLATED: Truth.MET}.get(truth, truth)


def _first(ranking: tuple[Truth, ...], members: Iterable[Truth]) -> Truth:
    present = set(members)
    return next((truth for truth in ranking if truth in present), Truth.NOT_APPLICABLE)
