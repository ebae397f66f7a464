"""The door of a live server: how many calls fit, by what calls cost."""

from __future__ import annotations

import pytest

from analyzer.live.admission import BESIDES, FULL, KEEP_S, Admission


def carried(door: Admission, most: int = 1_000) -> int:
    """How many calls get in, one after the other."""
    return next(calls for calls in range(most) if not door.accepts(calls))


def run(
    door: Admission, seconds: int, calls: int, cost: float, *, since: tuple[int, float] = (0, 0.0)
) -> tuple[int, float]:
    """So many calls for so long, each costing so much of a core a second. returns where it ended, to go on from"""
    at, spent = since
    for _ in range(seconds):
        at, spent = at + 1, spent + calls * cost / BESIDES
        door.note(at, spent, calls)
    return at, spent


def test_before_there_are_calls_the_estimate_of_the_machine_counts() -> None:
    assert carried(Admission(2, call_cost=0.02)) == int(FULL * 2 / 0.02)


def test_what_calls_cost_counts_once_it_is_known() -> None:
    door = Admission(2, call_cost=0.02)
    run(door, 60, calls=30, cost=0.04)
    assert carried(door) == pytest.approx(FULL * 2 / 0.04, abs=1)


def test_the_first_call_is_always_let_in() -> None:
    assert Admission(1, call_cost=3.0).accepts(0)
    assert not Admission(1, call_cost=3.0).accepts(1)


def test_a_storm_of_callers_is_held_to_the_estimate_while_their_calls_have_cost_nothing_yet() -> None:
    door = Admission(2, call_cost=0.02)
    since = run(door, 60, calls=1, cost=0.001)  # somebody is on hold
    calls = 1
    for _ in range(5):
        calls += sum(door.accepts(calls + more) for more in range(40))
        since = run(door, 1, calls, cost=0.0, since=since)
    assert calls == 80


def test_cheap_calls_let_more_in_by_and_by() -> None:
    door = Admission(2, call_cost=0.02)
    since = run(door, 60, calls=80, cost=0.008)
    assert carried(door) == 160, "on their word twice as many as there were"
    run(door, int(KEEP_S) + 1, calls=80, cost=0.03, since=since)
    assert carried(door) == pytest.approx(FULL * 2 / 0.03, abs=1), "what they cost lately counts"


def test_work_before_the_calls_came_is_none_of_theirs() -> None:
    door = Admission(2, call_cost=0.02)
    door.note(0, 0.0, 0)
    door.note(1, 50.0, 0)
    door.note(2, 50.0, 1)
    assert door.accepts(1)
