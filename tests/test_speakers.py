"""Two speakers on one channel: what is told, what is left open, and that it is the same every time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzer import pipeline
from analyzer.audio import find_recordings, parse_layout
from analyzer.catalog import load_pack
from analyzer.engine import CallAnalyzer
from analyzer.pipeline import score_recordings
from analyzer.report import analyze, dump, judged
from analyzer.rules import Pack
from analyzer.runs import RunFolder
from analyzer.speakers import SURE, attribute, listen
from analyzer.speakers.roles import cast
from analyzer.speakers.voices import Stretch, Voices, tell_apart
from analyzer.transcripts import read_call
from analyzer.types import Direction, Outcome, Role, Span, Transcript, Utterance
from analyzer.vad import SAMPLE_RATE, Segment
from tests.fake_speech import FakeCallDetector, FakeRecogniser
from tests.tiny_pack import write_tiny_pack
from tests.voices import HIGH, LOW, SYLLABLE_MS, Spoken, Voice, conversation, segments, speak, write

AGENT, CUSTOMER, UNKNOWN = Role.AGENT, Role.CUSTOMER, Role.UNKNOWN
SAMPLES = Path(__file__).parents[1] / "samples"
AGENT_LINES = (
    "您好，云岭银行，工号三零一七，很高兴为您服务",
    "请问有什么可以帮您",
    "好的，马上为您查一下",
    "感谢您的来电，再见",
)
CUSTOMER_LINES = ("你好，我想问一下我的银行卡", "我姓王", "好，那就这样", "没有了，再见")


@cache
def standard() -> Pack:
    return load_pack("standard", "standard")


@cache
def heard(voices: tuple[Voice, ...] = (LOW, HIGH)) -> tuple[list[Spoken], list[Segment]]:
    samples, spoken = conversation(voices)
    return spoken, segments(samples, [one.span for one in spoken])


def told_apart(found: Sequence[Segment]) -> Voices:
    voices = tell_apart([listen(segment) for segment in found])
    assert voices is not None
    return voices


def right_share(voices: Voices, spoken: Sequence[Spoken]) -> float:
    """Of the time put down to a voice; which voice is called 0 is no matter."""
    shared = [
        (one.who == stretch.voice, one.span.overlap_ms(stretch.span))
        for one in spoken
        for stretch in voices.stretches
        if stretch.voice is not None
    ]
    right = sum(ms for is_same, ms in shared if is_same) / sum(ms for _, ms in shared)
    return max(right, 1 - right)


def turn(role: Role, span: Span, text: str, confidence: float | None = None) -> Utterance:
    step = span.duration_ms / len(text)
    times = tuple(
        Span(round(span.start_ms + at * step), round(span.start_ms + (at + 1) * step)) for at in range(len(text))
    )
    return Utterance(role, span, text, 0.9, times, role_confidence=confidence)


def transcript(spoken: Sequence[Spoken], lines: Sequence[Sequence[str]] = (AGENT_LINES, CUSTOMER_LINES)) -> Transcript:
    """Each says their lines in turn, as a recogniser hears them on a mixed channel."""
    texts = [lines[one.who][number // 2 % len(lines[one.who])] for number, one in enumerate(spoken)]
    turns = tuple(turn(UNKNOWN, one.span, text) for one, text in zip(spoken, texts, strict=True))
    activity = {UNKNOWN: tuple(one.span for one in spoken)}
    return Transcript("c", turns, Direction.INBOUND, spoken[-1].span.end_ms + 1000, {}, activity)


# ---- voices


def test_two_voices_are_told_apart() -> None:
    spoken, found = heard()
    voices = told_apart(found)
    assert right_share(voices, spoken) > 0.97
    assert voices.confidence > 0.95


def test_one_voice_alone_is_noticed() -> None:
    _, found = heard((LOW, LOW))
    assert told_apart(found).confidence < SURE


def test_a_segment_that_holds_both_speakers_is_cut_where_the_voice_changes() -> None:
    both = np.concatenate([speak(LOW, 10, seed=90), speak(HIGH, 10, seed=95)])
    seam = 60_000 + 10 * SYLLABLE_MS
    first, *_, last = with_last(both)
    assert {first.voice, last.voice} == {0, 1}
    assert abs(first.span.end_ms - seam) <= 400
    assert abs(last.span.start_ms - seam) <= 400


def test_voices_speaking_at_once_are_of_neither() -> None:
    both = speak(LOW, 12, seed=90) // 2 + speak(HIGH, 12, seed=91) // 2
    assert {stretch.voice for stretch in with_last(both)} == {None}


def with_last(samples: NDArray[np.int16]) -> list[Stretch]:
    """The stretches of one more segment, at the end of the conversation."""
    span = Span(60_000, 60_000 + len(samples) * 1000 // SAMPLE_RATE)
    voices = told_apart([*heard()[1], Segment(UNKNOWN, span, samples, (span,), -20.0)])
    assert voices.confidence > SURE
    return [stretch for stretch in voices.stretches if stretch.span.start_ms >= span.start_ms]


def test_stretches_cover_the_voiced_time_exactly() -> None:
    _, found = heard()
    voices = told_apart(found)
    assert sum(one.span.duration_ms for one in voices.stretches) == sum(s.span.duration_ms for s in found)
    starts = [one.span.start_ms for one in voices.stretches]
    assert starts == sorted(starts)


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_too_little_speech_is_not_parted(turns: int) -> None:
    found = heard()[1][:turns]
    assert tell_apart([listen(replace(s, samples=s.samples[:6400])) for s in found]) is None


def test_silence_and_noise_have_no_traits() -> None:
    span = Span(0, 1000)
    hiss = np.random.default_rng(1).normal(0, 300, 16_000).astype(np.int16)
    for samples in (np.zeros(16_000, np.int16), hiss, hiss[:100]):
        assert not listen(Segment(UNKNOWN, span, samples, (span,), -60.0)).counts.sum() > 5


def test_an_hour_of_traits_takes_less_than_ten_megabytes() -> None:
    _, found = heard()
    traits = [listen(segment) for segment in found]
    size = sum(own.tenths.nbytes + own.counts.nbytes + own.sums.nbytes for own in traits)
    assert size * 3_600_000 / sum(s.span.duration_ms for s in found) < 10_000_000


# ---- roles


def said(*texts: str, start_ms: int = 0) -> list[Utterance]:
    return [
        turn(UNKNOWN, Span(start_ms + 2000 * at, start_ms + 2000 * at + 1500), text) for at, text in enumerate(texts)
    ]


def test_who_offers_their_service_is_the_agent() -> None:
    agent, customer = (
        said("您好，很高兴为您服务", "请问有什么可以帮您", start_ms=9000),
        said("喂", "我想查一下我的账单"),
    )
    assert (cast(agent, customer, Direction.OUTBOUND).agent, cast(customer, agent, Direction.OUTBOUND).agent) == (0, 1)
    assert cast(agent, customer, Direction.OUTBOUND).confidence > 0.95


def test_who_speaks_first_alone_does_not_make_an_agent() -> None:
    casting = cast(said("喂，您好"), said("你好", start_ms=5000), Direction.INBOUND)
    assert casting.agent == 0
    assert casting.confidence < SURE


def test_where_both_talk_like_agents_nobody_is_sure() -> None:
    line = "感谢您的来电，很高兴为您服务"
    assert cast(said(line), said(line, start_ms=9000), Direction.INBOUND).confidence < SURE


def test_an_agent_alone_whose_voice_was_parted_in_two_is_not_given_a_customer() -> None:
    greeting = said("您好，工号三零一七，很高兴为您服务", "请问有什么可以帮您", "感谢您的来电")
    assert cast(greeting, said("您好，请问有什么可以帮您", start_ms=9000), Direction.INBOUND).confidence < SURE


# ---- attribution


def attributed(
    lines: Sequence[Sequence[str]] = (AGENT_LINES, CUSTOMER_LINES), voices: tuple[Voice, ...] = (LOW, HIGH)
) -> Transcript:
    spoken, found = heard(voices)
    return attribute(transcript(spoken, lines), [listen(segment) for segment in found])


def test_each_turn_gets_its_role_and_how_sure_that_is() -> None:
    spoken, _ = heard()
    call = attributed()
    assert [one.role for one in call.utterances] == [(AGENT, CUSTOMER)[one.who] for one in spoken]
    assert all(one.role_confidence and one.role_confidence >= SURE for one in call.utterances)
    assert set(call.activity or ()) == {AGENT, CUSTOMER}
    assert "说话人由声音推断" in call.warnings[-1]


def test_one_voice_alone_leaves_every_role_open_and_says_so() -> None:
    call = attributed(voices=(LOW, LOW))
    assert {one.role for one in call.utterances} == {UNKNOWN}
    assert "听不出两个不同的声音" in call.warnings[-1]


def test_two_voices_without_a_word_that_names_them_stay_unknown() -> None:
    call = attributed((("今天天气不错",), ("是啊，很暖和",)))
    assert {one.role for one in call.utterances} == {UNKNOWN}
    assert "分不清谁是坐席" in call.warnings[-1]


def test_a_customer_who_speaks_like_an_agent_is_neither() -> None:
    odd = [*CUSTOMER_LINES[:3], "很高兴为您服务"]
    call = attributed((AGENT_LINES, odd))
    assert [one.role for one in call.utterances if one.text == odd[3]] == [UNKNOWN]
    assert [one.role for one in call.utterances if one.text == odd[1]] == [CUSTOMER]


def test_an_utterance_of_both_speakers_becomes_two_turns_at_a_clause() -> None:
    spoken, found = heard()
    both = np.concatenate([speak(LOW, 11, seed=90), speak(HIGH, 10, seed=95)])
    span = Span(60_000, 60_000 + 21 * SYLLABLE_MS)
    call = transcript(spoken)
    text = "好的马上为您查询一下，没有了我就问这一件事"
    joined = replace(call, utterances=(*call.utterances, turn(UNKNOWN, span, text)))
    result = attribute(joined, [listen(s) for s in [*found, Segment(UNKNOWN, span, both, (span,), -20.0)]])
    assert [(one.role, one.text) for one in result.utterances[-2:]] == [
        (AGENT, "好的马上为您查询一下，"),
        (CUSTOMER, "没有了我就问这一件事"),
    ]
    assert "".join(one.text for one in result.utterances) == "".join(one.text for one in joined.utterances)


def test_the_report_of_an_attributed_call_is_its_own_transcript() -> None:
    report = dump(analyze(attributed(), standard()))
    assert '"role_confidence":' in report
    assert dump(analyze(read_call(json.loads(report), "c"), standard())) == report


# ---- verdicts


def outcomes(call: Transcript) -> dict[str, Outcome]:
    return {rule: judgement.truth.outcome for rule, judgement in judged(call, standard()).judgements.items()}


def test_what_an_unknown_turn_may_have_said_is_not_called_missing() -> None:
    turns = (
        turn(UNKNOWN, Span(0, 4000), "您好，云岭银行，工号三零一七，很高兴为您服务，请问有什么可以帮您", 0.6),
        turn(CUSTOMER, Span(5000, 8000), "我想查一下我的账单", 0.9),
        turn(AGENT, Span(9000, 12_000), "好的，您的账单是一百元", 0.9),
    )
    call = Transcript("c", turns, Direction.INBOUND, 20_000)
    assert outcomes(call)["opening"] is Outcome.UNSURE
    told = replace(call, utterances=(replace(turns[0], role=CUSTOMER), *turns[1:]))
    assert outcomes(told)["opening"] is Outcome.VIOLATION


def test_a_forbidden_phrase_of_a_known_agent_stands_beside_unknown_turns() -> None:
    turns = (
        turn(UNKNOWN, Span(0, 2000), "喂喂喂你在吗", 0.5),
        turn(AGENT, Span(5000, 8000), "这不关我的事", 0.9),
    )
    call = Transcript("c", turns, Direction.INBOUND, 20_000)
    assert outcomes(call)["banned_phrase"] is Outcome.VIOLATION
    unknown = replace(call, utterances=(turns[0], replace(turns[1], role=UNKNOWN)))
    assert outcomes(unknown)["banned_phrase"] is Outcome.UNSURE


def test_nobody_is_cleared_of_interrupting_on_a_shared_channel() -> None:
    turns = (turn(CUSTOMER, Span(0, 4000), "我想查一下我的账单"), turn(AGENT, Span(5000, 8000), "好的请稍等"))
    assert outcomes(Transcript("c", turns, Direction.INBOUND, 9000))["interruption"] is Outcome.PASS
    shared = tuple(replace(one, role_confidence=0.99) for one in turns)
    assert outcomes(Transcript("c", shared, Direction.INBOUND, 9000))["interruption"] is Outcome.UNSURE


def test_hiding_who_spoke_never_turns_a_verdict_round() -> None:
    chance = np.random.default_rng(5)
    for name in ("mall-angry-customer", "telecom-bill-hold"):
        truth = json.loads((SAMPLES / name / "truth.json").read_text(encoding="utf-8"))
        keys = ("call_id", "direction", "duration_ms", "metadata", "turns")
        call = read_call({key: truth[key] for key in keys}, name)
        known = outcomes(call)
        hidden = tuple(replace(one, role=UNKNOWN) if chance.random() < 0.3 else one for one in call.utterances)
        doubted = outcomes(replace(call, utterances=hidden))
        contrary = {rule for rule, outcome in doubted.items() if outcome not in (known[rule], Outcome.UNSURE)}
        assert contrary == set()


def test_findings_that_depend_on_an_unknown_turn_are_withdrawn_at_the_end() -> None:
    analyzer = CallAnalyzer(standard(), direction=Direction.INBOUND, roles={AGENT, CUSTOMER, UNKNOWN})
    analyzer.feed(turn(AGENT, Span(0, 3000), "您好，云岭银行"))
    analyzer.feed(turn(UNKNOWN, Span(4000, 8000), "很高兴为您服务请问有什么可以帮您"))
    result = analyzer.finish(60_000)
    violated = {rule for rule, own in result.judgements.items() if own.truth.outcome is Outcome.VIOLATION}
    confirmed = {event.finding.rule for event in result.events if event.status == "confirmed"}
    assert confirmed <= violated


def test_nothing_is_confirmed_during_a_call_while_somebody_of_unknown_role_may_speak() -> None:
    def statuses(*roles: Role) -> set[str]:
        analyzer = CallAnalyzer(standard(), direction=Direction.INBOUND, roles=roles)
        analyzer.feed(turn(AGENT, Span(0, 3000), "你这个人怎么这样啊"))
        analyzer.feed(turn(AGENT, Span(5000, 8000), "你有完没完，你去投诉吧"))
        return {str(event.status) for role in roles for event in analyzer.settled(role, 30_000)}

    assert statuses(AGENT, CUSTOMER) >= {"confirmed"}
    assert statuses(AGENT, CUSTOMER, UNKNOWN) == {"provisional"}


# ---- score


class _Lines(FakeRecogniser):
    """Says of each segment what its speaker said."""

    def __init__(self, spoken: Mapping[int, str]) -> None:
        super().__init__()
        self._spoken = spoken

    def _utterance(self, segment: Segment) -> Utterance | None:
        text = self._spoken[min(self._spoken, key=lambda start: abs(start - segment.span.start_ms))]
        return turn(segment.role, segment.span, text)


def scored(folder: Path, jobs: int, mono: str) -> list[bytes]:
    """Reports of two mixed recordings."""
    for number, voices in enumerate(((LOW, HIGH), (HIGH, LOW))):
        samples, spoken = conversation(voices, pause_ms=700)
        write(folder / "in" / f"c{number}.wav", samples)
    lines = {one.span.start_ms: one.text for one in transcript(spoken).utterances}
    pack = load_pack(write_tiny_pack(folder / "pack"))
    calls = find_recordings([folder / "in"], parse_layout(mono=mono)).recordings
    with RunFolder(folder / "run", {}) as run:
        list(score_recordings(calls, _Lines(lines), pack, run, jobs=jobs))
    return [path.read_bytes() for path in sorted((folder / "run" / "reports").iterdir())]


def test_mixed_recordings_are_attributed_alike_whatever_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "CallDetector", FakeCallDetector)
    reports = scored(tmp_path / "one", 1, "mixed")
    assert reports == scored(tmp_path / "three", 3, "mixed")
    for report in reports:
        told = [turn["role"] for turn in json.loads(report)["turns"]]
        assert all(role in (truth, "unknown") for role, truth in zip(told, ["agent", "customer"] * 5, strict=True))
        assert told.count("unknown") <= 2


def test_mono_unknown_attributes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CallDetector", FakeCallDetector)
    for report in map(json.loads, scored(tmp_path, 2, "unknown")):
        assert {turn["role"] for turn in report["turns"]} == {"unknown"}
        assert not any("role_confidence" in turn for turn in report["turns"])
        assert report["warnings"] == []


def test_a_run_of_unknown_roles_is_scored_again_when_they_shall_be_told() -> None:
    layouts = [parse_layout(mono=mono) for mono in ("mixed", "unknown")]
    assert [(layout.roles, layout.mixed) for layout in layouts] == [((UNKNOWN,), True), ((UNKNOWN,), False)]
