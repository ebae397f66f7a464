"""What a run folder lies on: a disk, or an object store that can neither append, rename nor lock.

Both promise the run folder (``analyzer.runs``) the same: reports are whole or absent, journal lines are kept in order
and for good once ``append`` returns, and of two writers one is stopped before it can do harm.

**On a disk** the journal is one file that grows by one ``write`` per entry or group of entries, reports appear by
renaming, and the journal is locked (``flock``; over NFS from version 4 on) as long as the run is open.

**In an object store** every entry or group of entries is an object of its own, ``journal/000000017.jsonl``, made with a
conditional PUT that fails if the number is taken. That is the lock, too: who opens a run takes the next number, so that
a writer that was there before fails at its next entry, whatever it believes, and stops. Numbers are never used again
and nothing is deleted. A report is put under its final name before its entry is made; killed in between, the call has
no entry and is scored again, to the same bytes. At the end all entries are also put together as ``journal.jsonl``: with
it a run that is copied to a disk is an ordinary run folder, and opening reads one object instead of thousands.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl  # not on Windows: a run folder needs a POSIX system
import json
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from analyzer.errors import StoreError
from analyzer.remote import asking, file_system, is_url

JOURNAL = "journal.jsonl"
REPORTS = "reports"
SEGMENTS = "journal"
MERGED = "merged"  # event of the last line of a journal put together, with the number of its last segment
_AT_ONCE = 64  # objects asked for together
_SYNCS = 16  # on a disk; beyond, file systems commit no more of them together
_RECENT = 256  # reports kept in memory, because they are mostly shown as soon as they are written


class Storage(Protocol):
    """Names are relative to the run, with slashes. Every method raises StoreError where the place refuses."""

    place: str

    def journal(self) -> Iterator[tuple[str, str]]:
        """Every line so far with its place, once, after opening and before anything is appended."""

    def append(self, lines: bytes) -> None:
        """Add whole lines. On return they are durable; torn, a beginning of them is kept."""

    def stage(self, name: str, content: bytes) -> None:
        """Keep a report so that ``publish`` can only succeed. On return it is durable."""

    def publish(self, name: str) -> None:
        """Let the staged report be read under its name."""

    def stage_all(self, contents: Mapping[str, bytes]) -> None:
        """``stage`` of many reports side by side."""

    def publish_all(self, names: Sequence[str]) -> None:
        """``publish`` of many reports that were staged."""

    def staged(self, name: str) -> bytes | None:
        """What was staged and not published by a process that died."""

    def read(self, name: str) -> bytes | None:
        """None if there is no such thing."""

    def read_all(self, names: Sequence[str]) -> Iterator[bytes]:
        """Many things, in that order, few in memory at a time."""

    def remove(self, name: str) -> None:
        """Remove a thing if it is there."""

    def write(self, name: str, content: bytes) -> None:
        """Replace a thing as a whole."""

    def folder(self) -> contextlib.AbstractContextManager[Path]:
        """A folder of this machine; files that are in it at the end of the block belong to the run."""

    def seal(self) -> None:
        """All is written."""

    def close(self) -> None:
        """Give the run free."""


def storage_at(place: str | Path) -> Storage:
    """Open the place of a run for writing, making it if it is not there.

    raises StoreError if it is taken or refuses; ConfigError for a kind of place nobody knows
    """
    return Bucket(place) if isinstance(place, str) and is_url(place) else Disk(Path(place))


class Disk:
    """A folder. ``path``: the same as ``place``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = str(path)
        with disk_errors(path):
            (path / REPORTS).mkdir(parents=True, exist_ok=True)
            self._journal = os.open(path / JOURNAL, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._journal)
            raise StoreError(
                f"{path}: another process is writing this run; wait for it or choose another folder with --run"
            ) from None

    def journal(self) -> Iterator[tuple[str, str]]:
        path = self.path / JOURNAL
        with disk_errors(path):
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):  # the power went while it was written
                os.ftruncate(self._journal, whole)
        yield from _numbered(path, content[:whole])

    def append(self, lines: bytes) -> None:
        with disk_errors(self.path / JOURNAL):
            size = os.fstat(self._journal).st_size
            try:
                if os.write(self._journal, lines) < len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                os.ftruncate(self._journal, size)  # no half line for the next one to run into, and none of a group
                raise
            os.fsync(self._journal)

    def stage(self, name: str, content: bytes) -> None:
        path = self.path / name
        with disk_errors(path):
            write_durably(_part_of(path), content)

    def publish(self, name: str) -> None:
        path = self.path / name
        with disk_errors(path):
            _rename_durably(_part_of(path), path)

    def stage_all(self, contents: Mapping[str, bytes]) -> None:
        if len(contents) == 1:
            self.stage(*next(iter(contents.items())))
            return
        with ThreadPoolExecutor(_SYNCS, "sync") as threads:
            for _ in threads.map(self.stage, contents.keys(), contents.values()):
                pass  # an error of any is raised here

    def publish_all(self, names: Sequence[str]) -> None:
        """All in one folder."""
        with disk_errors(self.path):
            for name in names[1:]:
                _part_of(self.path / name).replace(self.path / name)
        self.publish(names[0])  # syncs the folder for all of them

    def staged(self, name: str) -> bytes | None:
        return self.read(name + _PART)

    def read(self, name: str) -> bytes | None:
        with disk_errors(self.path / name):
            try:
                return (self.path / name).read_bytes()
            except FileNotFoundError:
                return None

    def read_all(self, names: Sequence[str]) -> Iterator[bytes]:
        for name in names:
            with disk_errors(self.path / name):
                yield (self.path / name).read_bytes()

    def remove(self, name: str) -> None:
        with disk_errors(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> None:
        write_atomically(self.path / name, content)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        yield self.path

    def seal(self) -> None:
        """Nothing to do: the journal is whole at any time."""

    def close(self) -> None:
        with disk_errors(self.path):
            os.close(self._journal)


class Bucket:
    """A prefix in an object store, reached through fsspec."""

    def __init__(self, url: str) -> None:
        self.place = url.rstrip("/")
        self._fs, self._root = file_system(self.place)
        self._lines: list[bytes] = []
        self._last = 0  # number of the newest segment
        self._is_proven = False
        self._recent: OrderedDict[str, bytes] = OrderedDict()

    def journal(self) -> Iterator[tuple[str, str]]:
        merged = self.read(JOURNAL) or b""
        self._lines = merged.splitlines(keepends=True)
        self._last = _merged_through(self._lines)
        yield from _numbered(f"{self.place}/{JOURNAL}", merged)
        for number in self._newer_segments():
            if number != self._last + 1:
                raise StoreError(f"{self.place}/{_segment(self._last + 1)}: missing from the journal; restore it")
            self._last = number
        names = [_segment(number) for number in range(_merged_through(self._lines) + 1, self._last + 1)]
        for name, content in zip(names, self.read_all(names), strict=True):
            self._lines += content.splitlines(keepends=True)
            yield from _numbered(f"{self.place}/{name}", content)

    def append(self, lines: bytes) -> None:
        name = _segment(self._last + 1)
        if not self._create(name, lines) and self.read(name) != lines:  # else ours: only the answer was lost
            raise StoreError(
                f"{self.place}: another process has taken this run over and goes on with it; "
                "wait for it or choose another place with --run"
            )
        if not self._is_proven:
            self._prove(name)
        self._last += 1
        self._lines += lines.splitlines(keepends=True)

    def stage(self, name: str, content: bytes) -> None:
        self.write(name, content)
        self._keep(name, content)

    def stage_all(self, contents: Mapping[str, bytes]) -> None:
        if len(contents) == 1:
            self.stage(*next(iter(contents.items())))
            return
        with asking(self.place, StoreError):
            self._fs.pipe({f"{self._root}/{name}": content for name, content in contents.items()})
        for name, content in contents.items():
            self._keep(name, content)

    def _keep(self, name: str, content: bytes) -> None:
        self._recent[name] = content
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def publish_all(self, names: Sequence[str]) -> None:
        for name in names:
            self.publish(name)

    def publish(self, name: str) -> None:
        """Nothing to do: an object appears whole."""

    def staged(self, name: str) -> bytes | None:
        return None

    def read(self, name: str) -> bytes | None:
        if name in self._recent:
            return self._recent[name]
        with asking(self.place, StoreError):
            try:
                content: bytes = self._fs.cat_file(f"{self._root}/{name}")
            except FileNotFoundError:
                return None
            return content

    def read_all(self, names: Sequence[str]) -> Iterator[bytes]:
        for start in range(0, len(names), _AT_ONCE):
            paths = [f"{self._root}/{name}" for name in names[start : start + _AT_ONCE]]
            try:
                with asking(self.place, StoreError):
                    found = self._fs.cat(paths)
            except FileNotFoundError as error:
                raise StoreError(f"{self.place}: {error} is gone; give the same command again") from None
            yield from (found[path] for path in paths)

    def remove(self, name: str) -> None:
        self._recent.pop(name, None)
        with asking(self.place, StoreError), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._root}/{name}")

    def write(self, name: str, content: bytes) -> None:
        with asking(f"{self.place}/{name}", StoreError):
            self._fs.pipe_file(f"{self._root}/{name}", content)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="analyzer-run-") as folder:
            yield Path(folder)
            for path in sorted(Path(folder).iterdir()):
                self.write(path.name, path.read_bytes())

    def seal(self) -> None:
        merged = json.dumps({"event": MERGED, "through": self._last}).encode() + b"\n"
        self.write(JOURNAL, b"".join(self._lines) + merged)

    def close(self) -> None:
        """Nothing to do: whoever comes next takes the next number."""

    def _create(self, name: str, content: bytes) -> bool:
        """Conditional PUT. False: there is such an object already."""
        with asking(f"{self.place}/{name}", StoreError):
            try:
                self._fs.pipe_file(f"{self._root}/{name}", content, mode="create")
            except OSError:  # of what kind depends on the store, not only FileExistsError
                if self.read(name) is None:
                    raise
                return False
        return True

    def _prove(self, taken: str) -> None:
        """A store that would overwrite what it was told to create could not keep two writers apart."""
        before = self.read(taken)
        if self._create(taken, before or b""):
            raise StoreError(
                f"{self.place}: this store overwrites where it is told to create (it has no conditional PUT), so two "
                "writers could not be kept apart; choose a run folder on a disk or NFS with --run"
            )
        self._is_proven = True

    def _newer_segments(self) -> list[int]:
        folder = f"{self._root}/{SEGMENTS}"
        self._fs.invalidate_cache()
        with asking(self.place, StoreError):
            try:
                names = self._fs.ls(folder, detail=False)
            except FileNotFoundError:
                return []
        numbers = sorted(int(Path(name).stem) for name in names if Path(name).stem.isdigit())
        return [number for number in numbers if number > self._last]


# ---- journals that nobody writes now


def journal_of(run: Path) -> Iterator[tuple[str, str]]:
    """The whole lines of a run on disk and their places, also while it is being written. raises StoreError"""
    path = run / JOURNAL
    with disk_errors(path):
        content = path.read_bytes()
    yield from _numbered(path, content[: content.rfind(b"\n") + 1])


def _numbered(place: object, content: bytes) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(content.splitlines(), start=1):
        yield f"{place}:{number}", line.decode("utf-8", "surrogatepass")


def _segment(number: int) -> str:
    return f"{SEGMENTS}/{number:09}.jsonl"


def _merged_through(lines: Sequence[bytes]) -> int:
    """The number of the last segment in a journal put together; 0 if it is none."""
    try:
        last = json.loads(lines[-1]) if lines else {}
        return int(last["through"]) if last.get("event") == MERGED else 0
    except (ValueError, KeyError, AttributeError):
        return 0


# ---- files

_PART = ".part"


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """StoreError with a cure for whatever a disk refuses."""
    try:
        yield
    except OSError as error:
        place, reason = error.filename or path, error.strerror or str(error)
        raise StoreError(f"{place}: {reason}; free the disk or choose another folder with --run") from None


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file as a whole: readers see the old content or the new, also after a crash. raises StoreError"""
    with disk_errors(path):
        part = _part_of(path)
        write_durably(part, content)
        _rename_durably(part, path)


def write_durably(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _part_of(path: Path) -> Path:
    return path.with_name(path.name + _PART)


def _rename_durably(part: Path, final: Path) -> None:
    part.replace(final)
    folder = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
