"""Speech detection on signals made here: voices by a pulse train through formants, tones, noise."""

from __future__ import annotations

import functools
import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from analyzer.audio import decode, find_recordings
from analyzer.types import Role, Span
from analyzer.vad import CallDetector, Segment, SpeechDetector, tones
from analyzer.vad.endpoint import FRAME_MS, LONGEST, TRANSITIONS, Endpointer, Event, State, Stretch
from analyzer.vad.silero import CONTEXT, WINDOW, SpeechModel

RATE = 16_000
SAMPLES = Path(__file__).parent.parent / "samples"
Samples = NDArray[np.int16]


# ---- signals


def level(wave: NDArray[np.float64], db: float) -> Samples:
    sounding = wave[np.abs(wave) > 1e-9]
    scaled = wave * 32_767 * 10 ** (db / 20) / np.sqrt(np.mean(np.square(sounding)))
    return np.clip(np.rint(scaled), -32_768, 32_767).astype(np.int16)


def clock(seconds: float) -> NDArray[np.float64]:
    return np.arange(round(seconds * RATE)) / RATE


def tone(hertz: tuple[float, ...], seconds: float, db: float = -20, on: float = 1, off: float = 0) -> Samples:
    at = clock(seconds)
    return level(sum(np.sin(2 * np.pi * f * at) for f in hertz) * (at % (on + off) < on), db)  # type: ignore[arg-type]


def noise(seconds: float, db: float, seed: int = 1) -> Samples:
    return level(np.random.default_rng(seed).standard_normal(round(seconds * RATE)), db)


def silence(seconds: float) -> Samples:
    return noise(seconds, -70, seed=9)


@functools.cache
def agent_speech() -> Samples:
    """The first 18 s of an agent in samples/, nobody else on the leg."""
    (recording,) = find_recordings([SAMPLES / "bank-card-renewal" / "call.wav"]).recordings
    blocks = [block.channels[Role.AGENT] for block, _ in zip(decode(recording), range(18), strict=False)]
    return np.concatenate(blocks)


@functools.cache
def agent_characters() -> tuple[Span, ...]:
    truth = json.loads((SAMPLES / "bank-card-renewal" / "truth.json").read_text("utf-8"))
    spans = [Span(*times) for turn in truth["turns"] if turn["role"] == "agent" for times in turn["chars"]]
    return tuple(span for span in spans if span.duration_ms and span.end_ms <= 18_000)


@functools.cache
def one_word() -> Samples:
    """The first character of the agent, and only it."""
    first = agent_characters()[0]
    return agent_speech()[first.start_ms * 16 : first.end_ms * 16]


def detect(samples: Samples, piece: int = RATE) -> list[Segment]:
    detector = SpeechDetector(Role.AGENT)
    found = [s for at in range(0, len(samples), piece) for s in detector.feed(samples[at : at + piece])]
    return found + list(detector.finish())


def voiced_ms(segments: list[Segment]) -> int:
    return sum(span.duration_ms for segment in segments for span in segment.speech)


def as_values(segments: list[Segment]) -> list[tuple[object, ...]]:
    return [(s.role, s.span, s.speech, s.level_db, s.gated, s.samples.tobytes()) for s in segments]


# ---- what is not speech


NOT_SPEECH = {
    "ring-back": lambda db: tone((450,), 20, db, 1, 4),
    "busy tone": lambda db: tone((450,), 20, db, 0.35, 0.35),
    "dial tone of two frequencies": lambda db: tone((350, 440), 20, db),
    "ring-back that beats": lambda db: tone((440, 480), 20, db, 2, 4),
    "key presses": lambda db: tone((770, 1336), 20, db, 0.1, 0.1),
    "a held chord": lambda db: tone((262, 330, 392, 524, 660), 20, db, 0.8, 0.1),
    "white noise": lambda db: noise(20, db),
}


@pytest.mark.parametrize("db", [-12, -20, -30, -40])
@pytest.mark.parametrize("name", NOT_SPEECH)
def test_less_than_a_fiftieth_of_what_is_not_speech_is_called_speech(name: str, db: int) -> None:
    assert voiced_ms(detect(NOT_SPEECH[name](db))) <= 400


def test_a_tone_in_noise_is_not_speech() -> None:
    assert not detect(tone((450,), 15, -20, 1, 4) + noise(15, -32))


# ---- what is


@pytest.mark.parametrize("db", [-15, -20, -30, -40])  # at -12 dBFS the peaks clip
def test_every_spoken_character_is_in_a_segment_at_any_level(db: int) -> None:
    found = detect(level(agent_speech().astype(np.float64), db))
    for character in agent_characters():
        assert any(character.overlap_ms(segment.span) >= 0.5 * character.duration_ms for segment in found), character


def test_a_lone_word_is_kept() -> None:
    word = one_word()
    assert 150 <= len(word) / 16 <= 600
    (segment,) = detect(np.concatenate([silence(2), word, silence(2)]))
    assert segment.span.start_ms <= 2_000
    assert segment.span.end_ms >= 2_000 + len(word) / 16 - 60


@pytest.mark.parametrize("hertz", [(450,), (425,), (350, 440), (941, 1477)])
def test_speech_right_after_a_tone_is_found_and_the_tone_is_not_in_its_voiced_time(hertz: tuple[float, ...]) -> None:
    found = detect(np.concatenate([tone(hertz, 3), agent_speech()[: RATE * 8]]))
    first = agent_characters()[0].start_ms + 3_000
    assert found[0].speech[0].start_ms >= 2_900
    assert found[0].span.start_ms <= first + 30


def test_speech_over_a_tone_is_found() -> None:
    speech = agent_speech()
    over = speech + tone((450,), len(speech) / RATE, -32)
    assert voiced_ms(detect(over)) >= 0.7 * voiced_ms(detect(speech))


@functools.cache
def customer_of_a_leaking_call() -> tuple[Samples, tuple[Span, ...]]:
    """A whole leg on which the other one leaks at -54 dBFS, and what is said on it."""
    (recording,) = find_recordings([SAMPLES / "telecom-data-plan" / "call.m4a"]).recordings
    leg = np.concatenate([block.channels[Role.CUSTOMER] for block in decode(recording)])
    truth = json.loads((SAMPLES / "telecom-data-plan" / "truth.json").read_text("utf-8"))
    spoken = [Span(*times) for turn in truth["turns"] if turn["role"] == "customer" for times in turn["chars"]]
    return leg, tuple(spoken)


def test_a_murmur_too_faint_for_webrtcvad_keeps_no_stretch_open() -> None:
    """Silero alone goes on for as long as the other leg leaks."""
    leg, spoken = customer_of_a_leaking_call()
    near = np.zeros(len(leg) // 16 + 1, np.bool_)
    for span in spoken:
        near[max(0, span.start_ms - 200) : span.end_ms + 200] = True
    false_ms = sum(int((~near[s.start_ms : s.end_ms]).sum()) for segment in detect(leg) for s in segment.speech)
    assert false_ms <= 400  # 17 s before webrtcvad had a say in open stretches, 0.8 s before it had one in each frame


def test_a_voice_is_over_soon_after_its_last_character() -> None:
    """Silero alone remembers it for up to 300 ms."""
    leg, spoken = customer_of_a_leaking_call()
    stretches = [
        (segment, [span.end_ms for span in spoken if segment.span.overlap_ms(span)]) for segment in detect(leg)
    ]
    after_ms = sorted(segment.speech[-1].end_ms - max(said) for segment, said in stretches if said)
    assert len(after_ms) >= 5
    assert after_ms[0] >= -30
    assert after_ms[len(after_ms) // 2] <= 180
    assert after_ms[-1] <= 230


def test_silero_hears_little_more_than_webrtcvad_calls_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    heard_ms = 0
    hear = SpeechModel.probabilities

    def counted(self: SpeechModel, samples: Samples) -> NDArray[np.float32]:
        nonlocal heard_ms
        heard_ms += (len(samples) - CONTEXT) // 16
        return hear(self, samples)

    monkeypatch.setattr(SpeechModel, "probabilities", counted)
    speech = agent_speech()[: 3 * RATE]
    detect(np.concatenate([speech, silence(3), speech, silence(3)]))
    assert 4_000 <= heard_ms <= 2 * (3_000 + 300 + 300 + 256)  # before and after each, and what steps add


def test_what_silero_says_of_a_window_does_not_depend_on_how_many_it_hears_at_once() -> None:
    audio = np.concatenate([np.zeros(CONTEXT, np.int16), agent_speech()[: 120 * WINDOW]])

    def hear(n_windows: int) -> bytes:
        model, step = SpeechModel(), n_windows * WINDOW
        runs = [audio[at : at + CONTEXT + step] for at in range(0, 120 * WINDOW, step)]
        return b"".join(model.probabilities(run).tobytes() for run in runs)

    assert hear(1) == hear(4) == hear(12) == hear(30)


def test_how_steady_a_frame_sounds_does_not_depend_on_how_many_are_looked_at_at_once() -> None:
    audio = np.concatenate([agent_speech()[: 2 * RATE], tone((440, 480), 1)])
    audio = audio[: tones.REACH + 61 * tones.FRAME]

    def look(n_frames: int) -> bytes:
        step = n_frames * tones.FRAME
        ends = range(step, 60 * tones.FRAME + 1, step)
        return b"".join(tones.unforeseen(audio[end - step : tones.REACH + tones.FRAME + end]).tobytes() for end in ends)

    assert look(1) == look(4) == look(5) == look(30) == look(60)


# ---- segments


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=20))
def test_any_split_of_the_audio_gives_the_same_segments(pieces: list[int]) -> None:
    audio = np.concatenate([tone((450,), 1), silence(1), agent_speech()[: 6 * RATE], noise(1, -30)])[:-7]
    detector, found, at = SpeechDetector(Role.AGENT), [], 0
    for piece in pieces:
        found += detector.feed(audio[at : at + piece])
        at += piece
    found += detector.feed(audio[at:])
    found += detector.finish()
    assert as_values(found) == as_values(_whole(audio.tobytes()))


@functools.cache
def _whole(audio: bytes) -> list[Segment]:
    return detect(np.frombuffer(audio, np.int16), piece=len(audio))


def test_a_segment_holds_exactly_the_audio_of_its_span_and_overlaps_no_other() -> None:
    audio = np.concatenate([agent_speech()] * 3)
    found = detect(audio)
    assert len(found) > 5
    for segment in found:
        expected = audio[segment.span.start_ms * 16 : segment.span.end_ms * 16]
        np.testing.assert_array_equal(segment.samples, expected)
        assert segment.samples.dtype == np.int16
        assert not segment.samples.flags.writeable
        assert segment.span.start_ms <= segment.speech[0].start_ms <= segment.span.start_ms + 300
        assert segment.speech[-1].end_ms <= segment.span.end_ms <= segment.speech[-1].end_ms + 240
        assert segment.span.duration_ms <= 15_000
        assert all(a.end_ms < b.start_ms for a, b in pairwise(segment.speech))
    assert all(a.span.end_ms <= b.span.start_ms for a, b in pairwise(found))


def test_level_is_that_of_the_voiced_time() -> None:
    speech = agent_speech()
    louder, softer = (detect(level(speech.astype(np.float64), db))[0].level_db for db in (-15, -25))
    assert louder - softer == pytest.approx(10, abs=0.7)


def test_speech_cut_off_by_the_end_of_the_recording_ends_with_it() -> None:
    last = agent_characters()[3].end_ms
    (*_, segment) = detect(agent_speech()[: last * 16 - 5])
    assert last - 40 <= segment.span.end_ms <= last - 1


@pytest.mark.parametrize("n_samples", [0, 1, 479, 2_048])
def test_recordings_shorter_than_a_window_hold_no_speech(n_samples: int) -> None:
    assert detect(noise(1, -20)[:n_samples]) == []


def test_an_hour_of_audio_keeps_less_than_two_seconds_in_memory_while_nobody_speaks() -> None:
    detector = SpeechDetector(Role.AGENT)
    quiet = silence(10)
    for _ in range(30):
        assert list(detector.feed(quiet)) == []
    assert len(detector._tape._samples) <= 2 * RATE
    assert 299_000 <= detector.settled_ms <= 300_000


# ---- the state table


def feed(endpointer: Endpointer, voiced: bool, n: int, loudness: float = 1.0) -> list[Stretch]:
    return [stretch for _ in range(n) for stretch in endpointer.feed(voiced, loudness)]


def test_every_state_has_a_way_for_voice_and_for_silence_and_all_can_be_reached() -> None:
    assert all((state, event) in TRANSITIONS for state in State for event in (Event.VOICE, Event.SILENCE))
    assert {state for state, _ in TRANSITIONS.values()} == set(State)


def test_a_blip_is_dropped_and_leaves_no_trace() -> None:
    endpointer = Endpointer()
    assert feed(endpointer, True, 2) == []
    assert feed(endpointer, False, 30) == []
    assert endpointer.state is State.QUIET
    assert list(endpointer.finish()) == []


@pytest.mark.parametrize(("spoken_ms", "silence_ms"), [(1_000, 540), (9_000, 300), (13_000, 210)])
def test_the_longer_the_speech_the_shorter_the_silence_that_ends_it(spoken_ms: int, silence_ms: int) -> None:
    endpointer = Endpointer()
    assert feed(endpointer, True, spoken_ms // FRAME_MS) == []
    assert feed(endpointer, False, silence_ms // FRAME_MS - 1) == []
    (stretch,) = feed(endpointer, False, 1)
    assert stretch.speech == ((0, spoken_ms // FRAME_MS),)


def test_endless_speech_is_cut_in_its_quietest_frame_and_nothing_is_lost() -> None:
    endpointer = Endpointer()
    found = feed(endpointer, True, LONGEST - 20)
    found += feed(endpointer, True, 1, loudness=0.1)
    found += feed(endpointer, True, LONGEST)
    found += endpointer.finish()
    assert found[0].end == LONGEST - 20
    assert found[1].start == found[0].end
    assert sum(end - start for stretch in found for start, end in stretch.speech) == 2 * LONGEST - 19
    assert max(stretch.end - stretch.start for stretch in found) <= LONGEST


@pytest.mark.parametrize(
    ("spoken_ms", "silence_ms", "shown_ms"), [(1_000, 540, 240), (9_000, 300, 150), (12_500, 210, 90)]
)
def test_at_most_half_the_silence_that_ends_a_stretch_shows_what_it_will_be(
    spoken_ms: int, silence_ms: int, shown_ms: int
) -> None:
    endpointer = Endpointer()
    feed(endpointer, True, spoken_ms // FRAME_MS)
    assert endpointer.foreseen is None
    foreseen = []
    for _ in range(silence_ms // FRAME_MS - 1):
        assert feed(endpointer, False, 1) == []
        foreseen.append(endpointer.foreseen)
    (stretch,) = feed(endpointer, False, 1)
    shown = shown_ms // FRAME_MS
    assert foreseen == [None] * (shown - 1) + [stretch] * (len(foreseen) - shown + 1)
    assert endpointer.foreseen is None


def test_nothing_is_foreseen_once_somebody_speaks_on() -> None:
    endpointer = Endpointer()
    feed(endpointer, True, 30)
    feed(endpointer, False, 15)
    assert endpointer.foreseen is not None
    feed(endpointer, True, 1)
    assert endpointer.foreseen is None


def test_a_tone_that_seemed_voice_is_taken_back() -> None:
    endpointer = Endpointer()
    feed(endpointer, True, 6)
    assert list(endpointer.feed(True, 1.0, steady_since=0)) == []
    assert feed(endpointer, False, 40) == []


def test_speech_before_a_tone_stays_when_the_tone_is_taken_back() -> None:
    endpointer = Endpointer()
    feed(endpointer, True, 26)
    list(endpointer.feed(True, 1.0, steady_since=20))
    (stretch,) = feed(endpointer, False, 40)
    assert stretch.speech == ((0, 20),)


# ---- cross-talk


def call(agent: Samples, customer: Samples, piece: int = RATE) -> list[Segment]:
    detector = CallDetector((Role.AGENT, Role.CUSTOMER))
    found: list[Segment] = []
    for at in range(0, len(agent), piece):
        found += detector.feed({Role.AGENT: agent[at : at + piece], Role.CUSTOMER: customer[at : at + piece]})
    return found + list(detector.finish())


def leak(of: Samples, db: float, delay_ms: int = 0, noise_db: float = -70) -> Samples:
    late = np.concatenate([np.zeros(delay_ms * 16, np.int16), of])[: len(of)]
    return (late * 10 ** (db / 20)).astype(np.int16) + noise(len(of) / RATE, noise_db)


@pytest.mark.parametrize("delay_ms", [0, 40, 200])
@pytest.mark.parametrize("db", [-15, -25])
def test_a_leg_that_hears_the_other_one_is_gated(db: int, delay_ms: int) -> None:
    speech = agent_speech()
    found = call(speech, leak(speech, db, delay_ms))
    assert [s.gated for s in found if s.role is Role.CUSTOMER]
    assert all(s.gated == (s.role is Role.CUSTOMER) for s in found)


def test_a_soft_customer_who_talks_while_the_agent_does_is_kept() -> None:
    speech = agent_speech()
    soft = (np.roll(speech, 3 * RATE) * 10 ** (-20 / 20)).astype(np.int16)
    assert not any(s.gated for s in call(speech, soft))


def test_a_leak_beside_own_speech_is_silenced_and_credited_to_nobody() -> None:
    """The customer speaks for 4 s; 300 ms later the agent does, and leaks into the same segment."""
    said = agent_speech()[: agent_characters()[9].end_ms * 16]
    pause = silence(0.3)
    reply = agent_speech()[agent_characters()[0].start_ms * 16 :][: 2 * RATE]
    agent = np.concatenate([silence(len(said) / RATE), pause, reply, silence(1)])
    customer = np.concatenate([said, pause, leak(reply, -15), silence(1)])
    alone = detect(customer)
    leaked_from = (len(said) + len(pause)) // 16
    (mixed,) = [s for s in alone if s.span.start_ms < leaked_from - 300 and s.span.end_ms > leaked_from + 300]
    (cleaned,) = [s for s in call(agent, customer) if s.role is Role.CUSTOMER and s.span == mixed.span]
    assert not cleaned.gated
    assert mixed.speech[-1].end_ms > leaked_from + 300
    assert cleaned.speech[-1].end_ms <= leaked_from + 30
    first, last = mixed.speech[0], mixed.speech[-1]
    offset = mixed.span.start_ms
    np.testing.assert_array_equal(*(s.samples[: (first.end_ms - offset) * 16] for s in (cleaned, mixed)))
    assert not cleaned.samples[(last.start_ms - offset) * 16 : (last.end_ms - offset) * 16].any()


def test_what_is_foreseen_of_a_call_is_given_out_when_the_silence_goes_on() -> None:
    speech = agent_speech()
    legs = {Role.AGENT: speech, Role.CUSTOMER: np.roll(leak(speech, -12, 20), 2 * RATE)}
    detector, foreseen, found = CallDetector(tuple(legs)), {}, []
    for at in range(0, len(speech), 960):
        for segment in detector.feed({role: samples[at : at + 960] for role, samples in legs.items()}):
            found.append(segment)
            assert as_values([foreseen[segment.role]]) == as_values([segment])
            assert foreseen[segment.role].gated == segment.gated
        foreseen |= {role: segment for role in legs if (segment := detector.foreseen_segment(role)) is not None}
    assert len(found) > 3


def test_the_spans_of_open_and_foreseen_speech_are_those_of_its_segments() -> None:
    speech = agent_speech()
    legs = {Role.AGENT: speech, Role.CUSTOMER: np.roll(speech, 2 * RATE) // 3}
    detector, seen, foreseen = CallDetector(tuple(legs)), 0, 0
    for at in range(0, len(speech), 960):
        list(detector.feed({role: samples[at : at + 960] for role, samples in legs.items()}))
        for role in legs:
            whole = detector.open_segment(role)
            assert tuple(detector.open_speech(role)) == ((whole.span, *whole.speech) if whole else ())
            seen += whole is not None
            if (segment := detector.foreseen_segment(role)) is not None:
                assert detector.foreseen_span(role) == segment.span
                foreseen += 1
    assert seen > 20
    assert foreseen > 3


def test_gating_moves_no_cut() -> None:
    speech = agent_speech()
    faint = leak(speech, -20)
    together = [s for s in call(speech, faint) if s.role is Role.CUSTOMER]
    assert [(s.span, s.speech) for s in together] == [(s.span, s.speech) for s in detect(faint)]


def test_legs_that_come_one_after_the_other_are_gated_alike() -> None:
    speech = agent_speech()
    faint = leak(speech, -20)
    detector = CallDetector((Role.AGENT, Role.CUSTOMER))
    found = list(detector.feed({Role.CUSTOMER: faint}))
    assert found == []
    found += detector.feed({Role.AGENT: speech})
    found += detector.finish()
    by_role = sorted(as_values(found), key=str)
    assert by_role == sorted(as_values(call(speech, faint)), key=str)
