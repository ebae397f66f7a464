"""How much of speech that goes on can be taken for said: what two passes over it in a row agree on.

The idea is LocalAgreement-2 (Macháček et al., 2023): compare a pass with the one before, from where they last agreed,
and take the beginning they have in common. Characters of one sound agree: which of them is meant, a later pass may know
better, and rules hear sounds. What was agreed on once stays so, though its spelling may change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from analyzer.normalize import sound
from analyzer.types import Span, Utterance


class Agreement:
    """Follows the passes over one stretch of speech."""

    def __init__(self) -> None:
        self._rest: list[str] = []  # sounds of the pass before that were not agreed on
        self._agreed: Utterance | None = None  # what was agreed on, as it was spelled then
        self.until_ms = 0

    def hear(self, utterance: Utterance, *, is_whole: bool = True) -> tuple[Utterance, int]:
        """The next pass; returns all that is known to be said, and how many characters at its beginning are agreed on.
        ``until_ms`` is where those end.

        is_whole  the pass began where the stretch does; else what was agreed on before is put in front of it, and it
                  has to cover the seam and a bit before
        """
        ends = _ends_ms(utterance)
        spoken = [place for place, character in enumerate(utterance.text) if character.isalnum()]
        known = sum(1 for _ in takewhile(lambda place: ends[place] <= self.until_ms, spoken))
        rest = [sound(utterance.text[place]) for place in spoken[known:]]
        # a character's time may have moved over the seam: then one of the two begins a character later
        shifts = {shift: _alike(rest[max(0, shift) :], self._rest[max(0, -shift) :]) for shift in (0, 1, -1)}
        shift = max(shifts, key=shifts.__getitem__)
        agreed = known + (max(0, shift) + shifts[shift] if shifts[shift] else 0)
        self._rest = rest[agreed - known :]
        count = spoken[agreed - 1] + 1 if agreed else 0
        if count:
            self.until_ms = max(self.until_ms, ends[count - 1])
        if self._agreed is not None and not is_whole:
            seam = known + (shift if shifts[shift] else 0)  # spoken characters that the agreed ones stand for
            begin = spoken[seam - 1] + 1 if seam > 0 else 0
            utterance = _joined(self._agreed, utterance, begin)
            count = len(self._agreed.text) + max(0, count - begin)
        if count:
            self._agreed = _first(utterance, count)
        return utterance, count


def _first(utterance: Utterance, count: int) -> Utterance:
    """Its first characters."""
    times = utterance.characters
    until_ms = times[count - 1].end_ms if times else utterance.span.end_ms
    return replace(
        utterance,
        span=Span(utterance.span.start_ms, until_ms),
        text=utterance.text[:count],
        characters=times[:count] if times else None,
    )


def _joined(before: Utterance, utterance: Utterance, begin: int) -> Utterance:
    """One that goes on with the other from its character ``begin`` on."""
    times, more = before.characters, utterance.characters
    return replace(
        utterance,
        span=Span(before.span.start_ms, max(before.span.end_ms, utterance.span.end_ms)),
        text=before.text + utterance.text[begin:],
        confidence=min((one for one in (before.confidence, utterance.confidence) if one is not None), default=None),
        characters=None if times is None or more is None else (*times, *more[begin:]),
    )


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the beginning they have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _ends_ms(utterance: Utterance) -> Sequence[int]:
    if utterance.characters is not None:
        return [span.end_ms for span in utterance.characters]
    start_ms, count = utterance.span.start_ms, max(1, len(utterance.text))
    return [start_ms + (place + 1) * utterance.span.duration_ms // count for place in range(count)]
