"""What an ear offers of speech that goes on, and of speech that may be over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from analyzer.asr.windows import OneByOne
from analyzer.live import ear
from analyzer.live.ear import BEFORE_MS, Ear, Ending, begun_ms
from analyzer.types import Role, Span
from analyzer.vad import Segment
from tests.fake_speech import FakeRecogniser

BEGINS_MS, ENDS_MS = 3_000, 13_000


class Alone(FakeRecogniser):
    def packer(self) -> OneByOne:
        return OneByOne()


class Talking:
    """In a detector's place: somebody speaks all the time; ``foreseen`` is what it would be if it ended."""

    foreseen: Segment | None = None

    def __init__(self, roles: Sequence[Role]) -> None:
        self.speech = segment(BEGINS_MS, ENDS_MS)

    def open_speech(self, role: Role) -> Sequence[Span]:
        return self.speech.span, *self.speech.speech

    def open_segment(self, role: Role) -> Segment:
        return self.speech

    def foreseen_span(self, role: Role) -> Span | None:
        return self.foreseen.span if self.foreseen else None

    def foreseen_segment(self, role: Role) -> Segment | None:
        return self.foreseen


def segment(start_ms: int, end_ms: int, *, gated: bool = False) -> Segment:
    samples = np.random.default_rng(start_ms).integers(-4_000, 4_000, (end_ms - start_ms) * 16).astype(np.int16)
    span = Span(start_ms, end_ms)
    return Segment(Role.AGENT, span, samples, (span,), -20.0, gated)


@pytest.fixture
def talking(monkeypatch: pytest.MonkeyPatch) -> type[Talking]:
    class Detector(Talking):
        pass

    monkeypatch.setattr(ear, "CallDetector", Detector)
    return Detector


@pytest.mark.parametrize("agreed_ms", [0, BEGINS_MS - 500, BEGINS_MS + 1_500])
def test_a_partial_is_all_of_the_speech_while_little_of_it_is_agreed_on(talking: type[Talking], agreed_ms: int) -> None:
    listening = Ear((Role.AGENT,), Alone())
    partial = listening.partial(Role.AGENT, agreed_ms)
    assert partial is not None
    assert partial.span == Span(BEGINS_MS, ENDS_MS)
    assert begun_ms(partial) == BEGINS_MS


def test_a_partial_begins_in_the_pause_before_what_is_not_agreed_on(talking: type[Talking]) -> None:
    listening = Ear((Role.AGENT,), Alone())
    whole = listening._detector.open_segment(Role.AGENT)
    pause_ms, agreed_ms = 6_600, 8_000
    assert whole is not None
    whole.samples[(pause_ms - BEGINS_MS) * 16 :][: 90 * 16] = 0
    partial = listening.partial(Role.AGENT, agreed_ms)
    assert isinstance(partial, Ending)
    assert pause_ms <= partial.span.start_ms < pause_ms + 90
    assert agreed_ms - BEFORE_MS[1] <= partial.span.start_ms <= agreed_ms - BEFORE_MS[0]
    assert partial.speech == (partial.span,)
    assert begun_ms(partial) == BEGINS_MS
    np.testing.assert_array_equal(partial.samples, whole.samples[(partial.span.start_ms - BEGINS_MS) * 16 :])


def test_what_is_foreseen_is_offered_once_and_needs_no_partial_any_more(talking: type[Talking]) -> None:
    listening = Ear((Role.AGENT,), Alone())
    talking.foreseen = segment(BEGINS_MS, ENDS_MS)
    window = listening.foreseen(Role.AGENT)
    assert window is not None
    assert window.segments == (talking.foreseen,)
    assert listening.foreseen(Role.AGENT) is None
    assert listening.partial(Role.AGENT) is None


@pytest.mark.parametrize(("recogniser", "gated"), [(FakeRecogniser(), False), (Alone(), True)])
def test_no_window_is_foreseen_that_may_hold_more_or_is_another_leg_s_voice(
    talking: type[Talking], recogniser: FakeRecogniser, gated: bool
) -> None:
    listening = Ear((Role.AGENT,), recogniser)
    talking.foreseen = segment(BEGINS_MS, ENDS_MS, gated=gated)
    assert listening.foreseen(Role.AGENT) is None
