"""Lots, deaths and poison: every call out of the way exactly once, and only a call that was alone is ever blamed."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.cluster.schedule import Schedule


def calls(n: int) -> list[str]:
    return [f"c{number:03}" for number in range(n)]


def test_a_worker_gets_what_it_has_room_for_in_the_order_of_the_inputs() -> None:
    schedule = Schedule(calls(100))
    assert schedule.hand_out("w", 3, workers=2) == ("c000", "c001", "c002")
    assert schedule.hand_out("v", 2, workers=2) == ("c003", "c004")
    assert schedule.held("w") == ("c000", "c001", "c002")


def test_lots_shrink_as_the_calls_run_out_so_that_all_end_together() -> None:
    schedule = Schedule(calls(40))
    sizes = [len(schedule.hand_out(f"w{number}", 32, workers=2)) for number in range(20)]
    assert sizes[:4] == [10, 8, 6, 4]
    assert sizes == sorted(sizes, reverse=True)
    assert [size for size in sizes if size][-1] == 1
    assert sum(sizes) == 40


def test_nobody_else_can_answer_for_a_call() -> None:
    schedule = Schedule(calls(1))
    schedule.hand_out("w", 1, workers=1)
    assert not schedule.finished("v", "c000")
    assert not schedule.is_over
    assert schedule.finished("w", "c000")
    assert not schedule.finished("w", "c000"), "an answer counts once"
    assert schedule.is_over


def test_an_answer_of_a_worker_taken_for_dead_does_not_count() -> None:
    schedule = Schedule(calls(1))
    schedule.hand_out("w", 1, workers=1)
    schedule.died("w")
    assert not schedule.finished("w", "c000")
    assert schedule.hand_out("v", 1, workers=1) == ("c000",)
    assert schedule.finished("v", "c000")


def test_what_a_dead_worker_held_goes_out_again_in_halves_to_workers_with_nothing_else() -> None:
    schedule = Schedule(calls(12))
    assert len(schedule.hand_out("busy", 2, workers=2)) == 2
    assert len(schedule.hand_out("w", 4, workers=1)) == 4
    assert schedule.died("w") == ()
    assert schedule.hand_out("busy", 2, workers=2) == ("c006", "c007"), "it holds calls that nobody suspects"
    assert schedule.hand_out("new", 8, workers=2) == ("c002", "c003")
    assert schedule.hand_out("new", 8, workers=2) == (), "suspects stay alone"
    assert not schedule.has_more("new")
    assert schedule.hand_out("newer", 8, workers=2) == ("c004", "c005")
    for call_id in ("c002", "c003"):
        assert schedule.finished("new", call_id)
    assert schedule.hand_out("new", 1, workers=2) == ("c008",), "cleared, it works as before"


def test_a_call_that_kills_is_given_up_only_when_it_was_alone_and_often_enough() -> None:
    schedule = Schedule(calls(1), tries=3)
    given_up = []
    for number in range(3):
        assert schedule.hand_out(number, 1, workers=1) == ("c000",)
        given_up.append(schedule.died(number))
    assert given_up == [(), (), ("c000",)]
    assert schedule.deaths("c000") == 3
    assert schedule.is_over


def test_two_calls_that_die_together_for_ever_are_never_blamed_together() -> None:
    schedule = Schedule(calls(2), tries=1)
    schedule.hand_out("w", 1, workers=1)
    schedule.hand_out("w", 1, workers=1)
    assert schedule.died("w") == (), "either may have been it"
    assert schedule.hand_out("v", 1, workers=1) == ("c000",)
    assert schedule.died("v") == ("c000",)


def test_a_node_that_cannot_work_costs_its_calls_nothing() -> None:
    schedule = Schedule(calls(4), tries=1)
    schedule.hand_out("w", 1, workers=1)
    schedule.withdrawn("w")
    assert schedule.deaths("c000") == 0
    assert schedule.hand_out("v", 1, workers=1) == ("c000",)
    schedule.died("other")  # held nothing
    assert not schedule.is_over


def test_suspects_of_a_node_that_cannot_work_stay_suspects() -> None:
    schedule = Schedule(calls(2), tries=9)
    schedule.hand_out("w", 1, workers=1)
    schedule.died("w")
    assert schedule.hand_out("v", 1, workers=1) == ("c000",)
    schedule.withdrawn("v")
    assert schedule.hand_out("u", 1, workers=1) == ("c000",)
    assert schedule.hand_out("u", 1, workers=1) == (), "still apart"


@given(data=st.data(), n=st.integers(1, 60), workers=st.integers(1, 4), accidents=st.sampled_from([0, 0.02, 0.1]))
def test_whatever_dies_every_call_ends_once_and_only_killers_can_be_given_up(
    data: st.DataObject, n: int, workers: int, accidents: float
) -> None:
    """Workers finish calls in any order and die of poison, or by accident, at any moment."""
    random = data.draw(st.randoms(use_true_random=False))
    wanted, tries = data.draw(st.integers(1, 24)), data.draw(st.integers(1, 4))
    killers = data.draw(st.sets(st.sampled_from(calls(n)), max_size=4))
    schedule = Schedule(calls(n), tries=tries)
    names = list(range(workers))
    results: Counter[str] = Counter()
    given_up: Counter[str] = Counter()
    deaths = 0
    while not schedule.is_over:
        place = random.randrange(workers)
        worker = names[place]
        schedule.hand_out(worker, random.randint(1, wanted), workers=workers)
        held = schedule.held(worker)
        if not held:
            continue
        call_id = random.choice(held)
        accident = random.random() < accidents and deaths < 200
        if call_id in killers or accident:
            lost = schedule.died(worker)
            assert not lost or lost == held, "alone when it was given up"
            given_up.update(lost)
            deaths += 1
            names[place] = max(names) + 1
        else:
            assert schedule.finished(worker, call_id)
            results[call_id] += 1
    assert set(results) | set(given_up) == set(calls(n))
    assert max((results + given_up).values()) == 1
    if not accidents:
        assert set(given_up) == killers
        assert deaths <= len(killers) * (math.ceil(math.log2(n)) + 1 + tries)


@pytest.mark.parametrize("lot", [1, 2, 7, 64])
def test_one_poison_file_costs_about_log2_of_its_lot_in_workers(lot: int) -> None:
    schedule = Schedule(calls(lot), tries=3)
    deaths = 0
    while not schedule.is_over:
        while schedule.hand_out(deaths, lot, workers=1):
            pass
        if "c000" in schedule.held(deaths):
            schedule.died(deaths)
            deaths += 1
        else:
            for call_id in schedule.held(deaths):
                schedule.finished(deaths, call_id)
    assert deaths == max(3, 1 + math.ceil(math.log2(lot)))
