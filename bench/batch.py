"""Batch throughput: our path against faster-whisper's own, same calls, same model, same cores, interleaved.

    python -m bench.batch [--model demo] [--calls samples] [--beam 1] [--rounds 5]
    python -m bench.batch --random        # no trained model: whisper-tiny's geometry, 4.5 tokens per second of speech

Everybody begins with the decoded 16 kHz samples of every channel and ends with text; voice detection is part of the
price. Ours also gives character times (one more decoder pass), faster-whisper's paths do not. "exact" is ours with each
segment at its own length, which only a calibrated model gets; "safe" is ours with packed 30 s windows, which is what an
unknown model gets; "30 s a turn" pads each segment by itself, as a loop over turns would.

Ratios are medians over rounds; each round runs all paths, every other one backwards. CER over 汉字, micro-averaged, of
each channel against the script in truth.json. A ratio against a path whose CER differs by more than a point is not
claimed, and printed as "-". With --random there is no text and so no CER: each path decodes as many tokens as the
speech in its windows is worth at 4.5 tokens a second, and the ratios say what the windows and batches cost, no more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.table import Table

from analyzer.asr import WhisperRecogniser, Window
from analyzer.asr.engine import COMMON_TEXT, Task
from analyzer.asr.windows import OneByOne
from analyzer.asr.windows import windows as windows_of
from analyzer.audio import decode, find_recordings
from analyzer.models import ModelFolder, open_folder, resolve
from analyzer.types import Role
from analyzer.vad import CallDetector, Segment
from tests.random_whisper import TINY, build

TOKENS_PER_SECOND = 4.5  # of speech, on the telephone
CLAIMABLE = 0.01  # CERs that differ by more make a ratio meaningless

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Call:
    """One call's channels and, if known, what is said on each."""

    channels: Mapping[Role, Samples]
    said: Mapping[Role, str]


@dataclass(slots=True)
class Way:
    """One way to do the work: all calls in, the text of each channel out, in the order of ``channels_of``."""

    name: str
    run: Callable[[], list[str]]
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    cer: float | None = None

    def measure(self, said: Sequence[str] | None) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        heard = self.run()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)
        if said is not None:
            self.cer = character_error_rate(said, heard)


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


# ---- with a trained model


def trained_paths(model: ModelFolder, calls: Sequence[Call], beam: int, cores: int) -> list[Way]:
    ours = WhisperRecogniser(model, device="cpu", beam_size=beam, workers=cores, threads=1)
    calibrated = ours.info["window"] != "30s"
    whisper = WhisperModel(str(model.path), device="cpu", compute_type="int8", cpu_threads=cores)
    batched = BatchedInferencePipeline(whisper)
    options: dict[str, Any] = {"language": "zh", "beam_size": beam}

    def own(recogniser: WhisperRecogniser, alone: bool) -> list[str]:
        windows, ends = [], [0]
        for call in calls:
            for segments in segments_of(call).values():
                windows += windows_of(segments, OneByOne() if alone else recogniser.packer())
                ends.append(len(windows))
        heard = recogniser.recognise(windows)
        texts = ["".join(one.text for one in window if one is not None) for window in heard]
        return ["".join(texts[start:end]) for start, end in pairwise(ends)]

    def theirs(transcribe: Callable[..., Any], **more: Any) -> list[str]:
        texts = []
        for samples, _ in channels_of(calls):
            segments, _ = transcribe(float_samples(samples), **options, **more)
            texts.append("".join(segment.text for segment in segments))
        return texts

    exact = ours if calibrated else ours.with_window(500)
    return [
        Way("ours, exact" + ("" if calibrated else " (NOT calibrated)"), lambda: own(exact, alone=False)),
        Way("ours, safe", lambda: own(ours.with_window("safe"), alone=False)),
        Way("ours, 30 s a turn", lambda: own(ours.with_window("safe"), alone=True)),
        Way("transcribe", lambda: theirs(whisper.transcribe)),
        Way("transcribe, VAD", lambda: theirs(whisper.transcribe, vad_filter=True)),
        Way("batched pipeline", lambda: theirs(batched.transcribe, batch_size=8)),
    ]


# ---- without one: the same windows and batches at a fixed number of tokens


def random_paths(folder: Path, calls: Sequence[Call], beam: int, cores: int) -> list[Way]:
    ours = WhisperRecogniser(open_folder(folder), device="cpu", beam_size=beam, workers=cores, threads=1)
    engine = ours._engine
    first_time = engine._tokenizer.timestamp_begin
    never = [engine._tokenizer.eot, *range(first_time, first_time + 1501)]  # nobody stops early, nobody skips ahead
    engine._suppressed = [*engine._suppressed, *never]
    whisper = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=cores)
    batched = BatchedInferencePipeline(whisper)
    segments = [one for call in calls for found in segments_of(call).values() for one in found if not one.gated]
    speech_s = sum(span.duration_ms for one in segments for span in one.speech) / 1000
    everything_s = sum(len(samples) for samples, _ in channels_of(calls)) / 16_000

    def own(tail_ms: int | None, alone: bool) -> list[str]:
        windows: list[Window] = []
        for call in calls:
            for segments in segments_of(call).values():
                packer = ours.with_window("safe").packer() if tail_ms is None and not alone else OneByOne()
                found = windows_of(segments, packer)
                windows += [window for window in found if window.heard]
        tasks = [Task(window.samples(), tail_ms, beam) for window in windows]
        share = TOKENS_PER_SECOND * speech_s / sum(task.budget_s for task in tasks)
        engine._budget = lambda seconds: max(1, round(share * seconds))  # type: ignore[method-assign]
        engine.decode(tasks)
        return []

    def theirs(transcribe: Callable[..., Any], tokens: int, **more: Any) -> list[str]:
        options: dict[str, Any] = {
            "language": "zh", "beam_size": beam, "temperature": 0, "without_timestamps": True,
            "compression_ratio_threshold": None, "log_prob_threshold": None, "no_speech_threshold": None,
            "suppress_tokens": [-1, *never], "max_new_tokens": 2 * tokens - 4,  # the engine allows half of it and two
        }  # fmt: skip
        for samples, _ in channels_of(calls):
            for _ in transcribe(float_samples(samples), **options, **more)[0]:
                pass
        return []

    per_plain_window = round(TOKENS_PER_SECOND * speech_s / (everything_s / 30))
    per_full_window = round(TOKENS_PER_SECOND * 26)  # what a window packed by a voice detector holds
    return [
        Way("ours, exact", lambda: own(500, alone=True)),
        Way("ours, safe", lambda: own(None, alone=False)),
        Way("ours, 30 s a turn", lambda: own(None, alone=True)),
        Way("transcribe", lambda: theirs(whisper.transcribe, per_plain_window, condition_on_previous_text=False)),
        Way(
            "transcribe, VAD",
            lambda: theirs(whisper.transcribe, per_full_window, condition_on_previous_text=False, vad_filter=True),
        ),
        Way("batched pipeline", lambda: theirs(batched.transcribe, per_full_window, batch_size=8)),
    ]


def build_random(folder: Path) -> None:
    # a vocabulary with whole 汉字, as Whisper's has for the common ones
    build(folder, None, geometry=TINY, whole=sorted(set(COMMON_TEXT)), extra_tokens=50_000, quantization="int8")


# ---- the table


def ratio(theirs: Way, ours: Way, of: Callable[[Way], list[float]]) -> str:
    if theirs.cer is not None and ours.cer is not None and abs(theirs.cer - ours.cer) > CLAIMABLE:
        return "-"
    return f"{statistics.median(a / b for a, b in zip(of(theirs), of(ours), strict=True)):.2f}x"


def show(paths: Sequence[Way], audio_s: float, title: str) -> None:
    table = Table(title=title)
    for heading in ("path", "CER", "wall s", "CPU s", "audio h/h", "exact is", "(CPU)", "safe is", "(CPU)"):
        table.add_column(heading, justify="left" if heading == "path" else "right")
    exact, safe = paths[:2]
    for path in paths:
        table.add_row(
            path.name,
            "" if path.cer is None else f"{path.cer:.1%}",
            f"{statistics.median(path.wall_s):.1f}",
            f"{statistics.median(path.cpu_s):.1f}",
            f"{audio_s / statistics.median(path.wall_s):.0f}",
            *(ratio(path, one, of) for one in (exact, safe) for of in (lambda p: p.wall_s, lambda p: p.cpu_s)),
        )
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--calls", type=Path, default=Path(__file__).parent.parent / "samples")
    parser.add_argument("--beam", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--random", action="store_true", help="random weights of whisper-tiny's geometry")
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    calls = read_calls(given.calls)
    if not calls:
        raise SystemExit(f"{given.calls}: no recordings")
    known = all(call.said for call in calls) and not given.random
    said = [text for _, text in channels_of(calls)] if known else None
    audio_s = sum(max(map(len, call.channels.values())) for call in calls) / 16_000
    with tempfile.TemporaryDirectory() as scratch:
        if given.random:
            build_random(Path(scratch))
            paths = random_paths(Path(scratch), calls, given.beam, cores)
        else:
            paths = trained_paths(resolve(given.model, offline=True), calls, given.beam, cores)
        for path in paths:  # once unmeasured: caches, lazy imports
            path.run()
        for number in range(given.rounds):
            for path in paths if number % 2 == 0 else reversed(paths):
                path.measure(said)
    model = "random weights, whisper-tiny geometry" if given.random else given.model
    show(paths, audio_s, f"{model}: {len(calls)} calls, {audio_s / 60:.0f} min, beam {given.beam}, {cores} cores")


if __name__ == "__main__":
    main()
