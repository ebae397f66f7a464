"""What the desk does with rule packs between requests: the pack in force, and replays that take minutes.

One replay runs at a time, so that a back-test never starves the people who review.
"""

from __future__ import annotations

import itertools
import json
import logging
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from analyzer.catalog import STANDARD, PackFiles, load_pack, open_pack, pack_folder, profile_specs
from analyzer.desk.jobs import Line
from analyzer.errors import AnalyzerError, InputError
from analyzer.publishing import Edit, Flips, current, edited, flips
from analyzer.rescore.stored import StoredCall
from analyzer.store import Store
from analyzer.store.judgements import counts
from analyzer.store.tables import Call, Report
from analyzer.transcripts import read_call

log = logging.getLogger(__name__)

MOST_CALLS = 10_000
MOST_JOBS = 20  # results kept
_PAGE = 100


def folder_in_force(packs: Path) -> Path:
    """The pack that judges calls which begin now."""
    return current(packs, pack_folder())


@lru_cache(maxsize=8)
def opened(folder: Path, profile: str) -> PackFiles:
    """A pack with its files. Published versions and the shipped pack do not change while the server runs."""
    return open_pack(folder, profile)


@lru_cache(maxsize=4)
def profile_titles(folder: Path) -> dict[str, str]:
    """The schemes of a pack: title by name, the standard one first."""
    titles = {name: spec.title or name for name, spec in profile_specs(folder).items()}
    return dict(sorted(titles.items(), key=lambda one: (one[0] != STANDARD, one[0])))


@dataclass(slots=True)
class Job:
    """A replay. state: waiting | running | done | failed."""

    id: int
    files: tuple[str, ...]
    of: int
    state: str = "waiting"
    done: int = 0
    result: Flips | None = None
    error: str | None = None


class Replays:
    """Back-tests of edits over the calls in the store."""

    def __init__(self, store: Store, packs: Path) -> None:
        self._store, self._packs = store, packs
        self._line = Line("replay")
        self._jobs: OrderedDict[int, Job] = OrderedDict()
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def start(self, edits: Sequence[Edit], *, profile: str, most: int, since: datetime | None) -> Job:
        numbers = self._chosen(most, since)
        with self._lock:
            job = Job(next(self._ids), tuple(edit.file for edit in edits), len(numbers))
            self._jobs[job.id] = job
            while len(self._jobs) > MOST_JOBS:
                self._jobs.popitem(last=False)
        self._line.add(partial(self._run, job, list(edits), profile, numbers))
        return job

    def find(self, job_id: int) -> Job | None:
        with self._lock:
            return self._jobs.get(job_id)

    def _chosen(self, most: int, since: datetime | None) -> list[int]:
        """The newest calls, each once however often it was judged."""
        statement = (
            select(Call.id).where(counts()).order_by(Call.started_at.desc().nulls_last(), Call.id.desc()).limit(most)
        )
        if since is not None:
            statement = statement.where(Call.started_at >= since)
        with self._store.reading() as session:
            return list(session.scalars(statement))

    def _run(self, job: Job, edits: list[Edit], profile: str, numbers: list[int]) -> None:
        job.state = "running"

        def count() -> None:
            job.done += 1

        try:
            base = folder_in_force(self._packs)
            with edited(base, edits) as folder:
                rules = [edit.rule for edit in edits]
                asked = [] if None in rules else [rule for rule in rules if rule is not None]
                changed = load_pack(folder, profile)
                calls = self._calls(numbers)
                job.result = flips(load_pack(base, profile), changed, asked, calls, on_call=count)
            job.state = "done"
        except AnalyzerError as error:
            job.state, job.error = "failed", str(error)
        except Exception:  # the desk goes on; the job says that it did not
            log.exception("replay %s failed", job.id)
            job.state, job.error = "failed", "回测时出现内部错误，详见服务器日志"

    def _calls(self, numbers: list[int]) -> Iterator[StoredCall | InputError]:
        for start in range(0, len(numbers), _PAGE):
            page = numbers[start : start + _PAGE]
            with self._store.reading() as session:
                bodies = session.execute(select(Report.call_pk, Report.body).where(Report.call_pk.in_(page))).all()
            for call_pk, body in bodies:
                yield self._stored(call_pk, json.loads(zlib.decompress(body)))

    def _stored(self, call_pk: int, report: dict[str, Any]) -> StoredCall | InputError:
        """Named by number: two runs may hold calls of one id."""
        try:
            transcript = read_call({**report, "call_id": f"{call_pk} {report['call_id']}"}, str(call_pk))
        except InputError as error:
            return error
        return StoredCall(transcript)
