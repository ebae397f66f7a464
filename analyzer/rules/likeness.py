"""What is said *like* something forbidden, though no listed phrase covers it: a linear model over n-grams.

Softmax regression over the characters and the toneless syllables of one sentence, trained by
``models/training/wording.py`` on sentences labelled for this project. It is small on purpose and explains itself: the
n-grams that tip a sentence towards its category are the quote of the finding. A sentence below ``deduct_from`` is
unsure at most: shown to people, never scored.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from analyzer.normalize import SENTENCE, toneless_readings
from analyzer.rules.phrases import Hit, Phrase
from analyzer.rules.said import Said
from analyzer.types import Match

LONGEST = {"characters": 4, "syllables": 4}
SHORTEST_SYLLABLES = 2  # one syllable is dozens of characters
_START, _END = "^", "$"
_MIN_CHARACTERS = 3  # in a sentence; less says too little without its context
_EVIDENCE_SHARE = 0.25  # of the strongest character's weight; weaker ends are cut off the quote

NGram = tuple[str, int, int]  # name, first and last+1 character of the sentence it covers


def ngrams(sentence: str) -> Iterator[NGram]:
    """Features of a folded sentence: 1-4 characters with its edges, and 2-4 toneless syllables.

    >>> [name for name, _, _ in ngrams("不管")]
    ['不', '管', '^不', '不管', '管$', '^不管', '不管$', '^不管$', 'bu guan']
    """
    marked = _START + sentence + _END
    for size in range(1, LONGEST["characters"] + 1):
        for start in range(len(marked) - size + 1):
            name = marked[start : start + size]
            if size > 1 or name not in (_START, _END):
                yield name, max(0, start - 1), min(len(sentence), start - 1 + size)
    readings = toneless_readings()
    syllables = [readings[c][0] if c in readings else c for c in sentence]
    for size in range(SHORTEST_SYLLABLES, LONGEST["syllables"] + 1):
        for start in range(len(syllables) - size + 1):
            yield " ".join(syllables[start : start + size]), start, start + size


@dataclass(frozen=True, slots=True)
class Likeness:
    """The trained model. ``weights``: n-gram to one weight per category, the fine sentences' weight taken off already.

    phrases      what a finding of each category carries besides its words: severity, exemptions, suggestion
    deduct_from  probability from which a finding counts; None: it never does
    show_from    probability from which it is shown as unsure
    """

    categories: tuple[str, ...]
    bias: tuple[float, ...]
    weights: Mapping[str, Sequence[float]]
    phrases: Mapping[str, Phrase]
    deduct_from: float | None
    show_from: float

    @classmethod
    def read(cls, fields: Mapping[str, Any], phrases: Mapping[str, Phrase]) -> Likeness:
        """From the JSON of ``lexicons/models``. Raises KeyError or TypeError where it is not one."""
        return cls(
            tuple(fields["categories"]),
            tuple(fields["bias"]),
            fields["weights"],
            phrases,
            fields["deduct_from"],
            fields["show_from"],
        )

    def find(self, said: Said, known: Sequence[tuple[int, int]] = ()) -> list[Hit]:
        """A hit per sentence that reads like a forbidden one; its quote is the words that decided.

        Sentences that hold a range of ``known`` are left out.
        """
        hits = []
        for start, end in sentences(said):
            if any(first < end and start < last for first, last in known):
                continue
            probability, category = self.judge(said.text[start:end])
            if probability < self.show_from or category not in self.phrases:
                continue
            first, last = self.evidence(said.text[start:end], category)
            counts = self.deduct_from is not None and probability >= self.deduct_from
            confidence = said.confidence(start, end) if counts else 0.0
            hits.append(Hit(self.phrases[category], said, start + first, start + last, Match.MODEL, confidence))
        return hits

    def judge(self, sentence: str) -> tuple[float, str]:
        """Probability that a folded sentence is forbidden, and its likeliest category."""
        totals = list(self.bias)
        for name in dict.fromkeys(name for name, _, _ in ngrams(sentence)):  # in order: sums of floats depend on it
            for index, weight in enumerate(self.weights.get(name, ())):
                totals[index] += weight
        best = max(range(len(totals)), key=lambda index: totals[index])
        top = max(0.0, *totals)
        forbidden = sum(math.exp(total - top) for total in totals)
        return forbidden / (forbidden + math.exp(-top)), self.categories[best]

    def evidence(self, sentence: str, category: str) -> tuple[int, int]:
        """Range of the characters that speak for the category."""
        index = self.categories.index(category)
        share: dict[int, float] = defaultdict(float)
        for name, start, end in ngrams(sentence):
            if name in self.weights:
                for place in range(start, end):
                    share[place] += self.weights[name][index] / (end - start)
        strongest = max(share.values(), default=0.0)
        strong = [place for place, weight in share.items() if weight >= strongest * _EVIDENCE_SHARE > 0]
        return (min(strong), max(strong) + 1) if strong else (0, len(sentence))


def sentences(said: Said) -> Iterator[tuple[int, int]]:
    """Ranges of ``said.text`` between sentence breaks."""
    edges = [i for i, strength in enumerate(said.folded.breaks[: len(said.text)]) if strength == SENTENCE and i]
    bounds = [0, *edges, len(said.text)]
    for start, end in pairwise(bounds):
        if end - start >= _MIN_CHARACTERS:
            yield start, end
