"""What a few headers and footers say that FFmpeg keeps to itself: how long the file should have been."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# Recorders that stream write a placeholder for the length and never come back to fill it in: 0, or close to the
# largest (un)signed number. A real recording of 2 GiB is 37 hours of stereo telephone audio.
_PLACEHOLDER_FROM = 0x7FFF_0000
_OGG_LAST_PAGE, _OGG_PAGE_HEADER = 0x04, 27
_OGG_LARGEST_PAGE = 65_307  # bytes


@dataclass(frozen=True, slots=True)
class WavHeader:
    """``present`` is the share of the declared sound that the file holds; 1 if the length is only a placeholder."""

    channels: int
    rate: int
    present: float


def read_wav_header(path: Path) -> WavHeader | None:
    """The header of a RIFF/WAVE file; None for any other file, and for one cut inside its header."""
    with path.open("rb") as file:
        riff = file.read(12)
        if riff[:4] != b"RIFF" or riff[8:12] != b"WAVE":
            return None
        channels = rate = 0
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                start = file.tell()
                held = file.seek(0, os.SEEK_END) - start
                return WavHeader(channels, rate, min(1.0, held / size) if 0 < size < _PLACEHOLDER_FROM else 1.0)
            if chunk[:4] == b"fmt ":
                fields = file.read(8)
                channels, rate = int.from_bytes(fields[2:4], "little"), int.from_bytes(fields[4:8], "little")
                file.seek(size - len(fields) + size % 2, os.SEEK_CUR)
            else:
                file.seek(size + size % 2, os.SEEK_CUR)
    return None


def has_frame_count(path: Path) -> bool:
    """Whether an MP3 says how many frames it has (Xing, Info or VBRI header): else its length is a guess."""
    with path.open("rb") as file:
        _skip_id3(file)
        start = file.read(1024)
    return any(mark in start for mark in (b"Xing", b"Info", b"VBRI"))


def _skip_id3(file: BinaryIO) -> None:
    header = file.read(10)
    if header[:3] != b"ID3" or len(header) < 10:
        file.seek(0)
        return
    size = 0
    for byte in header[6:10]:  # seven bits each
        size = size << 7 | byte & 0x7F
    file.seek(10 + size)


def ogg_is_complete(path: Path) -> bool:
    """Whether the file ends with a whole page marked as the last."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _OGG_LARGEST_PAGE))
        tail = file.read()
    start = tail.rfind(b"OggS")
    page = tail[start:] if start >= 0 else b""
    if len(page) < _OGG_PAGE_HEADER:
        return False
    n_segments = page[26]
    body = page[_OGG_PAGE_HEADER : _OGG_PAGE_HEADER + n_segments]
    whole = len(page) >= _OGG_PAGE_HEADER + n_segments + sum(body)
    return whole and bool(page[5] & _OGG_LAST_PAGE)
