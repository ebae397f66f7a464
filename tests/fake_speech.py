"""A recogniser that needs no model and a speech detector that needs no voice, for tests of what lies around them.

Recordings are tone bursts; a burst is a segment; what was "said" is a function of the burst's samples alone, as the
``Recogniser`` protocol demands.
"""

from __future__ import annotations

import time
import wave
import zlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.asr import Packer, Plan, Window
from analyzer.types import Role, Span, Utterance
from analyzer.vad import Segment

RATE = 8_000
SENTENCES = ("您好，云岭银行，很高兴为您服务。", "这不关我的事。", "好的，谢谢您。", "请问还有什么可以帮您？", "再见。")
Samples = NDArray[np.int16]


class FakeRecogniser:
    """``delay_s`` per call of ``recognise``; raises ``error`` for a window of a burst with the pitch ``poison_hz``."""

    def __init__(
        self,
        *,
        delay_s: float = 0.0,
        poison_hz: int | None = None,
        error: Exception | None = None,
        batch_size: int = 8,
    ) -> None:
        self.batches: list[int] = []
        self._batch_size = batch_size
        self._delay_s = delay_s
        self._poison_hz = poison_hz
        self._error = error or RuntimeError("您好")

    @property
    def info(self) -> Mapping[str, Any]:
        return {"name": "fake", "digest": "sha256:fake", "notice": "fake (tests only)"}

    @property
    def plan(self) -> Plan:
        return Plan("cpu", 1, 1, self._batch_size)

    @property
    def spent_s(self) -> Mapping[str, float]:
        return {}

    own_cpu_s = spent_s

    def kind(self, window: Window) -> Hashable:
        return len(window.segments)

    def packer(self) -> Packer:
        return _Pairs()

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        self.batches.append(len(windows))
        time.sleep(self._delay_s)
        return [tuple(self._utterance(segment) for segment in window.segments) for window in windows]

    def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
        return [self._utterance(segment) for segment in segments]

    def _utterance(self, segment: Segment) -> Utterance | None:
        if self._poison_hz is not None and abs(_pitch(segment.samples) - self._poison_hz) < 20:
            raise self._error
        number = zlib.crc32(segment.samples.tobytes())
        if number % 7 == 0:
            return None
        return Utterance(segment.role, segment.span, SENTENCES[number % len(SENTENCES)], confidence=0.9)


class _Pairs:
    """Two neighbours share a window, so that packing has something to get wrong."""

    def __init__(self) -> None:
        self._held: list[Segment] = []

    def feed(self, segment: Segment) -> list[Window]:
        self._held.append(segment)
        return self.finish() if len(self._held) == 2 else []

    def finish(self) -> list[Window]:
        held, self._held = self._held, []
        return [Window(tuple(held))] if held else []


class FakeCallDetector:
    """Stands for ``analyzer.vad.CallDetector``."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._detectors = {role: _Detector(role) for role in roles}

    def feed(self, block: Mapping[Role, Samples]) -> Iterator[Segment]:
        for role, samples in block.items():
            yield from self._detectors[role].feed(samples)

    def finish(self) -> Iterator[Segment]:
        for detector in self._detectors.values():
            yield from detector.finish()


class _Detector:
    """A segment per burst: what is louder than nothing, ended by 200 ms of silence."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._samples = np.zeros(0, np.int16)
        self._start_ms = 0

    def feed(self, samples: Samples) -> Iterator[Segment]:
        self._samples = np.concatenate([self._samples, samples])
        yield from self._cut(last=False)

    def finish(self) -> Iterator[Segment]:
        yield from self._cut(last=True)

    def _cut(self, *, last: bool) -> Iterator[Segment]:
        while True:
            frames = self._samples[: len(self._samples) // 160 * 160].astype(np.int32).reshape(-1, 160)
            loud = np.abs(frames).max(axis=1, initial=0) > 500
            begin = int(np.argmax(loud)) if loud.any() else len(loud)
            rest = loud[begin:]
            gap = next((at for at in range(len(rest) - 20) if not rest[at : at + 20].any()), None)
            if gap is None and not (last and rest.any()):
                return
            end = begin + (len(rest) if gap is None else gap)
            span = Span(self._start_ms + begin * 10, self._start_ms + end * 10)
            yield Segment(self._role, span, self._samples[begin * 160 : end * 160], (span,), -20.0)
            self._samples = self._samples[end * 160 :]
            self._start_ms += end * 10


def write_call(path: Path, seed: int, *, seconds: int = 12, poison_hz: int | None = None) -> Path:
    """A stereo wav of bursts, agent left and customer right in turn; the agent's last has the pitch ``poison_hz``."""
    random = np.random.default_rng(seed)
    stereo = np.zeros((seconds * RATE, 2), np.int16)
    at = RATE // 4
    turn = 0
    while at + RATE * 2 < len(stereo):
        length = int(random.integers(RATE // 4, RATE * 3 // 2))
        stereo[at : at + length, turn % 2] = _burst(length, int(random.integers(200, 900)))
        at += length + int(random.integers(RATE // 2, RATE))
        turn += 1
    if poison_hz is not None:
        stereo[-RATE - RATE // 2 : -RATE // 2, 0] = _burst(RATE, poison_hz)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(stereo.tobytes())
    return path


def _burst(length: int, pitch_hz: int) -> Samples:
    return (8000 * np.sin(2 * np.pi * pitch_hz * np.arange(length) / RATE)).astype(np.int16)


def _pitch(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples.astype(np.float64)))
    return float(np.argmax(spectrum) * 16_000 / len(samples))
