"""Which groups of calls stand out: an agent, a team, a day whose share differs from the rest more than chance explains.

Theory of operation. A group has a share (9 of 75 calls violate a rule) and everybody else has one (60 of 2,000). Were
the two alike, the 9 would be drawn from all 69 as balls from an urn, so how unlikely they are follows without any
assumption from the hypergeometric distribution: Fisher's exact test, with mid-p (Lancaster 1961), because the plain one
is far too shy for small counts. Agents differ a little by nature, their customers do; where ten or more groups spread
more widely than chance, that spread is measured (winsorised, so that a few outliers do not hide themselves) and the
limits are widened by it, as in funnel plots of hospitals (Spiegelhalter 2005, Stat Med 24:1185; QSHC 14:347).

Of thousands of shares some are unlikely by chance. All tests of a report are taken together and flagged by the rule of
Benjamini & Hochberg (1995): of what is flagged, 5 % on average is chance, and where nothing is to be found, at most one
report in twenty flags anything. A flag also has to matter: the odds differ by half, and from ``LEAST`` calls on.
Small groups are never flagged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

LEAST = 20  # calls of a group, and of the rest; fewer say nothing
LEAST_HITS = 3  # calls behind a high share: so many can be listened to
FALSE_SHARE = 0.05  # of what is flagged
LEAST_ODDS = 1.5  # below it a difference may be sure and is still too small to act upon
_FEWEST_GROUPS = 3  # of two, either is the other's rest
_SPREAD_FROM = 10  # groups: from so many on one can say how far they spread
_WINSORISED = 0.1  # of the groups at either end
_WINSORISED_SQUARE = 0.6787  # mean square of a standard normal variable that is winsorised so
_PLAIN = 1.5  # standard errors: nearer than that nothing is flagged, whatever the exact test says


@dataclass(frozen=True, slots=True)
class Count:
    """Of the ``n`` calls of a group in which it could be told, ``hits`` are so."""

    key: Any
    n: int
    hits: int

    @property
    def share(self) -> float:
        return self.hits / self.n


@dataclass(frozen=True, slots=True)
class Family:
    """The same share of groups that are compared with each other. ``label``: what it is of."""

    label: Any
    counts: Sequence[Count]


@dataclass(frozen=True, slots=True)
class Outlier:
    """A group that stands out; ``rest`` are all the others. ``p``: how likely at least so much is by chance."""

    label: Any
    count: Count
    rest: Count
    p: float

    @property
    def is_above(self) -> bool:
        return self.count.share > self.rest.share

    @property
    def excess(self) -> float:
        """Calls more (or fewer) than the rest's share would make."""
        return abs(self.count.hits - self.count.n * self.rest.share)


def stand_out(families: Iterable[Family], false_share: float = FALSE_SHARE) -> list[Outlier]:
    """The groups that stand out, high shares first, those with most calls to spare before others."""
    asked, likely = 0, []
    for family in families:
        for test in _tests(family):
            asked += 1
            if test.p <= false_share:  # what is above can be no discovery; there may be a million of them
                likely.append(test)
    likely.sort(key=lambda test: test.p)
    found = likely[: last_below([test.p for test in likely], false_share, asked)]
    flagged = [test for test in found if matters(test.count, test.rest)]
    return sorted(flagged, key=lambda one: (not one.is_above, -one.excess, str(one.label), str(one.count.key)))


def last_below(ordered: Sequence[float], false_share: float, asked: int | None = None) -> int:
    """How many of these p values, in order, are discoveries: all up to the last that is below its rank's part of the
    share (Benjamini & Hochberg's step-up rule).

    asked  how many tests there were, if only those that may be discoveries are given

    >>> last_below([0.001, 0.02, 0.04, 0.2], 0.05)
    2
    """
    m = len(ordered) if asked is None else asked
    return max((rank for rank, p in enumerate(ordered, 1) if p <= false_share * rank / m), default=0)


def _tests(family: Family) -> Iterable[Outlier]:
    n = sum(count.n for count in family.counts)
    hits = sum(count.hits for count in family.counts)
    large = [count for count in family.counts if count.n >= LEAST]
    if len(large) < _FEWEST_GROUPS or not 0 < hits < n:
        return
    scores = {count.key: score_of(count, n, hits) for count in large if n - count.n >= LEAST}
    spread = spread_of(list(scores.values()))
    for count in large:
        if count.key in scores:
            rest = Count(None, n - count.n, hits - count.hits)
            yield Outlier(family.label, count, rest, chance(count, rest, scores[count.key], spread))


def score_of(count: Count, n: int, hits: int) -> float:
    """Standard errors from what is to be expected of a part of ``n`` calls with ``hits`` (hypergeometric)."""
    expected = count.n * hits / n
    variance = expected * (1 - hits / n) * (n - count.n) / (n - 1)
    return (count.hits - expected) / math.sqrt(variance) if variance else 0.0


def spread_of(scores: Sequence[float]) -> float:
    """How much wider than chance groups spread: 1, or the standard deviation of their winsorised scores.

    One for fewer than ten groups, and where chance alone may well spread them so (Spiegelhalter 2005).
    """
    n = len(scores)
    if n < _SPREAD_FROM:
        return 1.0
    ordered = sorted(scores)
    cut = math.floor(_WINSORISED * n)
    low, high = ordered[cut], ordered[n - 1 - cut]
    square = sum(min(high, max(low, score)) ** 2 for score in ordered) / n / _WINSORISED_SQUARE
    return math.sqrt(square) if square > 1 + 2 * math.sqrt(2 / n) else 1.0


def chance(count: Count, rest: Count, score: float, spread: float) -> float:
    """Two-sided p. ``score`` as of ``score_of``, ``spread`` as of ``spread_of``."""
    by_spread = two_sided(score / spread)
    if abs(score) < _PLAIN:
        return by_spread
    return max(by_spread, fisher(count, rest)) if spread > 1 else fisher(count, rest)


def two_sided(score: float) -> float:
    """
    >>> round(two_sided(-1.959964), 4)
    0.05
    """
    return math.erfc(abs(score) / math.sqrt(2))


def fisher(count: Count, rest: Count) -> float:
    """Two-sided p of Fisher's exact test with mid-p: twice the tail beyond what was seen, which itself counts half.

    >>> round(fisher(Count("3017", 20, 10), Count(None, 20, 3)), 4)
    0.0232
    """
    urn = _Urn(count.n, rest.n, count.hits + rest.hits)
    here = urn.chance(count.hits)
    outwards = 1 if count.share > rest.share else -1
    return min(1.0, 2 * (here / 2 + urn.beyond(count.hits, here, outwards)))


@dataclass(frozen=True, slots=True)
class _Urn:
    """Of ``hits`` balls drawn among own + others, how many are own."""

    own: int
    others: int
    hits: int

    def chance(self, k: int) -> float:
        return math.exp(
            _choose(self.own, k) + _choose(self.others, self.hits - k) - _choose(self.own + self.others, self.hits)
        )

    def beyond(self, k: int, here: float, step: int) -> float:
        """Of everything further in the direction ``step`` than ``k``, whose own chance is ``here``."""
        total, chance = 0.0, here
        while chance > 0:
            chance *= self._up(k) if step > 0 else self._down(k)
            k += step
            total += chance
            if chance < total * 1e-12:
                break
        return total

    def _up(self, k: int) -> float:
        """The chance of k + 1 over that of k."""
        return (self.own - k) * (self.hits - k) / ((k + 1) * (self.others - self.hits + k + 1))

    def _down(self, k: int) -> float:
        return k * (self.others - self.hits + k) / ((self.own - k + 1) * (self.hits - k + 1))


def _choose(n: int, k: int) -> float:
    """The logarithm of n over k."""
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def matters(count: Count, rest: Count) -> bool:
    """Whether a difference is large enough to act upon: odds half as high again, and calls enough to listen to."""
    if count.share > rest.share and count.hits < LEAST_HITS:
        return False
    odds = [(one.hits + 0.5) / (one.n - one.hits + 0.5) for one in (count, rest)]
    return max(odds) / min(odds) >= LEAST_ODDS


# ---- limits for a chart


def funnel(share: float, n: float, score: float, spread: float = 1.0) -> tuple[float, float]:
    """Between which shares a group of ``n`` calls lies by chance, when everybody's share is ``share``: the score
    interval's limits (Wilson's, seen from the other side), ``score`` standard errors wide.

    >>> [round(limit, 3) for limit in funnel(0.1, 100, 1.96)]
    [0.041, 0.159]
    """
    half = score * spread * math.sqrt(share * (1 - share) / n)
    return max(0.0, share - half), min(1.0, share + half)
