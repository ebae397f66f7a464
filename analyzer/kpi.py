"""Figures over many calls (KPI), by the formulas of the service standards, from reports read one at a time.

A KPI reads what ``analyzer.report/1`` objects carry: direction, duration, call attributes (docs/metadata.md) and rule
outcomes. A call attempt that was never answered takes part as a report, or a bare mapping, with its ``direction`` and
``metadata`` alone. What is unknown of a call leaves both sides of its quotient, so a figure is None where nothing is
known, and ``n`` says on how many calls, complaints or customers it rests.

Theory of operation. No report is kept: each is noted in *logs*, and a KPI is read off a log. Most logs are two numbers
per group of calls (an agent's, a team's, a day's). What one call says of another (a call back, a second call about the
same matter, a visit) needs a line per customer or promise; it belongs to the groups of the call that made the promise
or began the matter, whoever made the other call. What is of the whole call centre (hours served, lines in use, visits)
has no groups.

Times are wall-clock times as written (ISO 8601); a time zone in them is dropped, not converted.
"""

from __future__ import annotations

from array import array
from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from itertools import accumulate
from typing import Any, Protocol

Report = Mapping[str, Any]
Group = Hashable

ALL: Group = ()
PERCENT = "%"
_COMPLAINT, _INQUIRY = "complaint", "inquiry"
_INBOUND, _OUTBOUND = "inbound", "outbound"
_REPLY_DUE = timedelta(hours=48)  # S004-8.3
_SAME_MATTER = timedelta(days=7)  # a second call about the same matter within a week: the first did not solve it
_MONTHS_A_YEAR = 12
_SPANNED = 0.8  # of a period's days: fewer say nothing of what was owed in the whole of it
_EPOCH = datetime(1970, 1, 1)  # of wall-clock times


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured KPI. ``n``: how many calls, complaints, customers … it rests on."""

    value: float | None
    n: int


NOTHING_KNOWN = Figure(None, 0)


class Facts:
    """What a KPI reads of a report."""

    __slots__ = ("began", "direction", "duration_ms", "known", "report", "started_at")

    def __init__(self, report: Report) -> None:
        self.report = report
        self.known: Mapping[str, Any] = report.get("metadata") or {}
        self.direction = report.get("direction")
        self.duration_ms: int | None = report.get("duration_ms")
        self.started_at = wall_time(self.known.get("started_at"))  # as written: its day and hour
        self.began = self.moment("started_at")

    def moment(self, key: str) -> datetime | None:
        """A call attribute as a time to compare with others: one with a zone in this machine's, one without as it is.
        None where it is unknown or is none."""
        time = _time(self.known.get(key))
        return time if time is None or time.tzinfo is None else time.astimezone().replace(tzinfo=None)

    @property
    def was_answered(self) -> bool:
        return self.known.get("connected") is not False and self.known.get("agent_answered") is not False


def wall_time(text: Any) -> datetime | None:
    """A time as written, a zone in it dropped; None where there is none."""
    time = _time(text)
    return time.replace(tzinfo=None) if time else None


def _time(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except (TypeError, ValueError):
        return None


class Log(Protocol):
    """What is kept of calls. ``groups`` are those the call belongs to, ``ALL`` among them."""

    def add(self, call: Facts, groups: Sequence[Group]) -> None: ...


@dataclass(frozen=True, slots=True)
class Kpi:
    """How a figure is read off a log, with its Chinese title, unit, ledger ids, and the standard's bounds (inclusive)
    where it has any.

    log        makes the log; KPI that name the same one share it
    by_group   whether it says something of a group of calls, not only of all
    """

    title: str
    unit: str
    log: Callable[[], Any]
    read: Callable[[Any, Group], Figure]
    clauses: tuple[str, ...]
    low: float | None = None
    high: float | None = None
    by_group: bool = True

    def of(self, reports: Iterable[Report]) -> Figure:
        """The figure over these reports alone."""
        log = self.log()
        for report in reports:
            log.add(Facts(report), (ALL,))
        return self.read(log, ALL)

    def is_kept(self, figure: Figure) -> bool | None:
        """Whether the standard is met; None where there is no bound or nothing is known."""
        if figure.value is None or (self.low is None and self.high is None):
            return None
        above = self.low is None or figure.value >= self.low
        return above and (self.high is None or figure.value <= self.high)


class Kpis:
    """All KPI over reports that are added one at a time."""

    def __init__(self) -> None:
        self._logs: dict[Callable[[], Any], Log] = {}
        for kpi in KPI.values():
            if kpi.log not in self._logs:
                self._logs[kpi.log] = kpi.log()

    def add(self, report: Report, groups: Sequence[Group] = ()) -> None:
        """``groups``: what the call belongs to besides all calls."""
        facts, of = Facts(report), (ALL, *groups)
        for log in self._logs.values():
            log.add(facts, of)

    def figures(self) -> dict[str, dict[str, Any]]:
        """Every KPI over all reports, by name, as plain values for JSON, in the order of ``KPI``."""
        return {name: _entry(kpi, self._read(kpi, ALL)) for name, kpi in KPI.items()}

    def known_of(self, group: Group) -> dict[str, dict[str, Any]]:
        """Those KPI of one group of which something is known."""
        figures = {name: self._read(kpi, group) for name, kpi in KPI.items() if kpi.by_group}
        return {name: _entry(KPI[name], figure) for name, figure in figures.items() if figure.value is not None}

    def _read(self, kpi: Kpi, group: Group) -> Figure:
        return kpi.read(self._logs[kpi.log], group)


def kpis(reports: Iterable[Report]) -> dict[str, dict[str, Any]]:
    """Every KPI over ``reports``, which are read once."""
    together = Kpis()
    for report in reports:
        together.add(report)
    return together.figures()


def _entry(kpi: Kpi, figure: Figure) -> dict[str, Any]:
    return {
        "title": kpi.title,
        "value": None if figure.value is None else round(figure.value, 2),
        "unit": kpi.unit,
        "n": figure.n,
        "low": kpi.low,
        "high": kpi.high,
        "kept": kpi.is_kept(figure),
        "clauses": list(kpi.clauses),
    }


# --- sums over single calls -------------------------------------------------------------------------------------------


class Values:
    """A number, or yes and no, of each call of which it is known: their sum and how many they are, by group."""

    def __init__(self, of: Callable[[Facts], float | None]) -> None:
        self._of = of
        self._sums: dict[Group, list[float]] = {}

    def add(self, call: Facts, groups: Sequence[Group]) -> None:
        value = self._of(call)
        if value is None:
            return
        for group in groups:
            known = self._sums.get(group)
            if known is None:
                self._sums[group] = [value, 1]
            else:
                known[0] += value
                known[1] += 1

    def sum(self, group: Group) -> Figure:
        total, n = self._sums.get(group, (0, 0))
        return Figure(total, int(n)) if n else NOTHING_KNOWN

    def mean(self, group: Group) -> Figure:
        total, n = self._sums.get(group, (0, 0))
        return Figure(total / n, int(n)) if n else NOTHING_KNOWN

    def percent(self, group: Group) -> Figure:
        """Percent of true among the known ones."""
        total, n = self._sums.get(group, (0, 0))
        return Figure(100 * total / n, int(n)) if n else NOTHING_KNOWN

    def percent_not(self, group: Group) -> Figure:
        total, n = self._sums.get(group, (0, 0))
        return Figure(100 * (n - total) / n, int(n)) if n else NOTHING_KNOWN

    def sum_not(self, group: Group) -> Figure:
        total, n = self._sums.get(group, (0, 0))
        return Figure(n - total, int(n)) if n else NOTHING_KNOWN

    def percent_of_the_others(self, group: Group) -> Figure:
        """Percent that the true ones are of the false ones; None where there are none of these."""
        total, n = self._sums.get(group, (0, 0))
        return Figure(100 * total / (n - total) if n > total else None, int(n))


def _attribute(key: str) -> Callable[[Facts], Any]:
    return lambda call: call.known.get(key)


def _is_about(call: Facts, matter: str) -> bool:
    """Inquiries, complaints: an outbound call is an answer to one, not one more."""
    return call.known.get("matter") == matter and call.direction != _OUTBOUND


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def _one(call: Facts) -> int:
    return 1


def _connected(call: Facts) -> bool | None:
    return call.known.get("connected") if call.direction == _INBOUND else None


def _agent_answered(call: Facts) -> bool | None:
    return call.known.get("agent_answered") if call.known.get("agent_requested") else None


def _ring_s(call: Facts) -> float | None:
    return _seconds(call.known.get("ring_ms"))


def _talk_s(call: Facts) -> float | None:
    return _seconds(call.duration_ms) if call.was_answered else None


def _handling_s(call: Facts) -> float | None:
    """Talk and the work after it, where both are known."""
    after = call.known.get("after_call_ms")
    return None if after is None or call.duration_ms is None else (call.duration_ms + after) / 1000


def _is_complete(call: Facts) -> bool | None:
    """Recorded from the answer to the end of the call; of calls that were judged."""
    if "truncated" not in call.report:
        return None
    return not call.report["truncated"] and not call.report.get("recording_offset_ms")


def _is_replied(call: Facts) -> bool | None:
    return True if call.moment("replied_at") else call.known.get("replied")


def _is_replied_about(call: Facts, matter: str) -> bool | None:
    return _is_replied(call) if _is_about(call, matter) else None


def _is_timely_about(call: Facts, matter: str) -> bool | None:
    """Replied to by the time agreed on."""
    return _is_by(call, call.moment("reply_due_at")) if _is_about(call, matter) else None


def _is_in_48_hours(call: Facts) -> bool | None:
    """A complaint that had its final reply within 48 hours."""
    if not _is_about(call, _COMPLAINT) or call.began is None:
        return None
    return _is_by(call, call.began + _REPLY_DUE)


def _is_by(call: Facts, due: datetime | None) -> bool | None:
    """Whether the reply came by ``due``; one that never came did not. None where that is unknown."""
    replied_at = call.moment("replied_at")
    if due is None or (replied_at is None and _is_replied(call) is not False):
        return None
    return replied_at is not None and replied_at <= due


def _is_repeated(call: Facts) -> bool | None:
    return call.known.get("repeated") if _is_about(call, _COMPLAINT) else None


def _is_satisfied(call: Facts, matter: str, major_only: bool = False) -> bool | None:
    """Of customers who were asked and answered."""
    if not _is_about(call, matter) or (major_only and not call.known.get("major_customer")):
        return None
    return call.known.get("satisfied")


def _is_rated(call: Facts) -> bool | None:
    return call.known.get("satisfied") is not None if call.was_answered else None


def _took_care(call: Facts) -> bool | None:
    """首问负责: the agent did not send the customer away (no forbidden phrase of kind 推诿)."""
    entry = next((rule for rule in call.report.get("rules", ()) if rule["rule"] == "banned_phrase"), None)
    if entry is None or entry["outcome"] not in ("pass", "violation"):
        return None
    return not any(finding["category"] == "推诿" for finding in entry["findings"])


class Ratings(Values):
    """Calls that the customer rated. Where none at all was, nobody was asked, or nobody wrote it down."""

    def __init__(self) -> None:
        super().__init__(_is_rated)

    def share(self, group: Group) -> Figure:
        return self.percent(group) if self.sum(ALL).value else NOTHING_KNOWN


_CONNECTED = partial(Values, _connected)
_ANSWERED = partial(Values, _agent_answered)


# --- the whole call centre --------------------------------------------------------------------------------------------


class Hours:
    """Hours of the day (of 24) in which calls were answered."""

    def __init__(self) -> None:
        self._hours: set[int] = set()
        self._n = 0

    def add(self, call: Facts, groups: Sequence[Group]) -> None:
        if call.started_at is not None and call.was_answered:
            self._hours.add(call.started_at.hour)
            self._n += 1

    def served(self, group: Group) -> Figure:
        return Figure(len(self._hours), self._n) if self._n else NOTHING_KNOWN


class Lines:
    """When calls began and ended, in ms: 16 bytes a call."""

    def __init__(self) -> None:
        self._starts, self._ends = array("q"), array("q")

    def add(self, call: Facts, groups: Sequence[Group]) -> None:
        if call.began is not None and call.duration_ms:
            start = (call.began - _EPOCH) // timedelta(milliseconds=1)
            self._starts.append(start)
            self._ends.append(start + call.duration_ms)

    def peak(self, group: Group) -> Figure:
        """Most calls that went on at once; a call that ends as another begins is over."""
        if not self._starts:
            return NOTHING_KNOWN
        edges = sorted([(end, -1) for end in self._ends] + [(start, 1) for start in self._starts])
        return Figure(max(accumulate(step for _, step in edges)), len(self._starts))


class TierScores:
    """Scores by the customers' class."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, call: Facts, groups: Sequence[Group]) -> None:
        tier, score = call.known.get("customer_tier"), call.report.get("score")
        if tier and score is not None:
            known = self._sums.setdefault(tier, [0.0, 0])
            known[0] += score
            known[1] += 1

    def gap(self, group: Group) -> Figure:
        """Largest difference between the mean scores of customer tiers, in points. Needs two tiers."""
        means = [total / n for total, n in self._sums.values()]
        n = int(sum(n for _, n in self._sums.values()))
        return Figure(max(means) - min(means), n) if len(means) > 1 else Figure(None, n)


# --- calls that answer to other calls ---------------------------------------------------------------------------------


class CallsBack:
    """Outbound calls by customer, and what they were owed for: complaints and promises."""

    def __init__(self) -> None:
        self._called: dict[str, list[datetime]] = {}
        self._complaints: list[tuple[str, datetime, datetime, tuple[Group, ...]]] = []
        self._promises: list[tuple[str, datetime, datetime, tuple[Group, ...]]] = []
        self._shares: dict[str, dict[Group, list[int]]] = {}

    def add(self, call: Facts, groups: Sequence[Group]) -> None:
        customer, start = call.known.get("customer_id"), call.began
        if not customer or start is None:
            return
        self._shares.clear()
        if call.direction == _OUTBOUND:
            self._called.setdefault(customer, []).append(start)
        if _is_about(call, _COMPLAINT):
            self._complaints.append((customer, start, datetime.max, tuple(groups)))
        if due := call.moment("callback_due_at"):
            self._promises.append((customer, start, due, tuple(groups)))

    def complaints(self, group: Group) -> Figure:
        """Complainants who were called back after they complained."""
        return self._share("complaints", self._complaints, group)

    def promises(self, group: Group) -> Figure:
        """Promised calls back that were made by the time promised (``callback_due_at``)."""
        return self._share("promises", self._promises, group)

    def _share(self, name: str, owed: list[tuple[str, datetime, datetime, tuple[Group, ...]]], group: Group) -> Figure:
        if name not in self._shares:
            shares = self._shares[name] = {}
            for customer, start, due, groups in owed:
                was_called = any(start < time <= due for time in self._called.get(customer, ()))
                for one in groups:
                    known = shares.setdefault(one, [0, 0])
                    known[0] += was_called
                    known[1] += 1
        kept, n = self._shares[name].get(group, (0, 0))
        return Figure(100 * kept / n, n) if n else NOTHING_KNOWN


class Matters:
    """Of each matter (a ticket, else a customer's inquiries or complaints) its first two inbound calls."""

    def __init__(self) -> None:
        self._matters: dict[Hashable, tuple[datetime, datetime | None, tuple[Group, ...]]] = {}
        self._solved: dict[Group, list[int]] = {}

    def add(self, call: Facts, groups: Sequence[Group]) -> None:
        start, matter = call.began, _matter(call)
        if call.direction != _INBOUND or start is None or not matter:
            return
        self._solved.clear()
        known = self._matters.get(matter)
        if known is None:
            self._matters[matter] = (start, None, tuple(groups))
            return
        first, second, of = known
        if start < first:
            self._matters[matter] = (start, first, tuple(groups))
        elif start > first and (second is None or start < second):
            self._matters[matter] = (first, start, of)

    def solved_at_once(self, group: Group) -> Figure:
        """首次解决率: matters with no second inbound call within a week of the first."""
        if not self._solved:
            for first, second, groups in self._matters.values():
                is_solved = second is None or second > first + _SAME_MATTER
                for one in groups:
                    known = self._solved.setdefault(one, [0, 0])
                    known[0] += is_solved
                    known[1] += 1
        solved, n = self._solved.get(group, (0, 0))
        return Figure(100 * solved / n, n) if n else NOTHING_KNOWN


def _matter(call: Facts) -> Hashable | None:
    ticket, customer, matter = (call.known.get(key) for key in ("ticket_id", "customer_id", "matter"))
    return ticket or ((customer, matter) if customer and matter else None)


# --- regular visits by telephone --------------------------------------------------------------------------------------


class Visits:
    """Customers with their class, the outbound calls to them by month and caller's role, and by festival."""

    def __init__(self) -> None:
        self._tiers: dict[str, str | None] = {}
        self._visits: Counter[tuple[str, int, str | None]] = Counter()
        self._festivals: set[tuple[int, str]] = set()
        self._greeted: set[tuple[str, tuple[int, str]]] = set()
        self._days: tuple[date, date] | None = None

    def add(self, call: Facts, groups: Sequence[Group]) -> None:
        customer, time = call.known.get("customer_id"), call.started_at
        if not customer or time is None:
            return
        day = time.date()
        first, last = self._days or (day, day)
        self._days = (min(first, day), max(last, day))
        self._tiers[customer] = call.known.get("customer_tier") or self._tiers.get(customer)
        festival = call.known.get("holiday")
        if festival:
            self._festivals.add((time.year, festival))
        if call.direction == _OUTBOUND:
            month = time.year * _MONTHS_A_YEAR + time.month - 1
            self._visits[customer, month, call.known.get("agent_role")] += 1
            if festival:
                self._greeted.add((customer, (time.year, festival)))

    def rate(
        self, group: Group, *, times: int, months: int, role: str | None = None, tiers: Sequence[str] = ()
    ) -> Figure:
        """Customers (of those tiers) who had at least ``times`` outbound calls in a period of so many calendar
        ``months``, over all periods whose days the calls span, or nearly so: in half a month nobody owes two visits.

        role   whose calls count (``agent_role``); None: anyone's
        """
        periods = self._spanned(months)
        customers = [customer for customer, tier in self._tiers.items() if not tiers or tier in tiers]
        visits: Counter[tuple[str, int]] = Counter()
        for (customer, month, by), n in self._visits.items():
            if role in (None, by):
                visits[customer, month // months] += n
        due = len(customers) * len(periods)
        kept = sum(visits[customer, period] >= times for customer in customers for period in periods)
        return Figure(100 * kept / due, due) if due else NOTHING_KNOWN

    def _spanned(self, months: int) -> list[int]:
        if self._days is None:
            return []
        first, last = self._days
        numbers = [(day.year * _MONTHS_A_YEAR + day.month - 1) // months for day in self._days]
        spanned = []
        for period in range(numbers[0], numbers[1] + 1):
            begin, end = _period_days(period, months)
            inside = (min(end, last) - max(begin, first)).days + 1
            if inside >= _SPANNED * ((end - begin).days + 1):
                spanned.append(period)
        return spanned

    def festivals(self, group: Group) -> Figure:
        """Customers who were called on a festival (``holiday``), of all customers on all festivals among the calls."""
        due = len(self._tiers) * len(self._festivals)
        return Figure(100 * len(self._greeted) / due, due) if due else NOTHING_KNOWN


def _period_days(period: int, months: int) -> tuple[date, date]:
    """First and last day of a period of whole months, counted from year 0."""
    begin, end = period * months, (period + 1) * months - 1
    year, month = divmod(end, _MONTHS_A_YEAR)
    last = date(year, month + 1, monthrange(year, month + 1)[1])
    return date(begin // _MONTHS_A_YEAR, begin % _MONTHS_A_YEAR + 1, 1), last


# --- the table --------------------------------------------------------------------------------------------------------

KPI: Mapping[str, Kpi] = {
    "call_count": Kpi("通话量", "次", partial(Values, _one), Values.sum, ("S003-F1.6", "S003-F1.8")),
    "connection_rate": Kpi("系统接通率", PERCENT, _CONNECTED, Values.percent, ("S004-7.4",), low=85),
    "agent_answer_rate": Kpi("人工应答率", PERCENT, _ANSWERED, Values.percent, ("S004-7.5",), low=85),
    "call_loss_rate": Kpi("呼损率", PERCENT, _CONNECTED, Values.percent_not, ("S003-F1.8",)),
    "missed_calls": Kpi("未接来电", "次", _ANSWERED, Values.sum_not, ("S003-F2.6",)),
    "mean_ring_s": Kpi("平均振铃时长", "秒", partial(Values, _ring_s), Values.mean, ("S003-F1.2",)),
    "mean_talk_s": Kpi("平均通话时长", "秒", partial(Values, _talk_s), Values.mean, ("S003-F1.8",)),
    "mean_handling_s": Kpi("平均处理时长", "秒", partial(Values, _handling_s), Values.mean, ("S003-F1.8",)),
    "hours_served": Kpi("有人应答的钟点", "小时", Hours, Hours.served, ("S004-7.1",), low=24, by_group=False),
    "peak_calls": Kpi("同时通话的最多路数", "路", Lines, Lines.peak, ("S003-F1.1",), high=30, by_group=False),
    "recorded_rate": Kpi(
        "录音率", PERCENT, partial(Values, _attribute("recorded")), Values.percent, ("S003-F1.4", "S003-Q1.2"), low=100
    ),
    "complete_recording_rate": Kpi(
        "录音完整率", PERCENT, partial(Values, _is_complete), Values.percent, ("S003-I1.1",), low=100
    ),
    "first_contact_rate": Kpi("首次解决率", PERCENT, Matters, Matters.solved_at_once, ("S000-1.4.6",)),
    "first_responsibility_rate": Kpi(
        "首问负责率", PERCENT, partial(Values, _took_care), Values.percent, ("S004-8.1",)
    ),
    "inquiry_reply_rate": Kpi(
        "咨询回复率", PERCENT, partial(Values, partial(_is_replied_about, matter=_INQUIRY)), Values.percent,
        ("S004-8.5",), low=100,
    ),
    "inquiry_timely_rate": Kpi(
        "咨询答复及时率", PERCENT, partial(Values, partial(_is_timely_about, matter=_INQUIRY)), Values.percent,
        ("S004-8.2", "S004-8.6"), low=100,
    ),
    "complaint_timely_rate": Kpi(
        "投诉答复及时率", PERCENT, partial(Values, partial(_is_timely_about, matter=_COMPLAINT)), Values.percent,
        ("S004-8.2", "S004-8.6"), low=100,
    ),
    "complaint_reply_rate_48h": Kpi(
        "投诉48小时答复率", PERCENT, partial(Values, _is_in_48_hours), Values.percent, ("S004-8.3",), low=100
    ),
    "repeat_complaint_rate": Kpi(
        "重复投诉率", PERCENT, partial(Values, _is_repeated), Values.percent_of_the_others, ("S004-8.7",), high=1
    ),
    "complaint_callback_rate": Kpi(
        "投诉回访率", PERCENT, CallsBack, CallsBack.complaints, ("S002-3.2.3", "S004-8.4"), low=100
    ),
    "kept_callback_rate": Kpi(
        "承诺回电兑现率", PERCENT, CallsBack, CallsBack.promises,
        ("S002-A1.8.3c", "S003-A4.20c", "S003-F2.3", "S003-Q1.3", "S004-8.2"), low=100,
    ),
    "satisfaction_rate": Kpi(
        "满意率", PERCENT, partial(Values, _attribute("satisfied")), Values.percent,
        ("S002-3.1.1", "S002-6.3.1", "S003-Q1.1"),
    ),
    "rated_rate": Kpi("评价率", PERCENT, Ratings, Ratings.share, ("S003-I1.2",)),
    "inquiry_satisfaction_rate": Kpi(
        "咨询满意率", PERCENT, partial(Values, partial(_is_satisfied, matter=_INQUIRY)), Values.percent,
        ("S004-8.8a",), low=90,
    ),
    "complaint_satisfaction_rate": Kpi(
        "投诉满意率", PERCENT, partial(Values, partial(_is_satisfied, matter=_COMPLAINT)), Values.percent,
        ("S004-8.8b",), low=85,
    ),
    "major_complaint_satisfaction_rate": Kpi(
        "重要客户投诉满意率", PERCENT, partial(Values, partial(_is_satisfied, matter=_COMPLAINT, major_only=True)),
        Values.percent, ("S004-8.8c",), low=95,
    ),
    "fairness_gap": Kpi("各类客户得分差距", "分", TierScores, TierScores.gap, ("S002-A7.1.2",), by_group=False),
    "visit_rate": Kpi(
        "每月回访两次的客户", PERCENT, Visits, partial(Visits.rate, times=2, months=1), ("S002-3.1.2", "S002-6.2.2"),
        low=100, by_group=False,
    ),
    "festival_visit_rate": Kpi(
        "节假日回访率", PERCENT, Visits, Visits.festivals, ("S002-6.2.2",), low=100, by_group=False
    ),
    "account_manager_visit_rate": Kpi(
        "客户经理每月回访两次", PERCENT, Visits, partial(Visits.rate, times=2, months=1, role="account_manager"),
        ("S002-6.2.3.1",), low=100, by_group=False,
    ),
    "department_manager_visit_rate": Kpi(
        "部门经理每月回访一次", PERCENT, Visits, partial(Visits.rate, times=1, months=1, role="department_manager"),
        ("S002-6.2.3.1",), low=100, by_group=False,
    ),
    "leader_visit_rate": Kpi(
        "分管领导每三个月回访一次", PERCENT, Visits,
        partial(Visits.rate, times=1, months=3, role="leader", tiers=("A", "B")),
        ("S002-6.2.1", "S002-6.2.3.2"), low=100, by_group=False,
    ),
    "president_visit_rate": Kpi(
        "总裁每年回访一次", PERCENT, Visits, partial(Visits.rate, times=1, months=12, role="president", tiers=("A",)),
        ("S002-6.2.1", "S002-6.2.3.3"), low=100, by_group=False,
    ),
}  # fmt: skip
