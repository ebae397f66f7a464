"""The recent past of a stream of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Tape:
    """Samples (int16) addressed by their place in the whole stream; before its start all is silent."""

    def __init__(self) -> None:
        self._samples: NDArray[np.int16] = np.zeros(0, np.int16)
        self._start = 0
        self.end = 0

    def append(self, samples: NDArray[np.int16]) -> None:
        self._samples = np.concatenate([self._samples, samples])
        self.end += len(samples)

    def read(self, start: int, count: int) -> NDArray[np.int16]:
        """A copy of `count` samples from `start` on, which may be negative; all of them still here."""
        assert start >= self._start or self._start == 0, "asked for samples that were forgotten"
        assert start + count <= self.end, "asked for samples that have not come"
        return self.read_padded(start, count)

    def read_padded(self, start: int, count: int) -> NDArray[np.int16]:
        """The same, with silence for samples that are not here."""
        copy = np.zeros(count, np.int16)
        first, last = max(start, self._start), min(start + count, self.end)
        if first < last:
            copy[first - start : last - start] = self._samples[first - self._start : last - self._start]
        return copy

    def forget(self, before: int) -> None:
        """Samples before this place are not asked for again."""
        if before > self._start:
            self._samples = self._samples[before - self._start :]
            self._start = before
