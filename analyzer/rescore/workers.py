"""Stored calls judged in processes: each loads the rules once, and results come in the order of the inputs.

Theory of operation. The parent finds places (``stored.places``) and hands them out in chunks, a bounded number ahead of
the oldest one that is not done; a worker reads, judges, compares, and sends back what the parent needs to write, never
the transcript. So the parent's memory does not grow with the number of calls, and what it writes has the order of the
inputs, whoever was quicker. Workers are spawned, not forked: the parent has threads and open files. They get the rules
by name and folder, and the digest they must have, since compiled rules do not travel.

A call that fails is a fault in its place. A worker that dies (killed for its memory, a crash in native code) takes with
it what it was at, and nobody knows which call that was: everything handed out is judged once more, one call at a time
in one process, and only a call that kills this one too is a fault.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.catalog import load_pack, pack_digest, pack_folder, profiles
from analyzer.errors import ConfigError, InputError, ModelError, StoreError
from analyzer.report import analyze, doubting_sides, dump
from analyzer.rescore.changes import Change, Judged, change_of
from analyzer.rescore.stored import ALWAYS, Period, Place, StoredCall, day_of, read_place
from analyzer.rules import Pack
from analyzer.runs import Held, describe, digest, encoded

if TYPE_CHECKING:
    from analyzer.rescore.tables import Sheets

_CHUNK = 16  # calls per trip to a worker: half a second of work
_FEW = 32  # calls that are judged before a second process has loaded the rules
_AHEAD = 4  # chunks per worker that are handed out or wait to be written
_ENDS_THE_RUN = (ConfigError, ModelError, StoreError)


@dataclass(frozen=True, slots=True)
class Rules:
    """A pack and a profile by name, for other processes. ``digest``: what the pack must have there too."""

    pack: str
    profile: str
    digest: str

    @classmethod
    def of(cls, name_or_path: str | Path, profile: str) -> Rules:
        """raises ConfigError if there is no such pack or profile; faults inside show when it is loaded"""
        if profile not in profiles(name_or_path):
            load_pack(name_or_path, profile)  # raises, and says which there are
        return cls(str(pack_folder(name_or_path).absolute()), profile, pack_digest(name_or_path))

    def load(self) -> Pack:
        """raises ConfigError if they are not what they were"""
        pack = load_pack(self.pack, self.profile)
        if pack.digest != self.digest:
            raise ConfigError(f"{self.pack}: the pack changed while calls were being judged by it; start again")
        return pack


@dataclass(frozen=True, slots=True)
class Errand:
    """What workers do with every call.

    baseline      rules to compare with instead of the verdicts that reports hold
    period        calls of other days are left out
    with_reports  the new reports are wanted
    with_tables   rows of the Parquet tables are wanted, identifiers masked unless ``unmasked``
    """

    rules: Rules
    baseline: Rules | None = None
    period: Period = ALWAYS
    with_reports: bool = False
    with_tables: bool = False
    unmasked: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A place to read. ``held``: the run has a report of it already, in the file ``held_at``; good if digests agree."""

    place: Place
    held: Held | None = None
    held_at: Path | None = None


@dataclass(frozen=True, slots=True)
class Rejudged:
    """A call judged again.

    input_digest  of what was read
    report        the new report as JSON text with its newline; None if it was not asked for, or the run's is good
    is_compared   there was a judgement to compare with; ``change`` is what differs
    is_same       the new report is the old one, byte for byte
    rows          how many rows of each table are this call's
    """

    call_id: str
    place: Place
    input_digest: str
    report: str | None = field(default=None, repr=False)
    is_held: bool = False
    is_compared: bool = False
    is_same: bool = False
    change: Change | None = None
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Faulty:
    """What could not be judged. ``call_id`` is empty where it could not be read, ``place`` None where there is none."""

    call_id: str
    place: Place | None
    error: InputError


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A call of another day, or of none that is known: ``undated`` says so."""

    undated: InputError | None = None


Outcome = Rejudged | Faulty | LeftOut


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of some places, in order. ``sheets``: the rows of each table as an Arrow stream, in the order of
    the outcomes."""

    outcomes: tuple[Outcome, ...]
    sheets: tuple[bytes, ...] | None = None


# --- the parent ---


def rejudge(tasks: Iterable[Task | InputError], errand: Errand, jobs: int) -> Generator[Batch, None, None]:
    """Judge stored calls again; what becomes of them, in the order of the inputs.

    jobs  worker processes; 1 works in this process, and so do few calls. Never changes a result.

    Closing the iterator, or an exception in it (Ctrl-C included), ends the workers before it returns.
    raises ConfigError, ModelError, StoreError when going on is of no use
    """
    waiting = iter(tasks)
    first = list(itertools.islice(waiting, _FEW))
    chunks = _chunks(itertools.chain(first, waiting), jobs)
    if jobs == 1 or len(first) < _FEW:
        judge = Judge(errand)
        yield from map(judge.batch, chunks)
        return
    with closing(_Workers(errand, jobs)) as workers:
        yield from workers.in_order(chunks)


def _chunks(tasks: Iterable[Task | InputError], jobs: int) -> Iterator[list[Task | InputError]]:
    """The first ones are small, so that few calls keep all workers busy too."""
    waiting = iter(tasks)
    for number in itertools.count():
        chunk = list(itertools.islice(waiting, min(_CHUNK, 1 + number // jobs)))
        if not chunk:
            return
        yield chunk


class _Workers:
    """Processes that judge, and what they are at."""

    def __init__(self, errand: Errand, jobs: int) -> None:
        self._errand = errand
        self._jobs = jobs
        self._pool = self._started(jobs)
        self._out: deque[tuple[list[Task | InputError], Future[Batch]]] = deque()

    def _started(self, jobs: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin, initargs=(self._errand,))

    def in_order(self, chunks: Iterator[list[Task | InputError]]) -> Iterator[Batch]:
        while True:
            for chunk in itertools.islice(chunks, self._jobs * _AHEAD - len(self._out)):
                self._out.append((chunk, self._submitted(chunk)))
            if not self._out:
                return
            try:
                batch = self._out[0][1].result()
            except BrokenProcessPool:
                yield from self._one_at_a_time()
            else:
                self._out.popleft()
                yield batch

    def _submitted(self, chunk: list[Task | InputError]) -> Future[Batch]:
        try:
            return self._pool.submit(_judge, chunk)
        except BrokenProcessPool as error:  # noticed here first
            broken: Future[Batch] = Future()
            broken.set_exception(error)
            return broken

    def _one_at_a_time(self) -> Iterator[Batch]:
        self._end(self._pool)
        self._pool = self._started(1)
        while self._out:
            for task in self._out[0][0]:
                try:
                    yield self._pool.submit(_judge, [task]).result()
                except BrokenProcessPool:
                    yield Batch((_deadly(task),))
                    self._end(self._pool)
                    self._pool = self._started(1)
            self._out.popleft()
        self._end(self._pool)
        self._pool = self._started(self._jobs)

    def close(self) -> None:
        self._end(self._pool)

    @staticmethod
    def _end(pool: ProcessPoolExecutor) -> None:
        """What is being judged is finished, the rest is not begun."""
        pool.shutdown(wait=True, cancel_futures=True)


def _deadly(task: Task | InputError) -> Faulty:
    assert isinstance(task, Task), "a fault of the inputs kills nobody"
    message = f"{task.place}: the process that judged it died, twice; is there memory enough?"
    return Faulty("", task.place, InputError(message))


# --- a worker ---

_judges: list[Judge] = []  # the one of this process


def _begin(errand: Errand) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _judges[:] = [Judge(errand)]


def _end_with_parent() -> None:
    """A killed parent leaves no workers behind; they hold each other's queue open and would wait for ever."""
    parent = parent_process()
    assert parent is not None, "runs in workers only"
    connection.wait([parent.sentinel])
    os._exit(1)


def _judge(tasks: Sequence[Task | InputError]) -> Batch:
    return _judges[0].batch(tasks)


class Judge:
    """Does the errand in this process. Rules are loaded with the first call that needs them."""

    def __init__(self, errand: Errand) -> None:
        self._errand = errand
        self._packs: dict[Rules, Pack] = {}
        self._is_warm = False

    def batch(self, tasks: Sequence[Task | InputError]) -> Batch:
        outcomes: list[Outcome] = []
        sheets = self._new_sheets()
        for task in tasks:
            if isinstance(task, InputError):
                outcomes.append(Faulty("", None, task))
            else:
                outcomes += self._calls(task, sheets)
        return Batch(tuple(outcomes), sheets.sealed() if sheets else None)

    def _new_sheets(self) -> Sheets | None:
        if not self._errand.with_tables:
            return None
        from analyzer.rescore.tables import Sheets  # noqa: PLC0415 - needs the extra `parquet`

        return Sheets()

    def _calls(self, task: Task, sheets: Sheets | None) -> Iterator[Outcome]:
        for call in read_place(task.place):
            if isinstance(call, InputError):
                yield Faulty("", task.place, call)
                continue
            try:
                yield self._call(call, task, sheets)
            except _ENDS_THE_RUN:
                raise
            except InputError as error:
                yield Faulty(call.transcript.call_id, task.place, error)
            except Exception as error:  # of this call alone
                call_id = call.transcript.call_id
                yield Faulty(call_id, task.place, InputError(f"{task.place}: {call_id}: {describe(error)}"))
            if not self._is_warm:
                gc.freeze()  # rules and dictionaries stay; looking for garbage among them costs a fifth of the time
                self._is_warm = True

    def _call(self, call: StoredCall, task: Task, sheets: Sheets | None) -> Outcome:
        day = day_of(call, task.place.heard_at)
        if not self._errand.period.is_open:
            if day is None:
                return LeftOut(_undated(call, task.place))
            if not self._errand.period.holds(day.day):
                return LeftOut()
        before = analyze(call.transcript, self._pack(self._errand.baseline)) if self._errand.baseline else call.report
        held = _held_report(task, call)
        if held is None:
            transcript = call.transcript if call.report else doubting_sides(call.transcript)
            after = analyze(transcript, self._pack(self._errand.rules))
        else:
            after = json.loads(held)
        report = held or dump(after) + "\n"
        return Rejudged(
            call.transcript.call_id,
            task.place,
            call.digest,
            report if self._errand.with_reports and held is None else None,
            is_held=held is not None,
            is_compared=before is not None,
            is_same=digest(encoded(report)) == call.digest,
            change=change_of(call.transcript.call_id, Judged.of(before), Judged.of(after)) if before else None,
            rows=sheets.add(before, after, task.place, day, unmasked=self._errand.unmasked) if sheets else (),
        )

    def _pack(self, rules: Rules) -> Pack:
        if rules not in self._packs:
            self._packs[rules] = rules.load()
        return self._packs[rules]


def _undated(call: StoredCall, place: Place) -> InputError:
    return InputError(
        f"{place}: {call.transcript.call_id} has no date, neither metadata.started_at nor a run's journal, and is left "
        "out; give it one, or leave out --since and --until"
    )


def _held_report(task: Task, call: StoredCall) -> str | None:
    """The run's report of this call, if it was made of the same input and is whole."""
    if task.held is None or task.held_at is None or task.held.input_digest != call.digest:
        return None
    try:
        content = task.held_at.read_bytes()
    except OSError:
        return None
    return content.decode("utf-8") if digest(content) == task.held.report_digest else None
