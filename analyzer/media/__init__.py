"""What the browser hears and draws of a recording: peaks, a copy it can play, clips with identifiers bleeped.

``folder``    made once, kept as files, made again if lost
``peaks``     the outline of the sound at any zoom
``playback``  Ogg/Opus copies, with or without bleeps, and clips cut out of them
``bleeps``    when the identifiers of a call are said
"""

from analyzer.media.bleeps import Said, bleep_spans
from analyzer.media.folder import MediaFolder, content_key, described, heard_roles, recording_of
from analyzer.media.peaks import Peaks

__all__ = [
    "MediaFolder",
    "Peaks",
    "Said",
    "bleep_spans",
    "content_key",
    "described",
    "heard_roles",
    "recording_of",
]
