"""Comparing by sound: what the recogniser wrote with other characters of the same, or nearly the same, syllables.

Theory of operation. Marked text and a pattern are both rewritten character by character, each Han character becoming
one private code point for its syllable; what a pattern skips or leaves open (hesitation, particles, marks) stays as it
is. A pattern in syllables is then searched exactly like one in characters, anchors, alternatives and slots included.
Two levels: TONELESS (tones ignored) and FUZZY (also the pairs that speakers and recognisers confuse: n/l, r/l, f/h,
zh/z, ch/c, sh/s, -ing/-in, -eng/-en, -ang/-an).
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache, lru_cache

from analyzer.normalize import toneless_readings

_FIRST_CODE = 0xF8000  # private use, one code point per class of syllables
_INITIALS = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("n", "l"), ("r", "l"), ("f", "h"))
_NASAL_FINALS = ("ing", "eng", "ang")


class Hearing(StrEnum):
    """Which syllables count as the same."""

    TONELESS = "toneless"
    FUZZY = "fuzzy"


@cache
def near(syllable: str) -> str:
    """The syllable that stands for all that are easily taken for it.

    >>> near("zhang"), near("ning"), near("hui")
    ('zan', 'lin', 'hui')
    """
    for initial, plain in _INITIALS:
        if syllable.startswith(initial):
            syllable = plain + syllable.removeprefix(initial)
            break
    return syllable[:-1] if syllable.endswith(_NASAL_FINALS) else syllable


def in_syllables(text: str, hearing: Hearing, kept: frozenset[str]) -> str:
    """``text`` with each Han character outside ``kept`` replaced by the code of its commonest reading; same length."""
    return text.translate(_commonest(hearing, kept))


def codes(character: str, hearing: Hearing) -> str:
    """The codes of every reading of ``character``; the character itself when it has no reading."""
    return _codes(hearing).get(character, character)


@lru_cache(maxsize=4)
def _commonest(hearing: Hearing, kept: frozenset[str]) -> dict[int, str]:
    return {ord(c): readings[0] for c, readings in _codes(hearing).items() if c not in kept}


@lru_cache(maxsize=2)
def _codes(hearing: Hearing) -> dict[str, str]:
    known: dict[str, str] = {}
    table = {}
    for character, syllables in toneless_readings().items():
        heard = dict.fromkeys(near(s) if hearing is Hearing.FUZZY else s for s in syllables)
        table[character] = "".join(known.setdefault(s, chr(_FIRST_CODE + len(known))) for s in heard)
    return table
