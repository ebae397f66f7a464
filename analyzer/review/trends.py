"""What many calls add up to: the sums that the desk's charts and reports show.

The store fills them by SQL and a run folder from its reports (``overview``), so both are drawn and written alike. A
call counts with its final score and verdict where people changed them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from typing import Any, Literal

from analyzer.review.agreement import Agreement
from analyzer.review.worth import RuleWorth, wilson

Unit = Literal["day", "week", "month"]
RATE_STEP = 20  # 字/分钟
NO_TEAM, NO_AGENT = "未分组", "未知坐席"
_MOST_DAYS, _MOST_WEEKS = 62, 60  # of a chart's axis


@dataclass(frozen=True, slots=True)
class Sums:
    """Calls that share a ``key`` (a day, a team, an agent): how many, how they were judged, what was found in them.

    scored      those with a score; ``score_sum`` is over them
    criticals   findings of violated rules by severity, also majors and minors
    """

    key: str
    title: str
    calls: int = 0
    scored: int = 0
    score_sum: float = 0.0
    passed: int = 0
    failed: int = 0
    review: int = 0
    criticals: int = 0
    majors: int = 0
    minors: int = 0

    @property
    def mean_score(self) -> float | None:
        return round(self.score_sum / self.scored, 1) if self.scored else None

    @property
    def violations(self) -> int:
        return self.criticals + self.majors + self.minors

    @property
    def violations_per_call(self) -> float | None:
        return round(self.violations / self.calls, 2) if self.calls else None

    @property
    def passed_share(self) -> float | None:
        return self.passed / self.calls if self.calls else None


_COUNTS = tuple(one.name for one in fields(Sums) if one.name not in ("key", "title"))


@dataclass(frozen=True, slots=True)
class RuleSum:
    """Calls that violate a rule, and the points they lost by it."""

    rule: str
    title: str
    severity: str
    calls: int
    points: float


@dataclass(frozen=True, slots=True)
class HourSum:
    """Calls that began in this hour of this weekday (Monday is 0), local time."""

    weekday: int
    hour: int
    calls: int
    violations: int

    @property
    def per_call(self) -> float:
        return self.violations / self.calls


@dataclass(frozen=True, slots=True)
class AppealSum:
    """Appeals against findings of the calls of a day, week or month."""

    key: str
    upheld: int = 0
    rejected: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Upheld:
    """Of the decided appeals, the share that was upheld, with its 95 % interval."""

    decided: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """Calls whose agents spoke at low <= 字/分钟 < high."""

    low: int
    high: int
    calls: int


@dataclass(frozen=True, slots=True)
class Scope:
    """Which calls: local days, both included; empty is all."""

    since: date | None = None
    until: date | None = None
    team: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class RuleShare:
    """A rule over a group of calls, or all of them.

    judged      calls in which it could be told; ``violations`` of them violate it
    low, high   the 95 % interval of their share
    unsure      calls in which it could not be told, though the rule applied
    lost        points
    """

    rule: str
    title: str
    severity: str
    judged: int
    violations: int
    low: float | None
    high: float | None
    unsure: int
    lost: float

    @property
    def share(self) -> float | None:
        return self.violations / self.judged if self.judged else None

    @property
    def unsure_share(self) -> float | None:
        known = self.judged + self.unsure
        return self.unsure / known if known else None


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Calls of an agent, a team and day …; None where nothing is known.

    score_low, score_high   the 95 % interval of the mean score
    criticals               calls with a critical violation
    rate                    median 字/分钟 of the agent; ``off_pace`` of the ``paced`` calls lie outside of the bands
    silence                 share of the time in which nobody spoke
    held, hold_s            calls with a wait, and the mean of their longest waits in seconds
    top                     the rules violated most; ``rules``: all, where they were asked for
    kpis                    the standards' KPI that are known of these calls
    """

    key: Mapping[str, str]
    title: str
    calls: int
    audio_hours: float
    mean_score: float | None
    score_low: float | None
    score_high: float | None
    passed: int
    review: int
    failed: int
    criticals: int
    rate: float | None
    paced: int
    off_pace: int
    silence: float | None
    held: int
    hold_s: float | None
    top: tuple[RuleShare, ...]
    rules: tuple[RuleShare, ...] | None
    kpis: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class GroupTable:
    by: tuple[str, ...]
    groups: tuple[GroupFigures, ...]


@dataclass(frozen=True, slots=True)
class StandOut:
    """A group whose share differs from everybody else's by more than chance (``review.outliers``).

    of       fail, critical, or a rule's id; ``what`` is its Chinese name
    listen   ids of calls to listen to, where the share is high
    says     the rest in one Chinese sentence
    """

    by: tuple[str, ...]
    key: Mapping[str, str]
    title: str
    of: str
    what: str
    judged: int
    hits: int
    share: float
    low: float
    high: float
    rest_judged: int
    rest_hits: int
    rest_share: float
    is_above: bool
    p: float
    listen: tuple[str, ...]
    says: str


@dataclass(frozen=True, slots=True)
class Movement:
    """A share that moves (``review.movement``): a trend over all periods, or a step from the last but one to the last.

    change      of the share: from one period to the next by the trend's slope, or the step
    low, high   the 95 % interval of a step
    """

    kind: Literal["trend", "step"]
    of: str
    unit: Unit
    since: str
    until: str
    change: float
    low: float | None
    high: float | None
    p: float
    says: str


@dataclass(frozen=True, slots=True)
class Figures:
    """Everything that the pages 趋势 and 规则效果 and the exports show. What a source does not know stays empty."""

    scope: Scope
    total: Sums
    days: tuple[Sums, ...] = ()
    teams: tuple[Sums, ...] = ()
    agents: tuple[Sums, ...] = ()
    rules: tuple[RuleSum, ...] = ()
    rates: tuple[float, ...] = field(default=(), repr=False)
    hours: tuple[HourSum, ...] = ()
    appeals: tuple[AppealSum, ...] = ()
    worth: tuple[RuleWorth, ...] = ()
    agreement: Agreement | None = None
    kpis: Mapping[str, Mapping[str, Any]] | None = None
    shares: tuple[RuleShare, ...] = ()
    tables: tuple[GroupTable, ...] = ()
    stand_outs: tuple[StandOut, ...] = ()
    movements: tuple[Movement, ...] = ()
    notices: Mapping[str, int] = field(default_factory=dict)  # of the recognisers, as "demo (synthetic voices only)"

    @property
    def unit(self) -> Unit:
        return axis_unit([one.key for one in self.days])


# ---- periods


def axis_unit(days: Sequence[str]) -> Unit:
    """The unit in which so many days still fit on a chart."""
    if not days:
        return "day"
    length = (date.fromisoformat(max(days)) - date.fromisoformat(min(days))).days + 1
    return "day" if length <= _MOST_DAYS else "week" if length <= 7 * _MOST_WEEKS else "month"


def period(day: str, unit: Unit) -> str:
    """The period of a day: itself, its week's Monday, its month.

    >>> [period("2026-11-20", unit) for unit in ("day", "week", "month")]
    ['2026-11-20', '2026-11-16', '2026-11']
    """
    if unit == "month":
        return day[:7]
    at = date.fromisoformat(day)
    return (at - timedelta(days=at.weekday())).isoformat() if unit == "week" else day


def by_period(days: Iterable[Sums], unit: Unit) -> list[Sums]:
    return added(replace(day, key=(at := period(day.key, unit)), title=at) for day in days)


def added(parts: Iterable[Sums]) -> list[Sums]:
    """Parts of the same key added up, in the order of the keys."""
    together: dict[str, Sums] = {}
    for part in parts:
        known = together.get(part.key)
        together[part.key] = part if known is None else _plus(known, part)
    return [together[key] for key in sorted(together)]


def total(parts: Iterable[Sums]) -> Sums:
    summed = added(replace(part, key="", title="合计") for part in parts)
    return summed[0] if summed else Sums("", "合计")


def _plus(one: Sums, other: Sums) -> Sums:
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in _COUNTS})


def appeals_by_period(appeals: Iterable[AppealSum], unit: Unit) -> list[AppealSum]:
    together: dict[str, AppealSum] = {}
    for one in appeals:
        at = period(one.key, unit)
        known = together.get(at, AppealSum(at))
        together[at] = AppealSum(at, known.upheld + one.upheld, known.rejected + one.rejected, known.open + one.open)
    return [together[key] for key in sorted(together)]


def upheld(appeals: Iterable[AppealSum]) -> Upheld:
    known = list(appeals)
    successes = sum(one.upheld for one in known)
    decided = successes + sum(one.rejected for one in known)
    return Upheld(decided, successes / decided, *wilson(successes, decided)) if decided else Upheld(0, None, None, None)


# ---- shapes of charts


def pareto(rules: Iterable[RuleSum]) -> list[tuple[RuleSum, float]]:
    """Rules by how many calls violate them, each with its share and that of all before it, 0..1."""
    ordered = sorted(rules, key=lambda rule: (-rule.calls, rule.rule))
    everything, so_far, result = sum(rule.calls for rule in ordered), 0, []
    for rule in ordered:
        so_far += rule.calls
        result.append((rule, so_far / everything))
    return result


def histogram(rates: Iterable[float], step: int = RATE_STEP) -> list[Bin]:
    """Bins of equal width from the lowest to the highest, empty ones between them included.

    >>> histogram([100, 119.9, 140])
    [Bin(low=100, high=120, calls=2), Bin(low=120, high=140, calls=0), Bin(low=140, high=160, calls=1)]
    """
    counts: dict[int, int] = defaultdict(int)
    for rate in rates:
        counts[int(rate // step)] += 1
    if not counts:
        return []
    return [
        Bin(number * step, (number + 1) * step, counts.get(number, 0)) for number in range(min(counts), max(counts) + 1)
    ]
