"""Agreement between reviewers, against published examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.review.agreement import NOTHING, ONE_LABEL, among_many, by_rule, cohen, fleiss

# Fleiss 1971 as in Wikipedia's "Fleiss' kappa": 10 subjects, 14 raters, 5 categories
FLEISS_TABLE = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def table(counts: list[list[int]]) -> list[tuple[int, int]]:
    return [(row, column) for row, line in enumerate(counts) for column, n in enumerate(line) for _ in range(n)]


@pytest.mark.parametrize(
    ("counts", "observed", "kappa"),
    [
        ([[20, 5], [10, 15]], 0.70, 0.40),
        ([[45, 15], [25, 15]], 0.60, 0.1304),
        ([[25, 35], [5, 35]], 0.60, 0.2593),
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], 0.70, 0.4915),  # Cohen 1960, table 1: proportions .44 .07 .09 …
    ],
)
def test_cohen_s_kappa_is_the_published_one(counts: list[list[int]], observed: float, kappa: float) -> None:
    agreement = cohen(table(counts))
    assert agreement.observed == pytest.approx(observed)
    assert agreement.kappa == pytest.approx(kappa, abs=1e-4)
    assert agreement.n == sum(map(sum, counts))


def test_fleiss_kappa_is_the_published_one() -> None:
    items = [[category for category, n in enumerate(line) for _ in range(n)] for line in FLEISS_TABLE]
    agreement = fleiss(items)
    assert agreement.observed == pytest.approx(0.378, abs=5e-4)
    assert agreement.kappa == pytest.approx(0.210, abs=5e-4)


def test_kappa_is_undefined_and_says_so_where_everybody_always_says_the_same() -> None:
    for agreement in (cohen([("y", "y")] * 9), fleiss([["y", "y", "y"]] * 9)):
        assert (agreement.observed, agreement.kappa, agreement.why) == (1.0, None, ONE_LABEL)


def test_nothing_reviewed_twice_is_no_agreement() -> None:
    for agreement in (cohen([]), fleiss([["y"], []])):
        assert (agreement.n, agreement.observed, agreement.kappa, agreement.why) == (0, None, None, NOTHING)


def test_items_that_one_reviewer_skipped_still_count_by_those_who_did_not() -> None:
    assert fleiss([["y", "y"], ["n", "n", "n"], ["y"]]).kappa == 1
    assert fleiss([["y", "y"], ["n", "n", "n"], ["y"]]).n == 2


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1))
def test_kappa_never_exceeds_one_and_does_not_depend_on_who_is_first(pairs: list[tuple[str, str]]) -> None:
    one, other = cohen(pairs), cohen([(second, first) for first, second in pairs])
    assert one == other
    assert one.kappa is None or -1 <= one.kappa <= 1


@given(st.permutations(["y"] * 6 + ["n"] * 4))
def test_full_agreement_on_two_labels_is_one(labels: list[str]) -> None:
    assert cohen([(label, label) for label in labels]).kappa == 1


def test_rules_are_counted_apart_and_together() -> None:
    everything, rules = by_rule({"b": [("y", "y"), ("n", "n")], "a": [("y", "n")]})
    assert list(rules) == ["a", "b"]
    assert (everything.n, rules["a"].n, rules["b"].kappa) == (3, 1, 1)
    everything, rules = among_many({"b": [["y", "y", "n"]], "a": [["n", "n", "n"]]})
    assert (everything.n, rules["a"].why, rules["b"].observed) == (2, ONE_LABEL, pytest.approx(1 / 3))
