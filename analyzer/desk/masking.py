"""What was said as one person may read it: one place for every page, list and answer of the desk.

Half an identifier cannot be told from half a quote: what quotes a call is masked together with the turns around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from analyzer.privacy import Quotes, mask, mask_values
from analyzer.store.database import own_numbers
from analyzer.store.tables import Finding, Turn
from analyzer.store.users import Principal

AROUND = 8  # turns before and after a quote: no number is said, asked for and read back over more

Said = Mapping[int, tuple[str, str]]  # number of the turn: role, text


@dataclass(frozen=True, slots=True)
class Veil:
    """``is_lifted``: this person may read identifiers. ``own``: the company's numbers, which everybody may."""

    is_lifted: bool
    own: frozenset[str] = frozenset()

    def text(self, text: str | None) -> str | None:
        """Text that somebody wrote; quotes of a call need their ``Context``."""
        return text if text is None or self.is_lifted else mask(text, self.own).text

    def values(self, values: Any) -> Any:
        """Every text in a JSON value."""
        return values if self.is_lifted else mask_values(values, self.own)


def veil_of(session: Session, who: Principal) -> Veil:
    return Veil(who.may_unmask, own_numbers(session))


class Context:
    """Turns of a call, all or those around a quote, and what quotes them."""

    def __init__(self, veil: Veil, turns: Said) -> None:
        self._veil, self._turns = veil, turns
        self._quotes = None if veil.is_lifted else Quotes(turns, veil.own)

    def turn(self, number: int) -> str:
        return self._turns[number][1] if self._quotes is None else self._quotes.turn(number)

    def text(self, text: str | None) -> str | None:
        """Text that may quote the turns."""
        return text if self._quotes is None else self._quotes.masked(text)

    def values(self, values: Any) -> Any:
        return self._veil.values(values)

    def quote(self, finding: Finding) -> str | None:
        return finding.quote if self._quotes is None else self._quotes.quote(finding.quote, finding.spans)

    def message(self, finding: Finding, text: str | None) -> str | None:
        """The finding's message or suggestion."""
        return text if self._quotes is None else self._quotes.message(text, finding.quote, self.quote(finding))


def context_of(session: Session, veil: Veil, call_pk: int) -> Context:
    """A whole call's."""
    rows = session.execute(
        select(Turn.number, Turn.role, Turn.text).where(Turn.call_pk == call_pk).order_by(Turn.number)
    )
    return Context(veil, {number: (role, text) for number, role, text in rows})


def contexts_around(session: Session, veil: Veil, findings: Iterable[Finding]) -> dict[int, Context]:
    """For lists of findings of many calls: of each the turns around it, by the finding's id."""
    return {finding.id: Context(veil, {} if veil.is_lifted else _around(session, finding)) for finding in findings}


def _around(session: Session, finding: Finding) -> Said:
    numbers = [span["turn"] for span in finding.spans] or ([] if finding.turn is None else [finding.turn])
    if not numbers:
        return {}
    rows = session.execute(
        select(Turn.number, Turn.role, Turn.text)
        .where(Turn.call_pk == finding.call_pk, Turn.number.between(min(numbers) - AROUND, max(numbers) + AROUND))
        .order_by(Turn.number)
    )
    return {number: (role, text) for number, role, text in rows}
