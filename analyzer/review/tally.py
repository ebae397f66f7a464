"""Reports added up one at a time: of all calls, and of each agent, team, day and whatever else is asked for.

Theory of operation. No report is kept. Every group of calls has counters, for each rule four; a call leaves behind its
id, its score, its speech rate in each group, and a bit for each rule it violates, some 150 bytes, so that in the end
calls to listen to can be named. What calls say of each other (a call back, a second call about the same matter) is kept
by ``analyzer.kpi``. Days and hours are those of ``started_at`` as written: the call centre's own time.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

from analyzer.errors import ConfigError
from analyzer.kpi import Kpis, wall_time
from analyzer.labels import DIRECTIONS
from analyzer.review.trends import NO_AGENT, NO_TEAM, Scope, Sums

Report = Mapping[str, Any]
Axis = tuple[str, ...]

RULE = "rule"
AXES = ("agent", "team", "day", "week", "hour", "direction")
USUAL: tuple[Axis, ...] = (("agent",), ("team",), ("day",))
NO_DATE = "日期不明"
FAIL, CRITICAL = "fail", "critical"  # what a call may be marked with besides the rules that it violates
_MARKS = (FAIL, CRITICAL)
_RATE_UNIT = "字/分钟"
_HOLD_RULE = "hold_duration"  # measures the longest wait of a call, in seconds
_SEVERITIES = ("critical", "major", "minor")
_MOST_RATE = 65_535


def read_axes(texts: Iterable[str]) -> tuple[Axis, ...]:
    """What ``--by`` says: several words in one make groups of both.

    raises  ConfigError

    >>> read_axes(["team,day", "rule", "rule"])
    (('team', 'day'), ('rule',))
    """
    axes: dict[Axis, None] = {}
    for text in texts:
        words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
        for word in words:
            if word not in (*AXES, RULE):
                raise ConfigError(f"--by {text}: {word or 'nothing'} is none of {', '.join((*AXES, RULE))}")
        axes[tuple(word for word in words if word != RULE) + ((RULE,) if RULE in words else ())] = None
    return tuple(axes)


@dataclass(slots=True)
class RuleTotal:
    """One rule over all calls. ``outcomes`` in the report's words; ``lost``: points; ``number``: its bit and column."""

    rule: str
    title: str
    severity: str
    number: int
    is_stable: bool
    outcomes: dict[str, int]
    findings: int = 0
    lost: float = 0.0


class Group:
    """Calls that share a key. ``judged``, ``violated``, ``unsure`` and ``lost`` points have a column for each rule.

    timed_ms, silence_ms   of calls whose silence is known
    rates                  字/分钟 of the agent, a call each
    paced, off_pace        calls in which a rule judged the agent's rate, and those outside of every band
    held, held_s           calls with a wait, and the sum of their longest ones in seconds
    """

    __slots__ = (
        "calls", "critical_calls", "duration_ms", "failed", "found", "held", "held_s", "judged", "key", "lost",
        "number", "off_pace", "paced", "passed", "rates", "review", "score_squares", "score_sum", "scored",
        "silence_ms", "timed_ms", "unsure", "violated",
    )  # fmt: skip

    def __init__(self, key: tuple[str, ...], number: int = 0) -> None:
        self.key, self.number = key, number
        self.calls = self.scored = self.passed = self.failed = self.review = self.critical_calls = 0
        self.score_sum = self.score_squares = self.held_s = 0.0
        self.duration_ms = self.timed_ms = self.silence_ms = self.paced = self.off_pace = self.held = 0
        self.found = dict.fromkeys(_SEVERITIES, 0)
        self.rates = array("H")
        self.judged, self.violated, self.unsure, self.lost = array("I"), array("I"), array("I"), array("d")

    @property
    def mean_score(self) -> float | None:
        return self.score_sum / self.scored if self.scored else None

    @property
    def score_interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean by Student's t; from 5 scores on."""
        n = self.scored
        if n < _FEWEST_SCORES:
            return None
        mean = self.score_sum / n
        variance = max(0.0, (self.score_squares - n * mean * mean) / (n - 1))
        half = student_t(n - 1) * math.sqrt(variance / n)
        return max(0.0, mean - half), min(100.0, mean + half)

    @property
    def median_rate(self) -> float | None:
        return median(self.rates) if self.rates else None

    @property
    def silence_share(self) -> float | None:
        return self.silence_ms / self.timed_ms if self.timed_ms else None

    def sums(self, key: str = "", title: str = "") -> Sums:
        return Sums(
            key, title, self.calls, self.scored, self.score_sum, self.passed, self.failed, self.review,
            *(self.found[severity] for severity in _SEVERITIES),
        )  # fmt: skip

    def count(self, measure: str, rules: Mapping[str, RuleTotal]) -> tuple[int, int]:
        """In how many calls it could be told, and in how many it is so; ``measure``: FAIL, CRITICAL or a rule's id."""
        if measure == FAIL:
            return self.calls, self.failed
        if measure == CRITICAL:
            return self.calls, self.critical_calls
        column = rules[measure].number
        return (self.judged[column], self.violated[column]) if column < len(self.judged) else (0, 0)


_FEWEST_SCORES = 5


def student_t(freedom: int) -> float:
    """The 97.5 % point of Student's t, freedom >= 4, by Fisher's expansion (Abramowitz & Stegun 26.7.5); off by less
    than 0.005.

    >>> [round(student_t(freedom), 2) for freedom in (4, 9, 29, 1000)]
    [2.77, 2.26, 2.05, 1.96]
    """
    z, n = 1.959964, freedom
    return (
        z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
    )  # fmt: skip


def _rules_of(report: Report) -> str:
    pack = report.get("pack") or {}
    return " ".join(str(part) for part in (pack.get("name"), pack.get("version"), report.get("profile")) if part)


class Tally:
    """What the reports added so far add up to.

    axes    groups wanted besides agents, teams and days (``read_axes``)
    scope   which calls count; others are left out, and those whose day is not known where days are asked for
    """

    def __init__(self, axes: Sequence[Axis] = (), scope: Scope | None = None) -> None:
        plain = [tuple(word for word in axis if word != RULE) for axis in axes]
        self.axes: tuple[Axis, ...] = tuple(dict.fromkeys([*USUAL, *filter(None, plain)]))
        self.scope = scope or Scope()
        self.total = Group(())
        self.rules: dict[str, RuleTotal] = {}
        self.hours: dict[tuple[int, int], list[int]] = {}
        self.attempts = self.undated = 0
        self.kpis = Kpis()
        self.notices: Counter[str] = Counter()  # of the recognisers, as "demo (synthetic voices only)": calls with it
        self.packs: Counter[str] = Counter()  # name, version and profile of the rules: calls judged by them
        self._groups: dict[Axis, dict[tuple[str, ...], Group]] = {axis: {} for axis in self.axes}
        self._ids: list[str] = []
        self._scores = array("f")
        self._marks: list[int] = []
        self._members = {axis: array("I") for axis in self.axes}

    def add(self, report: Report) -> None:
        """One report, or a call attempt that was never answered (without ``verdict``): that counts in the KPI alone."""
        call = _Call(report)
        if not self._is_wanted(call):
            return
        groups = [self._group(axis, call) for axis in self.axes]
        self.kpis.add(report, groups)
        if "verdict" not in report:
            self.attempts += 1
            return
        self._judge(call, report)
        if notice := (report.get("recogniser") or {}).get("notice"):
            self.notices[notice] += 1
        self.packs[_rules_of(report)] += 1
        for group in (self.total, *groups):
            _count(group, call)
        for axis, group in zip(self.axes, groups, strict=True):
            self._members[axis].append(group.number)
        self._ids.append(str(report.get("call_id") or ""))
        self._scores.append(math.nan if call.score is None else call.score)
        self._marks.append(call.marks)
        if call.at is not None:
            cell = self.hours.setdefault((call.at.weekday(), call.at.hour), [0, 0])
            cell[0] += 1
            cell[1] += sum(call.found.values())

    def repeated(self) -> int:
        """Reports beyond the first of each call's id."""
        return len(self._ids) - len(set(self._ids))

    def groups(self, axis: Axis) -> list[Group]:
        """In the order of their keys; calls whose key is not known last."""
        return sorted(self._groups[axis].values(), key=lambda group: [(not part, part) for part in group.key])

    def examples(self, axis: Axis, wanted: Mapping[tuple[str, ...], Iterable[str]], most: int) -> dict[Any, list[str]]:
        """Calls of a group that are marked so, by (key, measure): the lowest scores first, then by id."""
        numbers = {self._groups[axis][key].number: (key, tuple(marks)) for key, marks in wanted.items()}
        found: dict[Any, list[tuple[float, str]]] = {(key, m): [] for key, marks in numbers.values() for m in marks}
        for at, number in enumerate(self._members[axis]):
            if number in numbers:
                key, marks = numbers[number]
                for mark in marks:
                    if self._marks[at] >> self._bit(mark) & 1:
                        score = self._scores[at]
                        found[key, mark].append((math.inf if math.isnan(score) else score, self._ids[at]))
        return {of: [call_id for _, call_id in sorted(calls)[:most]] for of, calls in found.items()}

    def _bit(self, measure: str) -> int:
        return _MARKS.index(measure) if measure in _MARKS else len(_MARKS) + self.rules[measure].number

    def _is_wanted(self, call: _Call) -> bool:
        scope = self.scope
        if (scope.team and call.words["team"] != scope.team) or (scope.agent and call.words["agent"] != scope.agent):
            return False
        if scope.since is None and scope.until is None:
            return True
        if call.at is None:
            self.undated += 1
            return False
        return (scope.since or date.min) <= call.at.date() <= (scope.until or date.max)

    def _group(self, axis: Axis, call: _Call) -> Group:
        key = tuple(call.words[word] for word in axis)
        known = self._groups[axis]
        if key not in known:
            known[key] = Group(key, len(known))
        return known[key]

    def _judge(self, call: _Call, report: Report) -> None:
        """What the rules say of the call, into the call and into what all calls say of each rule."""
        for entry in report["rules"]:
            rule = self.rules.get(entry["rule"])
            if rule is None:
                rule = self.rules[entry["rule"]] = _rule_total(entry, len(self.rules))
            outcome = entry["outcome"]
            rule.outcomes[outcome] += 1
            if outcome == "not_applicable":  # most of them
                continue
            rule.findings += len(entry["findings"])
            if outcome == "pass":
                call.judged.append(rule.number)
            elif outcome == "unsure":
                call.unsure.append(rule.number)
            elif outcome == "violation":
                self._violated(call, rule, entry)
            if "measured" in entry:
                call.measure(entry)

    def _violated(self, call: _Call, rule: RuleTotal, entry: Mapping[str, Any]) -> None:
        lost = -min(0.0, entry.get("points") or 0.0)
        rule.lost += lost
        call.judged.append(rule.number)
        call.violated.append((rule.number, lost))
        if entry.get("status", "stable") != "stable":
            return
        call.marks |= 1 << len(_MARKS) + rule.number
        for severity in [finding.get("severity") for finding in entry["findings"]] or [entry.get("severity")]:
            if severity in call.found:
                call.found[severity] += 1
        if call.found["critical"]:
            call.marks |= 1 << _MARKS.index(CRITICAL)


def _rule_total(entry: Mapping[str, Any], number: int) -> RuleTotal:
    return RuleTotal(
        entry["rule"], entry.get("title") or "", entry.get("severity") or "minor", number,
        entry.get("status", "stable") == "stable",
        dict.fromkeys(("pass", "violation", "unsure", "not_applicable"), 0),
    )  # fmt: skip


class _Call:
    """What is taken from one report."""

    __slots__ = (
        "at", "duration_ms", "found", "held_s", "judged", "marks", "off_pace", "rate", "score", "silence_ms",
        "unsure", "verdict", "violated", "words",
    )  # fmt: skip

    def __init__(self, report: Report) -> None:
        known = report.get("metadata") or {}
        metrics = report.get("metrics") or {}
        self.at: datetime | None = wall_time(known.get("started_at"))
        self.words = _words(known, self.at, report.get("direction"))
        self.score: float | None = report.get("score")
        self.verdict: str | None = report.get("verdict")
        self.duration_ms: int = report.get("duration_ms") or 0
        self.silence_ms: int | None = metrics.get("silence_ms")
        self.rate: float | None = metrics.get("rate", {}).get("agent", {}).get("turn")
        self.off_pace: bool | None = None
        self.held_s: float | None = None
        self.found = dict.fromkeys(_SEVERITIES, 0)
        self.marks = 1 << _MARKS.index(FAIL) if self.verdict == "fail" else 0
        self.judged: list[int] = []
        self.unsure: list[int] = []
        self.violated: list[tuple[int, float]] = []

    def measure(self, entry: Mapping[str, Any]) -> None:
        """Speech rate against its bands, and the longest wait, where a rule judged them."""
        measured = entry["measured"]
        if entry["outcome"] not in ("pass", "violation") or measured.get("value") is None:
            return
        if measured.get("unit") == _RATE_UNIT:
            self.off_pace = not _is_inside(measured)
        elif entry["rule"] == _HOLD_RULE:
            self.held_s = measured["value"]


def _words(known: Mapping[str, Any], at: datetime | None, direction: str | None) -> dict[str, str]:
    day = at.date() if at is not None else None
    return {
        "agent": str(known.get("agent_id") or ""),
        "team": str(known.get("team") or ""),
        "day": day.isoformat() if day else "",
        "week": (day - timedelta(days=day.weekday())).isoformat() if day else "",
        "hour": f"{at.hour:02d}" if at is not None else "",
        "direction": direction or "unknown",
    }


def _is_inside(measured: Mapping[str, Any]) -> bool:
    bands = measured.get("bands") or [measured]
    return any((band.get("low") or 0) <= measured["value"] <= (band.get("high") or math.inf) for band in bands)


def _count(group: Group, call: _Call) -> None:
    group.calls += 1
    group.duration_ms += call.duration_ms
    if call.score is not None:
        group.scored += 1
        group.score_sum += call.score
        group.score_squares += call.score * call.score
    group.passed += call.verdict == "pass"
    group.failed += call.verdict == "fail"
    group.review += call.verdict == "review"
    for severity, n in call.found.items():
        group.found[severity] += n
    group.critical_calls += bool(call.found["critical"])
    if call.silence_ms is not None and call.duration_ms:
        group.silence_ms += call.silence_ms
        group.timed_ms += call.duration_ms
    if call.rate:
        group.rates.append(min(_MOST_RATE, round(call.rate)))
    if call.off_pace is not None:
        group.paced += 1
        group.off_pace += call.off_pace
    if call.held_s is not None:
        group.held += 1
        group.held_s += call.held_s
    _count_rules(group, call)


def _count_rules(group: Group, call: _Call) -> None:
    highest = max((*call.judged, *call.unsure), default=-1)
    missing = highest + 1 - len(group.judged)
    if missing > 0:
        for column in (group.judged, group.violated, group.unsure, group.lost):
            column.extend([0] * missing)
    judged, violated, unsure, lost = group.judged, group.violated, group.unsure, group.lost
    for number in call.judged:
        judged[number] += 1
    for number in call.unsure:
        unsure[number] += 1
    for number, points in call.violated:
        violated[number] += 1
        lost[number] += points


def tally(reports: Iterable[Report], axes: Sequence[Axis] = (), scope: Scope | None = None) -> Tally:
    """All of these reports, read once."""
    together = Tally(axes, scope)
    for report in reports:
        together.add(report)
    return together


# ---- words


def title_of(axis: Axis, key: Sequence[str]) -> str:
    """
    >>> title_of(("team", "hour"), ("", "09"))
    '未分组 · 9 点'
    """
    return " · ".join(_title(word, part) for word, part in zip(axis, key, strict=True))


def _title(word: str, part: str) -> str:
    if word == "direction":
        return DIRECTIONS.get(part, part)
    if not part:
        return {"agent": NO_AGENT, "team": NO_TEAM}.get(word, NO_DATE)
    if word == "hour":
        return f"{int(part)} 点"
    return f"{part} 起" if word == "week" else part


def measures(total: Tally) -> Iterator[str]:
    """What calls can be marked with: failed, critical, and each stable rule that any call violates."""
    yield from _MARKS
    yield from (rule.rule for rule in total.rules.values() if rule.is_stable and rule.outcomes["violation"])
