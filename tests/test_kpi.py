"""KPI by the formulas of the standards, over reports built by hand."""

from __future__ import annotations

from typing import Any

import pytest

from analyzer.kpi import ALL, KPI, Facts, Figure, Kpi, Kpis, Visits, kpis
from analyzer.metadata import read_metadata


def call(direction: str = "inbound", *, duration_ms: int = 60_000, **metadata: Any) -> dict[str, Any]:
    known, unknown = read_metadata(metadata)
    assert not unknown
    return {"direction": direction, "duration_ms": duration_ms, "metadata": known}


def measured(name: str, *reports: dict[str, Any]) -> Figure:
    """The figure, its value to two places."""
    figure = KPI[name].of(reports)
    return figure if figure.value is None else Figure(round(figure.value, 2), figure.n)


def complaint(**metadata: Any) -> dict[str, Any]:
    return call(matter="complaint", **metadata)


@pytest.mark.parametrize("name", KPI)
def test_nothing_is_known_of_no_calls(name: str) -> None:
    assert measured(name) == Figure(None, 0)


@pytest.mark.parametrize("name", [name for name in KPI if name not in ("call_count", "mean_talk_s", "rated_rate")])
def test_nothing_is_known_of_a_call_without_attributes(name: str) -> None:
    assert measured(name, call()).value is None


def test_connection_rate_is_connected_calls_over_all_attempts() -> None:
    attempts = [call(connected=True)] * 17 + [call(connected=False)] * 3 + [call()]
    assert measured("connection_rate", *attempts) == Figure(85, 20)
    assert measured("call_loss_rate", *attempts) == Figure(15, 20)


def test_an_outbound_call_is_no_attempt_to_reach_the_hotline() -> None:
    assert measured("connection_rate", call(connected=True), call("outbound", connected=False)) == Figure(100, 1)


def test_agent_answer_rate_is_of_calls_that_asked_for_an_agent() -> None:
    calls = [call(agent_requested=True, agent_answered=flag) for flag in (True, True, True, False)]
    others = [call(agent_requested=False, agent_answered=False), call(agent_answered=False)]
    assert measured("agent_answer_rate", *calls, *others) == Figure(75, 4)
    assert measured("missed_calls", *calls, *others) == Figure(1, 4)


def test_repeat_complaint_rate_is_repeats_over_first_complaints() -> None:
    complaints = [complaint(repeated=True)] * 2 + [complaint(repeated=False)] * 100
    assert measured("repeat_complaint_rate", *complaints, call(matter="inquiry", repeated=True)) == Figure(2, 102)


def test_repeat_complaint_rate_is_unknown_where_every_complaint_is_a_repeat() -> None:
    assert measured("repeat_complaint_rate", complaint(repeated=True)) == Figure(None, 1)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ({"replied_at": "2026-11-04T09:00:00"}, 100),
        ({"replied_at": "2026-11-04T09:00:01"}, 0),
        ({"replied": False}, 0),
        ({"replied": True}, None),
        ({}, None),
    ],
)
def test_a_complaint_is_due_in_48_hours(reply: dict[str, Any], value: float | None) -> None:
    figure = measured("complaint_reply_rate_48h", complaint(started_at="2026-11-02T09:00:00", **reply))
    assert figure.value == value


def test_replies_are_counted_by_matter_and_timely_ones_by_the_time_agreed() -> None:
    due: dict[str, Any] = {"reply_due_at": "2026-11-02T12:00:00"}
    calls = [
        call(matter="inquiry", replied_at="2026-11-02T11:00:00", **due),
        call(matter="inquiry", replied_at="2026-11-02T13:00:00", **due),
        call(matter="inquiry", replied=False, **due),
        complaint(replied_at="2026-11-02T12:00:00", **due),
    ]
    assert measured("inquiry_reply_rate", *calls) == Figure(66.67, 3)
    assert measured("inquiry_timely_rate", *calls) == Figure(33.33, 3)
    assert measured("complaint_timely_rate", *calls) == Figure(100, 1)


def test_satisfaction_is_told_apart_by_matter_and_customer() -> None:
    calls = [
        call(matter="inquiry", satisfied=True),
        complaint(satisfied=True, major_customer=True),
        complaint(satisfied=False),
        complaint(),
    ]
    assert measured("satisfaction_rate", *calls) == Figure(66.67, 3)
    assert measured("inquiry_satisfaction_rate", *calls) == Figure(100, 1)
    assert measured("complaint_satisfaction_rate", *calls) == Figure(50, 2)
    assert measured("major_complaint_satisfaction_rate", *calls) == Figure(100, 1)
    assert measured("rated_rate", *calls) == Figure(75, 4)


def test_a_promised_call_back_must_be_made_to_that_customer_in_time() -> None:
    promise = call(started_at="2026-11-02T09:00", callback_due_at="2026-11-02T11:00", customer_id="c1")
    in_time = call("outbound", started_at="2026-11-02T10:59", customer_id="c1")
    late = call("outbound", started_at="2026-11-02T11:01", customer_id="c1")
    other = call("outbound", started_at="2026-11-02T10:00", customer_id="c2")
    assert measured("kept_callback_rate", promise, in_time).value == 100
    assert measured("kept_callback_rate", promise, late, other).value == 0


def test_a_complainant_called_before_the_complaint_was_not_called_back() -> None:
    complained = complaint(started_at="2026-11-02T09:00", customer_id="c1")
    before = call("outbound", started_at="2026-11-01T09:00", customer_id="c1")
    after = call("outbound", started_at="2026-11-09T09:00", customer_id="c1")
    assert measured("complaint_callback_rate", complained, before) == Figure(0, 1)
    assert measured("complaint_callback_rate", complained, before, after) == Figure(100, 1)


def test_a_second_call_within_a_week_means_the_first_did_not_solve_it() -> None:
    solved = call(started_at="2026-11-02T09:00", ticket_id="t1")
    again = [call(started_at=f"2026-11-0{day}T09:00", customer_id="c1", matter="inquiry") for day in (2, 9)]
    times = "2026-11-02T09:00", "2026-11-09T09:01"
    later = [call(started_at=time, customer_id="c2", matter="business") for time in times]
    assert measured("first_contact_rate", solved, *again, *later) == Figure(66.67, 3)


def test_calls_of_which_nobody_knows_what_they_are_about_are_no_second_calls() -> None:
    calls = [call(started_at=f"2026-11-0{day}T09:00", customer_id="c1") for day in (2, 4)]
    assert measured("first_contact_rate", *calls) == Figure(None, 0)


def test_where_no_call_at_all_was_rated_the_share_of_rated_ones_is_not_known() -> None:
    assert measured("rated_rate", call(), call()) == Figure(None, 0)
    together = Kpis()
    together.add(call(satisfied=True), ("A",))
    together.add(call(), ("B",))
    assert together.known_of("B")["rated_rate"]["value"] == 0


def test_times_are_compared_across_zones() -> None:
    told = complaint(started_at="2026-11-20T09:00:00+08:00", replied_at="2026-11-22T02:00:00Z")  # 49 hours
    in_time = complaint(started_at="2026-11-20T09:00:00+08:00", replied_at="2026-11-22T00:59:00Z")
    assert measured("complaint_reply_rate_48h", told).value == 0
    assert measured("complaint_reply_rate_48h", in_time).value == 100


def test_shirking_breaks_first_responsibility_and_other_rude_words_do_not() -> None:
    def judged(outcome: str, *categories: str) -> dict[str, Any]:
        findings = [{"category": category} for category in categories]
        return call() | {"rules": [{"rule": "banned_phrase", "outcome": outcome, "findings": findings}]}

    calls = [judged("pass"), judged("violation", "命令"), judged("violation", "命令", "推诿"), judged("unsure")]
    assert measured("first_responsibility_rate", *calls) == Figure(66.67, 3)


def test_calls_that_touch_are_not_at_once() -> None:
    calls = [call(started_at=f"2026-11-02T09:0{minute}:00") for minute in (0, 1, 1)]
    assert measured("peak_calls", *calls) == Figure(2, 3)


def test_hours_count_only_where_someone_answered() -> None:
    calls = [
        call(started_at="2026-11-02T09:10"),
        call(started_at="2026-11-03T09:50"),
        call(started_at="2026-11-02T23:00"),
        call(started_at="2026-11-02T03:00", agent_answered=False),
    ]
    assert measured("hours_served", *calls) == Figure(2, 3)


def test_means_of_ring_talk_and_handling() -> None:
    calls = [
        call(duration_ms=60_000, ring_ms=4000, after_call_ms=30_000),
        call(duration_ms=120_000),
        call(connected=False),
    ]
    assert measured("mean_ring_s", *calls) == Figure(4, 1)
    assert measured("mean_talk_s", *calls) == Figure(90, 2)
    assert measured("mean_handling_s", *calls) == Figure(90, 1)


def test_a_recording_is_complete_when_it_neither_starts_late_nor_ends_early() -> None:
    calls = [
        call() | facts
        for facts in ({"truncated": False}, {"truncated": True}, {"truncated": False, "recording_offset_ms": 5})
    ]
    assert measured("complete_recording_rate", *calls) == Figure(33.33, 3)
    assert measured("recorded_rate", call(recorded=True), call(recorded=False)) == Figure(50, 2)


def visit(customer: str, day: str, tier: str = "A", role: str = "leader", **more: Any) -> dict[str, Any]:
    return call(
        "outbound", customer_id=customer, started_at=f"{day}T09:00", customer_tier=tier, agent_role=role, **more
    )


def test_every_customer_of_the_tier_is_due_a_visit_in_every_period() -> None:
    calls = [
        visit("c1", "2026-01-05"),
        visit("c1", "2026-04-05"),
        visit("c2", "2026-03-31", tier="B"),
        visit("c3", "2026-01-05", tier="C"),
        visit("c2", "2026-06-20", tier="B", role="agent"),
    ]
    assert measured("leader_visit_rate", *calls) == Figure(75, 4)
    assert measured("visit_rate", *calls, visit("c1", "2026-01-20"), visit("c1", "2026-06-30")).n == 3 * 6


def test_nobody_owes_two_visits_in_half_a_month() -> None:
    half = [visit("c1", "2026-01-05"), visit("c1", "2026-01-20")]
    assert measured("visit_rate", *half) == Figure(None, 0)
    assert measured("visit_rate", *half, visit("c2", "2026-01-30")) == Figure(50, 2)
    assert measured("president_visit_rate", *half) == Figure(None, 0)


def test_a_period_goes_from_its_first_to_its_last_day_over_the_turn_of_the_year() -> None:
    calls = [visit("c1", "2025-10-01"), visit("c1", "2026-03-31")]
    log = Visits()
    for one in calls:
        log.add(Facts(one), (ALL,))
    assert log.rate(ALL, times=1, months=3) == Figure(100, 2)


def test_a_festival_is_a_visit_owed_to_every_customer() -> None:
    calls = [
        visit("c1", "2026-02-17", holiday="春节"),
        visit("c1", "2026-02-17", holiday="春节"),
        visit("c1", "2026-09-25", holiday="中秋"),
        visit("c2", "2026-09-01"),
    ]
    assert measured("festival_visit_rate", *calls) == Figure(50, 4)


def test_a_group_has_the_figures_of_its_own_calls_and_promises() -> None:
    together = Kpis()
    together.add(call(connected=True, started_at="2026-11-02T09:00"), ["A"])
    together.add(call(connected=False), ["B"])
    due: dict[str, Any] = {"started_at": "2026-11-02T09:00", "callback_due_at": "2026-11-02T11:00"}
    together.add(call(customer_id="c1", **due), ["A"])
    together.add(call("outbound", customer_id="c1", started_at="2026-11-02T10:00"), ["B"])
    kept, lost = together.known_of("A"), together.known_of("B")
    assert (kept["connection_rate"]["value"], lost["connection_rate"]["value"]) == (100, 0)
    assert kept["kept_callback_rate"]["value"] == 100
    assert "kept_callback_rate" not in lost
    assert "hours_served" not in kept
    assert together.figures()["connection_rate"]["value"] == 50


def test_a_call_added_later_counts_in_figures_already_read() -> None:
    together = Kpis()
    promise = call(started_at="2026-11-02T09:00", callback_due_at="2026-11-02T11:00", customer_id="c1", ticket_id="t")
    together.add(promise)
    assert together.figures()["kept_callback_rate"]["value"] == 0
    together.add(call("outbound", started_at="2026-11-02T10:00", customer_id="c1"))
    together.add(call(started_at="2026-11-03T10:00", ticket_id="t"))
    figures = together.figures()
    assert (figures["kept_callback_rate"]["value"], figures["first_contact_rate"]["value"]) == (100, 0)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_matter_s_calls_may_come_in_any_order(order: tuple[int, ...]) -> None:
    calls = [call(started_at=f"2026-11-{day:02d}T09:00", ticket_id="t") for day in (2, 12, 13)]
    assert measured("first_contact_rate", *(calls[at] for at in order)) == Figure(100, 1)
    soon = [call(started_at=f"2026-11-{day:02d}T09:00", ticket_id="t") for day in (2, 5, 20)]
    assert measured("first_contact_rate", *(soon[at] for at in order)) == Figure(0, 1)


def test_fairness_is_the_gap_between_mean_scores_of_tiers() -> None:
    scored = [
        call(customer_tier=tier) | {"score": score} for tier, score in (("A", 90), ("A", 80), ("B", 95), ("B", None))
    ]
    assert measured("fairness_gap", *scored) == Figure(10, 3)


def test_a_time_that_is_none_is_unknown() -> None:
    assert measured("hours_served", {"metadata": {"started_at": "yesterday"}}) == Figure(None, 0)


@pytest.mark.parametrize(("value", "kept"), [(85, True), (84.9, False), (None, None)])
def test_a_figure_keeps_the_standard_at_its_bound(value: float | None, kept: bool | None) -> None:
    assert Kpi("接通率", "%", Visits, Visits.festivals, (), low=85).is_kept(Figure(value, 1)) is kept


def test_the_whole_table_prints_as_plain_values() -> None:
    table = kpis(iter([call(connected=True), call(connected=True), call(connected=False)]))
    assert list(table) == list(KPI)
    assert table["connection_rate"] == {
        "title": "系统接通率", "value": 66.67, "unit": "%", "n": 3, "low": 85, "high": None, "kept": False,
        "clauses": ["S004-7.4"],
    }  # fmt: skip
