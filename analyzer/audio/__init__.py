"""Recordings in: find them, decode them, one 16 kHz stream per speaker.

``finding``     the inputs of a command, folders, patterns and manifests -> recordings
``fetching``    a copy at hand of what lies elsewhere
``recordings``  one call's files and who speaks on which channel
``decoding``    a recording -> Blocks of at most a second; what was damaged, missing or silent
``sources``     one file -> samples at their true place, whatever container, codec and damage
"""

from analyzer.audio.decoding import FULL_SCALE, SAMPLE_RATE, Block, Decoder, Resampler, decode, peak, silence_warnings
from analyzer.audio.fetching import at_hand
from analyzer.audio.finding import MANIFEST_SUFFIXES, Found, find_recordings
from analyzer.audio.recordings import Layout, Recording, Track, missing_files, parse_layout, recording_digest

__all__ = [
    "FULL_SCALE",
    "MANIFEST_SUFFIXES",
    "SAMPLE_RATE",
    "Block",
    "Decoder",
    "Found",
    "Layout",
    "Recording",
    "Resampler",
    "Track",
    "at_hand",
    "decode",
    "find_recordings",
    "missing_files",
    "parse_layout",
    "peak",
    "recording_digest",
    "silence_warnings",
]
