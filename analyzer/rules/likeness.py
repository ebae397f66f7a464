"""What is said *like* something forbidden, though no listed phrase covers it: a linear model over n-grams.

Two logistic regressions over the characters and the toneless syllables of a sentence, trained by
``models/training/likeness.py`` on sentences labelled for this project: one tells forbidden from fine, the other, only
where the first has found something, which category it is. They are simple on purpose and explain themselves: the
n-grams that tip a sentence are the quote of the finding. A sentence below ``deduct_from`` is unsure at most: shown to
people, never scored.

Weights are whole hundredths, so that a sum does not depend on its order.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analyzer.normalize import SENTENCE, toneless_readings
from analyzer.rules.phrases import Hit, Phrase
from analyzer.rules.said import Said
from analyzer.types import Match

UNIT = 100  # weights of the file to one of log odds
LONGEST = 4  # characters or syllables of a run
PAIR_APART = range(2, 8)  # characters from the first of a pair to the second: 您…还…, 又不…
_START, _END = "^", "$"
_MIN_CHARACTERS = 4  # in a sentence; less says too little without its context
_LONGEST_WHOLE = 45  # characters of an utterance of several sentences that is also read as one
_EVIDENCE_SHARE = 0.25  # of the strongest character's weight; weaker ends are cut off the quote


def names(sentence: str) -> set[str]:
    """Features of a folded sentence: 1-4 characters with its edges, pairs with a gap, and 2-4 toneless syllables.

    >>> sorted(names("不管"))
    ['^~$', '^~管', '^不', '^不管', '^不管$', 'bu guan', '不', '不~$', '不管', '不管$', '管', '管$']
    """
    marked = _START + sentence + _END
    found = set(sentence)
    for size in range(2, LONGEST + 1):
        found.update(_runs(marked, size))
    for apart in PAIR_APART:
        found.update([f"{first}~{second}" for first, second in zip(marked, marked[apart:], strict=False)])
    syllables = _syllables(sentence)
    run = syllables
    for size in range(1, LONGEST):  # one syllable is dozens of characters
        run = [f"{before} {syllable}" for before, syllable in zip(run, syllables[size:], strict=False)]
        found.update(run)
    return found


def places(sentence: str) -> Iterator[tuple[str, int, int]]:
    """The same features with the characters they stand on: name, first and last+1."""
    marked = _START + sentence + _END
    last = len(sentence)
    for size in range(1, LONGEST + 1):
        for start, name in enumerate(_runs(marked, size), -1):
            yield name, max(0, start), min(last, start + size)
    for apart in PAIR_APART:
        for start, (first, second) in enumerate(zip(marked, marked[apart:], strict=False), -1):
            yield f"{first}~{second}", max(0, start), min(last, start + apart + 1)
    syllables = _syllables(sentence)
    for size in range(2, LONGEST + 1):
        for start in range(last - size + 1):
            yield " ".join(syllables[start : start + size]), start, start + size


def _runs(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(len(text) - size + 1)]


def _syllables(sentence: str) -> list[str]:
    readings = toneless_readings()
    return [readings[character][0] if character in readings else character for character in sentence]


@dataclass(frozen=True, slots=True)
class Likeness:
    """The trained model.

    bias, weights                      of the n-grams, towards forbidden
    category_biases, category_weights  one figure per category
    phrases      what a finding of each category carries besides its words: severity, exemptions, suggestion
    deduct_from  probability from which a finding counts; None: it never does
    show_from    probability from which it is shown as unsure
    """

    bias: int
    weights: Mapping[str, int]
    categories: tuple[str, ...]
    category_biases: tuple[int, ...]
    category_weights: Mapping[str, Sequence[int]]
    phrases: Mapping[str, Phrase]
    deduct_from: float | None
    show_from: float

    @classmethod
    def read(cls, fields: Mapping[str, Any], phrases: Mapping[str, Phrase]) -> Likeness:
        """From the JSON of ``lexicons/models``. Raises KeyError or TypeError where it is not one."""
        return cls(
            fields["bias"],
            fields["weights"],
            tuple(fields["categories"]),
            tuple(fields["category_biases"]),
            fields["category_weights"],
            phrases,
            fields["deduct_from"],
            fields["show_from"],
        )

    def find(self, said: Said, known: Sequence[tuple[int, int]] = ()) -> list[Hit]:
        """A hit per passage that reads like something forbidden; its quote is the words that decided.

        Passages that hold a range of ``known`` are left out, and the whole utterance where a sentence of it is found.
        """
        hits: list[Hit] = []
        taken = list(known)
        for start, end in passages(said):
            if any(first < end and start < last for first, last in taken):
                continue
            sentence = said.text[start:end]
            features = names(sentence)
            probability = self.probability(features)
            if probability < self.show_from:
                continue
            category = self.category(features)
            if category not in self.phrases:
                continue
            taken.append((start, end))
            first, last = self.evidence(sentence)
            counts = self.deduct_from is not None and probability >= self.deduct_from
            confidence = said.confidence(start, end) if counts else 0.0
            hits.append(Hit(self.phrases[category], said, start + first, start + last, Match.MODEL, confidence))
        return hits

    def probability(self, features: Collection[str]) -> float:
        """That a sentence with these features is forbidden."""
        total = self.bias + sum(filter(None, map(self.weights.get, features)))
        return 1 / (1 + math.exp(-total / UNIT))

    def category(self, features: Collection[str]) -> str:
        """The likeliest category of a forbidden sentence."""
        totals = list(self.category_biases)
        for name in features:
            for index, weight in enumerate(self.category_weights.get(name, ())):
                totals[index] += weight
        return self.categories[max(range(len(totals)), key=lambda index: totals[index])]

    def evidence(self, sentence: str) -> tuple[int, int]:
        """Range of the sentence's characters that speak for something forbidden."""
        share: dict[int, float] = defaultdict(float)
        for name, start, end in places(sentence):
            for place in range(start, end):
                share[place] += self.weights.get(name, 0) / (end - start)
        strongest = max(share.values(), default=0.0)
        strong = [place for place, weight in share.items() if weight >= strongest * _EVIDENCE_SHARE > 0]
        return (min(strong), max(strong) + 1) if strong else (0, len(sentence))


def passages(said: Said) -> Iterator[tuple[int, int]]:
    """Ranges of ``said.text`` to read: its sentences, and a short utterance of several as a whole."""
    edges = [i for i, strength in enumerate(said.folded.breaks[: len(said.text)]) if strength == SENTENCE and i]
    bounds = [0, *edges, len(said.text)]
    for start, end in pairwise(bounds):
        if end - start >= _MIN_CHARACTERS:
            yield start, end
    if edges and len(said.text) <= _LONGEST_WHOLE:
        yield 0, len(said.text)
