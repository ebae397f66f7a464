"""How quiet the coach is, whatever happens in a call."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from analyzer.live.quiet import Hint, Manners, Quiet

MANNERS = Manners()

hints = st.builds(
    Hint,
    rule=st.sampled_from(["opening", "banned_phrase", "dead_air", "speech_rate"]),
    elements=st.frozensets(st.sampled_from("abc"), min_size=1, max_size=2),
    kind=st.sampled_from(["forbidden", "owed", "respond", "rate", "hold", "silence"]),
    priority=st.sampled_from(["critical", "high", "normal"]),
    message=st.just("…"),
    since_ms=st.integers(0, 1_000),
    show_ms=st.sampled_from([2_000, 6_000]),
)
moments = st.tuples(st.integers(0, 5_000), st.lists(hints, max_size=4), st.booleans())
calls = st.lists(moments, max_size=60)

Shown = list[tuple[int, Hint, bool]]


def shown_in(call: list[tuple[int, list[Hint], bool]], quiet: Quiet | None = None) -> Shown:
    quiet = quiet or Quiet(MANNERS)
    shown: Shown = []
    at_ms = 0
    for later_ms, wanted, in_flow in call:
        at_ms += later_ms
        shown += [(at_ms, hint, in_flow) for hint in quiet.choose(wanted, at_ms, in_flow=in_flow)]
    return shown


def hint(rule: str = "opening", element: str = "a", priority: str = "normal", kind: str = "owed") -> Hint:
    return Hint(rule, frozenset([element]), kind, priority, "…")  # type: ignore[arg-type]


@given(calls)
def test_at_most_one_hint_of_a_priority_is_on_the_screen(call: list[tuple[int, list[Hint], bool]]) -> None:
    for priority in ("critical", "high", "normal"):
        own = [(at_ms, one) for at_ms, one, _ in shown_in(call) if one.priority == priority]
        assert all(first_ms + one.show_ms <= second_ms for (first_ms, one), (second_ms, _) in pairwise(own))


@given(calls)
def test_every_hint_keeps_its_pause_after_the_last_one(call: list[tuple[int, list[Hint], bool]]) -> None:
    for (first_ms, _, _), (second_ms, one, _) in pairwise(shown_in(call)):
        assert second_ms - first_ms >= MANNERS.pauses_ms[one.priority]


@given(calls)
def test_nothing_is_brought_up_twice_within_a_minute(call: list[tuple[int, list[Hint], bool]]) -> None:
    last: dict[tuple[str, str], int] = {}
    for at_ms, one, _ in shown_in(call):
        for element in one.elements:
            assert at_ms - last.get((one.rule, element), -MANNERS.again_ms) >= MANNERS.again_ms
            last[one.rule, element] = at_ms


@given(calls)
def test_the_budget_holds_for_all_that_is_not_critical(call: list[tuple[int, list[Hint], bool]]) -> None:
    costly = [one for _, one, _ in shown_in(call) if one.priority != "critical"]
    assert len(costly) <= MANNERS.budget
    assert sum(one.kind == "rate" for one in costly) < MANNERS.budget


@given(calls)
def test_an_agent_in_full_flow_is_told_what_is_critical_only(call: list[tuple[int, list[Hint], bool]]) -> None:
    assert all(one.priority == "critical" for _, one, in_flow in shown_in(call) if in_flow)


@given(calls, st.sampled_from(["opening", "banned_phrase"]))
def test_a_muted_rule_says_nothing(call: list[tuple[int, list[Hint], bool]], rule: str) -> None:
    quiet = Quiet(MANNERS)
    quiet.mute(rule)
    assert all(one.rule != rule for _, one, _ in shown_in(call, quiet))


@given(calls)
def test_the_same_call_brings_the_same_hints(call: list[tuple[int, list[Hint], bool]]) -> None:
    backwards = [(later_ms, wanted[::-1], in_flow) for later_ms, wanted, in_flow in call]
    assert shown_in(call) == shown_in(backwards)


def test_the_most_urgent_goes_first_and_rate_last() -> None:
    rate, owed, high = hint("speech_rate", kind="rate"), hint(), hint("dead_air", priority="high")
    assert Quiet().choose([rate, owed, high], 0, in_flow=False) == [high]
    assert Quiet().choose([rate, owed], 0, in_flow=False) == [owed]
    assert Quiet().choose([rate], 0, in_flow=False) == [rate]


def test_what_is_critical_passes_when_the_budget_is_used_up() -> None:
    quiet = Quiet(Manners(budget=1))
    assert quiet.choose([hint()], 0, in_flow=False)
    assert not quiet.choose([hint("dead_air", priority="high")], 60_000, in_flow=False)
    assert quiet.choose([hint("banned_phrase", priority="critical")], 60_000, in_flow=True)


def test_a_hint_that_is_gone_frees_its_place() -> None:
    quiet, first, second = Quiet(Manners(pauses_ms={"high": 0})), hint(priority="high"), hint("b", priority="high")
    quiet.choose([first], 0, in_flow=False)
    assert not quiet.choose([second], 1_000, in_flow=False)
    quiet.gone(first)
    assert not quiet.is_on_screen(first, 1_000)
    assert quiet.choose([second], 1_000, in_flow=False) == [second]


def test_a_hint_that_was_taken_back_counts_as_never_shown_after_a_moment() -> None:
    quiet, slip = Quiet(Manners(budget=1)), hint("banned_phrase", priority="high")
    assert quiet.choose([slip], 1_000, in_flow=False)
    quiet.take_back(slip, 1_500)
    assert not quiet.choose([slip], 2_400, in_flow=False)
    assert quiet.choose([slip], 2_500, in_flow=False) == [slip]
