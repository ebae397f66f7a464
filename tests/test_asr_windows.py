"""Packing depends on a channel's own segments alone; cutting gives every segment its own words."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.asr.spelling import TimedPiece
from analyzer.asr.windows import LONGEST_MS, PAUSE_MS, WIDEST_MS, Filling, OneByOne, Window, hand_out, windows
from analyzer.types import Role, Span
from analyzer.vad import Segment


def segment(start_ms: int, end_ms: int, *, edge_ms: int = 200, gated: bool = False) -> Segment:
    """Noise with a voiced middle: ``edge_ms`` at both ends are not voiced."""
    samples = np.random.default_rng(start_ms).integers(-900, 900, (end_ms - start_ms) * 16).astype(np.int16)
    speech = (Span(start_ms + edge_ms, end_ms - edge_ms),)
    return Segment(Role.AGENT, Span(start_ms, end_ms), samples, speech, -30.0, gated)


@st.composite
def channels(draw: st.DrawFn) -> list[Segment]:
    """Segments of one channel, in order: utterances of half a second to 15 s with gaps of half a second to a minute."""
    segments, at = [], 0
    for gap, length, gated in draw(
        st.lists(st.tuples(st.integers(500, 60_000), st.integers(500, 15_000), st.booleans()), max_size=12)
    ):
        segments.append(segment(at + gap, at + gap + length, gated=gated and length < 3000))
        at += gap + length
    return segments


@settings(max_examples=30)
@given(channels())
def test_windows_hold_every_segment_once_in_order_and_stay_within_their_bounds(segments: list[Segment]) -> None:
    packed = list(windows(segments, Filling()))
    assert [one for window in packed for one in window.segments] == segments
    for window in packed:
        assert len(window.samples()) <= max(LONGEST_MS, *(one.span.duration_ms for one in window.segments)) * 16
        assert len(window.segments) == 1 or (
            window.segments[-1].span.end_ms - window.segments[0].span.start_ms <= WIDEST_MS
        )


@settings(max_examples=30)
@given(channels(), st.integers(0, 12))
def test_a_window_that_has_come_out_is_not_changed_by_what_is_said_later(segments: list[Segment], heard: int) -> None:
    whole = [window.segments for window in windows(segments, Filling())]
    early = [window.segments for window in windows(segments[:heard], Filling())]
    settled = max(0, len(early) - 1)
    assert early[:settled] == whole[:settled]


def test_short_utterances_share_a_window_with_a_breath_between_them() -> None:
    first, second = segment(0, 2000), segment(7000, 9000)
    (window,) = windows([first, second], Filling())
    assert window.offsets_ms() == [0, 2000 + PAUSE_MS]
    samples = window.samples()
    assert np.array_equal(samples[: 2000 * 16], first.samples)
    assert not samples[2000 * 16 : (2000 + PAUSE_MS) * 16].any()
    assert np.array_equal(samples[(2000 + PAUSE_MS) * 16 :], second.samples)


def test_cross_talk_is_carried_along_and_not_heard() -> None:
    (window,) = windows([segment(0, 2000), segment(3000, 4000, gated=True), segment(5000, 6000)], Filling())
    assert len(window.segments) == 3
    assert len(window.samples()) == (2000 + PAUSE_MS + 1000) * 16


def test_one_by_one_packs_nothing() -> None:
    alone = windows([segment(0, 900), segment(1500, 2500)], OneByOne())
    assert [len(window.segments) for window in alone] == [1, 1]


def cut(window: Window, *pieces: tuple[str, int, int]) -> list[list[tuple[str, int, int]]]:
    timed = [TimedPiece(text, start_ms, end_ms, -0.1) for text, start_ms, end_ms in pieces]
    return [[(one.text, one.start_ms, one.end_ms) for one in share] for share in hand_out(timed, window)]


def test_text_is_cut_where_the_segments_meet_and_timed_in_the_call() -> None:
    window = Window((segment(10_000, 12_000), segment(20_000, 22_000)))  # the second begins at 2 500 in the window
    assert cut(window, ("好", 300, 800), ("的", 800, 1600), ("再", 2800, 3300), ("见", 3300, 4100)) == [
        [("好", 10_300, 10_800), ("的", 10_800, 11_600)],
        [("再", 20_300, 20_800), ("见", 20_800, 21_600)],
    ]


def test_the_pause_goes_to_nobody_whether_the_aligner_gave_it_to_the_one_before_or_after() -> None:
    window = Window((segment(10_000, 12_000), segment(20_000, 22_000)))
    before = cut(window, ("好", 300, 1500), ("的", 1500, 2750), ("再", 2750, 3400), ("见", 3400, 4500))
    after = cut(window, ("好", 300, 1500), ("的", 1500, 1790), ("再", 1790, 3400), ("见", 3400, 4500))
    assert before[0][-1] == ("的", 11_500, 11_800)
    assert before[1][0] == ("再", 20_250, 20_900)
    assert after[0][-1] == ("的", 11_500, 11_790)
    assert after[1][0] == ("再", 20_200, 20_900)


def test_a_full_stop_stays_with_its_sentence_and_takes_no_time() -> None:
    window = Window((segment(10_000, 12_000), segment(20_000, 22_000)))
    first, second = cut(window, ("好", 300, 1700), ("。", 1700, 3000), ("见", 3000, 4000))
    assert first == [("好", 10_300, 11_700), ("。", 11_700, 11_700)]
    assert [one[0] for one in second] == ["见"]


PIECES = st.lists(st.tuples(st.sampled_from(["好", "您好", "，", "的", " ok"]), st.integers(0, 900)), max_size=25)


@settings(max_examples=60)
@given(channels().filter(lambda segments: any(not one.gated for one in segments)), PIECES)
def test_whatever_the_aligner_says_no_text_is_lost_and_times_go_forward_inside_the_voice(
    segments: list[Segment], steps: list[tuple[str, int]]
) -> None:
    window = next(window for window in windows(segments, Filling()) if window.heard)
    pieces, at = [], 0
    for text, step in steps:
        pieces.append(TimedPiece(text, at, at + step, -0.1))
        at += step
    shares = hand_out(pieces, window)
    assert "".join(one.text for share in shares for one in share) == "".join(text for text, _ in steps)
    for share, one in zip(shares, window.heard, strict=True):
        edges = [edge for character in share for edge in (character.start_ms, character.end_ms)]
        assert edges == sorted(edges)
        assert not edges or (edges[0] >= one.speech[0].start_ms and edges[-1] <= one.speech[-1].end_ms)
