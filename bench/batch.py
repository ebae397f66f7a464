"""Batch throughput: our path against faster-whisper's own, same calls, same model, same cores, interleaved.

    python -m bench.batch [--model demo] [--calls samples] [--beam N] [--rounds 5]
    python -m bench.batch --random [--turns 3]   # no trained model: whisper-tiny's geometry, 4.5 tokens per second
    python -m bench.batch --scaling [--random]   # whole calls to reports on 1, 2, ... cores, and their time per stage
    python -m bench.batch --device cuda          # random weights of large-v3-turbo's geometry on a GPU

Everybody begins with the decoded 16 kHz samples of every channel of stereo calls and ends with text; voice detection is
part of the price. Ours also gives character times (one more decoder pass), faster-whisper's paths do not. "exact" is
ours with each segment at its own length, which only a calibrated model gets; "safe" is ours with packed 30 s windows,
which is what an unknown model gets.

Without ``--beam`` two tables are made: all at beam 1, and each at its best: ours with the beam it uses unless told
otherwise, theirs with theirs (5). Of each of their paths several settings are tried first, once, and all are listed;
the one with the least wall time among those within a point of the lowest error rate goes into the table as "best".

Ratios are medians over rounds; each round runs all paths, every other one backwards. CER over 汉字, micro-averaged, of
each channel against the script in truth.json. A ratio against a path whose CER differs by more than a point is not
claimed, and printed as "-". With --random there is no text and so no CER: each path decodes as many tokens in all as
the calls' speech is worth at 4.5 tokens a second, shared out evenly over its windows (counted in a run before,
unmeasured), and the ratios say what the windows and batches cost, no more. Of turns that were cut by ``--turns``
faster-whisper's voice detection finds not even half at its own threshold: there it gets ours, so that all paths hear
all.

faster-whisper's paths run in a process of their own, with the C library's memory as anybody has it: ``analyzer
score`` sets it for speed (``analyzer.memory``), and so does this script for ours. Only one of the two works at a time.

``--turns 3`` cuts the samples' slow utterances into turns of 3 s on average, as people on the telephone take them.
With ``--scaling --random`` the engine does that work and the scripts' words go on to the rules.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from analyzer import memory
from analyzer.asr import WhisperRecogniser, Window
from analyzer.asr.engine import COMMON_TEXT, Task
from analyzer.asr.windows import OneByOne
from analyzer.asr.windows import windows as windows_of
from analyzer.audio import Recording, decode, find_recordings
from analyzer.catalog import load_pack
from analyzer.models import ModelFolder, open_folder, resolve
from analyzer.pipeline import find_speech, score_recordings
from analyzer.runs import Failure, RunFolder
from analyzer.stages import Stages
from analyzer.types import Role, Span, Utterance
from analyzer.vad import CallDetector, Segment
from tests.random_whisper import TINY, Geometry, build

TOKENS_PER_SECOND = 4.5  # of speech, on the telephone
CLAIMABLE = 0.01  # CERs that differ by more make a ratio meaningless

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Call:
    """One call's channels and, if known, what is said on each."""

    channels: Mapping[Role, Samples]
    said: Mapping[Role, str]


class Measured(NamedTuple):
    """The text of each channel, in the order of ``channels_of``, and what it cost."""

    heard: list[str]
    wall_s: float
    cpu_s: float


def timed(run: Callable[[], list[str]]) -> Measured:
    wall, cpu = time.perf_counter(), time.process_time()
    heard = run()
    return Measured(heard, time.perf_counter() - wall, time.process_time() - cpu)


@dataclass(slots=True)
class Way:
    """One way to do the work on all calls."""

    name: str
    run: Callable[[], Measured]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    cer: float | None = None

    def measure(self, said: Sequence[str] | None) -> None:
        measured = self.run()
        self.wall_s.append(measured.wall_s)
        self.cpu_s.append(measured.cpu_s)
        if said is not None:
            self.cer = character_error_rate(said, measured.heard)


def read_calls(folder: Path) -> list[Call]:
    calls = []
    for recording in find_recordings([folder]).recordings:
        blocks = list(decode(recording))
        channels = {role: np.concatenate([block.channels[role] for block in blocks]) for role in recording.roles}
        truth = Path(recording.tracks[0].path).parent / "truth.json"
        turns = json.loads(truth.read_text(encoding="utf-8"))["turns"] if truth.is_file() else []
        said = {role: "".join(turn["text"] for turn in turns if turn["role"] == role) for role in channels}
        calls.append(Call(channels, said if turns else {}))
    return calls


def channels_of(calls: Sequence[Call]) -> Iterator[tuple[Samples, str]]:
    for call in calls:
        for role, samples in call.channels.items():
            yield samples, call.said.get(role, "")


def segments_of(call: Call) -> dict[Role, list[Segment]]:
    """The voice detector's segments, per role."""
    found: dict[Role, list[Segment]] = {role: [] for role in call.channels}
    detector = CallDetector(tuple(call.channels))
    seconds = range(0, max(map(len, call.channels.values())), 16_000)
    for start in seconds:
        for segment in detector.feed({role: all_[start : start + 16_000] for role, all_ in call.channels.items()}):
            found[segment.role].append(segment)
    for segment in detector.finish():
        found[segment.role].append(segment)
    return found


def han(text: str) -> str:
    return "".join(letter for letter in text if "\u4e00" <= letter <= "\u9fff")


def character_error_rate(said: Sequence[str], heard: Sequence[str]) -> float:
    edits = sum(Levenshtein.distance(han(one), han(other)) for one, other in zip(said, heard, strict=True))
    return edits / max(1, sum(len(han(one)) for one in said))


def float_samples(samples: Samples) -> NDArray[np.float32]:
    return samples.astype(np.float32) / 32768


# ---- their paths: the settings that are tried, the first being the defaults

Settings = Mapping[str, Any]
PLAIN = {"without_timestamps": True, "condition_on_previous_text": False}
PAUSES = {"min_silence_duration_ms": 500, "speech_pad_ms": 300}  # about where our detector cuts
HEARS_ALL = {"threshold": 0.15, "neg_threshold": 0.1}  # our detector's, once somebody speaks
TRANSCRIBE: dict[str, Settings] = {"defaults": {}, "no timestamps": PLAIN, "no fallback": {**PLAIN, "temperature": 0}}
TRANSCRIBE_VAD: dict[str, Settings] = {
    "defaults": {},
    "no timestamps": PLAIN,
    "chunks of 15 s": {**PLAIN, "temperature": 0, "chunk_length": 15},
    "chunks of 10 s": {**PLAIN, "temperature": 0, "chunk_length": 10},
}
BATCHED: dict[str, Settings] = {
    "defaults": {},
    "batches of 4": {"batch_size": 4},
    "batches of 16": {"batch_size": 16},
    "pauses of 0.5 s": {"vad_parameters": PAUSES},
    "chunks of 15 s": {"chunk_length": 15},
    "chunks of 10 s": {"chunk_length": 10},
    "chunks of 5 s": {"chunk_length": 5},
    "chunks of 10 s, batches of 16": {"chunk_length": 10, "batch_size": 16},
}
PER_TURN: dict[str, Settings] = {"defaults": {}, "no timestamps": {**PLAIN, "temperature": 0}}


@dataclass(frozen=True, slots=True)
class Rival:
    """One of faster-whisper's paths: run(settings) does all calls."""

    name: str
    settings: Mapping[str, Settings]
    run: Callable[[Settings], Measured]

    def defaults(self) -> Way:
        return Way(f"{self.name}, defaults", lambda: self.run(self.settings["defaults"]))

    def tried(self, said: Sequence[str] | None) -> Way:
        """The best of the settings, each run once."""
        ways = [Way(name, lambda more=more: self.run(more)) for name, more in self.settings.items()]  # type: ignore[misc]
        for way in ways:
            way.measure(said)
            cer = "" if way.cer is None else f", CER {way.cer:.1%}"
            print(
                f"tried {self.name}: {way.name}: wall {way.wall_s[0]:.1f} s, CPU {way.cpu_s[0]:.1f} s{cer}", flush=True
            )
        lowest = min(way.cer or 0.0 for way in ways)
        best = min((way for way in ways if (way.cer or 0.0) <= lowest + CLAIMABLE), key=lambda way: way.wall_s[0])
        return Way(f"{self.name}, best: {best.name}", best.run)


Theirs = tuple[str, Mapping[str, Settings], Callable[[Settings], list[str]]]  # name, settings, what does all calls


class Counting(WhisperModel):  # type: ignore[misc]
    """Counts the windows it encodes."""

    n_windows = 0

    def encode(self, features: NDArray[np.float32]) -> Any:
        self.n_windows += len(features) if features.ndim == 3 else 1
        return super().encode(features)


def serve_rivals(
    to_parent: Connection,
    model: Path,
    calls: list[Call],
    *,
    beam: int,
    cores: int,
    never: list[int] | None,
    in_short_turns: bool,
) -> None:
    """Life of the process that runs their paths: what there is, then each as it is asked for. never: see
    ``silence_ends_nothing``; None with a trained model"""
    whisper = Counting(str(model), device="cpu", compute_type="int8", cpu_threads=cores)
    if never is None:
        rivals = trained_rivals(whisper, calls, beam)
    else:
        rivals = random_rivals(whisper, calls, beam=beam, never=never, in_short_turns=in_short_turns)
    to_parent.send([(name, settings) for name, settings, _ in rivals])
    runs = {name: run for name, _, run in rivals}
    warm = set()
    while (asked := to_parent.recv()) is not None:
        name, settings = asked
        if str(asked) not in warm:  # caches, and the windows to count
            runs[name](settings)
            warm.add(str(asked))
        to_parent.send(timed(partial(runs[name], settings)))


@contextmanager
def rivals_beside(model: Path, calls: list[Call], **settings: Any) -> Iterator[list[Rival]]:
    """Their paths, in a process of their own. settings: of ``serve_rivals``"""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve_rivals, args=(theirs, model, calls), kwargs=settings, daemon=True)
    process.start()
    theirs.close()

    def run(name: str, settings: Settings) -> Measured:
        ours.send((name, settings))
        measured: Measured = ours.recv()
        return measured

    try:
        yield [Rival(name, settings, partial(run, name)) for name, settings in ours.recv()]
        ours.send(None)
    finally:
        ours.close()
        process.join()


def turns_of(calls: Sequence[Call]) -> list[list[Samples]]:
    """Per channel the audio of each turn, as our detector cuts it: what a loop over turns would pass on."""
    return [[one.samples for one in found if not one.gated] for call in calls for found in segments_of(call).values()]


# ---- with a trained model


def trained_ways(recogniser: WhisperRecogniser, calls: Sequence[Call]) -> list[Way]:
    calibrated = recogniser.info["window"] != "30s"

    def own(with_windows: WhisperRecogniser) -> list[str]:
        windows, ends = [], [0]
        for call in calls:
            for segments in segments_of(call).values():
                windows += windows_of(segments, with_windows.packer())
                ends.append(len(windows))
        heard = with_windows.recognise(windows)
        texts = ["".join(one.text for one in window if one is not None) for window in heard]
        return ["".join(texts[start:end]) for start, end in pairwise(ends)]

    exact = recogniser if calibrated else recogniser.with_window(500)
    return [
        Way("ours, exact" + ("" if calibrated else " (NOT calibrated)"), lambda: timed(lambda: own(exact))),
        Way("ours, safe", lambda: timed(lambda: own(recogniser.with_window("safe")))),
    ]


def trained_rivals(whisper: WhisperModel, calls: Sequence[Call], beam: int) -> list[Theirs]:
    batched = BatchedInferencePipeline(whisper)

    def text(transcribe: Callable[..., Any], samples: Samples, settings: Settings) -> str:
        found, _ = transcribe(float_samples(samples), language="zh", beam_size=beam, **settings)
        return "".join(segment.text for segment in found)

    def channels(transcribe: Callable[..., Any], settings: Settings, **more: Any) -> list[str]:
        return [text(transcribe, samples, {**more, **settings}) for samples, _ in channels_of(calls)]

    def turn_by_turn(settings: Settings) -> list[str]:
        return ["".join(text(whisper.transcribe, turn, settings) for turn in turns) for turns in turns_of(calls)]

    return [
        ("transcribe", TRANSCRIBE, lambda more: channels(whisper.transcribe, more)),
        ("transcribe, VAD", TRANSCRIBE_VAD, lambda more: channels(whisper.transcribe, more, vad_filter=True)),
        ("batched pipeline", BATCHED, lambda more: channels(batched.transcribe, more)),
        ("per turn", PER_TURN, turn_by_turn),
    ]


# ---- without one: the same windows and batches at a fixed number of tokens


@dataclass(frozen=True, slots=True)
class Work:
    """What there is to hear in calls: seconds of speech, of segments, of all channels."""

    turns: int
    speech_s: float
    channels_s: float

    @staticmethod
    def of(calls: Sequence[Call]) -> Work:
        segments = [one for call in calls for found in segments_of(call).values() for one in found if not one.gated]
        speech_s = sum(span.duration_ms for one in segments for span in one.speech) / 1000
        return Work(len(segments), speech_s, sum(len(samples) for samples, _ in channels_of(calls)) / 16_000)


def silence_ends_nothing(recogniser: WhisperRecogniser) -> list[int]:
    """Tokens that nobody may choose, so that every window is decoded to the end of its budget."""
    engine = recogniser._engine
    first_time = engine._tokenizer.timestamp_begin
    never = [engine._tokenizer.eot, *range(first_time, first_time + 1501)]
    engine._suppressed = [*engine._suppressed, *never]
    return never


def random_ways(recogniser: WhisperRecogniser, calls: Sequence[Call], work: Work) -> list[Way]:
    engine, beam = recogniser._engine, int(recogniser.info["beam_size"])

    def own(tail_ms: int | None, times: bool = True) -> list[str]:
        windows: list[Window] = []
        for call in calls:
            for segments in segments_of(call).values():
                packer = recogniser.with_window("safe").packer() if tail_ms is None else OneByOne()
                windows += [window for window in windows_of(segments, packer) if window.heard]
        tasks = [Task(window.samples(), tail_ms, beam) for window in windows]
        share = TOKENS_PER_SECOND * work.speech_s / sum(task.budget_s for task in tasks)
        engine._budget = lambda seconds: max(1, round(share * seconds))  # type: ignore[method-assign]
        engine.times_characters = times
        engine.decode(tasks)
        engine.times_characters = True
        return []

    return [
        Way("ours, exact", lambda: timed(lambda: own(500))),
        Way("ours, safe", lambda: timed(lambda: own(None))),
        Way("ours, exact, no character times", lambda: timed(lambda: own(500, times=False))),
    ]


def random_rivals(
    whisper: Counting, calls: Sequence[Call], *, beam: int, never: Sequence[int], in_short_turns: bool
) -> list[Theirs]:
    batched = BatchedInferencePipeline(whisper)
    tokens_in_all = TOKENS_PER_SECOND * Work.of(calls).speech_s
    per_window: dict[str, int] = {}

    def once(transcribe: Callable[..., Any], sounds: Iterable[Samples], tokens: int, settings: Settings) -> int:
        options: dict[str, Any] = {
            "language": "zh", "beam_size": beam, **PLAIN, "temperature": 0,
            "compression_ratio_threshold": None, "log_prob_threshold": None, "no_speech_threshold": None,
            "suppress_tokens": [-1, *never], "max_new_tokens": max(1, 2 * tokens - 4),  # the engine allows half and two
        }  # fmt: skip
        found = (transcribe(float_samples(samples), **{**options, **settings})[0] for samples in sounds)
        return sum(len(segment.tokens) for segments in found for segment in segments)

    def work_off(transcribe: Callable[..., Any], sounds: Sequence[Samples], **settings: Any) -> list[str]:
        key = f"{transcribe} {len(sounds)} {settings}"
        is_new = key not in per_window
        if is_new:
            before = whisper.n_windows
            once(transcribe, sounds, 1, settings)
            per_window[key] = max(1, round(tokens_in_all / (whisper.n_windows - before)))
        n_tokens = once(transcribe, sounds, per_window[key], settings)
        if is_new:
            print(f"{per_window[key]} tokens a window, {n_tokens} in all of {tokens_in_all:.0f}", flush=True)
        return []

    def channels() -> list[Samples]:
        return [samples for samples, _ in channels_of(calls)]

    def hearing(**settings: float) -> Settings:
        return {"vad_parameters": {**(HEARS_ALL if in_short_turns else {}), **settings}}

    packed = hearing(min_silence_duration_ms=160)  # their default
    sizes: dict[str, Settings] = {f"batches of {size}": {**packed, "batch_size": size} for size in (4, 16)}
    pauses: dict[str, Settings] = {"pauses of 0.5 s": hearing(**PAUSES)}
    transcribe = whisper.transcribe
    return [
        ("transcribe", {"defaults": {}}, lambda more: work_off(transcribe, channels(), **more)),
        (
            "transcribe, VAD",
            {"defaults": hearing(), **pauses},
            lambda more: work_off(transcribe, channels(), vad_filter=True, **more),
        ),
        (
            "batched pipeline",
            {"defaults": packed, **sizes, **pauses},
            lambda more: work_off(batched.transcribe, channels(), **more),
        ),
        (
            "per turn",
            {"defaults": {}},
            lambda more: work_off(transcribe, [turn for found in turns_of(calls) for turn in found], **more),
        ),
    ]


def in_short_turns(calls: Sequence[Call], mean_s: float) -> list[Call]:
    """The speech of each call anew in turns of half to one and a half times ``mean_s``, the sides taking turns with
    pauses of 0.3 to 1.1 s between."""
    chance, short = random.Random(1), []
    for call in calls:
        speech = np.concatenate([one.samples for found in segments_of(call).values() for one in found if not one.gated])
        channels: dict[Role, list[Samples]] = {role: [] for role in call.channels}
        roles, at = list(channels), 0
        while at < len(speech):
            length, pause = round(chance.uniform(0.5, 1.5) * mean_s * 16_000), round(chance.uniform(0.3, 1.1) * 16_000)
            turn = speech[at : at + length]
            at += length
            for role in roles:
                sound = turn if role is roles[0] else np.zeros_like(turn)
                channels[role] += [sound, np.zeros(pause, np.int16)]
            roles.reverse()
        short.append(Call({role: np.concatenate(parts) for role, parts in channels.items()}, {}))
    return short


def build_random(folder: Path) -> None:
    # a vocabulary with whole 汉字, as Whisper's has for the common ones
    build(folder, None, geometry=TINY, whole=sorted(set(COMMON_TEXT)), extra_tokens=50_000, quantization="int8")


# ---- the tables


def ratio(theirs: Way, ours: Way, of: Callable[[Way], list[float]]) -> str:
    if theirs.cer is not None and ours.cer is not None and abs(theirs.cer - ours.cer) > CLAIMABLE:
        return "-"
    return f"{statistics.median(a / b for a, b in zip(of(theirs), of(ours), strict=True)):.2f}x"


def show(ways: Sequence[Way], audio_s: float, title: str) -> None:
    table = Table(title=title)
    for heading in ("path", "CER", "wall s", "CPU s", "audio h/h", "exact is", "(CPU)", "safe is", "(CPU)"):
        table.add_column(heading, justify="left" if heading == "path" else "right")
    exact, safe = ways[:2]
    for way in ways:
        table.add_row(
            way.name,
            "" if way.cer is None else f"{way.cer:.1%}",
            f"{statistics.median(way.wall_s):.1f}",
            f"{statistics.median(way.cpu_s):.1f}",
            f"{audio_s / statistics.median(way.wall_s):.0f}",
            *(ratio(way, one, of) for one in (exact, safe) for of in (lambda p: p.wall_s, lambda p: p.cpu_s)),
        )
    Console(width=140).print(table)


def compare(ways: Sequence[Way], rivals: Sequence[Rival], said: Sequence[str] | None, rounds: int) -> list[Way]:
    """Measure all, interleaved; ours first in what is returned."""
    for way in ways:  # once unmeasured: caches, lazy imports
        way.run()
    all_ways = [*ways]
    for rival in rivals:
        best = rival.tried(said)
        all_ways += [rival.defaults()] if best.name.endswith("defaults") else [rival.defaults(), best]
    for number in range(rounds):
        for way in all_ways if number % 2 == 0 else reversed(all_ways):
            way.measure(said)
        print(f"round {number + 1} of {rounds}, load {os.getloadavg()[0]:.1f}", flush=True)
    return all_ways


def steps(recogniser: WhisperRecogniser, way: Way) -> str:
    """What one run of ours is made of: seconds gone by in each step of the engine, over its workers."""
    before = dict(recogniser.spent_s)
    began = time.process_time()
    way.run()
    spent = {step: seconds - before[step] for step, seconds in recogniser.spent_s.items()}
    cpu_s = time.process_time() - began
    told = ", ".join(f"{step} {seconds:.1f}" for step, seconds in spent.items())
    return f"{way.name}: {told} s; CPU {cpu_s:.1f} s, voice detection in it"


# ---- whole calls to reports


class Scripted(WhisperRecogniser):
    """Does the work of a random model, exact windows at a fixed number of tokens, and says what the script says: so the
    rules get real words at the price of a recogniser that nobody trained."""

    def __init__(self, folder: Path, recordings: Sequence[Recording], workers: int) -> None:
        super().__init__(open_folder(folder), device="cpu", workers=workers, threads=1, beam_size=1, window=500)
        silence_ends_nothing(self)
        self._said: dict[tuple[Role, Span, int], Utterance] = {}
        speech_s = windows_s = 0.0
        for recording in recordings:
            truth = Path(recording.tracks[0].path).parent / "truth.json"
            turns = json.loads(truth.read_text(encoding="utf-8"))["turns"]
            for segment in find_speech(recording):
                speech_s += sum(span.duration_ms for span in segment.speech) / 1000
                windows_s += Task(segment.samples, 500).budget_s
                if (utterance := scripted(segment, turns)) is not None:
                    self._said[_key(segment)] = utterance
        share = TOKENS_PER_SECOND * speech_s / windows_s
        self._engine._budget = lambda seconds: max(1, round(share * seconds))  # type: ignore[method-assign]

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        self._engine.decode([self._task(window) for window in windows if window.heard])
        return [tuple(self._said.get(_key(segment)) for segment in window.segments) for window in windows]


def _key(segment: Segment) -> tuple[Role, Span, int]:
    return segment.role, segment.span, zlib.crc32(segment.samples.tobytes())


def scripted(segment: Segment, turns: Sequence[Mapping[str, Any]]) -> Utterance | None:
    """The characters of the script that are spoken inside the segment."""
    inside = [
        (character, Span(*times))
        for turn in turns
        if turn["role"] == segment.role
        for character, times in zip(turn["text"], turn["chars"], strict=True)
        if segment.span.start_ms <= sum(times) / 2 < segment.span.end_ms
    ]
    if not inside or segment.gated:
        return None
    text, spans = "".join(character for character, _ in inside), tuple(span for _, span in inside)
    span = Span(spans[0].start_ms, spans[-1].end_ms)
    return Utterance(segment.role, span, text, 0.95, characters=spans, level_db=segment.level_db)


def score_scripted(model: Path, calls: Path, run: Path) -> None:
    """The pipeline's own work on this process' cores; times go to run.json. All calls are scored once before,
    unmeasured: most of a day's calls find the rules' expressions compiled."""
    cores = len(os.sched_getaffinity(0))
    recordings = find_recordings([calls]).recordings
    recogniser, pack = Scripted(model, recordings, cores), load_pack()
    for name, some in (("warm", recordings), ("run", recordings)):
        stages = Stages(recogniser)
        with RunFolder(run / name, {}) as folder:
            for outcome in score_recordings(some, recogniser, pack, folder, jobs=cores, stages=stages):
                if isinstance(outcome, Failure):
                    raise SystemExit(outcome.message)
            folder.note(stages=stages.summary())
    (run / "run.json").write_bytes((run / "run" / "run.json").read_bytes())


def scaling(model: str, calls: Path, most: int, *, is_random: bool) -> None:
    """Whole calls on the first 1, 2, ... cores; the stages from run.json."""
    what = (
        "random weights, whisper-tiny geometry, the script's words" if is_random else f"analyzer score --model {model}"
    )
    table = Table(title=f"{what}: {calls.name}")
    for heading in ("cores", "s", "times one core", "audio h/h", "rules", "the stages' shares of CPU time"):
        table.add_column(heading, justify="left" if "shares" in heading else "right")
    alone_s = None
    for cores in range(1, most + 1):
        with tempfile.TemporaryDirectory() as run:
            command = ["analyzer", "score", str(calls), "--model", model, "--run", run, "-q", "--offline"]
            if is_random:
                command = ["bench.batch", "--child", run, "--model", model, "--calls", str(calls)]
            affinity = sorted(os.sched_getaffinity(0))[:cores]
            subprocess.run(
                [sys.executable, "-m", *command],
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                preexec_fn=partial(os.sched_setaffinity, 0, affinity),
            )
            stages = json.loads((Path(run) / "run.json").read_text(encoding="utf-8"))["stages"]
        seconds, elapsed_s = stages["seconds"], stages["elapsed_s"]
        alone_s = alone_s or elapsed_s
        total = sum(seconds.values())
        shares = ", ".join(f"{stage} {spent / total:.1%}" for stage, spent in seconds.items())
        speed, rules = stages["audio_s"] / elapsed_s, seconds["rules"] / total
        row = (str(cores), f"{elapsed_s:.1f}", f"{alone_s / elapsed_s:.2f}", f"{speed:.0f}", f"{rules:.1%}", shares)
        table.add_row(*row)
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--calls", type=Path, default=Path(__file__).parent.parent / "samples")
    parser.add_argument("--beam", type=int, help="of all paths; default: beam 1, then each at its best")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=int, help="of the calls so many")
    parser.add_argument("--random", action="store_true", help="random weights of whisper-tiny's geometry")
    parser.add_argument("--turns", type=float, metavar="S", help="with --random: in turns of S seconds on average")
    parser.add_argument("--scaling", action="store_true", help="the whole command on 1, 2, ... cores")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    given = parser.parse_args()
    if given.device == "cuda":
        on_gpu()
        return
    if given.child:
        memory.settle(memory.FAST)
        score_scripted(Path(given.model), given.calls, given.child)
        return
    memory.settle(memory.FAST)
    with tempfile.TemporaryDirectory() as scratch:
        if given.random:
            build_random(Path(scratch))
        model = scratch if given.random else given.model
        if given.scaling:
            scaling(model, given.calls, len(os.sched_getaffinity(0)), is_random=given.random)
            return
        calls = read_calls(given.calls)[: given.only]
        if not calls:
            raise SystemExit(f"{given.calls}: no recordings")
        for beam in (given.beam,) if given.beam else (1, None):
            side_by_side(
                open_folder(Path(scratch)) if given.random else resolve(model, offline=True), calls, beam, given
            )


def side_by_side(model: ModelFolder, calls: list[Call], beam: int | None, given: argparse.Namespace) -> None:
    """One table. beam: of all; None: each at its best"""
    cores = len(os.sched_getaffinity(0))
    if given.random and given.turns:
        calls = in_short_turns(calls, given.turns)
    work = Work.of(calls)
    audio_s = sum(max(map(len, call.channels.values())) for call in calls) / 16_000
    said = [text for _, text in channels_of(calls)] if all(call.said for call in calls) and not given.random else None
    recogniser = WhisperRecogniser(model, device="cpu", beam_size=beam, workers=cores, threads=1)
    theirs = beam or 5  # their own default
    never = silence_ends_nothing(recogniser) if given.random else None
    ways = random_ways(recogniser, calls, work) if given.random else trained_ways(recogniser, calls)
    with rivals_beside(
        model.path, calls, beam=theirs, cores=cores, never=never, in_short_turns=bool(given.turns)
    ) as rivals:
        measured = compare(ways, rivals, said, given.rounds)
    name = "random weights, whisper-tiny geometry" if given.random else given.model
    beams = f"beam {beam}" if beam else f"each at its best (beam: ours {recogniser.info['beam_size']}, theirs {theirs})"
    spoken = f"{len(calls)} calls, {audio_s / 60:.0f} min, {work.turns} turns of {work.speech_s / work.turns:.1f} s"
    show(measured, audio_s, f"{name}: {spoken}, {beams}, {cores} cores")
    for way in measured[:2]:
        print(steps(recogniser, way))


# ---- on a GPU

TURBO = Geometry(mels=128, width=1280, encoder_layers=32, decoder_layers=4, heads=20)  # large-v3-turbo
HOUR_TOKENS = TOKENS_PER_SECOND * 3600


def on_gpu() -> None:
    """Batches of 30 s windows at 26 s of speech each: throughput beside what the arithmetic alone would take."""
    import ctranslate2  # noqa: PLC0415

    if not ctranslate2.get_cuda_device_count():
        raise SystemExit("no usable GPU here (driver, CUDA 12 with cuDNN 9): nothing measured, nothing claimed")
    peak = gemm_flops()
    with tempfile.TemporaryDirectory() as scratch:
        build(Path(scratch), None, geometry=TURBO, whole=sorted(set(COMMON_TEXT)), extra_tokens=50_000)
        table = Table(
            title=f"random weights, large-v3-turbo geometry, float16; square products reach {peak / 1e12:.0f} TFLOP/s"
        )
        for heading in ("batch", "s per speech hour", "speech h/h", "floor s", "times the floor"):
            table.add_column(heading, justify="right")
        for batch_size in (1, 8, 16, 32):
            table.add_row(*gpu_row(Path(scratch), batch_size, peak))
    Console(width=120).print(table)


def gpu_row(folder: Path, batch_size: int, peak: float) -> list[str]:
    recogniser = WhisperRecogniser(open_folder(folder), device="cuda", beam_size=1, batch_size=batch_size)
    silence_ends_nothing(recogniser)
    engine = recogniser._engine
    tokens = round(TOKENS_PER_SECOND * 26)
    engine._budget = lambda seconds: tokens  # type: ignore[method-assign]
    noise = np.random.default_rng(1).normal(0, 900, 26 * 16_000).astype(np.int16)
    tasks = [Task(noise, None, 1)] * (2 * batch_size + 8)
    engine.decode(tasks[:batch_size])
    began = time.perf_counter()
    engine.decode(tasks)
    per_hour = (time.perf_counter() - began) / len(tasks) / 26 * 3600
    floor = turbo_flops() / peak / 26 * 3600
    return [str(batch_size), f"{per_hour:.2f}", f"{3600 / per_hour:.0f}", f"{floor:.2f}", f"{per_hour / floor:.1f}"]


def turbo_flops() -> float:
    """Of one 30 s window: multiplications and additions of encoder, of cross-attention's keys and values, of 117 tokens
    decoded one by one and once more for their times."""
    width, positions, tokens, vocabulary = TURBO.width, 1500, TOKENS_PER_SECOND * 26, 51_866
    convolutions = 3 * width * (2 * positions * TURBO.mels + positions * width)
    encoder = TURBO.encoder_layers * (12 * positions * width**2 + 2 * positions**2 * width)
    keys = TURBO.decoder_layers * 2 * positions * width**2
    per_token = TURBO.decoder_layers * (14 * width**2 + 2 * positions * width) + vocabulary * width
    return 2 * (convolutions + encoder + 2 * keys + 2 * tokens * per_token)


def gemm_flops() -> float:
    """What this GPU reaches in float16 on products of 8192 x 8192, by torch: the floor is counted at this rate."""
    import torch  # noqa: PLC0415 - only where there is a GPU

    one = torch.randn(8192, 8192, dtype=torch.float16, device="cuda")
    for _ in range(3):
        one @ one
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(20):
        one @ one
    torch.cuda.synchronize()
    return 20 * 2 * 8192.0**3 / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
