"""Which segments are heard together, and whose each character is.

A 30 s window costs the same however little speech is in it, so neighbouring segments of a channel share one, with half
a second of silence between them. That is decided by the channel's own segments alone, first come first packed, never by
what happens to be waiting: load cannot change a result. The text that comes back is cut at the same seams: a piece of
text belongs to the segment whose *voiced* time it overlaps most. (The aligner gives the pause between two segments now
to the character before it, now to the one after; voiced time does not care.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from analyzer.asr.spelling import Character, TimedPiece, divide, is_silent
from analyzer.types import Span

if TYPE_CHECKING:
    from analyzer.vad import Segment

SAMPLES_PER_MS = 16
PAUSE_MS = 500  # silence between packed segments: a breath, so that the model does not join two sentences
LONGEST_MS = 28_000  # of 30 s: a window filled to the brim loses its last words
WIDEST_MS = 120_000  # call time from a window's first to its last segment, which bounds how late a live result can be

Samples = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Segments of one role in one call, in order of time, that the model hears at once."""

    segments: tuple[Segment, ...]

    @property
    def heard(self) -> tuple[Segment, ...]:
        """Those that are decoded: another leg's voice (``gated``) is not."""
        return tuple(segment for segment in self.segments if not segment.gated)

    @property
    def n_samples(self) -> int:
        """Length of ``samples``."""
        heard = self.heard
        return sum(len(segment.samples) for segment in heard) + max(0, len(heard) - 1) * PAUSE_MS * SAMPLES_PER_MS

    def samples(self) -> Samples:
        """What the model hears: int16 at 16 kHz."""
        pause = np.zeros(PAUSE_MS * SAMPLES_PER_MS, np.int16)
        parts = [part for segment in self.heard for part in (pause, segment.samples)]
        return np.concatenate(parts[1:]) if parts else np.zeros(0, np.int16)

    def offsets_ms(self) -> list[int]:
        """Where in ``samples`` each heard segment begins."""
        offsets, at = [], 0
        for segment in self.heard:
            offsets.append(at)
            at += len(segment.samples) // SAMPLES_PER_MS + PAUSE_MS
        return offsets


class Packer(Protocol):
    """Groups one channel's segments, given in order of time, into windows. Never mix two channels or two calls."""

    def feed(self, segment: Segment) -> list[Window]:
        """The windows that no later segment can change any more: each as soon as that is so, in order."""

    def finish(self) -> list[Window]:
        """No more segments: what is left."""


class OneByOne:
    """Each segment in a window of its own."""

    def feed(self, segment: Segment) -> list[Window]:
        return [Window((segment,))]

    def finish(self) -> list[Window]:
        return []


class Filling:
    """Fill windows with neighbouring segments of one channel, as they come.

    longest_ms  audio a window may hold, pauses included; a single longer segment gets a window of its own
    """

    def __init__(self, longest_ms: int = LONGEST_MS) -> None:
        self._longest_ms = longest_ms
        self._held: list[Segment] = []
        self._filled_ms = 0

    def feed(self, segment: Segment) -> list[Window]:
        more_ms = 0 if segment.gated else segment.span.duration_ms + PAUSE_MS
        full: list[Window] = []
        if self._held and not _fits(self._held, segment, self._filled_ms + more_ms - PAUSE_MS, self._longest_ms):
            full = self.finish()
        self._held.append(segment)
        self._filled_ms += more_ms
        return full

    def finish(self) -> list[Window]:
        held, self._held, self._filled_ms = self._held, [], 0
        return [Window(tuple(held))] if held else []


def windows(segments: Iterable[Segment], packer: Packer) -> Iterator[Window]:
    """All windows of one channel; every segment is in exactly one, in order."""
    for segment in segments:
        yield from packer.feed(segment)
    yield from packer.finish()


def _fits(held: Sequence[Segment], segment: Segment, filled_ms: int, longest_ms: int) -> bool:
    width_ms = segment.span.end_ms - held[0].span.start_ms
    return width_ms <= WIDEST_MS and (segment.gated or filled_ms <= longest_ms)


def hand_out(pieces: Sequence[TimedPiece], window: Window) -> list[list[Character]]:
    """Give each heard segment its characters, moved from window time to call time and onto its voiced time.

    pieces   of the whole window, times in ms from the window's start, in order
    returns  one list per heard segment; times in call ms, in order, from the segment's first voiced ms to its last
    """
    heard, offsets = window.heard, window.offsets_ms()
    shifts = [segment.span.start_ms - offset for segment, offset in zip(heard, offsets, strict=True)]
    shares: list[list[TimedPiece]] = [[] for _ in heard]
    for piece, owner in zip(pieces, _owners(pieces, heard, shifts), strict=True):
        shares[owner].append(piece.moved(shifts[owner]))
    return [_onto_voice(share, segment) for share, segment in zip(shares, heard, strict=True)]


def _owners(pieces: Sequence[TimedPiece], heard: Sequence[Segment], shifts: Sequence[int]) -> list[int]:
    """For each piece the place of its segment in ``heard``: never going back."""
    owners: list[int] = []
    for piece in pieces:
        if owners and is_silent(piece):
            owners.append(owners[-1])  # a full stop stays with its sentence, wherever the aligner put it
        else:
            at_least = owners[-1] if owners else 0
            owners.append(max(at_least, _best_owner(piece, heard, shifts)))
    return owners


def _best_owner(piece: TimedPiece, heard: Sequence[Segment], shifts: Sequence[int]) -> int:
    def closeness(place: int) -> tuple[int, int]:
        """More voiced time in common first, else less distance."""
        moved = piece.moved(shifts[place])
        own = heard[place].span
        start_ms = max(own.start_ms, moved.start_ms)
        shared = Span(start_ms, max(start_ms, min(own.end_ms, moved.end_ms)))
        voiced = sum(shared.overlap_ms(voice) for voice in heard[place].speech)
        middle = (moved.start_ms + moved.end_ms) // 2
        return voiced, -max(own.start_ms - middle, middle - own.end_ms, 0)

    return max(range(len(heard)), key=closeness)


def _onto_voice(pieces: Sequence[TimedPiece], segment: Segment) -> list[Character]:
    """Trim each piece to the voiced stretch it shares most time with, in order, and divide it into characters."""
    characters: list[Character] = []
    reached = (segment.speech or (segment.span,))[0].start_ms
    for piece in pieces:
        start_ms, end_ms = (reached, reached) if is_silent(piece) else _voiced_part(piece, segment)
        start_ms = max(reached, start_ms)
        reached = max(start_ms, end_ms)
        characters += divide(replace(piece, start_ms=start_ms, end_ms=reached))
    return characters


def _voiced_part(piece: TimedPiece, segment: Segment) -> tuple[int, int]:
    voices = segment.speech or (segment.span,)
    first_ms, last_ms = voices[0].start_ms, voices[-1].end_ms
    start_ms = min(max(piece.start_ms, first_ms), last_ms)
    end_ms = min(max(piece.end_ms, start_ms), last_ms)
    own = Span(start_ms, end_ms)
    voice = max(voices, key=own.overlap_ms)
    if not own.overlap_ms(voice):
        return start_ms, end_ms
    return max(start_ms, voice.start_ms), min(end_ms, voice.end_ms)
