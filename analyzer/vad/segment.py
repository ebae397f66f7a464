"""What the recogniser gets: one stretch of one role's audio that holds speech."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzer.types import Role, Span

SAMPLE_RATE = 16_000
SAMPLES_PER_MS = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """A stretch of speech to recognise, cut where this role was silent (or, after 15 s, where it was quietest).

    span      call time, exactly what `samples` covers; segments of one role never overlap
    samples   int16, 16 kHz, shape (16 * span.duration_ms,), read-only; begins up to 300 ms before the first voiced
              sample and ends up to 300 ms after the last one; zero where the other leg leaked beside own speech
    speech    voiced sub-spans inside `span`, in order, unmerged; never empty
    level_db  mean level of the voiced sub-spans in dB relative to full scale
    gated     the other leg's audio leaked into this one (cross-talk): neither decode it nor count it as activity
    """

    role: Role
    span: Span
    samples: NDArray[np.int16] = field(repr=False)
    speech: tuple[Span, ...]
    level_db: float
    gated: bool = False
