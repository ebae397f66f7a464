"""What many calls add up to: the sums that the desk's charts and reports show.

The store fills them by SQL and a run folder from its reports (``of_reports``), so both are drawn and written alike. A
call counts with its final score and verdict where people changed them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, timedelta
from typing import Any, Literal

from analyzer.review.agreement import Agreement
from analyzer.review.worth import RuleWorth, wilson

Unit = Literal["day", "week", "month"]
RATE_STEP = 20  # 字/分钟
NO_TEAM, NO_AGENT = "未分组", "未知坐席"
_MOST_DAYS, _MOST_WEEKS = 62, 60  # of a chart's axis
_FLAGGED = {"critical": "criticals", "major": "majors", "minor": "minors"}


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


# ---- out of reports


def of_reports(reports: Iterable[Mapping[str, Any]], kpis: Mapping[str, Mapping[str, Any]] | None = None) -> Figures:
    """The figures of ``analyzer.report/1`` objects, as of a run folder. Nobody has reviewed anything there."""
    judged = [_Judged.of(report) for report in reports if "verdict" in report]
    hours: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    for call in judged:
        if call.at is not None:
            cell = hours[call.at.weekday(), call.at.hour]
            cell[0] += 1
            cell[1] += call.sums.violations
    days = added(
        replace(call.sums, key=(day := call.at.date().isoformat()), title=day) for call in judged if call.at is not None
    )
    return Figures(
        scope=Scope(),
        total=total(call.sums for call in judged),
        days=tuple(days),
        teams=tuple(added(replace(call.sums, key=call.team, title=call.team or NO_TEAM) for call in judged)),
        agents=tuple(added(replace(call.sums, key=call.agent, title=call.agent or NO_AGENT) for call in judged)),
        rules=tuple(_rule_sums(judged)),
        rates=tuple(call.rate for call in judged if call.rate is not None),
        hours=tuple(HourSum(*at, *counts) for at, counts in sorted(hours.items())),
        kpis=kpis,
    )


@dataclass(frozen=True, slots=True)
class _Judged:
    sums: Sums
    at: datetime | None
    agent: str
    team: str
    rate: float | None
    violated: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> _Judged:
        metadata = report.get("metadata") or {}
        violated = tuple(
            entry
            for entry in report["rules"]
            if entry["outcome"] == "violation" and entry.get("status", "stable") == "stable"
        )
        return cls(
            _sums(report, violated),
            _time(metadata.get("started_at")),
            str(metadata.get("agent_id") or ""),
            str(metadata.get("team") or ""),
            report.get("metrics", {}).get("rate", {}).get("agent", {}).get("turn"),
            violated,
        )


def _sums(report: Mapping[str, Any], violated: Iterable[Mapping[str, Any]]) -> Sums:
    found: dict[str, int] = defaultdict(int)
    for entry in violated:
        for severity in [finding["severity"] for finding in entry["findings"]] or [entry["severity"]]:
            if severity in _FLAGGED:
                found[_FLAGGED[severity]] += 1
    score = report["score"]
    return Sums(
        "", "", calls=1, scored=int(score is not None), score_sum=score or 0.0,
        passed=int(report["verdict"] == "pass"), failed=int(report["verdict"] == "fail"),
        review=int(report["verdict"] == "review"), **found,
    )  # fmt: skip


def _rule_sums(calls: Iterable[_Judged]) -> Iterable[RuleSum]:
    together: dict[str, RuleSum] = {}
    for call in calls:
        for entry in call.violated:
            rule = entry["rule"]
            known = together.get(rule, RuleSum(rule, entry["title"], entry["severity"], 0, 0))
            together[rule] = replace(known, calls=known.calls + 1, points=known.points - entry["points"])
    return together.values()


def _time(text: Any) -> datetime | None:
    """As written, a zone in it dropped: the call centre's own time."""
    try:
        return datetime.fromisoformat(str(text or "")).replace(tzinfo=None)
    except ValueError:
        return None
