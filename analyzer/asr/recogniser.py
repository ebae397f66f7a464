"""The door every speech engine stands behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from analyzer.asr.windows import Packer, Window
    from analyzer.types import Utterance
    from analyzer.vad import Segment


class Recogniser(Protocol):
    """Speech segments to utterances. Safe to call from several threads."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What the report says of the recogniser: name, digest, window, compute type, notice. No path, no clock."""

    def packer(self) -> Packer:
        """Groups the segments of one channel into what is recognised at once: a new one for every channel."""

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        """Recognise windows of any channels and calls.

        returns  for each window, in order, one entry per segment of it: its utterance, or None where nothing was said
        """

    def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
        """What segments that still grow seem to say: quick, each alone, for eyes that want it early. No verdict rests
        on it. Segments of any channels and calls.

        returns  one entry per segment, in order
        """
