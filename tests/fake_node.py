"""What a node of a test cluster scores with: no model, no voice; imported by the worker processes too."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from analyzer import pipeline
from analyzer.asr import Window
from analyzer.types import Utterance
from tests import bucket
from tests.fake_speech import FakeCallDetector, FakeRecogniser

POISON_HZ = 1500


class _Deadly(FakeRecogniser):
    """Dies of a burst at POISON_HZ, as a process dies of a fault in native code."""

    digest = ""

    @property
    def info(self) -> Mapping[str, Any]:
        return {**super().info, "digest": self.digest}

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        try:
            return super().recognise(windows)
        except MemoryError:
            os.kill(os.getpid(), signal.SIGKILL)
            raise


def load_fake(delay_s: float = 0.0, *_: object, **__: object) -> FakeRecogniser:
    """delay_s: per batch; below zero: a model that no other process has"""
    bucket.register()
    pipeline.CallDetector = FakeCallDetector  # type: ignore[misc,assignment]
    recogniser = _Deadly(delay_s=max(0.0, delay_s), poison_hz=POISON_HZ, error=MemoryError())
    recogniser.digest = "sha256:fake" if delay_s >= 0 else f"sha256:{os.getpid()}"
    return recogniser
