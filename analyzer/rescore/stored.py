"""Where stored calls lie, and reading them: run folders, reports, transcripts of any notation ``check`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from analyzer.errors import InputError
from analyzer.report import SCHEMA
from analyzer.runs import JOURNAL, REPORTS, Finished, Origin, digest, digest_of, finished_calls
from analyzer.transcripts import parse_json, read_call, read_file, text_of, transcript_files
from analyzer.types import Transcript

_JSON = ".json"
_LINES = (".jsonl", ".ndjson")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_LINE_FAULTS = (ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True, slots=True)
class Place:
    """A file that holds stored calls, or one line of it.

    name           id of a call that brings none
    line           of a file with a call per line, from 1; 0: the whole file
    offset, size   of that line, in bytes
    report_digest  what its run's journal says the file holds; None outside of run folders
    heard_at       when the recording was scored first, by the same journal
    recording      where it was heard, by the same journal
    origin         where it was judged first, by the same journal; also of a report that was named by itself
    """

    path: Path
    name: str
    line: int = 0
    offset: int = 0
    size: int = -1
    report_digest: str | None = None
    heard_at: datetime | None = None
    recording: tuple[Mapping[str, Any], ...] = ()
    origin: Origin | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else str(self.path)


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call to judge again.

    report   what was said of it before; None of a bare transcript
    digest   of what was read; two of one digest are the same call with the same words and facts
    """

    transcript: Transcript
    report: Mapping[str, Any] | None = None
    digest: str = ""


# --- finding ---


def places(sources: Iterable[str | Path]) -> Iterator[Place | InputError]:
    """Where the calls of run folders, reports and transcripts lie, in order; what is not there stands in its place.

    Nothing is read but journals and where the lines of files with a call per line begin.
    raises StoreError if a journal is none of ours
    """
    journals = _Journals()
    for source in sources:
        path = Path(source)
        if (path / REPORTS).is_dir():
            yield from _of_run(path)
            continue
        for file, name in transcript_files((source,)):
            if isinstance(file, InputError):
                yield file
            elif file.suffix.lower() in _LINES:
                yield from _lines(file, name)
            else:
                yield Place(file, name, origin=journals.origin_of(file))


class _Journals:
    """The calls of run folders, each journal read once however many of its reports are named one by one."""

    def __init__(self) -> None:
        self._known: dict[Path, Mapping[Path, Finished]] = {}

    def origin_of(self, file: Path) -> Origin | None:
        """Where a report was judged first; None if it is none of a run folder."""
        path = file.absolute()
        run = path.parent.parent
        if path.parent.name != REPORTS or not (run / JOURNAL).is_file():
            return None
        if run not in self._known:
            self._known = {run: {one.path: one for one in finished_calls(run)}}
        found = self._known[run].get(path)
        return None if found is None else found.origin


def _of_run(run: Path) -> Iterator[Place]:
    known = {one.path: one for one in finished_calls(run)} if (run / JOURNAL).is_file() else {}
    for path in sorted((run / REPORTS).glob(f"*{_JSON}")):
        if path in known:
            one = known[path]
            yield Place(path, path.stem, 0, 0, -1, one.report_digest, one.heard_at, one.recording, one.origin)
        else:
            yield Place(path, path.stem)


def _lines(path: Path, name: str) -> Iterator[Place | InputError]:
    """A place per line; the file as a whole where its lines are not to be found by bytes."""
    try:
        with path.open("rb") as file:
            if file.read(2) in _UTF_16:
                yield Place(path, name)
                return
            file.seek(0)
            yield from _named(path, name, file)
    except OSError as error:
        yield _unreadable(path, error)


def _named(path: Path, name: str, file: Iterable[bytes]) -> Iterator[Place]:
    """A single line's call is named like the file, several are numbered."""
    offset, count, last = 0, 0, None
    for number, line in enumerate(file, 1):
        if line.strip():
            if last is not None:
                yield last
            last, count = Place(path, f"{name}#{number}", number, offset, len(line)), count + 1
        offset += len(line)
    if last is not None:
        yield last if count > 1 else replace(last, name=name)


# --- reading ---


def stored_calls(sources: Iterable[str | Path]) -> Iterator[StoredCall | InputError]:
    """The calls of run folders, reports and transcripts, in order; what cannot be read stands in its place."""
    for place in places(sources):
        if isinstance(place, InputError):
            yield place
        else:
            yield from read_place(place)


def read_place(place: Place) -> Iterator[StoredCall | InputError]:
    """The calls there: one, or several of a file that holds a list."""
    if place.path.suffix.lower() != _JSON and not place.line:
        for where, transcript in read_file(place.path, place.name):
            if isinstance(transcript, InputError):
                yield transcript
            else:
                yield StoredCall(transcript, None, digest_of([digest(place.path.read_bytes()), where]))
        return
    try:
        content = _content(place)
        fields = parse_json(text_of(content))
        is_list = isinstance(fields, list) and fields and isinstance(fields[0], Mapping) and "turns" in fields[0]
        for index, call in enumerate(fields if is_list else [fields]):
            name = f"{place.name}#{index + 1}" if is_list else place.name
            yield StoredCall(read_call(call, name), _report(call), digest_of(call) if is_list else digest(content))
    except InputError as error:
        yield InputError(f"{place}: {error}")
    except OSError as error:
        yield _unreadable(place.path, error)
    except _LINE_FAULTS as error:
        yield InputError(f"{place}: neither a report nor a transcript ({type(error).__name__}); check the file")


def _content(place: Place) -> bytes:
    """raises InputError if it is not what the journal says, OSError"""
    with place.path.open("rb") as file:
        file.seek(place.offset)
        content = file.read(place.size)
    if place.report_digest is not None and digest(content) != place.report_digest:
        raise InputError("edited since it was written; run the same `analyzer score` again to restore it")
    return content


def _report(fields: Any) -> Mapping[str, Any] | None:
    is_report = isinstance(fields, dict) and fields.get("schema") == SCHEMA and "verdict" in fields
    return fields if is_report else None


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions")


# --- dates ---


@dataclass(frozen=True, slots=True)
class Day:
    """When a call was: the local calendar day, and where that is known from.

    basis  ``started_at`` (the call attribute) or ``finished`` (the run's journal: when its recording was scored)
    """

    day: date
    basis: str


def day_of(call: StoredCall, heard_at: datetime | None) -> Day | None:
    """The day of the call attribute ``started_at`` as it is written; else the day on which its recording was scored,
    in this machine's zone; None where neither is known."""
    started = call.transcript.metadata.get("started_at")
    if started is not None:
        return Day(datetime.fromisoformat(started).date(), "started_at")
    return None if heard_at is None else Day(heard_at.astimezone().date(), "finished")


@dataclass(frozen=True, slots=True)
class Period:
    """Days from ``since`` to ``until``, both included; None is open."""

    since: date | None = None
    until: date | None = None

    @property
    def is_open(self) -> bool:
        return self.since is None and self.until is None

    def holds(self, day: date) -> bool:
        return (self.since is None or day >= self.since) and (self.until is None or day <= self.until)


ALWAYS = Period()
