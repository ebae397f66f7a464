"""Sampling: what a plan draws, and who reviews it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from analyzer.review.sampling import (
    Band,
    Candidate,
    Kind,
    Options,
    Quota,
    Reviewer,
    complaint,
    draw,
    draw_segments,
    share_out,
)

ANYBODY = [Quota(reviewer_id=1)]
FRAME = [
    Candidate(number, f"a{number % 7}", float(number % 101), number % 10 == 0, frozenset({f"r{number % 3}"}))
    for number in range(300)
]


def options(**fields: object) -> Options:
    return Options(**{"reviewers": ANYBODY, **fields})  # type: ignore[arg-type]


def ids(drawn: list[Candidate]) -> list[int]:
    return [call.call for call in drawn]


# ---- drawing


def test_the_same_seed_draws_the_same_calls_in_whatever_order_they_come() -> None:
    plan = options(count=20, seed=5)
    assert ids(draw("random", plan, FRAME)) == ids(draw("random", plan, reversed(FRAME)))


def test_another_seed_draws_other_calls() -> None:
    assert ids(draw("random", options(count=20, seed=5), FRAME)) != ids(draw("random", options(count=20), FRAME))


def test_a_call_that_comes_later_only_ever_takes_the_place_of_the_last() -> None:
    plan = options(count=20)
    before, after = ids(draw("random", plan, FRAME)), ids(draw("random", plan, [*FRAME, Candidate(999)]))
    assert len(set(before) - set(after)) <= 1


def test_every_call_is_drawn_equally_often_over_many_seeds() -> None:
    drawn = Counter(
        call for seed in range(2_000) for call in ids(draw("random", options(count=5, seed=seed), FRAME[:20]))
    )
    assert len(drawn) == 20
    assert all(400 < times < 600 for times in drawn.values())  # 500 each; sd 19


@pytest.mark.parametrize(("share", "n"), [(0.1, 30), (1, 300), (0.001, 1), (0.07, 21)])
def test_a_share_is_rounded_up(share: float, n: int) -> None:
    assert len(draw("random", options(share=share), FRAME)) == n


def test_per_agent_draws_as_many_of_each_agent_and_none_of_nobody() -> None:
    drawn = draw("per_agent", options(count=3), [*FRAME, *(Candidate(number) for number in range(900, 990))])
    assert Counter(call.agent for call in drawn) == {f"a{number}": 3 for number in range(7)}


def test_by_rule_draws_as_many_of_each_rule_that_was_asked_for() -> None:
    drawn = draw("by_rule", options(count=4, rules=["r0", "r2"]), FRAME)
    assert Counter(rule for call in drawn for rule in call.rules) == {"r0": 4, "r2": 4}


def test_a_call_that_serves_two_rules_is_drawn_once() -> None:
    both = [Candidate(number, rules=frozenset({"r0", "r1"})) for number in range(5)]
    assert len(draw("by_rule", options(count=2, rules=["r0", "r1"]), both)) == 2


def test_score_bands_end_before_their_upper_end_and_the_last_includes_a_hundred() -> None:
    frame = [Candidate(number, score=score) for number, score in enumerate([0, 59.9, 60, 84.9, 85, 100, None])]
    low = draw("by_score", options(bands=[Band(low=0, high=60)]), frame)
    top = draw("by_score", options(bands=[Band(low=85, high=100)]), frame)
    assert sorted(ids(low)) == [0, 1]
    assert sorted(ids(top)) == [4, 5]


def test_a_band_with_a_count_draws_no_more() -> None:
    drawn = draw("by_score", options(bands=[Band(low=0, high=60, count=5), Band(low=60, high=101 - 1, count=2)]), FRAME)
    assert Counter(bool(call.score and call.score >= 60) for call in drawn) == {False: 5, True: 2}


def test_all_critical_calls_are_drawn() -> None:
    assert sorted(ids(draw("critical", options(), FRAME))) == list(range(0, 300, 10))


def test_segments_of_a_call_are_drawn_at_random_but_reproducibly() -> None:
    turns = list(range(40))
    drawn = draw_segments(3, 17, turns, 6)
    assert drawn == draw_segments(3, 17, list(reversed(turns)), 6) == sorted(drawn)
    assert drawn != draw_segments(3, 18, turns, 6)
    assert draw_segments(3, 17, turns[:4], 6) == turns[:4]


# ---- what a plan must say


@pytest.mark.parametrize(
    ("kind", "fields", "word"),
    [
        ("random", {}, "比例或数量"),
        ("random", {"share": 0.1, "count": 3}, "比例或数量"),
        ("per_agent", {}, "数量"),
        ("by_rule", {"count": 2}, "规则"),
        ("by_score", {}, "分数段"),
        ("audit", {"count": 2, "second_share": 0.5}, "双盲"),
        ("random", {"count": 2, "second_share": 0.5, "frame": {"never_assigned": False}}, "未分配过"),
    ],
)
def test_a_plan_says_what_it_lacks(kind: Kind, fields: dict[str, object], word: str) -> None:
    assert word in (complaint(kind, options(**fields)) or "")


def test_a_whole_plan_has_nothing_to_complain_of() -> None:
    assert complaint("random", options(share=0.05)) is None
    assert complaint("critical", options()) is None


def test_a_plan_without_reviewers_or_with_an_empty_band_is_refused() -> None:
    with pytest.raises(ValidationError):
        Options(reviewers=[])
    with pytest.raises(ValidationError, match="下限须小于上限"):
        Band(low=60, high=60)


# ---- assigning


def shared(n: int, reviewers: list[Reviewer], **fields: object) -> tuple[Counter[int], int, int]:
    plan = options(count=n, **fields)
    shares = share_out("random", plan, draw("random", plan, FRAME), reviewers)
    return Counter(task.reviewer for task in shares.tasks), len(shares.unassigned), len(shares.single)


def test_reviewers_get_equally_many() -> None:
    assert sorted(shared(50, [Reviewer(1), Reviewer(2), Reviewer(3)])[0].values()) == [16, 17, 17]


def test_a_quota_is_kept_and_the_rest_goes_to_the_others() -> None:
    given, unassigned, _ = shared(50, [Reviewer(1, most=5), Reviewer(2), Reviewer(3)])
    assert given[1] == 5
    assert abs(given[2] - given[3]) <= 1
    assert unassigned == 0


def test_what_no_quota_has_room_for_stays_unassigned() -> None:
    given, unassigned, _ = shared(50, [Reviewer(1, most=5), Reviewer(2, most=6)])
    assert given == {1: 5, 2: 6}
    assert unassigned == 39


@given(
    n=st.integers(1, 80),
    share=st.floats(0, 1),
    quotas=st.lists(st.tuples(st.sampled_from([None, "a0", "a1"]), st.none() | st.integers(0, 40)), min_size=1),
    seed=st.integers(0, 99),
)
def test_nobody_reviews_their_own_call_or_one_twice_or_beyond_their_quota(
    n: int, share: float, quotas: list[tuple[str | None, int | None]], seed: int
) -> None:
    reviewers = [Reviewer(number, agent, most) for number, (agent, most) in enumerate(quotas)]
    plan = options(count=n, second_share=share, seed=seed)
    drawn = draw("random", plan, FRAME)
    shares = share_out("random", plan, drawn, reviewers)
    agent_of = {call.call: call.agent for call in FRAME}
    assert all(
        reviewers[task.reviewer].agent is None or reviewers[task.reviewer].agent != agent_of[task.call]
        for task in shares.tasks
    )
    assert len({(task.call, task.reviewer) for task in shares.tasks}) == len(shares.tasks)
    given = Counter(task.reviewer for task in shares.tasks)
    assert all(reviewer.most is None or given[reviewer.id] <= reviewer.most for reviewer in reviewers)
    firsts = [task.call for task in shares.tasks if task.round == "first"]
    assert sorted([*firsts, *shares.unassigned]) == sorted(ids(drawn))


def test_the_second_share_goes_to_another_reviewer() -> None:
    plan = options(count=40, second_share=0.25)
    shares = share_out("random", plan, draw("random", plan, FRAME), [Reviewer(1), Reviewer(2)])
    first = {task.call: task.reviewer for task in shares.tasks if task.round == "first"}
    second = {task.call: task.reviewer for task in shares.tasks if task.round == "second"}
    assert len(second) == 10
    assert all(first[call] != reviewer for call, reviewer in second.items())


def test_a_second_review_without_a_second_reviewer_is_reported() -> None:
    _, unassigned, single = shared(10, [Reviewer(1)], second_share=0.5)
    assert (unassigned, single) == (0, 5)


def test_a_call_of_the_only_reviewer_stays_unassigned() -> None:
    plan = options(count=300)
    shares = share_out("random", plan, draw("random", plan, FRAME), [Reviewer(1, agent="a3")])
    assert sorted(shares.unassigned) == [call.call for call in FRAME if call.agent == "a3"]
