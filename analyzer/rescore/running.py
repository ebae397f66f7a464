"""Stored calls judged again into a run folder of their own: resumed, durable and idempotent like a run of ``score``."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.errors import ConfigError, InputError
from analyzer.rescore.changes import Change
from analyzer.rescore.stored import ALWAYS, Period, Place, places
from analyzer.rescore.workers import Batch, Errand, Faulty, LeftOut, Outcome, Rejudged, Rules, Task, rejudge
from analyzer.runs import Failure, Record, RunFolder, report_path

if TYPE_CHECKING:
    from analyzer.rescore.tables import Tables

_GROUP = 64  # reports that become durable together; more gain nothing


@dataclass(frozen=True, slots=True)
class Rescored:
    """A call whose new report is in the run folder.

    is_new       judged now; False where the run held the report already
    is_compared  it had an old report; ``change`` is what differs, ``is_same`` that the new one has the same bytes
    """

    call_id: str
    is_new: bool
    is_compared: bool
    is_same: bool
    change: Change | None


def rescore(
    sources: Iterable[str | Path],
    rules: Rules,
    run: RunFolder,
    *,
    jobs: int,
    period: Period = ALWAYS,
    tables: Tables | None = None,
    unmasked: bool = False,
) -> Generator[Rescored | Failure | LeftOut, None, None]:
    """Judge stored calls by ``rules``; yields every call in the order of the sources, once its report is durable.

    run     must not be one of ``sources``; its settings are the rules and the analyzer's version, the rest that decides
            a report (turns, call attributes, what the recogniser says of itself) is the call's and in its input digest
    tables  gets the rows of all calls, also of those that the run held

    Closing the iterator, or an exception in it (Ctrl-C included), ends all workers before it returns; what was yielded
    is on disk. raises ConfigError, ModelError, StoreError when going on is of no use
    """
    _refuse_overwriting(sources := list(sources), run.path)
    errand = Errand(rules, period=period, with_reports=True, with_tables=tables is not None, unmasked=unmasked)
    recorder = _Recorder(run, tables)
    batches = rejudge(_tasks(places(sources), run), errand, jobs)
    try:
        for batch in batches:
            yield from recorder.take(batch)
        yield from recorder.flush()
    finally:
        batches.close()


def _refuse_overwriting(sources: Iterable[str | Path], run: Path) -> None:
    for source in sources:
        if os.path.realpath(source) == os.path.realpath(run):
            raise ConfigError(f"{source}: a run cannot be judged again into itself; name another folder with --run")


def _tasks(found: Iterable[Place | InputError], run: RunFolder) -> Iterator[Task | InputError]:
    held = run.held()
    for place in found:
        one = None if isinstance(place, InputError) else held.get(_source(place))
        if one is None or isinstance(place, InputError):
            yield place if isinstance(place, InputError) else Task(place)
        else:
            yield Task(place, one, report_path(run.path, one.call_id))


def _source(place: Place) -> str:
    return os.path.abspath(place.path) + (f":{place.line}" if place.line else "")


class _Recorder:
    """What workers send back into the run folder and the tables, a group at a time."""

    def __init__(self, run: RunFolder, tables: Tables | None) -> None:
        self._run = run
        self._tables = tables
        self._seen: set[str] = set()
        self._records: list[Record] = []
        self._waiting: list[Rescored | Failure | LeftOut] = []

    def take(self, batch: Batch) -> Iterator[Rescored | Failure | LeftOut]:
        outcomes = [self._without_double(outcome) for outcome in batch.outcomes]
        if self._tables is not None and batch.sheets is not None:
            rows = [one.rows for one in batch.outcomes if isinstance(one, Rejudged)]
            wanted = [
                isinstance(now, Rejudged)
                for now, was in zip(outcomes, batch.outcomes, strict=True)
                if isinstance(was, Rejudged)
            ]
            self._tables.add(batch.sheets, rows, wanted)
        for outcome in outcomes:
            self._waiting.append(self._noted(outcome))
        if len(self._records) >= _GROUP or not self._records:
            yield from self.flush()

    def flush(self) -> Iterator[Rescored | Failure | LeftOut]:
        self._run.record_all(self._records)
        self._records = []
        done, self._waiting = self._waiting, []
        yield from done

    def _without_double(self, outcome: Outcome) -> Outcome:
        """The second call of an id is a fault of the inputs: what became of it would replace the first one's report."""
        if isinstance(outcome, LeftOut) or not outcome.call_id:
            return outcome
        if outcome.call_id not in self._seen:
            self._seen.add(outcome.call_id)
            return outcome
        return Faulty(
            "",
            outcome.place,
            InputError(
                f"{outcome.place}: call_id {outcome.call_id!r} was used by an earlier call already; "
                "judge each run into a folder of its own with --run"
            ),
        )

    def _noted(self, outcome: Outcome) -> Rescored | Failure | LeftOut:
        match outcome:
            case Rejudged():
                if outcome.report is not None:
                    self._records.append(
                        Record(
                            outcome.call_id,
                            outcome.input_digest,
                            outcome.report,
                            outcome.place.recording,
                            _source(outcome.place),
                            outcome.place.heard_at,
                            outcome.place.origin,
                        )
                    )
                return Rescored(
                    outcome.call_id, not outcome.is_held, outcome.is_compared, outcome.is_same, outcome.change
                )
            case Faulty(call_id, _, error):
                return self._run.record_failure(call_id, error) if call_id else self._run.record_fault(error)
        return outcome
