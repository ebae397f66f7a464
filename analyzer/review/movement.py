"""How a share moves over days or weeks: a steady trend, and a step from one period to the next.

A trend's slope is the median of the slopes between all pairs of periods (Theil 1950, Sen 1968), which one wild day does
not bend; whether there is a trend at all is told by the order of the values alone (Mann 1945, Kendall 1975, with ties,
normal from eight periods on). A step is the last period against the one before: the difference with its 95 % interval
(Newcombe 1998, method 10) and Fisher's exact test, shyer where periods spread more widely than chance (``outliers``).
Periods are taken for independent of each other; days of a week are not quite, so long trends are better read by week.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from analyzer.review.outliers import (
    FALSE_SHARE,
    LEAST,
    Count,
    chance,
    last_below,
    matters,
    score_of,
    spread_of,
    two_sided,
)
from analyzer.review.worth import wilson

FEWEST_PERIODS = 8  # Mann & Kendall's normal approximation is shy, not bold, from there on


@dataclass(frozen=True, slots=True)
class Course:
    """A share over time. ``at``: when each period is, in any unit (days); ``counts`` in that order."""

    label: str
    at: Sequence[float]
    counts: Sequence[Count]


@dataclass(frozen=True, slots=True)
class Trend:
    """``slope``: change of the share per unit of time."""

    label: str
    first: Count
    last: Count
    periods: int
    slope: float
    p: float


@dataclass(frozen=True, slots=True)
class Step:
    """The last period against the one before. ``low``, ``high``: the 95 % interval of the difference."""

    label: str
    before: Count
    after: Count
    low: float
    high: float
    p: float

    @property
    def change(self) -> float:
        return self.after.share - self.before.share


def moving(courses: Iterable[Course], false_share: float = FALSE_SHARE) -> list[Trend | Step]:
    """Trends and steps that are more than chance, all tested together (Benjamini & Hochberg): the surest first."""
    tests: list[Trend | Step] = []
    for course in courses:
        tests += _trend(course)
        tests += _step(course)
    ordered = sorted(tests, key=lambda test: (test.p, test.label))
    flagged = ordered[: last_below([test.p for test in ordered], false_share)]
    return [test for test in flagged if isinstance(test, Trend) or matters(test.after, test.before)]


def _large(course: Course) -> tuple[list[float], list[Count]]:
    known = [(at, count) for at, count in zip(course.at, course.counts, strict=True) if count.n >= LEAST]
    return [at for at, _ in known], [count for _, count in known]


def _trend(course: Course) -> Iterable[Trend]:
    at, counts = _large(course)
    if len(counts) >= FEWEST_PERIODS:
        shares = [count.share for count in counts]
        yield Trend(course.label, counts[0], counts[-1], len(counts), theil_sen(at, shares), mann_kendall(shares))


def _step(course: Course) -> Iterable[Step]:
    _, counts = _large(course)
    n, hits = sum(count.n for count in counts), sum(count.hits for count in counts)
    if len(counts) < 2 or counts[-1] is not course.counts[-1] or not 0 < hits < n:
        return
    before, after = counts[-2:]
    spread = spread_of([score_of(count, n, hits) for count in counts])
    both = score_of(after, before.n + after.n, before.hits + after.hits)
    yield Step(course.label, before, after, *difference(before, after), chance(after, before, both, spread))


def theil_sen(at: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes between all pairs.

    >>> theil_sen([1, 2, 3, 4], [10, 11, 50, 13])
    1.0
    """
    return median(
        (later - earlier) / (at[j] - at[i])
        for i, earlier in enumerate(values)
        for j, later in enumerate(values[i + 1 :], i + 1)
    )


def mann_kendall(values: Sequence[float]) -> float:
    """Two-sided p that values in this order rise or fall so steadily by chance.

    >>> round(mann_kendall([1, 2, 3, 4, 5, 6, 7, 8]), 4)
    0.0008
    """
    n = len(values)
    signs = sum((b > a) - (b < a) for i, a in enumerate(values) for b in values[i + 1 :])
    ties = [values.count(value) for value in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    return two_sided((abs(signs) - 1) / math.sqrt(variance)) if signs and variance else 1.0


def difference(before: Count, after: Count) -> tuple[float, float]:
    """The 95 % interval of the change of a share, from the Wilson intervals of both (Newcombe 1998, method 10).

    >>> [round(bound, 4) for bound in difference(Count("", 80, 48), Count("", 70, 56))]
    [0.0524, 0.3339]
    """
    (low, high), (low2, high2) = wilson(before.hits, before.n), wilson(after.hits, after.n)
    change = after.share - before.share
    return (
        change - math.hypot(after.share - low2, high - before.share),
        change + math.hypot(high2 - after.share, before.share - low),
    )
