"""An utterance as the rules see it: same-role speech with gaps under 700 ms, folded and timed as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate, pairwise
from statistics import median
from typing import Any

from analyzer.normalize import CLAUSE, SENTENCE, Folded, fold, is_word_edge, sound, syllables
from analyzer.rules.hearing import Hearing, in_syllables
from analyzer.rules.patterns import (
    CLAUSE_END,
    CLAUSE_START,
    FILLERS,
    HESITATION,
    NOT_SOUNDED,
    SENTENCE_BREAK,
    UTTERANCE_END,
    UTTERANCE_START,
    Encoded,
    Sounds,
)
from analyzer.types import Role, Span, Utterance

LONGEST_BREAK_MS = 2000  # between two utterances that one phrase may span; more and the speaker has begun anew
PAUSE_MS = 300  # a pause inside an utterance that separates clauses where no punctuation does
_PAUSE_OVER_USUAL_GAP = 2.5  # in slow speech every character is followed by a gap; only a longer one is a pause


@dataclass(frozen=True, slots=True)
class Place:
    """Characters of one recognised utterance (code points of its raw text, end exclusive)."""

    utterance: Utterance = field(repr=False)
    char_start: int
    char_end: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a recognised utterance without a gap of 700 ms or more: usually all of it."""

    utterance: Utterance = field(repr=False)
    char_start: int
    char_end: int
    span: Span

    @property
    def text(self) -> str:
        return self.utterance.text[self.char_start : self.char_end]


class Said:
    """One utterance: who, when, what, and where it stands in the conversation.

    turn_of_talk   0-based number of the speaker's turn of talk (话轮) it belongs to; None for roles that take no turns
    back_channel   nothing but 嗯, 对, 好的 …
    """

    def __init__(
        self, role: Role, stretches: Sequence[Stretch], turn_of_talk: int | None = None, back_channel: bool = False
    ) -> None:
        self.role = role
        self.stretches = tuple(stretches)
        self.turn_of_talk = turn_of_talk
        self.back_channel = back_channel
        self.span = Span(min(s.span.start_ms for s in stretches), max(s.span.end_ms for s in stretches))
        self.raw = "".join(stretch.text for stretch in stretches)
        # so that a second look costs nothing: hits by phrase set, matches by pattern, candidates by vocabulary
        self.found: dict[Any, Sequence[Any]] = {}
        self.matched: dict[Any, list[tuple[int, int]]] = {}
        self.heard: dict[Any, Any] = {}
        self.candidates: dict[Any, Any] = {}
        self._sounded: dict[Hearing, Encoded] = {}
        self._sounds: dict[Hearing, Sounds] = {}
        self._spans: dict[tuple[int, int], Span] = {}
        self._after: tuple[Said, Said] | None = None
        self._parts: dict[tuple[int, int, int | None, bool], Said | None] = {}

    def __repr__(self) -> str:
        return f"Said({self.role}, {self.span.start_ms}-{self.span.end_ms} ms, turn {self.turn_of_talk})"

    def may_continue(self, before: Said) -> bool:
        """Whether a phrase may begin in ``before``, the utterance just before it, and end in this one."""
        return before.role is self.role and self.span.start_ms - before.span.end_ms <= LONGEST_BREAK_MS

    def after(self, before: Said) -> Said:
        """Both utterances as one. Every rule asks for the same pair, so it is joined once."""
        if self._after is None or self._after[0] is not before:
            stretches = (*before.stretches, *self.stretches)
            self._after = before, Said(self.role, stretches, self.turn_of_talk)
        return self._after[1]

    def part(self, first: int, last: int) -> Said | None:
        """Raw characters ``first`` to ``last`` as an utterance of its own; None where no word is left. Made once."""
        if first <= 0 and last >= len(self.raw):
            return self
        key = first, last, self.turn_of_talk, self.back_channel
        if key not in self._parts:
            self._parts[key] = self._part(first, last)
        return self._parts[key]

    def _part(self, first: int, last: int) -> Said | None:
        stretches, begin = [], 0
        for stretch in self.stretches:
            start, end = max(first - begin, 0), min(last - begin, len(stretch.text))
            if start < end:
                times = self.times[begin + start : begin + end]
                span = Span(times[0].start_ms, max(times[0].start_ms, *(time.end_ms for time in times)))
                stretches.append(Stretch(stretch.utterance, stretch.char_start + start, stretch.char_start + end, span))
            begin += len(stretch.text)
        part = Said(self.role, stretches, self.turn_of_talk, self.back_channel) if stretches else None
        return part if part and part.text else None

    # --- text ---

    @cached_property
    def folded(self) -> Folded:
        folded = fold(self.raw)
        return Folded(folded.raw, folded.text, folded.origin, self._with_pauses(folded))

    @cached_property
    def text(self) -> str:
        return self.folded.text

    def _with_pauses(self, folded: Folded) -> tuple[int, ...]:
        gaps = [0]
        for before, after in pairwise(folded.origin):
            gaps.append(max(0, self.times[after].start_ms - self.times[before].end_ms))
        inside: Iterable[int] = folded.breaks[: len(gaps)]
        if max(gaps) >= PAUSE_MS:
            usual = median(gaps) if len(gaps) > 2 else 0
            pause = max(PAUSE_MS, _PAUSE_OVER_USUAL_GAP * usual)
            inside = (max(b, CLAUSE) if gap >= pause else b for b, gap in zip(folded.breaks, gaps, strict=False))
        return (*inside, SENTENCE) if folded.text else folded.breaks

    @cached_property
    def _marking(self) -> tuple[str, tuple[int, ...]]:
        """Marked text, and for each of its positions how many characters of ``text`` stand before it."""
        marked = [UTTERANCE_START]
        before = [0]
        breaks = self.folded.breaks
        starts = [index for index, strength in enumerate(breaks[:-1]) if strength]
        for start, end in pairwise((*starts, len(self.text))):
            marks = CLAUSE_END if start else ""
            marks += SENTENCE_BREAK if start and breaks[start] == SENTENCE else ""
            marks += CLAUSE_START
            marked += [marks, self.text[start:end]]
            before += [start] * len(marks)
            before += range(start, end)
        marked.append(CLAUSE_END + UTTERANCE_END)
        before += [len(self.text)] * 3
        return "".join(marked), tuple(before)

    @property
    def marked(self) -> str:
        """Marked text, see ``patterns``."""
        return self._marking[0]

    @cached_property
    def encoded(self) -> Encoded:
        """``marked`` as expressions read it."""
        return Encoded.of(self.marked)

    def from_marked(self, start: int, end: int) -> tuple[int, int]:
        """Range of ``text`` for a range of ``marked``; marks at its ends are left out."""
        return self._marking[1][start], self._marking[1][end]

    def marked_from(self, start: int, end: int) -> tuple[int, int]:
        """Range of ``marked`` for a range of ``text``, without the marks around it."""
        first = bisect_right(self._marking[1], start) - 1
        return first, bisect_right(self._marking[1], end - 1)

    @cached_property
    def _stripping(self) -> tuple[str, Sequence[int]]:
        if HESITATION.isdisjoint(self.text):
            return self.text, range(len(self.text))
        kept = tuple(i for i, character in enumerate(self.text) if character not in HESITATION)
        return "".join(self.text[i] for i in kept), kept

    @property
    def stripped(self) -> str:
        """``text`` less hesitation; ``from_stripped`` leads back."""
        return self._stripping[0]

    @cached_property
    def without_fillers(self) -> str | None:
        """``stripped`` less longer fillers too (那个 …), or None if it has none. For finding keys: nothing leads
        back."""
        text = self.stripped
        for filler in FILLERS:
            text = text.replace(filler, "")
        return text if text != self.stripped else None

    @cached_property
    def keyed_texts(self) -> tuple[str, ...]:
        """Texts of which one holds a key of every pattern that is found here."""
        return (self.stripped,) if self.without_fillers is None else (self.stripped, self.without_fillers)

    def sounded(self, hearing: Hearing) -> Encoded:
        """``marked`` in syllables."""
        if hearing not in self._sounded:
            self._sounded[hearing] = Encoded.of(in_syllables(self.marked, hearing, NOT_SOUNDED))
        return self._sounded[hearing]

    def sounds(self, hearing: Hearing) -> Sounds:
        """The syllables of ``stripped``, each with the characters that are written for it."""
        if hearing not in self._sounds:
            self._sounds[hearing] = Sounds.of(self.stripped, hearing)
        return self._sounds[hearing]

    def from_stripped(self, start: int, end: int) -> tuple[int, int]:
        kept = self._stripping[1]
        return kept[start], kept[end - 1] + 1

    @cached_property
    def sound(self) -> str:
        """``stripped`` as syllables."""
        return sound(self.stripped)

    def is_word_edge(self, position: int) -> bool:
        """Whether a word starts or ends at this position of ``text``."""
        return is_word_edge(self.folded, position)

    # --- time ---

    @cached_property
    def times(self) -> tuple[Span, ...]:
        """A span per character of ``raw``."""
        return tuple(span for s in self.stretches for span in character_times(s.utterance)[s.char_start : s.char_end])

    @cached_property
    def syllables(self) -> tuple[int, ...]:
        """Syllables per character of ``raw``."""
        return syllables(self.raw)

    def span_of(self, start: int, end: int) -> Span:
        """Call time of ``text[start:end]``: from its first character's start to its last character's end."""
        span = self._spans.get((start, end))
        if span is None:
            span = self._spans[start, end] = self._span_of(start, end)
        return span

    def _span_of(self, start: int, end: int) -> Span:
        first, last = self.times[self.folded.origin[start]], self.times[self.folded.origin[end - 1]]
        return Span(first.start_ms, max(first.start_ms, last.end_ms))

    # --- way back ---

    @cached_property
    def _raw_starts(self) -> tuple[int, ...]:
        return (0, *accumulate(len(stretch.text) for stretch in self.stretches))

    def quote(self, start: int, end: int) -> str:
        first, last = self.folded.raw_range(start, end)
        return self.raw[first:last]

    def places(self, start: int, end: int) -> tuple[Place, ...]:
        """Where ``text[start:end]`` stands in the recognised utterances."""
        first, last = self.folded.raw_range(start, end)
        return tuple(
            Place(s.utterance, s.char_start + max(first - begin, 0), s.char_start + min(last - begin, len(s.text)))
            for s, begin in zip(self.stretches, self._raw_starts, strict=False)
            if begin < last and first < begin + len(s.text)
        )

    def confidence(self, start: int, end: int) -> float:
        """The lowest recognition confidence of ``text[start:end]``; 1.0 where none is given."""
        if len(self.stretches) == 1:
            return _confidence(self.stretches[0])
        return min((_confidence(place) for place in self.places(start, end)), default=1.0)

    @cached_property
    def mean_confidence(self) -> float:
        """Confidence of the whole utterance, its stretches weighted by length."""
        total = sum(len(s.text) for s in self.stretches)
        sure = sum(len(s.text) * _confidence(s) for s in self.stretches)
        return sure / total if total else 1.0


def _confidence(part: Place | Stretch) -> float:
    """Recognition confidence of the utterance it is part of; 1.0 where none is given."""
    given = part.utterance.confidence
    return 1.0 if given is None else given


def character_times(utterance: Utterance) -> tuple[Span, ...]:
    """A span per character of the raw text; syllables are spread evenly where only the whole is timed.

    The first and the last counted syllable take exactly the utterance's start and end; silent characters take no time.
    """
    return _spread(utterance.text, utterance.span) if utterance.characters is None else utterance.characters


@lru_cache(maxsize=256)
def _spread(text: str, span: Span) -> tuple[Span, ...]:
    heard = syllables(text)
    total = sum(heard)
    if not total:
        return (span,) * len(heard)
    edges = [span.start_ms + span.duration_ms * done // total for done in accumulate(heard, initial=0)]
    return tuple(Span(begin, end) for begin, end in pairwise(edges))


def stretches_of(utterance: Utterance, longest_gap_ms: int) -> list[Stretch]:
    """Cut an utterance where its characters leave ``longest_gap_ms`` or more between them."""
    if not utterance.text:
        return []
    if utterance.characters is None:
        return [Stretch(utterance, 0, len(utterance.text), utterance.span)]
    times = utterance.characters
    cuts = [0]
    reached = times[0].end_ms
    for index, span in enumerate(times):
        if span.start_ms - reached >= longest_gap_ms:
            cuts.append(index)
        reached = max(reached, span.end_ms)
    return [
        Stretch(utterance, start, end, Span(times[start].start_ms, max(t.end_ms for t in times[start:end])))
        for start, end in zip(cuts, [*cuts[1:], len(times)], strict=True)
    ]
