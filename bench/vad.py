"""How well speech is found, and what it costs: the cascade against webrtcvad alone and Silero alone.

    python -m bench.vad [--clips FOLDER]

Same audio, one run. "webrtcvad" is mode 2 on 30 ms frames; "silero" is probability >= 0.5 per 32 ms window, four
windows to a run, state carried, as one would stream it; "cascade" is the voiced time of its segments.

* Not speech, 20 s each, made here: share of its time called speech (target of the cascade: at most 2 %).
* Speech, the calls in samples/ with the character times of truth.json: share of the characters' time called speech,
  characters of which more than half lies outside every segment, share of the time without speech called speech.
* Speech, espeak-ng at 60 to 350 字/分钟 over a telephone band at three levels: the same (needs libespeak-ng).
* Cost: CPU ms per second of audio on both legs of the sample calls (each leg is silent at least half its time).
* --clips: every recording in a folder, share of its time called speech.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import webrtcvad
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from analyzer.audio import decode, find_recordings, parse_layout
from analyzer.types import Role, Span
from analyzer.vad import SAMPLE_RATE, CallDetector, Segment, SpeechDetector
from analyzer.vad.silero import CONTEXT, WINDOW, SpeechModel

SAMPLES = Path(__file__).parent.parent / "samples"
SECONDS = 20
FRAME = 480
Wave = NDArray[np.float64]
Samples = NDArray[np.int16]
Spans = list[Span]


# ---- signals


def level(wave: Wave, db: float) -> Wave:
    """Scale to this level (RMS of what sounds, dB relative to full scale)."""
    sounding = wave[np.abs(wave) > 1e-9]
    return wave * 10 ** (db / 20) / np.sqrt(np.mean(np.square(sounding)))


def telephone(wave: Wave) -> Wave:
    return np.asarray(soxr.resample(soxr.resample(wave, SAMPLE_RATE, 8_000), 8_000, SAMPLE_RATE), np.float64)


def seconds(duration: float) -> Wave:
    return np.arange(int(duration * SAMPLE_RATE)) / SAMPLE_RATE


def tone(frequencies: Sequence[float], on: float = SECONDS, off: float = 0) -> Wave:
    """Sinusoids together, `on` seconds sounding and `off` seconds not."""
    at = seconds(SECONDS)
    return sum((np.sin(2 * np.pi * hz * at) for hz in frequencies), np.zeros(len(at))) * (at % (on + off) < on)


def dtmf(on: float, off: float, rng: np.random.Generator) -> Wave:
    at = seconds(on + off)
    keys = [(low, high) for low in (697, 770, 852, 941) for high in (1209, 1336, 1477, 1633)]
    n_presses = int(SECONDS / (on + off)) + 1
    pressed = [keys[i] for i in rng.integers(16, size=n_presses)]
    presses = [np.sin(2 * np.pi * np.multiply.outer(key, at)).sum(axis=0) * (at < on) for key in pressed]
    return np.concatenate(presses)[: SECONDS * SAMPLE_RATE]


def music(rng: np.random.Generator, *, decay: float, vibrato: float = 0) -> Wave:
    """Chords of a major scale, seven partials to a note; `decay` per second, `vibrato` in radians at 5.5 Hz."""
    wave, at = np.zeros(SECONDS * SAMPLE_RATE), 0.0
    while at < SECONDS - 2:
        root = 196 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9, 11, 12]) / 12)
        length = float(rng.choice([0.25, 0.5, 1.0]))
        beat = seconds(1.3 * length)
        envelope = np.minimum(1, beat / 0.02) * np.minimum(1, (beat[-1] - beat) / 0.05) * np.exp(-decay * beat)
        for step in (0, 4, 7):
            phase = 2 * np.pi * root * 2 ** (step / 12) * beat + vibrato * np.sin(2 * np.pi * 5.5 * beat)
            note = sum((np.sin(h * phase) / h**1.2 for h in range(1, 8)), np.zeros(len(beat)))
            start = int(at * SAMPLE_RATE)
            wave[start : start + len(beat)] += note * envelope
        at += length
    return wave


def noise(rng: np.random.Generator, tilt: float = 0) -> Wave:
    """White (`tilt` 0), pink (0.5) or brown (1) noise."""
    spectrum = np.fft.rfft(rng.standard_normal(SECONDS * SAMPLE_RATE))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20 * SECONDS) ** tilt
    return np.fft.irfft(spectrum)


def not_speech() -> Iterator[tuple[str, Samples]]:
    rng = np.random.default_rng(20)
    quiet = level(noise(rng), -60)
    band = {
        "ring-back 450 Hz 1 s / 4 s": tone([450], 1, 4),
        "busy 450 Hz .35 s / .35 s": tone([450], 0.35, 0.35),
        "ring-back 425 Hz 1 s / 3 s": tone([425], 1, 3),
        "dial tone 350 + 440 Hz": tone([350, 440]),
        "ring-back 440 + 480 Hz 2 s / 4 s": tone([440, 480], 2, 4),
        "busy 480 + 620 Hz .5 s / .5 s": tone([480, 620], 0.5, 0.5),
        "DTMF 100 / 100 ms": dtmf(0.1, 0.1, rng),
        "DTMF 50 / 50 ms": dtmf(0.05, 0.05, rng),
        "music, struck chords": music(rng, decay=2.5),
        "music, held chords": music(rng, decay=0),
        "music, vibrato": music(rng, decay=0, vibrato=0.6),
    }
    for name, wave in band.items():
        for db in (-12, -20, -35):
            yield f"{name}, {db} dBFS", to_int16(telephone(level(wave, db)) + quiet)
    yield (
        "ring-back 450 Hz in noise, 12 dB apart",
        to_int16(telephone(level(tone([450], 1, 4), -20)) + level(quiet, -32)),
    )
    for name, tilt in (("white", 0), ("pink", 0.5), ("brown", 1)):
        for db in (-20, -30, -40):
            yield f"{name} noise, {db} dBFS", to_int16(level(noise(rng, tilt), db))


def to_int16(wave: Wave) -> Samples:
    return np.clip(np.rint(wave * 32_767), -32_768, 32_767).astype(np.int16)


# ---- detectors: samples -> spans called speech


def by_webrtcvad(samples: Samples) -> Spans:
    vad = webrtcvad.Vad(2)
    starts = range(0, len(samples) - FRAME + 1, FRAME)
    return [
        Span(start // 16, start // 16 + 30)
        for start in starts
        if vad.is_speech(samples[start : start + FRAME].tobytes(), SAMPLE_RATE)
    ]


def by_silero(samples: Samples) -> Spans:
    model, step = SpeechModel(), 4 * WINDOW
    heard = np.concatenate([np.zeros(CONTEXT, np.int16), samples])
    runs = [
        model.probabilities(heard[start : start + CONTEXT + step]) for start in range(0, len(samples) - step + 1, step)
    ]
    return [Span(32 * i, 32 * i + 32) for i, probability in enumerate(np.concatenate(runs)) if probability >= 0.5]


def segments_of(samples: Samples) -> list[Segment]:
    detector = SpeechDetector(Role.AGENT)
    pieces = [samples[start : start + SAMPLE_RATE] for start in range(0, len(samples), SAMPLE_RATE)]
    return [segment for piece in pieces for segment in detector.feed(piece)] + list(detector.finish())


def by_cascade(samples: Samples) -> Spans:
    return [span for segment in segments_of(samples) for span in segment.speech]


DETECTORS: dict[str, Callable[[Samples], Spans]] = {
    "webrtcvad": by_webrtcvad,
    "silero": by_silero,
    "cascade": by_cascade,
}


# ---- speech with known times


@dataclass(frozen=True, slots=True)
class Spoken:
    """One leg and when each of its characters sounds."""

    samples: Samples
    characters: tuple[Span, ...]


@dataclass(slots=True)
class Score:
    """Sums over many legs, in ms but for characters."""

    spoken: int = 0
    found: int = 0
    still: int = 0
    false: int = 0
    characters: int = 0
    lost: int = 0

    def add(self, leg: Spoken, voiced: Spans, kept: Spans) -> None:
        """kept   what the recogniser gets: padding around the voiced spans included"""
        speech, called, heard = (mask(spans, len(leg.samples)) for spans in (leg.characters, voiced, kept))
        near = mask([Span(max(0, s.start_ms - 200), s.end_ms + 200) for s in leg.characters], len(leg.samples))
        self.spoken += int(speech.sum())
        self.found += int((speech & called).sum())
        self.still += int((~near).sum())
        self.false += int((~near & called).sum())
        audible = [span for span in leg.characters if span.duration_ms]
        self.characters += len(audible)
        self.lost += sum(heard[span.start_ms : span.end_ms].mean() < 0.5 for span in audible)

    def cells(self) -> list[str]:
        return [share(self.found, self.spoken), f"{self.lost} of {self.characters}", share(self.false, self.still)]


def mask(spans: Sequence[Span], n_samples: int) -> NDArray[np.bool_]:
    called = np.zeros(n_samples // 16, np.bool_)
    for span in spans:
        called[span.start_ms : span.end_ms] = True
    return called


def share(part: float, whole: float) -> str:
    return f"{part / whole:.2%}" if whole else "-"


def sample_legs() -> Iterator[tuple[dict[Role, Samples], dict[Role, Spoken]]]:
    """Each sample call: its legs, and the same with character times."""
    for truth_file in sorted(SAMPLES.glob("*/truth.json")):
        truth = json.loads(truth_file.read_text("utf-8"))
        legs = read(truth_file.parent / truth["audio"], parse_layout())
        yield (
            legs,
            {
                role: Spoken(samples, tuple(Span(*c) for t in truth["turns"] if t["role"] == role for c in t["chars"]))
                for role, samples in legs.items()
            },
        )


def read(path: Path, layout: object) -> dict[Role, Samples]:
    found = find_recordings([path], layout)  # type: ignore[arg-type]
    legs: dict[Role, list[Samples]] = {}
    for block in decode(found.recordings[0]):
        for role, samples in block.channels.items():
            legs.setdefault(role, []).append(samples)
    return {role: np.concatenate(pieces) for role, pieces in legs.items()}


def espeak_legs() -> Iterator[tuple[str, Spoken]]:
    """Six sentences per rate and level, two seconds apart."""
    from models.training.espeak import SAMPLE_RATE as ESPEAK_RATE  # noqa: PLC0415 - needs libespeak-ng
    from models.training.espeak import Espeak  # noqa: PLC0415

    espeak = Espeak()
    texts = ("您好，请问有什么可以帮您", "嗯", "对", "好", "我想查一下上个月的话费", "请您稍等，我马上为您核实")
    for wpm, gap in ((80, 45), (80, 15), (110, 0), (200, 0), (290, 0)):
        for db in (-15, -25, -40):
            rng, pieces, characters, at, rates = np.random.default_rng(wpm), [], [], 0, []
            for text in texts:
                for voice, pitch in (("f3", 50), ("m3", 35), ("m1", 45)):
                    speech = espeak.say(text, voice, wpm, pitch, gap)
                    wave = soxr.resample(speech.samples.astype(np.float64), ESPEAK_RATE, 8_000)
                    wave = level(np.asarray(soxr.resample(wave, 8_000, SAMPLE_RATE)), db)
                    characters += [Span(at + c.start_ms, at + c.end_ms) for c in speech.characters]
                    rates += [speech.characters_per_minute] if len(text) > 3 else []
                    pieces += [wave, np.zeros(16 * (-(-len(wave) // 16) + 2_000) - len(wave))]
                    at += (len(pieces[-1]) + len(wave)) // 16
            wave = np.concatenate(pieces)
            wave += 10 ** (-60 / 20) * rng.standard_normal(len(wave))
            yield f"{np.mean(rates):.0f} 字/分钟, {db} dBFS", Spoken(to_int16(wave), tuple(characters))


# ---- tables


def table_of_false_alarms(console: Console) -> None:
    table = Table("not speech", *DETECTORS, title="Share of its time called speech")
    for name, samples in not_speech():
        length_ms = len(samples) // 16
        table.add_row(name, *(share(mask(d(samples), len(samples)).sum(), length_ms) for d in DETECTORS.values()))
    console.print(table)


def table_of_speech(console: Console) -> None:
    table = Table("speech", "detector", "its time found", "characters lost", "silence called speech", title="Speech")
    scores = {name: Score() for name in (*DETECTORS, "cascade, cross-talk gated")}
    cpu = dict.fromkeys(scores, 0.0)
    audio_s = 0.0
    for legs, spoken in sample_legs():
        for leg in spoken.values():
            audio_s += len(leg.samples) / SAMPLE_RATE
            for name, detector in DETECTORS.items():
                start = time.process_time()
                spans = detector(leg.samples)
                cpu[name] += time.process_time() - start
                scores[name].add(leg, spans, spans)
        start = time.process_time()
        kept = [segment for segment in call_segments(legs) if not segment.gated]
        cpu["cascade, cross-talk gated"] += time.process_time() - start
        for role, leg in spoken.items():
            own = [segment for segment in kept if segment.role is role]
            voiced = [span for segment in own for span in segment.speech]
            scores["cascade, cross-talk gated"].add(leg, voiced, [segment.span for segment in own])
    for name, score in scores.items():
        table.add_row("samples/", name, *score.cells())
    for title, leg in espeak_legs():
        score = Score()
        segments = segments_of(leg.samples)
        score.add(leg, [s for segment in segments for s in segment.speech], [segment.span for segment in segments])
        table.add_row(title, "cascade", *score.cells())
    console.print(table)
    costs = Table(
        "detector", "CPU ms per audio second", "of silero", title=f"Cost, {audio_s / 60:.0f} min of sample legs"
    )
    for name, spent in cpu.items():
        costs.add_row(name, f"{1000 * spent / audio_s:.2f}", f"{spent / cpu['silero']:.2f}")
    console.print(costs)


def call_segments(legs: dict[Role, Samples]) -> list[Segment]:
    detector = CallDetector(tuple(legs))
    segments: list[Segment] = []
    for start in range(0, max(map(len, legs.values())), SAMPLE_RATE):
        segments += detector.feed({role: leg[start : start + SAMPLE_RATE] for role, leg in legs.items()})
    return segments + list(detector.finish())


def table_of_clips(console: Console, folder: Path) -> None:
    table = Table("clip", "s", *DETECTORS, title=f"Share of each clip called speech: {folder}")
    for path in sorted(file for file in folder.rglob("*") if file.suffix in {".wav", ".mp3", ".ogg", ".flac", ".opus"}):
        (samples,) = read(path, parse_layout(mono="mixed")).values()
        spans = [share(mask(d(samples), len(samples)).sum(), len(samples) / 16) for d in DETECTORS.values()]
        table.add_row(path.name, f"{len(samples) / SAMPLE_RATE:.1f}", *spans)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, help="also measure every recording in this folder")
    options = parser.parse_args()
    console = Console(width=120)
    table_of_false_alarms(console)
    table_of_speech(console)
    if options.clips:
        table_of_clips(console, options.clips)


if __name__ == "__main__":
    main()
