"""A recording played as if it were being spoken: the blocks that ``analyzer score`` hears, in pieces of 20 ms, each
when it is due.

The clock of such a call is the recording's own: ``Player.now`` says how far it has been played, and the hub keeps time
by it. A machine that stumbles makes the play late, never the call: nothing is taken for missing, and the report is that
of ``analyzer score``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from analyzer.audio import SAMPLE_RATE, Block, Decoder, Recording
from analyzer.live.hub import Session
from analyzer.live.intake import Chunk

PIECE = SAMPLE_RATE // 50  # samples: 20 ms, as telephones send them
CUT_SHORT = "播放中途结束，之后的录音未播放"


class Player:
    """Plays one recording into one call.

    speed  1 is as it was spoken, 2 twice as fast
    clock  seconds, monotonic
    """

    def __init__(
        self, recording: Recording, *, speed: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._recording = recording
        self._speed = speed
        self._clock = clock
        self._played = 0  # samples
        self._over_at: float | None = None

    def now(self) -> float:
        """Seconds of the recording that have been played; goes on with the clock once it is over."""
        since = 0.0 if self._over_at is None else self._clock() - self._over_at
        return self._played / SAMPLE_RATE + since

    def play(self, session: Session, stopping: threading.Event) -> None:
        """Feed the call until the recording ends or ``stopping`` is set, then end it; a stop is stated in the report.

        raises InputError if the recording proves unusable; what was played is then reported as cut short
        """
        decoder = Decoder(self._recording)
        is_whole = False
        try:
            is_whole = self._feed(session, decoder, stopping)
        finally:
            self._over_at = self._clock()
            session.end(
                truncated=decoder.truncated or not is_whole,
                warnings=(*self._recording.warnings, *decoder.warnings, *(() if is_whole else (CUT_SHORT,))),
            )

    def _feed(self, session: Session, decoder: Decoder, stopping: threading.Event) -> bool:
        """returns whether all of it was played"""
        began = self._clock()
        for chunk in _pieces(decoder.blocks()):
            due = began + (self._played + len(chunk.samples)) / SAMPLE_RATE / self._speed
            if stopping.wait(max(0.0, due - self._clock())):
                return False
            self._played += len(chunk.samples)
            session.feed(chunk)
        return True


def _pieces(blocks: Iterator[Block]) -> Iterator[Chunk]:
    """Chunks of at most 20 ms, each with its place."""
    position = 0
    for block in blocks:
        samples = np.stack(list(block.channels.values()), axis=1)
        for start in range(0, len(samples), PIECE):
            piece = samples[start : start + PIECE]
            yield Chunk(tuple(block.channels), piece, position)
            position += len(piece)
