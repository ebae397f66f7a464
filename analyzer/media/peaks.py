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
_LOUDEST = 127

Steps = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Outline:
    """Part of a recording for drawing: ``lowest`` and ``highest`` hold, per role, -128..127 for each bucket."""

    start_ms: int
    end_ms: int
    lowest: dict[Role, list[int]]
    highest: dict[Role, list[int]]


@dataclass(frozen=True, slots=True)
class Peaks:
    """steps  int8, shape = (n_steps, n_channels, 2): lowest and highest sample of each 10 ms"""

    roles: tuple[Role, ...]
    duration_ms: int
    steps: Steps

    def outline(self, buckets: int, start_ms: int = 0, end_ms: int | None = None) -> Outline:
        """``buckets`` equal parts of a stretch; fewer where that is finer than 10 ms."""
        last = len(self.steps)
        first = min(max(0, start_ms // STEP_MS), last)
        stop = last if end_ms is None else min(max(first, -(-end_ms // STEP_MS)), last)
        edges = np.unique(np.linspace(first, stop, buckets + 1).astype(np.int64))[:-1]
        lowest: dict[Role, list[int]] = {role: [] for role in self.roles}
        highest: dict[Role, list[int]] = {role: [] for role in self.roles}
        if stop > first:
            part = self.steps[first:stop]
            for index, role in enumerate(self.roles):
                lowest[role] = np.minimum.reduceat(part[:, index, 0], edges - first).tolist()
                highest[role] = np.maximum.reduceat(part[:, index, 1], edges - first).tolist()
        return Outline(first * STEP_MS, min(stop * STEP_MS, self.duration_ms), lowest, highest)

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
    lowest, highest = steps.min(axis=1) >> 8, np.minimum(-(-steps.max(axis=1).astype(np.int32) >> 8), _LOUDEST)
    return np.stack([lowest, highest], axis=2).astype(np.int8)
