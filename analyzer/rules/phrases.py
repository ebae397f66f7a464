"""Phrases of a word list, and finding all of them in an utterance in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TypeVar

import ahocorasick_rs

from analyzer.rules.faults import Fault, RuleFaults, did_you_mean
from analyzer.rules.hearing import Hearing, in_syllables
from analyzer.rules.patterns import HESITATION, MARKS, NOT_SOUNDED, Pattern, PatternError, Slots
from analyzer.rules.said import Place, Said
from analyzer.types import Match, Severity, Span

_SOUND_FROM = 4  # characters; fewer collide with innocent words (false hits per 10,000 characters: 4 -> 0.1, 3 -> 1.7)
_SOUND_AT_LEAST = 3
_FUZZY_FROM = 5  # near sounds collide more often than same sounds: one character longer
_OPEN_FROM = 6  # so many around what the pattern leaves open
_MISHEARD_SHARE = 3  # at most every third character may be another than the phrase is written with
_TRUST = {Hearing.TONELESS: 0.9, Hearing.FUZZY: 0.8}
_SHORT_HOMOPHONE_TRUST = 0.5
_SHORT_TERM = 3  # characters up to which both ends must lie on word edges unless the list says otherwise

_Choice = TypeVar("_Choice", bound=StrEnum)


class Boundary(StrEnum):
    """Which ends of a hit must lie on a word edge."""

    BOTH = "both"
    LEFT = "left"
    RIGHT = "right"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Phrase:
    """A row of a word list (docs/rule-files.md), or an inline pattern of a rule. ``place`` is ``file:line``.

    hearing      how it is also found by sound, if at all
    heard_from   characters a match by sound has at least
    """

    pattern: Pattern
    category: str | None = None
    severity: Severity | None = None
    clauses: tuple[str, ...] = ()
    allow: tuple[Pattern, ...] = ()
    exempt: frozenset[str] = frozenset()
    boundary: Boundary = Boundary.NONE
    hearing: tuple[Hearing, ...] = ()
    heard_from: int = _SOUND_FROM
    term: str = ""
    suggestion: str | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found: ``said.text[start:end]``. ``order`` is the phrase's place in its set, for ties."""

    phrase: Phrase
    said: Said
    start: int
    end: int
    match: Match
    confidence: float
    order: int = field(default=0, compare=False)

    @property
    def span(self) -> Span:
        return self.said.span_of(self.start, self.end)

    @property
    def quote(self) -> str:
        return self.said.quote(self.start, self.end)

    @property
    def places(self) -> tuple[Place, ...]:
        return self.said.places(self.start, self.end)

    def overlaps(self, other: Hit) -> bool:
        return self.said is other.said and self.start < other.end and other.start < self.end


_SOUND: Mapping[str, tuple[Hearing, ...]] = {
    "": (Hearing.TONELESS,), "toneless": (Hearing.TONELESS,), "fuzzy": tuple(Hearing), "off": (),
}  # fmt: skip

PHRASE_COLUMNS = (
    "phrase", "category", "severity", "clauses", "allow", "exempt", "boundary", "sound", "term", "suggestion", "notes",
)  # fmt: skip


def read_phrase(row: Mapping[str, str], slots: Slots, place: str = "") -> Phrase:
    """A phrase from the columns of a word list. Raises RuleFaults with everything wrong in the row."""
    faults: list[Fault] = []
    pattern = _pattern(row["phrase"], slots, faults, "phrase")
    allow = [_pattern(text, slots, faults, "allow") for text in row.get("allow", "").replace("；", ";").split(";")
             if text.strip()]  # fmt: skip
    severity = _choice(Severity, row.get("severity", ""), faults, "severity")
    boundary = _choice(Boundary, row.get("boundary", ""), faults, "boundary")
    sound = row.get("sound", "")
    if sound not in _SOUND:
        faults.append(Fault(("sound",), f"sound is 'toneless', 'fuzzy' or 'off', not {sound!r}"))
    elif pattern and sound not in ("", "off") and pattern.length < (least := _SOUND_AT_LEAST + (sound == "fuzzy")):
        problem = f"{row['phrase']!r} is too short to compare by sound ({least} characters at least)"
        faults.append(Fault(("sound",), problem))
    if faults or pattern is None:
        raise RuleFaults(faults)
    return Phrase(
        pattern,
        category=row.get("category") or None,
        severity=severity,
        clauses=tuple(row.get("clauses", "").replace(",", " ").split()),
        allow=tuple(p for p in allow if p),
        exempt=frozenset(row.get("exempt", "").replace(",", " ").split()),
        boundary=boundary or default_boundary(pattern),
        hearing=_SOUND[sound],
        heard_from=_SOUND_AT_LEAST if sound == "toneless" else _SOUND_FROM,
        term=row.get("term") or row["phrase"],
        suggestion=row.get("suggestion") or None,
        place=place,
    )


def default_boundary(pattern: Pattern) -> Boundary:
    return Boundary.BOTH if pattern.length <= _SHORT_TERM and not pattern.is_open else Boundary.NONE


def _pattern(text: str, slots: Slots, faults: list[Fault], column: str) -> Pattern | None:
    try:
        return Pattern(text.strip(), slots)
    except PatternError as error:
        faults.append(Fault((column,), str(error)))
        return None


def _choice(kind: type[_Choice], text: str, faults: list[Fault], column: str) -> _Choice | None:
    if not text or text in set(kind):
        return kind(text) if text else None
    faults.append(Fault((column,), f"unknown {column} {text!r}{did_you_mean(text, kind)}"))
    return None


class PhraseSet:
    """Phrases compiled to be searched together. ``allow`` masks hits of all of them."""

    def __init__(self, phrases: Iterable[Phrase], allow: Iterable[Pattern] = ()) -> None:
        self.phrases = tuple(phrases)
        self.allow = tuple(allow)

    def __bool__(self) -> bool:
        return bool(self.phrases)

    def find(self, said: Said) -> list[Hit]:
        """All hits, by position; hits of different phrases may overlap. A hit by sound yields to one by spelling."""
        if self not in said.found:
            said.found[self] = self._find(said)
        return list(said.found[self])

    def _find(self, said: Said) -> list[Hit]:
        if not self.phrases or not said.text:
            return []
        spelled = [hit for order in self._candidates(said) for hit in self._spelled(order, said)]
        heard = (hit for hit in self._heard(said) if not any(hit.overlaps(other) for other in spelled))
        hits = [hit for hit in (*spelled, *heard) if not self._allowed(hit)]
        return sorted(hits, key=lambda hit: (hit.start, hit.end, hit.order))

    def any(self, said: Said) -> bool:
        return bool(self.find(said))

    # --- by spelling ---

    @cached_property
    def _keyed(self) -> tuple[ahocorasick_rs.AhoCorasick | None, tuple[tuple[int, ...], ...], tuple[int, ...]]:
        """Automaton over the keys, the phrases of each key, and the phrases that have none."""
        by_key: dict[str, list[int]] = {}
        keyless = []
        for order, phrase in enumerate(self.phrases):
            if phrase.pattern.keys is None:
                keyless.append(order)
            for key in phrase.pattern.keys or ():
                by_key.setdefault(key, []).append(order)
        automaton = ahocorasick_rs.AhoCorasick(list(by_key)) if by_key else None
        return automaton, tuple(map(tuple, by_key.values())), tuple(keyless)

    def _candidates(self, said: Said) -> list[int]:
        automaton, phrases_of, keyless = self._keyed
        orders = set(keyless)
        if automaton is not None:
            for text in (said.stripped, said.without_fillers):
                for key, _, _ in automaton.find_matches_as_indexes(text, overlapping=True) if text else ():
                    orders.update(phrases_of[key])
        return sorted(orders)

    def _spelled(self, order: int, said: Said) -> Iterator[Hit]:
        phrase = self.phrases[order]
        for marked_start, marked_end in phrase.pattern.search_all(said.marked):
            start, end = said.from_marked(marked_start, marked_end)
            if start < end and _on_edges(phrase.boundary, said, start, end):
                exact = phrase.pattern.spells(said.text[start:end])
                match = Match.EXACT if exact else Match.VARIANT
                yield Hit(phrase, said, start, end, match, said.confidence(start, end), order)

    # --- by sound ---

    @cached_property
    def _sounding(self) -> dict[Hearing, tuple[ahocorasick_rs.AhoCorasick, tuple[tuple[int, ...], ...]]]:
        """Per level of hearing: automaton over the keys in syllables, and the phrases of each key."""
        indexes = {}
        for hearing in Hearing:
            by_key: dict[str, list[int]] = {}
            for order, phrase in enumerate(self.phrases):
                for key in phrase.pattern.sound_keys(hearing) if hearing in phrase.hearing else ():
                    by_key.setdefault(key, []).append(order)
            if by_key:
                indexes[hearing] = ahocorasick_rs.AhoCorasick(list(by_key)), tuple(map(tuple, by_key.values()))
        return indexes

    def _heard(self, said: Said) -> Iterator[Hit]:
        for hearing, (automaton, phrases_of) in self._sounding.items():
            orders: set[int] = set()
            for text in (said.stripped, said.without_fillers):
                sounded = in_syllables(text or "", hearing, NOT_SOUNDED)
                for key, _, _ in automaton.find_matches_as_indexes(sounded, overlapping=True) if text else ():
                    orders.update(phrases_of[key])
            sounded = in_syllables(said.marked, hearing, NOT_SOUNDED) if orders else ""
            for order in sorted(orders):
                yield from self._heard_as(order, said, sounded, hearing)

    def _heard_as(self, order: int, said: Said, sounded: str, hearing: Hearing) -> Iterator[Hit]:
        phrase = self.phrases[order]
        for span, open_spans in phrase.pattern.hear_all(sounded, hearing):
            start, end = said.from_marked(*span)
            written = _written(said.marked, span, open_spans)
            misheard = sum(character not in phrase.pattern.alphabet for character in written)
            least = max(phrase.heard_from, _FUZZY_FROM * (hearing is Hearing.FUZZY), _OPEN_FROM * bool(open_spans))
            if len(written) < least or not 0 < misheard <= max(1, len(written) // _MISHEARD_SHARE):
                continue
            # what was misheard lies inside; a hit that starts or ends within a known word only sounds alike by chance
            if start < end and _on_edges(Boundary.BOTH, said, start, end):
                trust = _TRUST[hearing] if len(written) >= _SOUND_FROM else _SHORT_HOMOPHONE_TRUST
                yield Hit(phrase, said, start, end, Match.HOMOPHONE, said.confidence(start, end) * trust, order)

    # --- what is no hit after all ---

    def _allowed(self, hit: Hit) -> bool:
        return any(
            hit.said.from_marked(*span)[0] <= hit.start and hit.end <= hit.said.from_marked(*span)[1]
            for pattern in (*hit.phrase.allow, *self.allow)
            for span in pattern.search_all(hit.said.marked)
        )


def _on_edges(boundary: Boundary, said: Said, start: int, end: int) -> bool:
    if boundary in (Boundary.BOTH, Boundary.LEFT) and start not in said.edges:
        return False
    return boundary in (Boundary.NONE, Boundary.LEFT) or end in said.edges


def _written(marked: str, span: tuple[int, int], open_spans: Iterable[tuple[int, int]]) -> str:
    """The characters at ``span`` that the pattern spells out: no marks, no hesitation, nothing it leaves open."""
    left_out = {index for start, end in open_spans if start >= 0 for index in range(start, end)}
    return "".join(
        marked[index]
        for index in range(*span)
        if index not in left_out and marked[index] not in MARKS and marked[index] not in HESITATION
    )


def keep_longest(hits: Iterable[Hit], rank: Mapping[str | None, int] | None = None) -> list[Hit]:
    """Of hits that overlap keep one: the longest, then the one listed first, then the category that ranks first."""
    ranks = rank or {}
    by_worth = sorted(hits, key=lambda hit: (hit.start - hit.end, hit.order, ranks.get(hit.phrase.category, 0)))
    kept: list[Hit] = []
    for hit in by_worth:
        if not any(hit.overlaps(other) for other in kept):
            kept.append(hit)
    return sorted(kept, key=lambda hit: (hit.start, hit.end))
