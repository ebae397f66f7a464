"""A whole call: one detector per role, and what one leg hears of the other marked as such.

A leg that leaks carries a fainter copy of the other one, some milliseconds late. Faint alone proves nothing (a customer
who murmurs 嗯 while the agent talks is faint too), so two things must hold for a voiced span: the other leg is at
least 10 dB louder, and its waveform, at the delay that fits best, explains much of this one's. Marking never moves a
cut: where segments begin and end is each role's own affair. A copy beside own speech is silenced in place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analyzer.types import Role, Span
from analyzer.vad.detector import SpeechDetector, level_db
from analyzer.vad.segment import SAMPLES_PER_MS, Segment
from analyzer.vad.tape import Tape

LOUDER_DB = 10.0  # the other leg, over the same time, at least
ALIKE = 0.3  # squared correlation of copy and original: 0.9 on one switch, half after two codecs, unlike voices < 0.1
LATEST_MS = 250  # delay of a copy: up to here an acoustic echo, near 0 a leak in the line
EARLIEST_MS = -20  # recorders do not start both legs on the same sample
LEAKED_SHARE = 0.8  # of a segment's voiced time, to gate it


class CallDetector:
    """Finds the speech of all roles of a call, which advance together.

    Gating needs the other legs up to the segment's end and 20 ms more; a segment waits until they have come that far.
    Memory: 17 s of each leg.
    """

    def __init__(self, roles: Sequence[Role]) -> None:
        self._legs = {role: _Leg(role) for role in roles}

    def settled_ms(self, role: Role) -> int:
        """Every segment of this role that begins before this moment has been given out."""
        leg = self._legs[role]
        waiting = (segment.span.start_ms for segment in leg.waiting)
        return min([leg.detector.settled_ms, *waiting])

    def open_segment(self, role: Role) -> Segment | None:
        """What this role is saying now, with what leaks from the other legs in it; None while it is silent."""
        return self._legs[role].detector.open_segment()

    def open_speech(self, role: Role) -> Sequence[Span]:
        """The span of ``open_segment``, and those voiced in it; empty while this role is silent."""
        return self._legs[role].detector.open_speech

    def foreseen_span(self, role: Role) -> Span | None:
        """The span of ``foreseen_segment``, if there is one or will be once the other legs have come so far."""
        return self._legs[role].detector.foreseen_span

    def foreseen_segment(self, role: Role) -> Segment | None:
        """What this role's open speech will be given out as if the silence that has begun goes on. None if it has not
        begun, or if more of the other legs is needed to tell."""
        segment = self._legs[role].detector.foreseen_segment()
        others = [leg for other, leg in self._legs.items() if other is not role]
        if segment is None or not all(other.has_come_to(segment.span.end_ms) for other in others):
            return None
        return _without_copies(segment, others)

    def is_open(self, role: Role) -> bool:
        """Is this role speaking, as far as is decided?"""
        return self._legs[role].detector.is_open

    def feed(self, block: Mapping[Role, NDArray[np.int16]]) -> Iterator[Segment]:
        """Hear the next samples (int16, 16 kHz) of some or all roles; exhaust the iterator before the next call."""
        for role, samples in block.items():
            self._legs[role].hear(samples)
        yield from self._release()

    def finish(self) -> Iterator[Segment]:
        """No more audio: what is still open ends here."""
        for leg in self._legs.values():
            leg.waiting.extend(leg.detector.finish())
            leg.finished = True
        yield from self._release()

    def _release(self) -> Iterator[Segment]:
        for leg in self._legs.values():
            others = [other for other in self._legs.values() if other is not leg]
            while leg.waiting and all(other.has_come_to(leg.waiting[0].span.end_ms) for other in others):
                yield _without_copies(leg.waiting.popleft(), others)
        needed_ms = min(leg.needed_ms for leg in self._legs.values())
        for leg in self._legs.values():
            leg.forget(needed_ms)


class _Leg:
    """One role: its detector, its recent audio, its segments that wait for the other legs."""

    def __init__(self, role: Role) -> None:
        self.detector = SpeechDetector(role)
        self.waiting: deque[Segment] = deque()
        self.finished = False
        self._tape = Tape()

    def hear(self, samples: NDArray[np.int16]) -> None:
        self._tape.append(samples)
        self.waiting.extend(self.detector.feed(samples))

    def has_come_to(self, moment_ms: int) -> bool:
        """All that ``around`` a span with this end asks for is here, so that the size of blocks does not matter."""
        return self.finished or self._tape.end >= (moment_ms - EARLIEST_MS) * SAMPLES_PER_MS

    @property
    def needed_ms(self) -> int:
        """From here on the other legs may still be asked for."""
        return self.waiting[0].span.start_ms if self.waiting else self.detector.settled_ms

    def forget(self, needed_ms: int) -> None:
        self._tape.forget((needed_ms - LATEST_MS) * SAMPLES_PER_MS)

    def around(self, span: Span) -> NDArray[np.float32]:
        """This leg from LATEST_MS before `span` to -EARLIEST_MS after it; silence where there is none."""
        start = (span.start_ms - LATEST_MS) * SAMPLES_PER_MS
        count = (span.duration_ms + LATEST_MS - EARLIEST_MS) * SAMPLES_PER_MS
        return self._tape.read_padded(start, count).astype(np.float32)


def _without_copies(segment: Segment, others: Sequence[_Leg]) -> Segment:
    """The segment, gated if most of its voiced time is a copy of another leg; of a lesser part the samples are silenced
    and the time is no longer voiced, so that nobody is credited with what the other one said."""
    copies = [span for span in segment.speech if any(_is_copy(segment, span, other) for other in others)]
    if not copies:
        return segment
    if _total_ms(copies) >= LEAKED_SHARE * _total_ms(segment.speech):
        return replace(segment, gated=True)
    samples = segment.samples.copy()
    for span in copies:
        start, end = ((moment - segment.span.start_ms) * SAMPLES_PER_MS for moment in (span.start_ms, span.end_ms))
        samples[start:end] = 0
    samples.flags.writeable = False
    own = tuple(span for span in segment.speech if span not in copies)
    return replace(segment, samples=samples, speech=own, level_db=level_db(samples, own, segment.span.start_ms))


def _total_ms(spans: Sequence[Span]) -> int:
    return sum(span.duration_ms for span in spans)


def _is_copy(segment: Segment, span: Span, other: _Leg) -> bool:
    offset = (span.start_ms - segment.span.start_ms) * SAMPLES_PER_MS
    own = segment.samples[offset : offset + span.duration_ms * SAMPLES_PER_MS].astype(np.float32)
    theirs = other.around(span)
    own_energy = float(np.dot(own, own))
    energies = _running_sum(np.square(theirs, dtype=np.float64), len(own))
    floor = own_energy * 10 ** (LOUDER_DB / 10)
    if energies.max() < floor:
        return False
    products = _correlate(theirs, own)
    alike = np.where(energies >= floor, products**2 / np.maximum(energies * own_energy, 1.0), 0.0)
    return float(alike.max()) >= ALIKE


def _running_sum(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Sum of every `length` neighbours; shape (len(values) - length + 1,)."""
    total = np.concatenate([np.zeros(1), np.cumsum(values)])
    sums: NDArray[np.float64] = total[length:] - total[:-length]
    return np.maximum(sums, 0.0)


def _correlate(theirs: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[np.float64]:
    """Product of `own` with every stretch of `theirs` of its length, by way of the spectrum."""
    size = 1 << (len(theirs) - 1).bit_length()
    spectrum = np.fft.rfft(theirs, size) * np.conj(np.fft.rfft(own, size))
    return np.asarray(np.fft.irfft(spectrum, size)[: len(theirs) - len(own) + 1], np.float64)
