"""How much of speech that goes on can be taken for said: what two passes over it in a row agree on.

The idea is LocalAgreement-2 (Macháček et al., 2023): compare a pass with the one before, from where they last agreed,
and take the beginning they have in common. Characters of one sound agree: which of them is meant, a later pass may know
better, and rules hear sounds. What was agreed on once stays so, though its spelling may change.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from analyzer.normalize import sound
from analyzer.types import Utterance


class Agreement:
    """Follows the passes over one stretch of speech."""

    def __init__(self) -> None:
        self._rest: list[str] = []  # sounds of the pass before that were not agreed on
        self.until_ms = 0

    def hear(self, utterance: Utterance) -> int:
        """The next pass; returns how many characters at its beginning are agreed on. ``until_ms`` is where they end."""
        ends = _ends_ms(utterance)
        spoken = [place for place, character in enumerate(utterance.text) if character.isalnum()]
        known = sum(1 for _ in takewhile(lambda place: ends[place] <= self.until_ms, spoken))
        rest = [sound(utterance.text[place]) for place in spoken[known:]]
        # a character's time may have moved over the seam: then one of the two begins a character later
        shifts = {shift: _alike(rest[max(0, shift) :], self._rest[max(0, -shift) :]) for shift in (0, 1, -1)}
        shift = max(shifts, key=shifts.__getitem__)
        agreed = known + (max(0, shift) + shifts[shift] if shifts[shift] else 0)
        self._rest = rest[agreed - known :]
        if not agreed:
            return 0
        last = spoken[agreed - 1]
        self.until_ms = max(self.until_ms, ends[last])
        return last + 1


def _alike(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the beginning they have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _ends_ms(utterance: Utterance) -> Sequence[int]:
    if utterance.characters is not None:
        return [span.end_ms for span in utterance.characters]
    start_ms, count = utterance.span.start_ms, max(1, len(utterance.text))
    return [start_ms + (place + 1) * utterance.span.duration_ms // count for place in range(count)]
