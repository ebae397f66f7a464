"""How far reviewers agree beyond chance.

Cohen's kappa for two reviewers of the same items (Cohen 1960), Fleiss' for any number (Fleiss 1971, with the usual
extension to items that not everybody judged). Both are 1 for agreement everywhere, 0 for what chance would give, and
undefined where chance alone would agree always: everybody gave everything the same label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Label = Hashable

NOTHING = "没有两人都评过的项"
ONE_LABEL = "所有评定都相同，κ 无定义"


@dataclass(frozen=True, slots=True)
class Agreement:
    """n: items that at least two judged. observed: share of agreeing pairs, 0..1. kappa is None where ``why`` says."""

    method: Literal["cohen", "fleiss"]
    n: int
    observed: float | None
    kappa: float | None
    why: str | None = None


def cohen(pairs: Iterable[tuple[Label, Label]]) -> Agreement:
    """Two reviewers' labels of the same items.

    >>> cohen([("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15)
    Agreement(method='cohen', n=50, observed=0.7, kappa=0.4, why=None)
    """
    items = list(pairs)
    n = len(items)
    if not n:
        return Agreement("cohen", 0, None, None, NOTHING)
    observed = sum(one == other for one, other in items) / n
    first, second = Counter(one for one, _ in items), Counter(other for _, other in items)
    return _agreement("cohen", n, observed, sum(first[label] * second[label] for label in first) / n**2)


def fleiss(items: Iterable[Sequence[Label]]) -> Agreement:
    """Any number of reviewers: per item, the labels that it was given. Items with fewer than two do not count."""
    judged = [Counter(labels) for labels in items if len(labels) > 1]
    if not judged:
        return Agreement("fleiss", 0, None, None, NOTHING)
    observed = sum(_pairwise(labels) for labels in judged) / len(judged)
    total: Counter[Label] = sum(judged, Counter())
    chance = sum((count / total.total()) ** 2 for count in total.values())
    return _agreement("fleiss", len(judged), observed, chance)


def _pairwise(labels: Counter[Label]) -> float:
    n = labels.total()
    return sum(count * (count - 1) for count in labels.values()) / (n * (n - 1))


def _agreement(method: Literal["cohen", "fleiss"], n: int, observed: float, chance: float) -> Agreement:
    if chance >= 1:
        return Agreement(method, n, observed, None, ONE_LABEL)
    return Agreement(method, n, observed, round((observed - chance) / (1 - chance), 6))


def by_rule(pairs: Mapping[str, Sequence[tuple[Label, Label]]]) -> tuple[Agreement, dict[str, Agreement]]:
    """Cohen's kappa over everything and per rule."""
    everything = cohen(pair for of_rule in pairs.values() for pair in of_rule)
    return everything, {rule: cohen(of_rule) for rule, of_rule in sorted(pairs.items())}


def among_many(items: Mapping[str, Sequence[Sequence[Label]]]) -> tuple[Agreement, dict[str, Agreement]]:
    """Fleiss' kappa over everything and per rule."""
    everything = fleiss(item for of_rule in items.values() for item in of_rule)
    return everything, {rule: fleiss(of_rule) for rule, of_rule in sorted(items.items())}
