"""The door every speech engine stands behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from analyzer.asr.windows import Window
    from analyzer.types import Utterance
    from analyzer.vad import Segment


class Recogniser(Protocol):
    """Speech segments to utterances. Safe to call from several threads."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What the report says of the recogniser: name, digest, window, compute type, notice. No path, no clock."""

    def windows(self, segments: Iterable[Segment]) -> Iterator[Window]:
        """Group one channel's segments, given in order of time, into what is recognised at once.

        A window comes out as soon as no later segment can change it, and the last ones when ``segments`` ends; every
        segment is in exactly one, in order. Never mix two channels or two calls in one iterable.
        """

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        """Recognise windows of any channels and calls.

        returns  for each window, in order, one entry per segment of it: its utterance, or None where nothing was said
        """
