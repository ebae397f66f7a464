"""Two people who talk, made of harmonics and formants: what tells them apart is pitch and the size of the mouth, and
every syllable is another vowel on another tone. Not words, but to spectral features much like them."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analyzer.types import Role, Span
from analyzer.vad import SAMPLE_RATE, Segment

SYLLABLE_MS = 200
_VOWELS_HZ = ((300, 2300, 3000), (650, 1100, 2500), (350, 800, 2400), (500, 1700, 2500), (400, 2000, 2600))
Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Voice:
    """pitch_hz on average; formants as many times as high as usual."""

    pitch_hz: float
    formants: float


LOW, HIGH = Voice(120, 0.92), Voice(210, 1.12)
ALIKE = replace(LOW, pitch_hz=150, formants=1.02)


def speak(voice: Voice, syllables: int, seed: int) -> Samples:
    """So many syllables without a pause, 16 kHz."""
    chance = np.random.default_rng(seed)
    return np.concatenate([_syllable(voice, chance) for _ in range(syllables)])


def _syllable(voice: Voice, chance: np.random.Generator) -> Samples:
    count = SYLLABLE_MS * SAMPLE_RATE // 1000
    rise = 2 ** (chance.uniform(-0.3, 0.3) + np.linspace(0, chance.uniform(-0.3, 0.3), count))
    phase = 2 * np.pi * np.cumsum(voice.pitch_hz * rise) / SAMPLE_RATE
    peaks = voice.formants * np.array(_VOWELS_HZ[chance.integers(len(_VOWELS_HZ))]) * chance.uniform(0.95, 1.05, 3)
    sound = np.zeros(count)
    for order in range(1, int(3800 / voice.pitch_hz)):
        loudness = sum(1 / (1 + ((order * voice.pitch_hz - peak) / 90) ** 2) for peak in peaks) + 0.01
        sound += loudness / order**0.5 * np.sin(order * phase)
    sound *= np.sin(np.linspace(0, np.pi, count)) ** 0.3
    noise = chance.normal(size=count)
    return np.asarray(3000 * sound / np.abs(sound).max() + 30 * noise, np.int16)


@dataclass(frozen=True, slots=True)
class Spoken:
    """Who spoke when: 0 or 1."""

    who: int
    span: Span


def conversation(voices: Sequence[Voice], turns: int = 10, *, pause_ms: int = 500) -> tuple[Samples, list[Spoken]]:
    """Voices in turn, so long and so short, with pauses of silence between."""
    parts: list[Samples] = []
    spoken: list[Spoken] = []
    at_ms = 0
    for turn in range(turns):
        words = speak(voices[turn % len(voices)], 8 + 3 * (turn % 4), seed=turn)
        end_ms = at_ms + len(words) * 1000 // SAMPLE_RATE
        spoken.append(Spoken(turn % 2, Span(at_ms, end_ms)))
        parts += [words, np.zeros(pause_ms * SAMPLE_RATE // 1000, np.int16)]
        at_ms = end_ms + pause_ms
    return np.concatenate(parts), spoken


def segments(samples: Samples, spans: Sequence[Span]) -> list[Segment]:
    """What a speech detector would make of it."""
    per_ms = SAMPLE_RATE // 1000
    cut = ((span, samples[span.start_ms * per_ms : span.end_ms * per_ms]) for span in spans)
    return [Segment(Role.UNKNOWN, span, own, (span,), -20.0) for span, own in cut]


def write(path: Path, samples: Samples) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(samples.tobytes())
    return path
