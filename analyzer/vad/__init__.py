"""Find speech in telephone audio, role by role: docs/vad.md says how and how well.

A ``CallDetector`` takes the blocks of a call and marks cross-talk; a ``SpeechDetector`` knows one role only.
"""

from analyzer.vad.crosstalk import CallDetector
from analyzer.vad.detector import SpeechDetector
from analyzer.vad.segment import SAMPLE_RATE, Segment

__all__ = ["SAMPLE_RATE", "CallDetector", "Segment", "SpeechDetector"]
