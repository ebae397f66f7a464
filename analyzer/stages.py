"""Where a run's time goes, stage by stage, in CPU seconds.

Threads of ours count their own CPU time. CTranslate2 computes in threads of its own, which cannot be asked: what the
process used beyond everything counted is theirs, shared out among encode, generate and align by how long each was
waited for. (The line that shows progress and the interpreter's own threads are in that remainder too; both are small.)
On a GPU those three stages are the seconds that went by while it worked: its work costs no CPU time worth telling.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from analyzer.asr import Recogniser

STAGES = ("decode", "vad", "features", "encode", "generate", "align", "text", "rules", "record", "show", "tables")
COMPUTED = ("encode", "generate", "align")  # elsewhere than in the threads that ask for it

_Thing = TypeVar("_Thing")


class Stages:
    """Counts from when it is made. Safe to use from several threads."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self.on_gpu = recogniser.plan.device != "cpu"
        self._counting = threading.Lock()
        self._counted_s = dict.fromkeys(STAGES, 0.0)
        self._began_cpu_s, self._began_s = time.process_time(), time.monotonic()
        self._spent_before, self._own_before = dict(recogniser.spent_s), dict(recogniser.own_cpu_s)
        self.audio_ms = 0

    @contextmanager
    def count(self, stage: str) -> Iterator[None]:
        """The calling thread's CPU time meanwhile belongs to ``stage``."""
        began = time.thread_time()
        try:
            yield
        finally:
            self.add(stage, time.thread_time() - began)

    def counted(self, stage: str, things: Iterable[_Thing], *, inside: str | None = None) -> Iterator[_Thing]:
        """The things, with the calling thread's CPU time for making each counted.

        inside  a stage that is being counted around this one, so that nothing counts twice
        """
        iterator = iter(things)
        while True:
            began = time.thread_time()
            try:
                thing = next(iterator)
            except StopIteration:
                return
            finally:
                seconds = time.thread_time() - began
                self.add(stage, seconds)
                if inside is not None:
                    self.add(inside, -seconds)
            yield thing

    def add(self, stage: str, seconds: float) -> None:
        with self._counting:
            self._counted_s[stage] += seconds

    def heard(self, ms: int) -> None:
        """So much more recording was decoded."""
        with self._counting:
            self.audio_ms += ms

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began_s

    def seconds(self) -> dict[str, float]:
        """Seconds per stage so far, in the order of ``STAGES``."""
        own = _since(self._own_before, self._recogniser.own_cpu_s)
        waited = _since(self._spent_before, self._recogniser.spent_s)
        with self._counting:
            counted = dict(self._counted_s)
        computed_s = time.process_time() - self._began_cpu_s - sum(counted.values())
        counted["text"] = max(0.0, counted["text"] - sum(own.values()))  # was counted around the recogniser
        steps_s = sum(waited.get(step, 0.0) for step in COMPUTED)
        for step, own_s in own.items():
            counted[step] += own_s
        for step in COMPUTED:
            share = waited.get(step, 0.0) / steps_s if steps_s else 0.0
            counted[step] = counted[step] + share * max(0.0, computed_s) if not self.on_gpu else waited.get(step, 0.0)
        return counted

    def summary(self) -> dict[str, object]:
        """For ``run.json``: seconds per stage, and what they are measured against."""
        return {
            "elapsed_s": round(self.elapsed_s, 3),
            "audio_s": round(self.audio_ms / 1000, 3),
            "computed_by": "gpu" if self.on_gpu else "cpu",
            "seconds": {stage: round(seconds, 3) for stage, seconds in self.seconds().items()},
        }


def _since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {step: seconds - before.get(step, 0.0) for step, seconds in now.items()}
