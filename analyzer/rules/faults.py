"""What is wrong with a rule, said so that its author can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """``place`` is the path of keys and list indices inside the file; empty for the file as a whole."""

    place: Place
    message: str


class RuleFaults(Exception):  # noqa: N818 - carries several faults, of which none is raised alone
    """Everything wrong with one rule, word list or profile; the catalogue knows the file and the lines."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.message for fault in faults))
        self.faults = faults


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean 'forbid'?``, or nothing.

    >>> did_you_mean("forbit", ["forbid", "require"])
    "; did you mean 'forbid'?"
    """
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.5)
    return f"; did you mean {str(near[0])!r}?" if near else ""
