"""Figures over many calls (KPI): pure functions of reports, by the formulas of the service standards.

A KPI reads what ``analyzer.report/1`` objects carry: direction, duration, call attributes (docs/metadata.md) and rule
outcomes. A call attempt that was never answered takes part as a report, or a bare mapping, with its ``direction`` and
``metadata`` alone. What is unknown of a call leaves both sides of its quotient, so a figure is None where nothing is
known, and ``n`` says on how many calls, complaints or customers it rests.

Times are wall-clock times as written (ISO 8601); a time zone in them is dropped, not converted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate
from statistics import mean
from typing import Any

Report = Mapping[str, Any]
Reports = Sequence[Report]

PERCENT = "%"
_COMPLAINT, _INQUIRY = "complaint", "inquiry"
_INBOUND, _OUTBOUND = "inbound", "outbound"
_REPLY_DUE = timedelta(hours=48)  # S004-8.3
_SAME_MATTER = timedelta(days=7)  # a second call about the same matter within a week: the first did not solve it
_MONTHS_A_YEAR = 12


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured KPI. ``n``: how many calls, complaints, customers … it rests on."""

    value: float | None
    n: int


NOTHING_KNOWN = Figure(None, 0)


@dataclass(frozen=True, slots=True)
class Kpi:
    """A figure with its Chinese title, unit, ledger ids, and the standard's bounds (inclusive) where it has any."""

    title: str
    unit: str
    of: Callable[[Reports], Figure]
    clauses: tuple[str, ...]
    low: float | None = None
    high: float | None = None

    def is_kept(self, figure: Figure) -> bool | None:
        """Whether the standard is met; None where there is no bound or nothing is known."""
        if figure.value is None or (self.low is None and self.high is None):
            return None
        above = self.low is None or figure.value >= self.low
        return above and (self.high is None or figure.value <= self.high)


def kpis(reports: Iterable[Report]) -> dict[str, dict[str, Any]]:
    """Every KPI over ``reports``, by name, as plain values for JSON, in the order of ``KPI``."""
    calls = list(reports)
    return {name: _entry(kpi, kpi.of(calls)) for name, kpi in KPI.items()}


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


# --- what a report says -----------------------------------------------------------------------------------------------


def _attribute(report: Report, key: str) -> Any:
    return (report.get("metadata") or {}).get(key)


def _time(report: Report, key: str) -> datetime | None:
    """A call attribute as a time; None where it is unknown or is none."""
    try:
        return datetime.fromisoformat(str(_attribute(report, key) or "")).replace(tzinfo=None)
    except ValueError:
        return None


def _share(flags: Iterable[bool | None]) -> Figure:
    """Percent of true among the known ones.

    >>> _share([True, True, False, None])
    Figure(value=66.66666666666667, n=3)
    """
    known = [flag for flag in flags if flag is not None]
    return Figure(100 * sum(known) / len(known), len(known)) if known else NOTHING_KNOWN


def _mean(values: Iterable[float | None]) -> Figure:
    known = [value for value in values if value is not None]
    return Figure(mean(known), len(known)) if known else NOTHING_KNOWN


def _flags(reports: Reports, key: str) -> list[bool | None]:
    return [_attribute(report, key) for report in reports]


def _about(reports: Reports, matter: str) -> list[Report]:
    """Inquiries, complaints: an outbound call is an answer to one, not one more."""
    return [r for r in reports if _attribute(r, "matter") == matter and r.get("direction") != _OUTBOUND]


def _inbound(reports: Reports) -> list[Report]:
    return [report for report in reports if report.get("direction") == _INBOUND]


def _outbound(reports: Reports) -> list[Report]:
    return [report for report in reports if report.get("direction") == _OUTBOUND]


# --- volume and reach -------------------------------------------------------------------------------------------------


def call_count(reports: Reports) -> Figure:
    return Figure(len(reports), len(reports)) if reports else NOTHING_KNOWN


def connection_rate(reports: Reports) -> Figure:
    """Calls the system connected, of all attempts: 系统接通率 = 接通次数 ÷ 呼叫总次数 * 100 %."""
    return _share(_flags(_inbound(reports), "connected"))


def call_loss_rate(reports: Reports) -> Figure:
    """Attempts the system did not connect, of all attempts."""
    return _share(None if flag is None else not flag for flag in _flags(_inbound(reports), "connected"))


def agent_answer_rate(reports: Reports) -> Figure:
    """Calls an agent answered, of those that asked for one: 人工应答率."""
    return _share(_flags([r for r in reports if _attribute(r, "agent_requested")], "agent_answered"))


def missed_calls(reports: Reports) -> Figure:
    """Calls that asked for an agent and were answered by none."""
    known = [
        f for f in _flags([r for r in reports if _attribute(r, "agent_requested")], "agent_answered") if f is not None
    ]
    return Figure(known.count(False), len(known)) if known else NOTHING_KNOWN


def mean_ring_s(reports: Reports) -> Figure:
    return _mean(_seconds(_attribute(report, "ring_ms")) for report in reports)


def mean_talk_s(reports: Reports) -> Figure:
    return _mean(_seconds(report.get("duration_ms")) for report in reports if _was_answered(report))


def mean_handling_s(reports: Reports) -> Figure:
    """Talk and the work after it, of calls where both are known."""
    return _mean(
        _seconds(report["duration_ms"] + _attribute(report, "after_call_ms"))
        for report in reports
        if report.get("duration_ms") is not None and _attribute(report, "after_call_ms") is not None
    )


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def _was_answered(report: Report) -> bool:
    return _attribute(report, "connected") is not False and _attribute(report, "agent_answered") is not False


def hours_served(reports: Reports) -> Figure:
    """Hours of the day (of 24) in which calls were answered."""
    answered = [_time(report, "started_at") for report in reports if _was_answered(report)]
    known = [time for time in answered if time is not None]
    return Figure(len({time.hour for time in known}), len(known)) if known else NOTHING_KNOWN


def peak_calls(reports: Reports) -> Figure:
    """Most calls that went on at once."""
    spans = [
        (start, start + timedelta(milliseconds=report["duration_ms"]))
        for report in reports
        if (start := _time(report, "started_at")) is not None and report.get("duration_ms")
    ]
    edges = sorted([(end, -1) for _, end in spans] + [(start, 1) for start, _ in spans])  # an end before a start
    return Figure(max(accumulate(step for _, step in edges)), len(spans)) if spans else NOTHING_KNOWN


def recorded_rate(reports: Reports) -> Figure:
    return _share(_flags(reports, "recorded"))


def complete_recording_rate(reports: Reports) -> Figure:
    """Recordings from the answer to the end of the call, of all that were judged."""
    return _share(
        not report["truncated"] and not report.get("recording_offset_ms") for report in reports if "truncated" in report
    )


# --- inquiries and complaints -----------------------------------------------------------------------------------------


def reply_rate(reports: Reports, matter: str) -> Figure:
    return _share(_is_replied(report) for report in _about(reports, matter))


def timely_reply_rate(reports: Reports, matter: str) -> Figure:
    """Replied to by the time agreed on, of all for which a time is known."""
    return _share(_is_by(report, _time(report, "reply_due_at")) for report in _about(reports, matter))


def complaint_reply_rate_48h(reports: Reports) -> Figure:
    """Complaints that had their final reply within 48 hours."""
    return _share(
        _is_by(report, None if (start := _time(report, "started_at")) is None else start + _REPLY_DUE)
        for report in _about(reports, _COMPLAINT)
    )


def _is_replied(report: Report) -> bool | None:
    return True if _time(report, "replied_at") else _attribute(report, "replied")


def _is_by(report: Report, due: datetime | None) -> bool | None:
    """Whether the reply came by ``due``; one that never came did not. None where that is unknown."""
    replied_at = _time(report, "replied_at")
    if due is None or (replied_at is None and _is_replied(report) is not False):
        return None
    return replied_at is not None and replied_at <= due


def repeat_complaint_rate(reports: Reports) -> Figure:
    """重复投诉率 = 重复投诉量 ÷ (投诉总量 - 重复投诉量) * 100 %."""
    known = [flag for flag in _flags(_about(reports, _COMPLAINT), "repeated") if flag is not None]
    first = known.count(False)
    return Figure(100 * known.count(True) / first, len(known)) if first else Figure(None, len(known))


def complaint_callback_rate(reports: Reports) -> Figure:
    """Complainants who were called back after they complained."""
    called = _calls_out(reports)
    return _share(
        any(time > start for time in called.get(customer, ()))
        for report in _about(reports, _COMPLAINT)
        if (customer := _attribute(report, "customer_id")) and (start := _time(report, "started_at"))
    )


def kept_callback_rate(reports: Reports) -> Figure:
    """Promised calls back that were made by the time promised (``callback_due_at``)."""
    called = _calls_out(reports)
    return _share(
        any(start < time <= due for time in called.get(customer, ()))
        for report in reports
        if (due := _time(report, "callback_due_at"))
        and (start := _time(report, "started_at"))
        and (customer := _attribute(report, "customer_id"))
    )


def _calls_out(reports: Reports) -> dict[str, list[datetime]]:
    """Times of the outbound calls to each customer."""
    called: dict[str, list[datetime]] = {}
    for report in _outbound(reports):
        time = _time(report, "started_at")
        if time and _attribute(report, "customer_id"):
            called.setdefault(_attribute(report, "customer_id"), []).append(time)
    return called


def first_contact_rate(reports: Reports) -> Figure:
    """首次解决率: matters (a ticket, else a customer's inquiries or complaints) with no second inbound call within a
    week of the first."""
    times: dict[Hashable, list[datetime]] = {}
    for report in _inbound(reports):
        start, matter = _time(report, "started_at"), _matter(report)
        if start and matter:
            times.setdefault(matter, []).append(start)
    return _share(not any(min(calls) < time <= min(calls) + _SAME_MATTER for time in calls) for calls in times.values())


def _matter(report: Report) -> Hashable | None:
    ticket, customer = _attribute(report, "ticket_id"), _attribute(report, "customer_id")
    return ticket or ((customer, _attribute(report, "matter")) if customer else None)


def first_responsibility_rate(reports: Reports) -> Figure:
    """首问负责: judged calls in which the agent did not send the customer away (no forbidden phrase of kind 推诿)."""
    return _share(_took_care(report) for report in reports)


def _took_care(report: Report) -> bool | None:
    entry = next((rule for rule in report.get("rules", ()) if rule["rule"] == "banned_phrase"), None)
    if entry is None or entry["outcome"] not in ("pass", "violation"):
        return None
    return not any(finding["category"] == "推诿" for finding in entry["findings"])


# --- satisfaction and fairness ----------------------------------------------------------------------------------------


def satisfaction_rate(reports: Reports, matter: str | None = None, major_only: bool = False) -> Figure:
    """Satisfied customers, of those who were asked and answered."""
    asked = _about(reports, matter) if matter else reports
    return _share(_flags([r for r in asked if not major_only or _attribute(r, "major_customer")], "satisfied"))


def rated_rate(reports: Reports) -> Figure:
    """Answered calls that the customer rated."""
    return _share(_attribute(report, "satisfied") is not None for report in reports if _was_answered(report))


def fairness_gap(reports: Reports) -> Figure:
    """Largest difference between the mean scores of customer tiers, in points. Needs two tiers."""
    scores: dict[str, list[float]] = {}
    for report in reports:
        tier = _attribute(report, "customer_tier")
        if tier and report.get("score") is not None:
            scores.setdefault(tier, []).append(report["score"])
    means = [mean(values) for values in scores.values()]
    n = sum(map(len, scores.values()))
    return Figure(max(means) - min(means), n) if len(means) > 1 else Figure(None, n)


# --- regular visits by telephone --------------------------------------------------------------------------------------


def visit_rate(reports: Reports, times: int, months: int, role: str | None = None, tiers: Sequence[str] = ()) -> Figure:
    """Customers who had at least ``times`` outbound calls in a period of so many whole calendar ``months``, of all
    customers (of those tiers) in all periods that the calls span.

    role   whose calls count (``agent_role``); None: anyone's
    """
    customers: set[str] = set()
    periods: set[int] = set()
    visits: Counter[tuple[str, int]] = Counter()
    for report in reports:
        customer, time = _attribute(report, "customer_id"), _time(report, "started_at")
        if not customer or not time or (tiers and _attribute(report, "customer_tier") not in tiers):
            continue
        period = (time.year * _MONTHS_A_YEAR + time.month - 1) // months
        customers.add(customer)
        periods.add(period)
        if report.get("direction") == _OUTBOUND and role in (None, _attribute(report, "agent_role")):
            visits[customer, period] += 1
    return _share(visits[customer, period] >= times for customer in customers for period in sorted(periods))


# --- the table --------------------------------------------------------------------------------------------------------

KPI: Mapping[str, Kpi] = {
    "call_count": Kpi("通话量", "次", call_count, ("S003-F1.6", "S003-F1.8")),
    "connection_rate": Kpi("系统接通率", PERCENT, connection_rate, ("S004-7.4",), low=85),
    "agent_answer_rate": Kpi("人工应答率", PERCENT, agent_answer_rate, ("S004-7.5",), low=85),
    "call_loss_rate": Kpi("呼损率", PERCENT, call_loss_rate, ("S003-F1.8",)),
    "missed_calls": Kpi("未接来电", "次", missed_calls, ("S003-F2.6",)),
    "mean_ring_s": Kpi("平均振铃时长", "秒", mean_ring_s, ("S003-F1.2",)),
    "mean_talk_s": Kpi("平均通话时长", "秒", mean_talk_s, ("S003-F1.8",)),
    "mean_handling_s": Kpi("平均处理时长", "秒", mean_handling_s, ("S003-F1.8",)),
    "hours_served": Kpi("有人应答的钟点", "小时", hours_served, ("S004-7.1",), low=24),
    "peak_calls": Kpi("同时通话的最多路数", "路", peak_calls, ("S003-F1.1",), high=30),
    "recorded_rate": Kpi("录音率", PERCENT, recorded_rate, ("S003-F1.4", "S003-Q1.2"), low=100),
    "complete_recording_rate": Kpi("录音完整率", PERCENT, complete_recording_rate, ("S003-I1.1",), low=100),
    "first_contact_rate": Kpi("首次解决率", PERCENT, first_contact_rate, ("S000-1.4.6",)),
    "first_responsibility_rate": Kpi("首问负责率", PERCENT, first_responsibility_rate, ("S004-8.1",)),
    "inquiry_reply_rate": Kpi("咨询回复率", PERCENT, partial(reply_rate, matter=_INQUIRY), ("S004-8.5",), low=100),
    "inquiry_timely_rate": Kpi(
        "咨询答复及时率", PERCENT, partial(timely_reply_rate, matter=_INQUIRY), ("S004-8.2", "S004-8.6"), low=100
    ),
    "complaint_timely_rate": Kpi(
        "投诉答复及时率", PERCENT, partial(timely_reply_rate, matter=_COMPLAINT), ("S004-8.2", "S004-8.6"), low=100
    ),
    "complaint_reply_rate_48h": Kpi("投诉48小时答复率", PERCENT, complaint_reply_rate_48h, ("S004-8.3",), low=100),
    "repeat_complaint_rate": Kpi("重复投诉率", PERCENT, repeat_complaint_rate, ("S004-8.7",), high=1),
    "complaint_callback_rate": Kpi(
        "投诉回访率", PERCENT, complaint_callback_rate, ("S002-3.2.3", "S004-8.4"), low=100
    ),
    "kept_callback_rate": Kpi(
        "承诺回电兑现率", PERCENT, kept_callback_rate,
        ("S002-A1.8.3c", "S003-A4.20c", "S003-F2.3", "S003-Q1.3", "S004-8.2"), low=100,
    ),
    "satisfaction_rate": Kpi("满意率", PERCENT, satisfaction_rate, ("S002-3.1.1", "S002-6.3.1", "S003-Q1.1")),
    "rated_rate": Kpi("评价率", PERCENT, rated_rate, ("S003-I1.2",)),
    "inquiry_satisfaction_rate": Kpi(
        "咨询满意率", PERCENT, partial(satisfaction_rate, matter=_INQUIRY), ("S004-8.8a",), low=90
    ),
    "complaint_satisfaction_rate": Kpi(
        "投诉满意率", PERCENT, partial(satisfaction_rate, matter=_COMPLAINT), ("S004-8.8b",), low=85
    ),
    "major_complaint_satisfaction_rate": Kpi(
        "重要客户投诉满意率", PERCENT, partial(satisfaction_rate, matter=_COMPLAINT, major_only=True),
        ("S004-8.8c",), low=95,
    ),
    "fairness_gap": Kpi("各类客户得分差距", "分", fairness_gap, ("S002-A7.1.2",)),
    "visit_rate": Kpi(
        "每月回访两次的客户", PERCENT, partial(visit_rate, times=2, months=1), ("S002-3.1.2", "S002-6.2.2"), low=100
    ),
    "account_manager_visit_rate": Kpi(
        "客户经理每月回访两次", PERCENT, partial(visit_rate, times=2, months=1, role="account_manager"),
        ("S002-6.2.3.1",), low=100,
    ),
    "department_manager_visit_rate": Kpi(
        "部门经理每月回访一次", PERCENT, partial(visit_rate, times=1, months=1, role="department_manager"),
        ("S002-6.2.3.1",), low=100,
    ),
    "leader_visit_rate": Kpi(
        "分管领导每三个月回访一次", PERCENT, partial(visit_rate, times=1, months=3, role="leader", tiers=("A", "B")),
        ("S002-6.2.1", "S002-6.2.3.2"), low=100,
    ),
    "president_visit_rate": Kpi(
        "总裁每年回访一次", PERCENT, partial(visit_rate, times=1, months=12, role="president", tiers=("A",)),
        ("S002-6.2.1", "S002-6.2.3.3"), low=100,
    ),
}  # fmt: skip
