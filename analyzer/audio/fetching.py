"""Recordings that lie elsewhere: a copy on this machine's disk for as long as one is listened to."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from analyzer.audio.recordings import Recording, Track
from analyzer.errors import InputError
from analyzer.remote import asking, file_system

_SCRATCH = "analyzer-recording-"  # and the process that listens


@contextmanager
def at_hand(recording: Recording) -> Iterator[Recording]:
    """The recording with every file on this machine; what had to be fetched is removed at the end of the block.

    What the block says of a fetched file it says of the place it came from. raises InputError if one cannot be fetched
    """
    if not any(track.url for track in recording.tracks):
        yield recording
        return
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}{os.getpid()}-") as folder:
        tracks = tuple(_fetched(track, Path(folder, str(number))) for number, track in enumerate(recording.tracks))
        try:
            yield replace(recording, tracks=tracks)
        except InputError as error:
            message = str(error)
            for here, there in zip(tracks, recording.tracks, strict=True):
                message = message.replace(str(here.path), there.url or str(there.path))
            raise InputError(message) from None


def _fetched(track: Track, stem: Path) -> Track:
    if not track.url:
        return track
    path = stem.with_suffix(track.path.suffix)
    fs, place = file_system(track.url)
    try:
        with asking(track.url, InputError):
            fs.get_file(place, str(path))
    except FileNotFoundError:
        raise InputError(f"{track.url}: no such recording; check the address") from None
    return Track(path, track.roles)


@cache
def _sweep() -> None:
    """Once per process: remove copies that killed processes left behind, because they hold what people said."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        found = re.match(rf"{_SCRATCH}(\d+)-", folder.name)
        if found and not _is_running(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: int) -> bool:
    with suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True
