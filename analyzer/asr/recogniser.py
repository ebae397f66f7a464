"""The door every speech engine stands behind."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from analyzer.asr.windows import Packer, Window
    from analyzer.types import Utterance
    from analyzer.vad import Segment


@dataclass(frozen=True, slots=True)
class Plan:
    """How a recogniser uses the machine.

    device      cpu | cuda
    workers     batches computed at once
    threads     cores per batch; 0 on a GPU
    batch_size  windows decoded together, at most
    """

    device: str
    workers: int
    threads: int
    batch_size: int


class Recogniser(Protocol):
    """Speech segments to utterances. Safe to call from several threads."""

    @property
    def info(self) -> Mapping[str, Any]:
        """What the report says of the recogniser: name, digest, window, compute type, notice. No path, no clock."""

    @property
    def plan(self) -> Plan:
        """What whoever feeds it should know."""

    @property
    def spent_s(self) -> Mapping[str, float]:
        """Seconds that went by so far in its steps, by name, added up over threads."""

    @property
    def own_cpu_s(self) -> Mapping[str, float]:
        """CPU seconds of the threads that called it, by the same names."""

    def packer(self) -> Packer:
        """Groups the segments of one channel into what is recognised at once: a new one for every channel."""

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        """Recognise windows of any channels and calls.

        returns  for each window, in order, one entry per segment of it: its utterance, or None where nothing was said
        """

    def kind(self, window: Window) -> Hashable:
        """Windows of one kind are cheaper together; a call of ``recognise`` best holds one kind, up to a batch."""

    def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
        """What segments that still grow seem to say: quick, each alone, for eyes that want it early. No verdict rests
        on it. Segments of any channels and calls.

        returns  one entry per segment, in order
        """
