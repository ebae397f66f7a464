"""Which groups stand out and what moves: the tests themselves, and how often they cry wolf."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.review.movement import Course, Step, Trend, mann_kendall, moving, theil_sen
from analyzer.review.outliers import (
    LEAST,
    Count,
    Family,
    chance,
    fisher,
    funnel,
    last_below,
    score_of,
    spread_of,
    stand_out,
)


def family(*shares: tuple[int, int], label: str = "x") -> Family:
    return Family(label, [Count(f"g{at}", n, hits) for at, (n, hits) in enumerate(shares)])


def keys(*families: Family) -> list[str]:
    return [one.count.key for one in stand_out(families)]


# ---- one test


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_fisher_s_mid_p_is_the_sum_over_the_urn(own: int, others: int, data: st.DataObject) -> None:
    hits, more = data.draw(st.integers(0, own)), data.draw(st.integers(0, others))
    drawn, everything = hits + more, comb(own + others, hits + more)
    chances = {k: comb(own, k) * comb(others, drawn - k) / everything for k in range(min(own, drawn) + 1)}
    beyond = [k for k in chances if (k > hits if hits * others > more * own else k < hits)]
    expected = min(1.0, 2 * (chances[hits] / 2 + sum(chances[k] for k in beyond)))
    assert fisher(Count("a", own, hits), Count(None, others, more)) == pytest.approx(expected, rel=1e-6)


def test_a_chance_too_small_for_a_float_is_none_and_no_error() -> None:
    assert fisher(Count("a", 100_000, 90_000), Count(None, 100_000, 10)) == 0.0


def test_near_what_is_expected_the_quick_answer_is_close_to_the_exact_one() -> None:
    count, rest = Count("a", 400, 46), Count(None, 4000, 400)
    quick = chance(count, rest, score_of(count, 4400, 446), 1.0)
    assert quick == pytest.approx(fisher(count, rest), abs=0.03)


def test_discoveries_are_all_up_to_the_last_below_its_part() -> None:
    assert last_below([0.001, 0.026, 0.03, 0.2], 0.05) == 3
    assert last_below([0.02, 0.9], 0.05) == 1
    assert last_below([0.02], 0.05, asked=3) == 0
    assert last_below([], 0.05) == 0


# ---- groups


def test_a_group_far_above_the_rest_stands_out_with_its_rest() -> None:
    (one,) = stand_out([family((75, 15), *[(75, 2)] * 20)])
    assert (one.count.key, one.is_above, one.rest.n, one.rest.hits) == ("g0", True, 1500, 40)
    assert one.excess == pytest.approx(13)


def test_a_group_far_below_the_rest_stands_out_after_those_above() -> None:
    found = stand_out([family((200, 0), (200, 120), *[(200, 40)] * 20)])
    assert [(one.count.key, one.is_above) for one in found] == [("g1", True), ("g0", False)]


@pytest.mark.parametrize(
    "shares",
    [
        [(LEAST - 1, LEAST - 1), *[(75, 2)] * 20],  # too few calls
        [(2000, 2), *[(2000, 0)] * 20],  # too few hits to listen to
        [(75, 30), (75, 2)],  # nobody to compare with but each other
        [(75, 30), (LEAST - 5, 0), (LEAST - 5, 0)],
        [(40_000, 4400), *[(40_000, 4000)] * 5],  # sure, and too little to matter
        [(75, 0)] * 5,
        [(75, 75)] * 5,
    ],
)
def test_what_says_nothing_never_stands_out(shares: list[tuple[int, int]]) -> None:
    assert keys(family(*shares)) == []


def test_where_groups_differ_by_nature_only_what_differs_more_stands_out() -> None:
    usual = [(1000, 60 + 10 * (at % 11)) for at in range(40)]
    assert spread_of([score_of(Count(at, *one), 40_000, 4_390) for at, one in enumerate(usual)]) > 2
    assert keys(family(*usual)) == []
    assert keys(family((1000, 400), *usual)) == ["g0"]


def test_the_more_is_asked_the_less_is_flagged_by_chance() -> None:
    odd = family((100, 12), *[(100, 4)] * 10, label="odd")
    assert keys(odd) == ["g0"]
    even = [family(*[(100, 4)] * 11, label=f"even{at}") for at in range(40)]
    assert keys(odd, *even) == []


def test_alike_groups_seldom_stand_out() -> None:
    rng = np.random.default_rng(5)
    flagged = 0
    for _ in range(200):
        hits = rng.binomial(70, 0.08, (6, 30))
        flagged += bool(stand_out(family(*[(70, int(x)) for x in row], label=str(at)) for at, row in enumerate(hits)))
    assert 0 < flagged <= 20  # 5 % of 200 are ten; more than twenty come once in 600 times


def test_a_funnel_narrows_with_the_number_of_calls_and_widens_with_the_spread() -> None:
    few, many, wide = funnel(0.1, 50, 3.09), funnel(0.1, 5000, 3.09), funnel(0.1, 5000, 3.09, spread=2)
    assert few[0] == 0 < wide[0] < many[0] < 0.1 < many[1] < wide[1] < few[1]


# ---- over time


def course(*shares: tuple[int, int], label: str = "x") -> Course:
    return Course(label, range(len(shares)), [Count(f"d{at}", *one) for at, one in enumerate(shares)])


def test_a_steady_rise_is_a_trend_that_one_wild_day_does_not_bend() -> None:
    rising = [(200, 10 + 3 * day) for day in range(12)]
    (trend,) = moving([course(*rising)])
    assert isinstance(trend, Trend)
    assert trend.slope == pytest.approx(0.015)
    wild = [*rising[:5], (200, 150), *rising[6:]]
    assert theil_sen(range(12), [hits / n for n, hits in wild]) == pytest.approx(0.015, abs=0.002)


def test_a_jump_on_the_last_day_is_a_step_with_its_interval() -> None:
    (step,) = moving([course(*[(300, 30)] * 6, (300, 75))])
    assert isinstance(step, Step)
    assert step.change == pytest.approx(0.15)
    assert 0 < step.low < step.change < step.high


@pytest.mark.parametrize(
    "shares",
    [
        [(300, 30), (LEAST - 1, LEAST - 1)],  # too few calls on the last day
        [(300, 30)],
        [(300, 0), (300, 0)],
        [(200, 10 + 3 * day) for day in range(5)],  # too few days for a trend, too small a step
        [(300, 10 + 80 * (day % 2)) for day in range(12)],  # as much as every other day
    ],
)
def test_what_says_nothing_does_not_move(shares: list[tuple[int, int]]) -> None:
    assert moving([course(*shares)]) == []


def test_equal_values_have_no_trend() -> None:
    assert mann_kendall([0.1] * 9) == 1.0
    assert mann_kendall([1, 1, 1, 1, 2, 2, 2, 2, 2]) == pytest.approx(0.0201, abs=0.001)
