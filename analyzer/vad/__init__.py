"""Find speech in telephone audio, role by role: docs/vad.md says how and how well.

    detector = CallDetector((Role.AGENT, Role.CUSTOMER))
    for block in blocks:
        segments = list(detector.feed(block.channels))
    segments = list(detector.finish())
"""

from analyzer.vad.crosstalk import CallDetector
from analyzer.vad.detector import SpeechDetector
from analyzer.vad.segment import SAMPLE_RATE, Segment

__all__ = ["SAMPLE_RATE", "CallDetector", "Segment", "SpeechDetector"]
