"""The outline of a recording: the lowest and highest sample of every 10 ms of every channel.

A 2-hour call of two channels is 3 MB of them; any part of it at any width is summed up from that in milliseconds. The
file is one line of JSON, then int8, shape = (n_steps, n_channels, 2).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.audio import SAMPLE_RATE, Block
from analyzer.types import Role

STEP_MS = 10
_STEP = SAMPLE_RATE * STEP_MS // 1000  # samples
_LOWEST, _HIGHEST = -128, 127

Steps = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Peaks:
    """steps  int8, shape = (n_steps, n_channels, 2): lowest and highest sample of each 10 ms"""

    roles: tuple[Role, ...]
    duration_ms: int
    steps: Steps

    def heights(self, buckets: int, from_ms: int, to_ms: int, role: Role | None = None) -> list[float]:
        """How loud each of equal parts of a stretch is: the furthest from silence that its samples get, 0 to 1.

        buckets  how many parts; fewer where they would be finer than 10 ms
        role     of this side, or the louder one
        """
        count = max(1, min(buckets, (to_ms - from_ms) // STEP_MS))
        edges = np.linspace(from_ms, to_ms, count + 1) / STEP_MS
        starts = np.floor(edges[:-1]).astype(np.int64)
        stops = np.maximum(starts + 1, np.floor(edges[1:]).astype(np.int64))
        channels = slice(None) if role is None else self.roles.index(role)
        part = self.steps[starts[0] : stops[-1], channels].reshape(-1, 1 if role else len(self.roles), 2)
        loudest = np.zeros(stops[-1] - starts[0], dtype=np.int16)  # after the end there is silence
        loudest[: len(part)] = np.abs(part.astype(np.int16)).max(axis=(1, 2))
        heights = np.maximum.reduceat(loudest, starts - starts[0]) / -_LOWEST
        return [round(height, 3) for height in heights.tolist()]

    def write(self, path: Path) -> None:
        head = {"roles": self.roles, "duration_ms": self.duration_ms, "step_ms": STEP_MS, "steps": len(self.steps)}
        with path.open("wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(np.ascontiguousarray(self.steps).tobytes())


def read_peaks(path: Path) -> Peaks:
    """raises ValueError if the file is not whole"""
    with path.open("rb") as file:
        head: dict[str, Any] = json.loads(file.readline())
        steps = np.frombuffer(file.read(), dtype=np.int8)
    roles = tuple(Role(role) for role in head["roles"])
    return Peaks(roles, head["duration_ms"], steps.reshape(head["steps"], len(roles), 2))


def measure(blocks: Iterable[Block], roles: tuple[Role, ...]) -> Peaks:
    """The peaks of a recording, a second of it in memory at a time."""
    pieces = [np.zeros((0, len(roles), 2), dtype=np.int8)]
    n_samples = 0
    for block in blocks:
        samples = np.stack([block.channels[role] for role in roles], axis=1)
        n_samples += len(samples)
        pieces.append(_steps_of(samples))
    return Peaks(roles, n_samples * 1000 // SAMPLE_RATE, np.concatenate(pieces))


def _steps_of(samples: NDArray[np.int16]) -> Steps:
    short = -len(samples) % _STEP
    if short:
        samples = np.pad(samples, ((0, short), (0, 0)), mode="edge")
    steps = samples.reshape(-1, _STEP, samples.shape[1])
    lowest, highest = steps.min(axis=1) >> 8, np.minimum(-(-steps.max(axis=1).astype(np.int32) >> 8), _HIGHEST)
    return np.stack([lowest, highest], axis=2).astype(np.int8)
