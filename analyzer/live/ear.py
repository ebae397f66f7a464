"""One call's audio in; what is to be recognised, and how far each side is known, out. No thread, no clock.

Everything but the interim segments is a function of each role's own samples, however they are cut into pieces: so a
call that is played live is cut and grouped exactly as its recording would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzer.asr import Packer, Recogniser, Window
from analyzer.asr.windows import OneByOne
from analyzer.audio import SAMPLE_RATE, peak
from analyzer.types import Role, Span
from analyzer.vad import CallDetector, Segment
from analyzer.vad.endpoint import FRAME_MS
from analyzer.vad.segment import SAMPLES_PER_MS

BEFORE_MS = 500, 2_000  # before what is agreed on a partial begins: enough to find the seam, in a pause if there is one
GROWN_MS = 400  # a partial is worth its time when so much more has been said
SHORTEST_MS = 600  # voice in an open segment below which a partial says nothing


@dataclass(frozen=True, slots=True, eq=False)
class Ending(Segment):
    """The end of speech that goes on, which began at ``begun_ms``."""

    begun_ms: int = 0


def begun_ms(segment: Segment) -> int:
    """Where the speech began that this is, or is the end of."""
    return segment.begun_ms if isinstance(segment, Ending) else segment.span.start_ms


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a piece of audio brought.

    heard_ms   call time up to which all roles have come
    activity   voiced spans, unmerged, of segments that are complete
    windows    to be recognised, in order
    segments   complete speech whose window is not (30 s windows), for interim text
    settled    per role: all its speech that begins earlier was given out, in windows or segments
    voiced     roles that are speaking at this moment
    """

    heard_ms: int
    activity: tuple[tuple[Role, Span], ...] = ()
    windows: tuple[Window, ...] = ()
    segments: tuple[Segment, ...] = ()
    settled: Mapping[Role, int] = field(default_factory=dict)
    voiced: frozenset[Role] = frozenset()

    def says_more_than(self, before: Hearing) -> bool:
        """Whether more than time has passed."""
        if self.activity or self.windows or self.segments:
            return True
        return self.settled != before.settled or self.voiced != before.voiced


class Ear:
    """Hears one call. Memory: at most 17 s of each role, and of a 30 s window what is not given out yet."""

    def __init__(self, roles: Sequence[Role], recogniser: Recogniser) -> None:
        self._detector = CallDetector(roles)
        self._lines = {role: _Line(recogniser.packer()) for role in roles}
        self.peaks = dict.fromkeys(roles, 0)

    @property
    def duration_ms(self) -> int:
        """Of the longest role so far."""
        return max(line.n_samples for line in self._lines.values()) * 1000 // SAMPLE_RATE

    def hear(self, block: Mapping[Role, NDArray[np.int16]]) -> Hearing:
        """The next samples (int16, 16 kHz) of some or all roles, each role's in order and without a gap."""
        for role, samples in block.items():
            self._lines[role].n_samples += len(samples)
            self.peaks[role] = max(self.peaks[role], peak(samples))
        return self._hearing(list(self._detector.feed(block)), last=False)

    def finish(self) -> Hearing:
        """No more audio: whatever is open ends here."""
        return self._hearing(list(self._detector.finish()), last=True)

    def partial(self, role: Role, agreed_ms: int = 0) -> Segment | None:
        """The speech that goes on, if more of it has been said since the last time to be worth a look.

        agreed_ms  up to where it is known what was said: of what is before that only a bit is given
        """
        line = self._lines[role]
        whole, *voiced = self._detector.open_speech(role) or (None,)
        if whole is None:
            return None
        voiced_ms = sum(span.duration_ms for span in voiced)
        begun = whole.start_ms
        seen_ms = line.looked_at[1] if line.looked_at[0] == begun else 0
        if voiced_ms < SHORTEST_MS or voiced_ms - seen_ms < GROWN_MS:
            return None
        line.looked_at = begun, voiced_ms
        segment = self._detector.open_segment(role)
        assert segment is not None
        return _ending(segment, agreed_ms) if agreed_ms < segment.span.end_ms else segment

    def foreseen(self, role: Role) -> Window | None:
        """The window that will be given out if the silence that has begun goes on, once; None where windows hold more
        than one segment, or while nothing can be foreseen."""
        line = self._lines[role]
        if not isinstance(line.packer, OneByOne):
            return None
        if self._detector.foreseen_span(role) in (None, line.foreseen):
            return None
        segment = self._detector.foreseen_segment(role)
        if segment is None:
            return None
        line.foreseen = segment.span
        if segment.gated:
            return None
        line.looked_at = segment.span.start_ms, sum(span.duration_ms for span in segment.speech)
        return Window((segment,))

    def _hearing(self, segments: Sequence[Segment], *, last: bool) -> Hearing:
        windows: list[Window] = []
        for segment in segments:
            windows += self._lines[segment.role].packer.feed(segment)
        if last:
            for line in self._lines.values():
                windows += line.packer.finish()
        given = {id(segment) for window in windows for segment in window.segments}
        return Hearing(
            heard_ms=min(line.n_samples for line in self._lines.values()) * 1000 // SAMPLE_RATE,
            activity=tuple((s.role, span) for s in segments if not s.gated for span in s.speech),
            windows=tuple(windows),
            segments=tuple(s for s in segments if not s.gated and id(s) not in given),
            settled={role: self.duration_ms if last else self._detector.settled_ms(role) for role in self._lines},
            voiced=frozenset(role for role in self._lines if self._detector.is_open(role)),
        )


def _ending(segment: Segment, agreed_ms: int) -> Segment:
    """What is not agreed on yet, and some speech before it: from the quietest moment there, so that no word is cut."""
    least_ms, most_ms = BEFORE_MS
    earliest, latest = (max(0, agreed_ms - before_ms - segment.span.start_ms) for before_ms in (most_ms, least_ms))
    n_frames = (latest - earliest) // FRAME_MS
    if agreed_ms - most_ms < segment.span.start_ms or not n_frames:
        return segment
    size = FRAME_MS * SAMPLES_PER_MS
    first = earliest * SAMPLES_PER_MS
    frames = segment.samples[first : first + n_frames * size].astype(np.float32).reshape(n_frames, size)
    start_ms = earliest + int(np.argmin(np.einsum("ij,ij->i", frames, frames))) * FRAME_MS
    span = Span(segment.span.start_ms + start_ms, segment.span.end_ms)
    speech = tuple(Span(max(span.start_ms, s.start_ms), s.end_ms) for s in segment.speech if s.end_ms > span.start_ms)
    samples = segment.samples[start_ms * SAMPLES_PER_MS :]
    return Ending(segment.role, span, samples, speech, segment.level_db, begun_ms=segment.span.start_ms)


class _Line:
    """One role."""

    def __init__(self, packer: Packer) -> None:
        self.n_samples = 0
        self.looked_at = (-1, 0)  # start of the open segment last looked at, and how much voice it had
        self.foreseen: Span | None = None  # of the window foreseen last
        self.packer = packer
