"""Phrases of a word list, and finding all of them in an utterance in one pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
        same = self._same
        found: Sequence[Hit] | None = said.found.get(same)
        if found is None:
            found = said.found[same] = same._find(said)
        return list(found)

    def any(self, said: Said) -> bool:
        return bool(self.find(said))

    def join(self, vocabulary: Vocabulary, same: PhraseSet) -> None:
        """Have the phrases looked for together with those of other sets from now on, and those of ``same``, which holds
        the same phrases, only once."""
        self._vocabulary, self._same = vocabulary, same

    @property
    def shared(self) -> PhraseSet:
        """The set that stands for all of the same phrases in its vocabulary."""
        return self._same

    @property
    def vocabulary(self) -> Vocabulary:
        """The sets that are looked for together with this one."""
        if self._vocabulary is None:
            self._vocabulary = Vocabulary([self])
        return self._vocabulary

    def _find(self, said: Said) -> Sequence[Hit]:
        candidates = self.vocabulary.candidates(said)
        hits = [hit for order in sorted(candidates.spelled_in(self)) for hit in self._spelled(order, said)]
        if candidates.heard:
            spelled = tuple(hits)
            heard = self._heard(candidates, said)
            hits += [hit for hit in heard if not any(hit.overlaps(other) for other in spelled)]
        hits = [hit for hit in hits if not self._allowed(hit)]
        return sorted(hits, key=lambda hit: (hit.start, hit.end, hit.order)) if len(hits) > 1 else hits

    def _spelled(self, order: int, said: Said) -> Iterator[Hit]:
        phrase = self.phrases[order]
        for start, end in ranges(phrase.pattern, said):
            if start < end and _on_edges(phrase.boundary, said, start, end):
                exact = phrase.pattern.spells(said.text[start:end])
                match = Match.EXACT if exact else Match.VARIANT
                yield Hit(phrase, said, start, end, match, said.confidence(start, end), order)

    def _heard(self, candidates: Candidates, said: Said) -> Iterator[Hit]:
        for hearing, orders_of in candidates.heard.items():
            for order in sorted(orders_of.get(self, ())):
                yield from self._heard_as(order, said, hearing)

    def _heard_as(self, order: int, said: Said, hearing: Hearing) -> Iterator[Hit]:
        phrase = self.phrases[order]
        for start, end, length, is_around_open in misheard(phrase.pattern, said, hearing):
            least = max(phrase.heard_from, _FUZZY_FROM * (hearing is Hearing.FUZZY), _OPEN_FROM * is_around_open)
            # what was misheard lies inside; a hit that starts or ends within a known word only sounds alike by chance
            if length >= least and _on_edges(Boundary.BOTH, said, start, end):
                trust = _TRUST[hearing] if length >= _SOUND_FROM else _SHORT_HOMOPHONE_TRUST
                yield Hit(phrase, said, start, end, Match.HOMOPHONE, said.confidence(start, end) * trust, order)

    # --- what is no hit after all ---

    def _allowed(self, hit: Hit) -> bool:
        for pattern in (*hit.phrase.allow, *self.allow):
            if may_match(pattern, hit.said):
                for start, end in ranges(pattern, hit.said):
                    if start <= hit.start and hit.end <= end:
                        return True
        return False


def ranges(pattern: Pattern, said: Said) -> list[tuple[int, int]]:
    """Where a pattern is found in ``said.text``, outer anchors left out. Looked for once."""
    found = said.matched.get(pattern)
    if found is None:
        spans = pattern.search_all(said.encoded)
        found = said.matched[pattern] = [said.from_marked(start, end) for start, end in spans]
    return found


Misheard = tuple[int, int, int, bool]  # range of ``said.text``, characters spelled out in it, whether others are too


def misheard(pattern: Pattern, said: Said, hearing: Hearing) -> list[Misheard]:
    """Where a pattern is found by its sound though written otherwise: a character at least, not too many. Looked for
    once."""
    found: list[Misheard] | None = said.heard.get((pattern, hearing))
    if found is None:
        found = said.heard[pattern, hearing] = []
        if not pattern.may_be_misheard(said.sounds(hearing), hearing):
            return found
        for span, open_spans in pattern.hear_all(said.sounded(hearing), hearing):
            start, end = said.from_marked(*span)
            written = _written(said.marked, span, open_spans)
            wrong = sum(character not in pattern.alphabet for character in written)
            if start < end and 0 < wrong <= max(1, len(written) // _MISHEARD_SHARE):
                found.append((start, end, len(written), bool(open_spans)))
    return found


def may_match(pattern: Pattern, said: Said) -> bool:
    """Whether one of the pattern's keys is there: if not, it is found nowhere in the utterance."""
    keys = pattern.keys
    return keys is None or any(key in text for text in said.keyed_texts for key in keys)


# --- the one scan: which phrases an utterance may hold --------------------------------------------------------------


_Orders = Mapping[PhraseSet, Sequence[int]]  # phrases of a set, by their place in it


@dataclass(frozen=True, slots=True)
class Candidates:
    """Phrases that an utterance may hold: as written, and by sound. ``anywhere``: any utterance may hold these."""

    anywhere: _Orders
    spelled: _Orders
    heard: Mapping[Hearing, _Orders]

    def spelled_in(self, phrases: PhraseSet) -> Iterable[int]:
        return (*self.anywhere.get(phrases, ()), *self.spelled.get(phrases, ()))

    def sets(self) -> Iterator[PhraseSet]:
        """Of which it may hold a phrase, those that any utterance may hold left out."""
        yield from self.spelled
        for orders_of in self.heard.values():
            yield from orders_of


_NOTHING = Candidates({}, {}, {})


class Vocabulary:
    """The phrases of many sets, looked for in one scan of an utterance whatever their number.

    Every match of a phrase contains literals that its pattern *needs*. One Aho-Corasick automaton over those of all
    phrases, and one per level of hearing over their syllables, tell which few phrases of which sets can match at all;
    only these are searched for as expressions, and the sets that hold none of them have nothing to do. Built when
    first needed.
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

    def candidates(self, said: Said) -> Candidates:
        """What the utterance may hold. The first question of any set answers for all."""
        found: Candidates | None = said.candidates.get(self)
        if found is None:
            found = said.candidates[self] = self._scan(said) if said.text else _NOTHING
            said.found = {**self._nothing_found, **said.found}
            for phrases in (*found.anywhere, *found.sets()):
                said.found.pop(phrases, None)  # to be looked at when a rule asks
        return found

    @property
    def anywhere(self) -> Collection[PhraseSet]:
        """Sets of which any utterance that holds a word may hold a phrase."""
        return self._written.anywhere.keys()

    @cached_property
    def _nothing_found(self) -> dict[PhraseSet, Sequence[Hit]]:
        return dict.fromkeys(self.sets, ())

    def _scan(self, said: Said) -> Candidates:
        heard: dict[Hearing, _Orders] = {}
        for hearing, index in self._sounding.items():
            orders_of = index.possible_in([in_syllables(text, hearing, NOT_SOUNDED) for text in said.keyed_texts])
            if orders_of:
                heard[hearing] = orders_of
        return Candidates(self._written.anywhere, self._written.possible_in(said.keyed_texts), heard)

    @cached_property
    def _written(self) -> _Index:
        places: dict[Pattern, list[_Place]] = {}
        for phrases in self.sets:
            for order, phrase in enumerate(phrases.phrases):
                places.setdefault(phrase.pattern, []).append((phrases, order))
        return _Index((pattern.needs, at) for pattern, at in places.items())

    @cached_property
    def _sounding(self) -> dict[Hearing, _Index]:
        levels = {}
        for hearing in Hearing:
            places: dict[Pattern, list[_Place]] = {}
            for phrases in self.sets:
                for order, phrase in enumerate(phrases.phrases):
                    if hearing in phrase.hearing and phrase.pattern.longest >= phrase.heard_from:
                        places.setdefault(phrase.pattern, []).append((phrases, order))
            keyed = [((keys,), at) for pattern, at in places.items() if (keys := pattern.sound_keys(hearing))]
            if keyed:
                levels[hearing] = _Index(keyed)
        return levels


_Place = tuple[PhraseSet, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """The places of one pattern. ``rest``: what it needs beside the keys it is filed under, as numbers of keys."""

    places: Sequence[_Place]
    rest: Sequence[frozenset[int]] = ()


_Entries = dict[_Entry, None]  # in the order they were filed


class _Index:
    """Patterns by the literals they need: filed under each key of their first set of them and, where they need another,
    each of the second.

    anywhere   the places of those that need none
    """

    def __init__(self, patterns: Iterable[tuple[Sequence[Sequence[str]], Sequence[_Place]]]) -> None:
        numbers: dict[str, int] = {}
        anywhere: dict[PhraseSet, list[int]] = defaultdict(list)
        self._by_key: dict[int, _Entries] = defaultdict(dict)
        self._by_two: dict[int, dict[int, _Entries]] = defaultdict(lambda: defaultdict(dict))
        for needs, places in patterns:
            keys, *others = ([numbers.setdefault(key, len(numbers)) for key in need] for need in needs or ((),))
            entry = _Entry(places, tuple(map(frozenset, others[1:])))
            for key in keys:
                for other in others[0] if others else ():
                    self._by_two[key][other][entry] = None
                if not others:
                    self._by_key[key][entry] = None
            for phrases, order in () if keys else places:
                anywhere[phrases].append(order)
        self.anywhere: _Orders = dict(anywhere)
        self._automaton = ahocorasick_rs.AhoCorasick(list(numbers)) if numbers else None

    def possible_in(self, texts: Sequence[str]) -> _Orders:
        """Phrases that can match: all they need is in the texts, the same thing said in one or two ways.

        What stands in neither way may still be made of both, so that of two texts the first key alone is asked for.
        """
        there = self._keys_in(texts)
        possible: _Entries = {}
        for key in there & self._by_key.keys():
            possible.update(self._by_key[key])
        for key in there & self._by_two.keys():
            by_other = self._by_two[key]
            for other in by_other if len(texts) > 1 else there & by_other.keys():
                possible.update(by_other[other])
        orders_of: dict[PhraseSet, list[int]] = defaultdict(list)
        for entry in possible:
            if not entry.rest or len(texts) > 1 or not any(need.isdisjoint(there) for need in entry.rest):
                for phrases, order in entry.places:
                    orders_of[phrases].append(order)
        return orders_of

    def _keys_in(self, texts: Iterable[str]) -> set[int]:
        if self._automaton is None:
            return set()
        find = self._automaton.find_matches_as_indexes
        return {key for text in texts for key, _, _ in find(text, overlapping=True)}


def phrase_sets(part: object) -> Iterator[PhraseSet]:
    """Every set that a rule's check or condition holds, however deep, whatever its kind."""
    if isinstance(part, PhraseSet):
        yield part
        return
    for inside in _inside(part):
        if not isinstance(inside, _WITHOUT_SETS):  # a model's weights are a hundred thousand numbers
            yield from phrase_sets(inside)


_WITHOUT_SETS = (str, int, float, type(None), Phrase, Pattern)


def _inside(part: object) -> Iterable[object]:
    if isinstance(part, list | tuple):
        return part
    if isinstance(part, Mapping):
        return part.values()
    if is_dataclass(part) and not isinstance(part, type):
        return [getattr(part, own.name) for own in fields(part)]
    return ()


# --- hits -------------------------------------------------------------------------------------------------------------


def _on_edges(boundary: Boundary, said: Said, start: int, end: int) -> bool:
    if boundary in (Boundary.BOTH, Boundary.LEFT) and not said.is_word_edge(start):
        return False
    return boundary in (Boundary.NONE, Boundary.LEFT) or said.is_word_edge(end)


def _written(marked: str, span: tuple[int, int], open_spans: Iterable[tuple[int, int]]) -> str:
    """The characters at ``span`` that the pattern spells out: no marks, no hesitation, nothing it leaves open."""
    left_out = {index for start, end in open_spans if start >= 0 for index in range(start, end)}
    return "".join(
        marked[index]
        for index in range(*span)
        if index not in left_out and marked[index] not in MARKS and marked[index] not in HESITATION
    )


def keep_longest(hits: Sequence[Hit], rank: Mapping[str | None, int] | None = None) -> list[Hit]:
    """Of hits that overlap keep one: the longest, then the one listed first, then the category that ranks first."""
    if len(hits) < 2:
        return list(hits)
    ranks = rank or {}
    by_worth = sorted(hits, key=lambda hit: (hit.start - hit.end, hit.order, ranks.get(hit.phrase.category, 0)))
    kept: list[Hit] = []
    for hit in by_worth:
        if not any(hit.overlaps(other) for other in kept):
            kept.append(hit)
    return sorted(kept, key=lambda hit: (hit.start, hit.end))
