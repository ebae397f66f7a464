"""Find speech in telephone audio: see docs/vad.md."""

from analyzer.vad.segment import SAMPLE_RATE, Segment

__all__ = ["SAMPLE_RATE", "Segment"]
