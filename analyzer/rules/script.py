"""``script``: something similar enough to a model sentence is said (相似话术, score 0-100).

A model sentence is cut at its slots into pieces. The score of an utterance is how much of the pieces is found in it, in
order, each at its best place, weighted by length; compared are toneless syllables, so that what the recogniser misheard
counts, and hesitation is left out. Two utterances of one turn of talk are also compared as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from rapidfuzz import fuzz

from analyzer.normalize import fold, sound
from analyzer.rules.call import WHOLE_CALL, Call, Window, is_by, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.faults import Place
from analyzer.rules.findings import Judgement, Wording
from analyzer.rules.patterns import Pattern, PatternError
from analyzer.rules.phrases import Hit, Phrase
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, RuleSpec, Texts, role_of
from analyzer.rules.truth import Truth
from analyzer.types import Match, Role

_SLOT = re.compile(r"\{[^{}]*\}|…+")
_SHORTEST_PIECE = 2  # characters; a shorter one stands somewhere in any utterance
_LEAST_OVERLAP = 50.0  # score from which a piece counts as found, and the next is looked for behind it


@dataclass(frozen=True, slots=True)
class ModelSentence:
    """A sentence to say. ``pieces``: its folded text between slots."""

    phrase: Phrase
    pieces: tuple[str, ...]

    def find(self, said: Said) -> tuple[float, int, int]:
        """Similarity (0-100), and where in ``said.stripped`` it was found."""
        heard = said.sound
        total = reached = 0
        found = 0.0
        first, last = len(heard), 0
        for piece in self.pieces:
            score, start, end = _best_place(sound(piece), heard[reached:])
            if score >= _LEAST_OVERLAP:
                first, last = min(first, reached + start), reached + end
                reached = last
            found += score * len(piece)
            total += len(piece)
        return found / total, min(first, last), last


def _best_place(piece: str, heard: str) -> tuple[float, int, int]:
    """How similar ``piece`` is to the most similar stretch of its length; of a shorter text, to all of it."""
    if len(heard) < len(piece):
        return fuzz.ratio(piece, heard), 0, len(heard)
    place = fuzz.partial_ratio_alignment(piece, heard)
    return (place.score, place.dest_start, place.dest_end) if place else (0.0, 0, 0)


@dataclass(frozen=True, slots=True)
class Script(Check):
    """``enough``: similarity from which the sentence counts as said; from ``unsure_from`` on too little is unsure."""

    sentences: tuple[ModelSentence, ...]
    wording: Wording
    enough: float
    unsure_from: float | None = None
    speaker: Role | None = Role.AGENT
    window: Window = WHOLE_CALL
    min_confidence: float = 0.5

    def watch(self, call: Call) -> Watch:
        return _ScriptWatch(self, call)


@dataclass(frozen=True, slots=True)
class _Likeness:
    """How similar an utterance is to the model sentence it resembles most."""

    score: float
    hit: Hit


class _ScriptWatch(Watch):
    def __init__(self, check: Script, call: Call) -> None:
        self.check, self.call = check, call
        self.likenesses: list[_Likeness] = []
        self.before: Said | None = None

    def hear(self, said: Said) -> None:
        if not may_be_by(said, self.check.speaker):
            return
        for one in self._as_heard(said):
            if one.stripped:
                self.likenesses.append(self._likeness(one))
        self.before = said

    def _as_heard(self, said: Said) -> Iterator[Said]:
        """The utterance alone, and together with the one before in the same turn of talk."""
        yield said
        before = self.before
        if before and said.turn_of_talk is not None and before.turn_of_talk == said.turn_of_talk:
            yield said.after(before)

    def _likeness(self, said: Said) -> _Likeness:
        found = ((*sentence.find(said), sentence) for sentence in self.check.sentences)
        score, first, last, sentence = max(found, key=lambda one: one[0])
        start, end = said.from_stripped(first, last) if first < last else (0, len(said.text))
        return _Likeness(round(score, 1), _hit(sentence, said, start, end))

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check, call = self.check, self.call
        inside = [one for one in self.likenesses if self._is_inside(one.hit)]
        sure = [one for one in inside if self._is_sure(one.hit)]
        best = max(sure, key=lambda one: one.score, default=None)
        value = best.score if best else 0.0
        measured = {"value": value, "unit": "分", "low": check.enough, "high": None}
        truth = self._truth(value, max((one.score for one in inside), default=0.0))
        if truth is Truth.MET and best:
            return Judgement(truth, measured=measured, evidence=(check.wording.of_hit(best.hit),))
        if truth is not Truth.VIOLATED:
            return Judgement(truth, measured=measured)
        window = check.window.span(check.speaker, call)
        absence = check.wording.of_absence(window, check.speaker, {"value": value, "low": check.enough})
        return Judgement(truth, (absence,), measured=measured)

    def _truth(self, value: float, possible: float) -> Truth:
        check, call = self.check, self.call
        if not any(may_be_by(said, check.speaker) for said in call.said):
            return Truth.NOT_APPLICABLE
        if value >= check.enough:
            return Truth.MET
        if possible >= check.enough or (check.unsure_from is not None and possible >= check.unsure_from):
            return Truth.UNSURE
        is_doubtful = call.truncated or call.is_doubtful(check.speaker, check.window, check.min_confidence)
        return Truth.UNSURE if is_doubtful else Truth.VIOLATED

    def _is_inside(self, hit: Hit) -> bool:
        without_turn = hit.said.turn_of_talk is None and self.check.window.by_turns
        return without_turn or self.check.window.holds(hit.said, hit.span, self.call)

    def _is_sure(self, hit: Hit) -> bool:
        return hit.confidence >= self.check.min_confidence and is_by(hit.said, self.check.speaker)


def _hit(sentence: ModelSentence, said: Said, start: int, end: int) -> Hit:
    is_exact = "".join(sentence.pieces) == said.text[start:end]
    match = Match.EXACT if is_exact else Match.VARIANT
    return Hit(sentence.phrase, said, start, end, match, said.confidence(start, end))


def read_sentence(text: str, builder: Builder, place: Place) -> ModelSentence | None:
    """A model sentence; slots are ``{姓氏}``, ``…`` and the like."""
    pieces = tuple(folded for piece in _SLOT.split(text) if len(folded := fold(piece).text) >= _SHORTEST_PIECE)
    if not pieces:
        builder.fault(place, f"{text!r} has no words beside its slots to compare")
        return None
    try:
        return ModelSentence(Phrase(Pattern(pieces[0])), pieces)
    except PatternError as error:
        builder.fault(place, str(error))
        return None


class ScriptSpec(RuleSpec):
    kind: Literal["script"]
    sentences: Texts = Field(min_length=1)
    similarity: float = Field(default=70, gt=0, le=100)
    unsure_from: float | None = Field(default=None, gt=0, le=100)

    def build_check(self, builder: Builder) -> Script:
        read = [read_sentence(text, builder, ("sentences", i)) for i, text in enumerate(self.sentences)]
        sentences: Sequence[ModelSentence] = [sentence for sentence in read if sentence]
        return Script(
            tuple(sentences),
            self.wording,
            enough=self.similarity,
            unsure_from=self.unsure_from,
            speaker=role_of(self.speaker),
            window=self.window.build(),
            min_confidence=self.min_confidence,
        )
