"""Packets of a call to its sample clock: 16 kHz samples per role, each at its place, what is missing filled with silence.

Pure: the time of arrival is an input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.types import Role

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Audio of some roles as it came.

    roles     one per column of ``samples``
    samples   int16 at the stream's rate, shape (n, len(roles))
    position  of the first sample since the start of the call, at the stream's rate; None: follows the last one
    """

    roles: tuple[Role, ...]
    samples: Samples = field(repr=False)
    position: int | None = None


class Intake:
    """Places the chunks of one call."""

    def __init__(self, rate: int, roles: Sequence[Role]) -> None:
        raise NotImplementedError

    def add(self, chunk: Chunk, now_ms: int) -> dict[Role, Samples]:
        """Samples at 16 kHz that are complete now, per role, each role's without a gap from the last time on."""
        raise NotImplementedError

    def flush(self, now_ms: int) -> dict[Role, Samples]:
        """What patience has run out for: silence where packets did not come in time, or where a role sends nothing."""
        raise NotImplementedError

    def finish(self) -> dict[Role, Samples]:
        """No more packets: what is left, all roles to the same length, resamplers drained."""
        raise NotImplementedError

    def resume(self, now_ms: int) -> None:
        """The sender is back and goes on from ``acked_ms``: the time it was away is no gap."""
        raise NotImplementedError

    def clock_ms(self, now_ms: int) -> int:
        """Call time now: how far the audio is, or would be had it come in time."""
        raise NotImplementedError

    @property
    def acked_ms(self) -> int:
        """Call time up to which all roles' audio has its place."""
        raise NotImplementedError

    @property
    def losses(self) -> dict[str, Any]:
        """``gaps`` and ``lost`` of a ``CallEvent``."""
        raise NotImplementedError

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the call is not there to be judged, in Chinese; empty if nothing."""
        raise NotImplementedError
