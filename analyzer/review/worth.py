"""What a rule is worth: how often it is right (precision), and how much of what it should find it finds (recall).

Precision rests on what reviewers finally said of its findings. Recall needs what the rule did *not* flag: a random
sample of calls, and in each a random sample of the agent's utterances without any finding, listened to by a person.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Z = 1.959964  # 95 %


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share 0..1 with its 95 % interval, and on how much it rests. All None where it rests on nothing."""

    value: float | None
    low: float | None
    high: float | None
    n: int


NOTHING_KNOWN = Estimate(None, None, None, 0)


def wilson(successes: float, n: float) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927). ``n`` may be an effective number, n > 0.

    >>> [round(bound, 4) for bound in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    share, spread = successes / n, Z * Z / n
    centre = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def precision(confirmed: int, overturned: int) -> Estimate:
    n = confirmed + overturned
    return Estimate(confirmed / n, *wilson(confirmed, n), n) if n else NOTHING_KNOWN


# ---- proposals


@dataclass(frozen=True, slots=True)
class Floor:
    """A rule is proposed for trial once it is certain that its precision is below ``precision``: the interval's upper
    end lies below it, on at least ``least`` decisions."""

    precision: float = 0.9
    least: int = 20


def proposal(status: str, measured: Estimate, floor: Floor) -> Literal["trial"] | None:
    below = measured.high is not None and measured.n >= floor.least and measured.high < floor.precision
    return "trial" if status == "stable" and below else None


# ---- recall


@dataclass(frozen=True, slots=True)
class AuditedCall:
    """One call of the audit, as one rule sees it.

    weight      calls of the frame that it stands for
    right       findings of the rule in it that are right; undecided ones count with the rule's precision
    unflagged   agent utterances in it without any finding; ``heard`` of them were listened to,
    missed      and in these many of the heard ones the rule should have found something
    """

    weight: float
    right: float
    unflagged: int
    heard: int
    missed: int


def recall(calls: Iterable[AuditedCall]) -> Estimate:
    """right / (right + missed), both estimated over the frame by their sampling weights (a ratio estimator).

    Calls are the first stage and their utterances the second, so what one call contributes varies together; the
    interval takes that from the spread between calls. It joins the intervals of the two totals by MOVER (Donner & Zou
    2012), which stays honest where no miss was heard: few utterances heard leave room for many misses.
    ``n`` is how many utterances were heard.
    """
    heard = [call for call in calls if call.heard]
    n = sum(call.heard for call in heard)
    right = _total([call.weight * call.right for call in heard])
    missed = _missed(heard)
    if not n or right.value + missed.value == 0:
        return Estimate(None, None, None, n)
    value = right.value / (right.value + missed.value)
    if right.value == 0:
        return Estimate(value, None, None, n)
    low, high = _ratio(missed, right)
    return Estimate(value, 1 / (1 + high), 1 / (1 + low), n)


@dataclass(frozen=True, slots=True)
class _Total:
    value: float
    low: float
    high: float


def _total(parts: list[float]) -> _Total:
    """A total of counts from clusters: Poisson score interval on as many counts as the spread between them leaves."""
    value = sum(parts)
    if value == 0:
        return _Total(0.0, 0.0, 0.0)
    counts = value**2 / _between(parts)
    half = Z * math.sqrt(counts + Z * Z / 4)
    scale = value / counts
    return _Total(value, scale * (counts + Z * Z / 2 - half), scale * (counts + Z * Z / 2 + half))


def _between(parts: list[float]) -> float:
    """Variance of a total of clusters, never less than that of independent counts of the mean size."""
    some = [part for part in parts if part]
    least = sum(part * part for part in some)
    if len(parts) < 2:
        return least
    mean = sum(parts) / len(parts)
    return max(least, sum((part - mean) ** 2 for part in parts) * len(parts) / (len(parts) - 1))


def _missed(heard: list[AuditedCall]) -> _Total:
    """Missed utterances of the frame: the share among those heard, times the unflagged ones."""
    stood_for = [call.weight * call.unflagged for call in heard]
    everything = sum(stood_for)
    if not everything:
        return _Total(0.0, 0.0, 0.0)
    share = sum(part * call.missed / call.heard for part, call in zip(stood_for, heard, strict=True)) / everything
    n = _effective(heard, stood_for, share)
    low, high = wilson(share * n, n)
    return _Total(everything * share, everything * low, everything * high)


def _effective(heard: list[AuditedCall], stood_for: list[float], share: float) -> float:
    """How many independent utterances would say as much: fewer where weights differ, fewer where misses cluster."""
    each = [(part / call.heard, call.heard) for part, call in zip(stood_for, heard, strict=True)]
    kish = sum(weight * n for weight, n in each) ** 2 / sum(weight**2 * n for weight, n in each)
    off = [part * (call.missed / call.heard - share) for part, call in zip(stood_for, heard, strict=True)]
    variance = sum(residual**2 for residual in off) / sum(stood_for) ** 2
    if len(heard) < 2 or variance == 0 or share in (0.0, 1.0):
        return kish
    variance *= len(heard) / (len(heard) - 1)
    return min(kish, share * (1 - share) / variance)


def _ratio(over: _Total, under: _Total) -> tuple[float, float]:
    """MOVER-R: the interval of over / under from the intervals of both. ``under.low`` must be above 0."""
    product = over.value * under.value
    smallest = over.low * (2 * over.value - over.low)
    low_root = max(0.0, product**2 - smallest * under.high * (2 * under.value - under.high))
    low = smallest / (product + math.sqrt(low_root)) if product else 0.0
    room = under.low * (2 * under.value - under.low)
    high_root = max(0.0, product**2 - over.high * (2 * over.value - over.high) * room)
    return max(0.0, low), (product + math.sqrt(high_root)) / room


# ---- a rule


@dataclass(frozen=True, slots=True)
class RuleWorth:
    """What people said of a rule's findings, and what follows from it.

    flagged    findings that claim a violation; ``confirmed``, ``overturned`` and ``unsure`` of them were decided
    resolved   findings where the rule was unsure itself, and a person was not; they say nothing of its precision
    """

    rule: str
    title: str
    status: str
    flagged: int
    confirmed: int
    overturned: int
    unsure: int
    resolved: int
    precision: Estimate
    recall: Estimate
    proposal: Literal["trial"] | None
