"""The media folder: what was made of recordings, by the digest of their content.

    media/ab/abcdef…/peaks            drawn
          playback.ogg                the copy for browsers
          playback-0123456789ab.ogg   the same with these stretches bleeped
          original-0.wav              the recording itself, where the import copies recordings

Everything but originals may be deleted at any time and is made again. A file is made by one request, others for it
wait, also those of other processes; it appears whole or not at all. Nobody else on the machine can read the folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import av
from filelock import FileLock

from analyzer.audio import Recording, Track, decode, recording_digest
from analyzer.errors import InputError, StoreError
from analyzer.media.peaks import Peaks, measure, read_peaks
from analyzer.media.playback import clip_of, cut, write_playback
from analyzer.types import Role, Span

ORIGINAL = "original"


def recording_of(call_id: str, described: Mapping[str, Any]) -> Recording:
    """A recording as a call describes it: ``tracks`` [{path, channels}], or ``paths`` and ``channels`` of all.

    raises InputError if that makes no sense
    """
    try:
        tracks = described.get("tracks") or _tracks(described["paths"], described["channels"])
        return Recording(
            call_id,
            tuple(Track(Path(track["path"]), tuple(Role(role) for role in track["channels"])) for track in tracks),
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{call_id}: its recording is described as {dict(described)}; import it again") from None


def _tracks(paths: Sequence[str], channels: Sequence[str]) -> list[dict[str, Any]]:
    if len(paths) == 1:
        return [{"path": paths[0], "channels": channels}]
    return [{"path": path, "channels": [role]} for path, role in zip(paths, channels, strict=True)]


def described(recording: Recording) -> dict[str, Any]:
    """The other way round."""
    tracks = [{"path": str(track.path), "channels": [role.value for role in track.roles]} for track in recording.tracks]
    return {
        "paths": [track["path"] for track in tracks],
        "channels": [role.value for role in recording.roles],
        "tracks": tracks,
    }


def heard_roles(recording: Recording) -> tuple[Role, ...]:
    """The channels of everything made of a recording: the agent left, the customer right, whatever the original has."""
    return tuple(sorted(recording.roles))


def content_key(recording: Recording) -> str:
    """Of the bytes and who is on which channel: equal recordings share what is made of them.

    raises InputError for a file that cannot be read
    """
    return _content_key(recording.tracks, tuple(_stamp(track.path) for track in recording.tracks))


@lru_cache(maxsize=10_000)  # reading a recording of two hours takes a second
def _content_key(tracks: tuple[Track, ...], stamps: tuple[tuple[int, int], ...]) -> str:
    return recording_digest(Recording("", tracks)).removeprefix("sha256:")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; check the path") from None
    return status.st_size, status.st_mtime_ns


class MediaFolder:
    """Thread-safe, and safe between processes. Every method raises InputError where the recording is missing or cannot
    be decoded, StoreError where the folder cannot be written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # ---- what is made of a recording

    def peaks(self, recording: Recording) -> Peaks:
        path = self.place(recording) / "peaks"
        try:
            return _peaks_of(path, _stamp(path))
        except (InputError, ValueError):
            path.unlink(missing_ok=True)
        self._make(path, lambda part: measure(decode(recording), heard_roles(recording)).write(part))
        return read_peaks(path)

    def playback(self, recording: Recording, bleeps: Sequence[Span] = ()) -> Path:
        """The copy for browsers, with these stretches bleeped. Made at some 200 times real time."""
        path = self._playback_path(recording, bleeps)
        self._make(path, lambda part: write_playback(decode(recording), heard_roles(recording), bleeps, part))
        return path

    def has_playback(self, recording: Recording, bleeps: Sequence[Span] = ()) -> bool:
        return self._playback_path(recording, bleeps).exists()

    def clip(self, recording: Recording, span: Span, bleeps: Sequence[Span] = ()) -> bytes:
        """A stretch as WAV, 16 kHz: cut out of the copy if there is one, else decoded up to its end."""
        path = self._playback_path(recording, bleeps)
        if path.exists():
            return cut(path, span)
        return clip_of(decode(recording), heard_roles(recording), span, bleeps)

    def _playback_path(self, recording: Recording, bleeps: Sequence[Span]) -> Path:
        return self.place(recording) / (f"playback-{_digest_of(bleeps)}.ogg" if bleeps else "playback.ogg")

    # ---- originals

    def keep(self, recording: Recording) -> Recording:
        """Copy the recording's files in; the recording as it lies here."""
        place = self.place(recording)
        tracks = []
        for index, track in enumerate(recording.tracks):
            path = place / f"{ORIGINAL}-{index}{track.path.suffix.lower()}"
            self._make(path, partial(_copy, track.path))
            tracks.append(Track(path, track.roles))
        return Recording(recording.call_id, tuple(tracks), recording.direction, recording.metadata)

    def originals(self, key: str, like: Recording) -> Recording | None:
        """The recording that was kept under a key, with the channels of ``like``; None if it is not here."""
        files = [path for path in self.files(key) if path.stem.startswith(f"{ORIGINAL}-")]
        if len(files) != len(like.tracks):
            return None
        by_number = sorted(files, key=lambda path: int(path.stem.partition("-")[2]))
        tracks = tuple(Track(path, track.roles) for path, track in zip(by_number, like.tracks, strict=True))
        return Recording(like.call_id, tracks, like.direction, like.metadata)

    def holds(self, recording: Recording) -> bool:
        """Whether its files are the copies in here."""
        return all(track.path.is_relative_to(self.path) for track in recording.tracks)

    # ---- files

    def place(self, recording: Recording) -> Path:
        return self.path_of(content_key(recording))

    def path_of(self, key: str) -> Path:
        return self.path / key[:2] / key

    def files(self, key: str) -> list[Path]:
        """What lies here of one recording, originals too."""
        folder = self.path_of(key)
        return sorted(path for path in folder.iterdir() if path.suffix != ".lock") if folder.is_dir() else []

    def forget(self, key: str) -> int:
        """Delete what lies here of one recording, originals too; the bytes that were freed."""
        freed = sum(path.stat().st_size for path in self.files(key))
        shutil.rmtree(self.path_of(key), ignore_errors=True)
        return freed

    def kept_keys(self) -> Iterator[tuple[str, datetime]]:
        """Of which recordings something lies here, and when the last of it was made."""
        for folder in sorted(self.path.glob("??/*")):
            changed = max((path.stat().st_mtime for path in folder.iterdir()), default=folder.stat().st_mtime)
            yield folder.name, datetime.fromtimestamp(changed, UTC)

    def size(self) -> tuple[int, int]:
        """Files and bytes."""
        sizes = [entry.stat().st_size for entry in self._everything()]
        return len(sizes), sum(sizes)

    def _everything(self) -> Iterator[Path]:
        return (path for path in self.path.rglob("*") if path.is_file() and path.suffix != ".lock")

    def _make(self, path: Path, write: Callable[[Path], None]) -> None:
        """Have ``path`` written unless it is there; whoever else wants it waits."""
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(path.with_name(path.name + ".lock"), mode=0o600):
                if path.exists():
                    return
                part = path.with_name(path.name + ".part")
                part.unlink(missing_ok=True)
                os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))
                try:
                    write(part)
                    part.replace(path)
                finally:
                    part.unlink(missing_ok=True)
        except (OSError, av.FFmpegError) as error:
            raise StoreError(f"{path}: {error}; free the disk, or name another folder in ANALYZER_MEDIA") from None


@lru_cache(maxsize=8)
def _peaks_of(path: Path, stamp: tuple[int, int]) -> Peaks:
    return read_peaks(path)


def _digest_of(bleeps: Sequence[Span]) -> str:
    spans = json.dumps([[span.start_ms, span.end_ms] for span in bleeps])
    return hashlib.sha256(spans.encode()).hexdigest()[:12]


def _copy(source: Path, part: Path) -> None:
    try:
        file = source.open("rb")
    except OSError as error:
        raise InputError(f"{source}: {error.strerror}; check the path") from None
    with file, part.open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())
