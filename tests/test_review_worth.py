"""What a rule is worth: precision, recall, and when it is proposed for trial."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.review.worth import NOTHING_KNOWN, AuditedCall, Estimate, Floor, precision, proposal, recall, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [  # Newcombe 1998, table I, method 3 (score interval without continuity correction)
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_s_interval_is_the_published_one(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share(counts: tuple[int, int]) -> None:
    successes, n = counts
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1


def test_precision_of_a_rule_nobody_decided_on_is_unknown() -> None:
    assert precision(0, 0) == NOTHING_KNOWN


def test_precision_is_the_share_of_confirmed() -> None:
    measured = precision(18, 2)
    assert (measured.value, measured.n) == (0.9, 20)
    assert measured.low == pytest.approx(0.699, abs=5e-4)


# ---- proposals


def test_a_rule_that_is_surely_below_the_floor_is_proposed_for_trial() -> None:
    assert proposal("stable", precision(12, 8), Floor()) == "trial"


def test_a_rule_that_may_still_reach_the_floor_is_not_proposed() -> None:
    assert precision(17, 3).value == 0.85
    assert proposal("stable", precision(17, 3), Floor()) is None


def test_too_few_decisions_propose_nothing() -> None:
    assert proposal("stable", precision(0, 19), Floor()) is None
    assert proposal("stable", precision(0, 19), Floor(least=19)) == "trial"
    assert proposal("stable", NOTHING_KNOWN, Floor(least=0)) is None


def test_a_rule_on_trial_is_not_proposed_for_it_again() -> None:
    assert proposal("trial", precision(0, 40), Floor()) is None


# ---- recall


def call(*, right: float = 0, heard: int = 10, missed: int = 0, unflagged: int = 10, weight: float = 1) -> AuditedCall:
    return AuditedCall(weight=weight, right=right, unflagged=unflagged, heard=heard, missed=missed)


def test_recall_without_sampling_is_the_plain_share() -> None:
    estimate = recall([call(right=6), call(right=2, missed=1), call(missed=1)])
    assert estimate.value == pytest.approx(8 / 10)
    assert estimate.n == 30


def test_a_miss_among_few_utterances_heard_stands_for_many() -> None:
    assert recall([call(right=10, heard=5, unflagged=50, missed=1)]).value == pytest.approx(10 / (10 + 10))


def test_calls_count_by_what_they_stand_for() -> None:
    assert recall([call(right=4, weight=10), call(missed=4, weight=1)]).value == pytest.approx(40 / 44)


def test_calls_of_which_nothing_was_heard_say_nothing() -> None:
    assert recall([call(right=3, missed=1), call(right=100, heard=0)]) == recall([call(right=3, missed=1)])
    assert recall([call(heard=0)]) == Estimate(None, None, None, 0)


def test_no_miss_heard_is_no_proof_that_there_is_none() -> None:
    estimate = recall([call(right=1, heard=10, unflagged=40) for _ in range(20)])
    assert (estimate.value, estimate.high) == (1, 1)
    assert estimate.low is not None
    assert 0.3 < estimate.low < 0.8  # at most 1.9 % of 800 utterances, 15, beside 20 found


def test_hearing_more_narrows_the_interval() -> None:
    few = recall([call(right=1, heard=2, unflagged=40) for _ in range(20)])
    many = recall([call(right=1, heard=30, unflagged=40) for _ in range(20)])
    assert few.low is not None
    assert many.low is not None
    assert few.low < many.low


def test_a_rule_that_found_nothing_right_has_a_recall_without_an_interval() -> None:
    assert recall([call(missed=2)]) == Estimate(0, None, None, 10)
    assert recall([call()]) == Estimate(None, None, None, 10)


def test_the_interval_holds_the_true_recall_as_often_as_it_says() -> None:
    """2,000 calls, most without a violation; 150 drawn, 12 utterances heard of each."""
    random = Random(4)
    population = [_made_call(random) for _ in range(2_000)]
    found, missed = sum(hits for hits, _, _ in population), sum(misses for _, misses, _ in population)
    truth = found / (found + missed)
    held, sum_ = 0, 0.0
    for _ in range(400):
        estimate = recall(_audited(random, *made, 2_000 / 150) for made in random.sample(population, 150))
        assert estimate.value is not None
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= truth <= estimate.high
        sum_ += estimate.value
    assert sum_ / 400 == pytest.approx(truth, abs=0.03)
    assert held / 400 >= 0.92


def _made_call(random: Random) -> tuple[int, int, int]:
    violations = random.choice([0, 0, 0, 0, 1, 1, 2, 4])
    hits = sum(random.random() < 0.75 for _ in range(violations))
    return hits, violations - hits, random.randint(20, 50)


def _audited(random: Random, hits: int, missed: int, unflagged: int, weight: float) -> AuditedCall:
    heard = random.sample(range(unflagged), 12)
    return call(right=hits, heard=12, unflagged=unflagged, missed=sum(turn < missed for turn in heard), weight=weight)
