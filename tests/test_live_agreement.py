"""What two passes over speech that goes on agree on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.live.agreement import Agreement
from analyzer.types import Role, Span, Utterance

MS_PER_CHARACTER = 200


def heard(text: str, shifted_ms: int = 0) -> Utterance:
    """Every character but punctuation takes 200 ms."""
    times, at = [], 1_000 + shifted_ms
    for character in text:
        until = at + (MS_PER_CHARACTER if character.isalnum() else 0)
        times.append(Span(at, until))
        at = until
    return Utterance(Role.AGENT, Span(1_000 + shifted_ms, at), text, characters=tuple(times))


def agreed(*passes: str) -> list[str]:
    agreement = Agreement()
    return [text[: agreement.hear(heard(text))[1]] for text in passes]


def test_nothing_is_agreed_on_by_one_pass_and_the_common_beginning_by_two() -> None:
    assert agreed("这个我不", "这个我不知道", "这个我不知道呀") == ["", "这个我不", "这个我不知道"]


def test_characters_of_one_sound_agree_and_a_later_pass_may_spell_them_better() -> None:
    assert agreed("这不归我管", "这不规我管啊") == ["", "这不规我管"]


def test_a_comma_that_comes_or_goes_changes_nothing() -> None:
    assert agreed("您好请问", "您好，请问有", "您好请问有什么") == ["", "您好，请问", "您好请问有"]


def test_what_was_agreed_on_stays_so_though_a_pass_hears_its_beginning_otherwise() -> None:
    assert agreed("您好请问有什么", "您好请问有什么可以", "您号亲吻有什么可以帮")[-1] == "您号亲吻有什么可以"


def test_what_two_passes_hear_differently_waits_for_a_third() -> None:
    assert agreed("我不知道", "我不自到的", "我不自到的啊") == ["", "我不", "我不自到的"]


def test_a_seam_that_moved_by_a_character_is_found_again() -> None:
    agreement = Agreement()
    for text, shifted_ms in (("您好请问有", 0), ("您好请问有什么", 0), ("您好请问有什么可以", 150)):
        _, count = agreement.hear(heard(text, shifted_ms))
    assert count >= len("您好请问有什么")


def the_end_of(utterance: Utterance, first: int) -> Utterance:
    """A pass that heard it from this character on only."""
    assert utterance.characters is not None
    times = utterance.characters[first:]
    return Utterance(Role.AGENT, Span(times[0].start_ms, times[-1].end_ms), utterance.text[first:], characters=times)


def test_a_pass_over_the_end_goes_on_with_what_was_agreed_on() -> None:
    agreement = Agreement()
    for text in ("您好请问有什", "您好，请问有什么可"):
        agreement.hear(heard(text))
    whole, count = agreement.hear(the_end_of(heard("您好，请问有什么可以帮"), 4), is_whole=False)
    assert whole == heard("您好，请问有什么可以帮")
    assert whole.text[:count] == "您好，请问有什么可"


@pytest.mark.parametrize("shifted_ms", [150, -150])
def test_a_seam_that_moved_doubles_no_character_and_drops_none(shifted_ms: int) -> None:
    agreement = Agreement()
    for text in ("您好请问有", "您好请问有什么"):
        agreement.hear(heard(text))
    whole, count = agreement.hear(the_end_of(heard("您好请问有什么可以", shifted_ms), 3), is_whole=False)
    assert (whole.text, whole.text[:count]) == ("您好请问有什么可以", "您好请问有什么")


def test_a_pass_over_the_end_that_hears_something_else_leaves_what_was_agreed_on() -> None:
    agreement = Agreement()
    for text in ("您好请问有", "您好请问有什么"):
        agreement.hear(heard(text))
    whole, count = agreement.hear(the_end_of(heard("您好请问有啊吗"), 3), is_whole=False)
    assert whole.text[:count] == "您好请问有"


@given(st.lists(st.text("您好请问有什么，。可以帮", max_size=14), max_size=6))
def test_it_never_goes_back_in_time_and_never_counts_what_is_not_there(passes: list[str]) -> None:
    agreement, until_ms = Agreement(), 0
    for text in passes:
        assert 0 <= agreement.hear(heard(text))[1] <= len(text)
        assert agreement.until_ms >= until_ms
        until_ms = agreement.until_ms
