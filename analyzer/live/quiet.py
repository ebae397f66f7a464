"""When to say something to an agent who is talking to a customer, and when not. No thread, no clock, no I/O.

Theory of operation. Hints that are true at this moment ask to be shown; ``choose`` picks those that may, the most
urgent first. Whatever waits is asked about again the next time, if it is still true then. A hint waits while

- another of its priority is on the screen, or the last one came less than its pause ago;
- the agent is in full flow (only what is critical is worth breaking in);
- the same matter was brought up less than a minute ago.

It is never shown once the agent has put away a hint of its rule, or once the call's budget is used up; what is critical
has no budget. Rate hints leave the last of the budget to others: nobody's speed matters more than what is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["forbidden", "owed", "respond", "rate", "hold", "silence"]
Priority = Literal["critical", "high", "normal"]

_RANKS: Mapping[Priority, int] = {"critical": 0, "high": 1, "normal": 2}


@dataclass(frozen=True, slots=True)
class Manners:
    """How quiet to be.

    budget         hints a call may bring, critical ones not counted
    pauses_ms      shortest time since the last hint, whatever that was
    again_ms       shortest time until the same element of the same rule is brought up again
    taken_back_ms  shortest time after a hint was taken back, so that the screen does not flash
    """

    budget: int = 3
    pauses_ms: Mapping[Priority, int] = field(
        default_factory=lambda: {"critical": 0, "high": 4_000, "normal": 8_000}, hash=False
    )
    again_ms: int = 60_000
    taken_back_ms: int = 1_000


@dataclass(frozen=True, slots=True)
class Hint:
    """Something to tell the agent. ``elements``: of the rule; what it is about."""

    rule: str
    elements: frozenset[str]
    kind: Kind
    priority: Priority
    message: str
    suggestion: str | None = None
    since_ms: int = 0
    show_ms: int = 6_000


class Quiet:
    """The hints of one call. Times never go back."""

    def __init__(self, manners: Manners = Manners()) -> None:
        self._manners = manners
        self._on_screen: dict[Hint, int] = {}  # till when
        self._brought_up: dict[tuple[str, str], int] = {}
        self._muted: set[str] = set()
        self._shown_ms: list[int] = []  # when, oldest first
        self._not_before_ms = 0
        self._left = manners.budget

    def choose(self, wanted: Iterable[Hint], at_ms: int, *, in_flow: bool) -> list[Hint]:
        """Those of ``wanted`` that are to be shown now; they count as shown."""
        self._on_screen = {hint: until_ms for hint, until_ms in self._on_screen.items() if until_ms > at_ms}
        chosen = []
        for hint in sorted(wanted, key=_urgency):
            if self._may(hint, at_ms, in_flow):
                self._show(hint, at_ms)
                chosen.append(hint)
        return chosen

    def is_on_screen(self, hint: Hint, at_ms: int) -> bool:
        return self._on_screen.get(hint, at_ms) > at_ms

    def gone(self, hint: Hint) -> None:
        """It was withdrawn or put away: its place is free."""
        self._on_screen.pop(hint, None)

    def take_back(self, hint: Hint, at_ms: int) -> None:
        """It was never true: as if it had not been shown, but nothing takes its place at once."""
        self.gone(hint)
        for ms in {self._brought_up.pop((hint.rule, element)) for element in hint.elements}:
            self._shown_ms.remove(ms)
        self._left += hint.priority != "critical"
        self._not_before_ms = at_ms + self._manners.taken_back_ms

    def mute(self, rule: str) -> None:
        """Nothing more of this rule in this call."""
        self._muted.add(rule)

    def _may(self, hint: Hint, at_ms: int, in_flow: bool) -> bool:
        if hint.rule in self._muted or any(other.priority == hint.priority for other in self._on_screen):
            return False
        if at_ms < self._not_before_ms:
            return False
        if self._shown_ms and at_ms - self._shown_ms[-1] < self._manners.pauses_ms[hint.priority]:
            return False
        if any(self._is_recent(hint.rule, element, at_ms) for element in hint.elements):
            return False
        if hint.priority == "critical":
            return True
        return not in_flow and self._left > (1 if hint.kind == "rate" else 0)

    def _is_recent(self, rule: str, element: str, at_ms: int) -> bool:
        last_ms = self._brought_up.get((rule, element))
        return last_ms is not None and at_ms - last_ms < self._manners.again_ms

    def _show(self, hint: Hint, at_ms: int) -> None:
        self._on_screen[hint] = at_ms + hint.show_ms
        self._shown_ms.append(at_ms)
        self._left -= hint.priority != "critical"
        self._brought_up.update({(hint.rule, element): at_ms for element in hint.elements})


def _urgency(hint: Hint) -> tuple[Any, ...]:
    order = _RANKS[hint.priority], hint.kind == "rate", hint.since_ms, hint.rule, sorted(hint.elements)
    return *order, hint.kind, hint.message, hint.suggestion or "", hint.show_ms
