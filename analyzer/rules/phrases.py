"""Phrases of a word list, and finding all of them in an utterance in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
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
        self._vocabulary: Vocabulary | None = None
        self._same: PhraseSet = self  # stands for all sets of the same phrases

    def __bool__(self) -> bool:
        return bool(self.phrases)

    def find(self, said: Said) -> list[Hit]:
        """All hits, by position; hits of different phrases may overlap. A hit by sound yields to one by spelling."""
        found: list[Hit] | None = said.found.get(self._same)
        if found is None:
            found = said.found[self._same] = self._same._find(said)
        return list(found)

    def any(self, said: Said) -> bool:
        return bool(self.find(said))

    def join(self, vocabulary: Vocabulary, same: PhraseSet) -> None:
        """Have the phrases looked for together with those of other sets from now on, and those of ``same``, which holds
        the same phrases, only once."""
        self._vocabulary, self._same = vocabulary, same

    def _find(self, said: Said) -> list[Hit]:
        if self._vocabulary is None:
            self._vocabulary = Vocabulary([self])
        candidates = self._vocabulary.candidates(self, said)
        if candidates is None:
            return []
        spelled = [hit for order in sorted(candidates.spelled) for hit in self._spelled(order, said)]
        heard = (hit for hit in self._heard(candidates, said) if not any(hit.overlaps(other) for other in spelled))
        hits = [hit for hit in (*spelled, *heard) if not self._allowed(hit)]
        return sorted(hits, key=lambda hit: (hit.start, hit.end, hit.order))

    def _spelled(self, order: int, said: Said) -> Iterator[Hit]:
        phrase = self.phrases[order]
        for start, end in ranges(phrase.pattern, said):
            if start < end and _on_edges(phrase.boundary, said, start, end):
                exact = phrase.pattern.spells(said.text[start:end])
                match = Match.EXACT if exact else Match.VARIANT
                yield Hit(phrase, said, start, end, match, said.confidence(start, end), order)

    def _heard(self, candidates: Candidates, said: Said) -> Iterator[Hit]:
        for hearing in Hearing:
            for order in sorted(candidates.heard.get(hearing, ())):
                yield from self._heard_as(order, said, hearing)

    def _heard_as(self, order: int, said: Said, hearing: Hearing) -> Iterator[Hit]:
        phrase = self.phrases[order]
        for span, open_spans in phrase.pattern.hear_all(said.sounded(hearing), hearing):
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
            start <= hit.start and hit.end <= end
            for pattern in (*hit.phrase.allow, *self.allow)
            if may_match(pattern, hit.said)
            for start, end in ranges(pattern, hit.said)
        )


def ranges(pattern: Pattern, said: Said) -> list[tuple[int, int]]:
    """Where a pattern is found in ``said.text``, outer anchors left out. Looked for once."""
    if pattern not in said.matched:
        said.matched[pattern] = [said.from_marked(*span) for span in pattern.search_all(said.marked)]
    found: list[tuple[int, int]] = said.matched[pattern]
    return found


def may_match(pattern: Pattern, said: Said) -> bool:
    """Whether one of the pattern's keys is there: if not, it is found nowhere in the utterance."""
    keys = pattern.keys
    return keys is None or any(key in text for text in said.keyed_texts for key in keys)


# --- which phrases are worth a closer look ----------------------------------------------------------------------------


@dataclass(slots=True)
class Candidates:
    """Phrases of one set, by their place in it, that an utterance may hold: as written, and by sound."""

    spelled: set[int] = field(default_factory=set)
    heard: dict[Hearing, set[int]] = field(default_factory=dict)


class Vocabulary:
    """The phrases of many sets, looked for in one pass over an utterance whatever their number.

    Every match of a phrase contains one of its keys. One Aho-Corasick automaton over the keys of all phrases, and one
    per level of hearing over the keys in syllables, tell which few phrases of which sets can match at all; the sets
    that hold none of them have nothing to do. Built when first needed.
    """

    def __init__(self, sets: Iterable[PhraseSet]) -> None:
        self.sets = tuple(sets)

    @classmethod
    def shared_by(cls, sets: Iterable[PhraseSet]) -> Vocabulary:
        """A vocabulary that its sets know of."""
        known = tuple(dict.fromkeys(sets))
        same: dict[tuple[tuple[int, ...], ...], PhraseSet] = {}
        content = {one: (tuple(map(id, one.phrases)), tuple(map(id, one.allow))) for one in known}
        vocabulary = cls(dict.fromkeys(same.setdefault(content[one], one) for one in known))
        for one in known:
            one.join(vocabulary, same[content[one]])
        return vocabulary

    def candidates(self, phrases: PhraseSet, said: Said) -> Candidates | None:
        """What of one set the utterance may hold. The first question of any set answers for all."""
        if self not in said.candidates:
            said.candidates[self] = self._all_candidates(said)
        found: dict[PhraseSet, Candidates] = said.candidates[self]
        return found.get(phrases)

    def _all_candidates(self, said: Said) -> dict[PhraseSet, Candidates]:
        found: dict[PhraseSet, Candidates] = defaultdict(Candidates)
        if not said.text:
            return found
        for phrases, order in self._written.in_any(said.keyed_texts):
            found[phrases].spelled.add(order)
        for hearing, keys in self._sounding.items():
            sounded = [in_syllables(text, hearing, NOT_SOUNDED) for text in said.keyed_texts]
            for phrases, order in keys.in_any(sounded):
                found[phrases].heard.setdefault(hearing, set()).add(order)
        return found

    @cached_property
    def _written(self) -> _Keys:
        places: dict[Pattern, list[_Place]] = {}
        for phrases in self.sets:
            for order, phrase in enumerate(phrases.phrases):
                places.setdefault(phrase.pattern, []).append((phrases, order))
        return _Keys((pattern.keys, at) for pattern, at in places.items())

    @cached_property
    def _sounding(self) -> dict[Hearing, _Keys]:
        levels = {}
        for hearing in Hearing:
            places: dict[Pattern, list[_Place]] = {}
            for phrases in self.sets:
                for order, phrase in enumerate(phrases.phrases):
                    if hearing in phrase.hearing and phrase.pattern.longest >= phrase.heard_from:
                        places.setdefault(phrase.pattern, []).append((phrases, order))
            keyed = [(keys, at) for pattern, at in places.items() if (keys := pattern.sound_keys(hearing))]
            if keyed:
                levels[hearing] = _Keys(keyed)
        return levels


_Place = tuple[PhraseSet, int]


class _Keys:
    """Keys, and where the phrases stand that have them; those without keys may be anywhere."""

    def __init__(self, keyed: Iterable[tuple[tuple[str, ...] | None, Sequence[_Place]]]) -> None:
        self._groups: list[Sequence[_Place]] = []
        self._keyless: list[int] = []
        by_key: dict[str, list[int]] = {}
        for number, (keys, places) in enumerate(keyed):
            self._groups.append(places)
            if keys is None:
                self._keyless.append(number)
            for key in keys or ():
                by_key.setdefault(key, []).append(number)
        self._groups_of = list(by_key.values())
        self._automaton = ahocorasick_rs.AhoCorasick(list(by_key)) if by_key else None

    def in_any(self, texts: Iterable[str]) -> Iterator[_Place]:
        """Places of the phrases of which a key is in one of the texts."""
        keys: set[int] = set()
        if self._automaton is not None:
            for text in texts:
                keys.update(key for key, _, _ in self._automaton.find_matches_as_indexes(text, overlapping=True))
        numbers = set(self._keyless)
        for key in keys:
            numbers.update(self._groups_of[key])
        for number in numbers:
            yield from self._groups[number]


def phrase_sets(part: object) -> Iterator[PhraseSet]:
    """Every set that a rule's check or condition holds, however deep, whatever its kind."""
    if isinstance(part, PhraseSet):
        yield part
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from phrase_sets(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from phrase_sets(value)
    elif is_dataclass(part) and not isinstance(part, type):
        for own in fields(part):
            yield from phrase_sets(getattr(part, own.name))


# --- hits -------------------------------------------------------------------------------------------------------------


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
