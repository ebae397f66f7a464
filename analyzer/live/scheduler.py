"""One recogniser for all live calls: a few worker threads that do what the agenda says.

Results do not depend on who else is in a batch (``analyzer.asr``), so load decides only when something is recognised,
never what comes out. Whoever asked is told on a worker's thread and should hand the news on quickly.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from analyzer.asr import Recogniser, Window
from analyzer.live.admission import Admission
from analyzer.live.agenda import REFUSE_MS, Agenda, Channel, Job, Kind
from analyzer.types import Role, Utterance
from analyzer.vad import Segment

log = logging.getLogger(__name__)

NOTE_EVERY_S = 1.0

Stage = Literal[
    "ear_queue",  # audio waits for the ear
    "ear",
    "judge_queue",  # whatever the judge is to do waits for it
    "judge",
    "end_to_final",  # from the end of the speech to its final text, by the clock of the call
]


class Listener(Protocol):
    """Who gets the results of a call."""

    def recognised(self, window: Window, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
        """A final. With ``error`` the window could not be recognised and has no utterances."""

    def glimpsed(self, kind: Kind, segment: Segment, utterance: Utterance | None) -> None:
        """Interim text of speech that goes on, or whose window does."""


class Meter(Protocol):
    """Told of every batch and of every stage a call's audio and text pass; times in seconds. Must not block."""

    def batch(self, kind: Kind, size: int, waited_s: Sequence[float], took_s: float) -> None: ...

    def stage(self, stage: Stage, took_s: float) -> None: ...


@dataclass(slots=True, eq=False)
class _Foreseen:
    """A final that is recognised before its segment has ended."""

    window: Window
    has_begun: bool = False
    results: Sequence[Utterance | None] | None = field(default=None, repr=False)
    final: Window | None = None  # what came of it meanwhile, and waits for the results

    def is_like(self, window: Window) -> bool:
        """Whether the same is to be recognised, to the sample."""
        if len(window.segments) != len(self.window.segments):
            return False
        return all(
            one.span == other.span
            and one.speech == other.speech
            and one.gated == other.gated
            and np.array_equal(one.samples, other.samples)
            for one, other in zip(window.segments, self.window.segments, strict=True)
        )


class Scheduler:
    """Call ``submit`` and ``offer`` from any thread.

    workers     threads, each with a batch of its own; the recogniser should have as many
    cores_each  that compute a batch
    call_cost   CPU seconds that a second of a call takes, as far as is known before there are calls; 0: not known
    """

    def __init__(
        self,
        recogniser: Recogniser,
        *,
        workers: int = 1,
        cores_each: int = 1,
        refuse_ms: float = REFUSE_MS,
        call_cost: float = 0.0,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recogniser = recogniser
        self._agenda = Agenda(workers, refuse_ms=refuse_ms)
        self._room = Admission(_cores(), call_cost)
        self._room_of = {"ear": Admission(1), "judge": Admission(1), "recogniser": Admission(workers)}  # threads
        self._cores_of = {"ear": 1, "judge": 1, "recogniser": cores_each}
        self._spent_s = {"ear": 0.0, "judge": 0.0, "recogniser": 0.0}  # on what must be done of calls
        self._spending = threading.Lock()
        self._noted_s = clock()
        self.meter = meter
        self._clock = clock
        self._listeners: dict[Hashable, Listener] = {}
        self._foreseen: dict[Channel, _Foreseen] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [  # daemons: a recogniser that hangs must not keep the process from ending
            threading.Thread(target=self._work, name=f"recogniser-{i}", daemon=True) for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    # ---- calls

    def enter(self, call: Hashable, listener: Listener) -> None:
        """Results of this call go to ``listener``."""
        with self._changed:
            self._listeners[call] = listener

    def leave(self, call: Hashable) -> None:
        """Nobody waits for this call any more; what is not begun is not done."""
        with self._changed:
            self._listeners.pop(call, None)
            self._agenda.drop(call)
            for channel in [channel for channel in self._foreseen if channel[0] == call]:
                del self._foreseen[channel]

    def accepts(self) -> bool:
        """Whether one more call can be served in time."""
        with self._changed:
            self._note()
            doors = (self._room, *self._room_of.values())
            has_room = all(door.accepts(len(self._listeners)) for door in doors)
            return not self._closing and has_room and self._agenda.accepts(self._now_ms())

    def interval_ms(self) -> int | None:
        """How far apart a channel's partials should be; None: none now."""
        with self._changed:
            return self._agenda.interval_ms(self._now_ms())

    def spend(self, thread: Literal["ear", "judge", "recogniser"], took_s: float) -> None:
        """So long it was busy with what must be done of some call. Delays inside count too: they mean that there is no
        room."""
        with self._spending:
            self._spent_s[thread] += took_s

    # ---- work

    def submit(self, call: Hashable, role: Role, window: Window) -> None:
        """Recognise a window; never dropped while its call is here. Told at once if that was foreseen and is done."""
        job = Job(Kind.FINAL, call, role, window, self._now_ms())
        with self._changed:
            foreseen = self._foreseen.pop((call, role), None)
            if foreseen is None or not foreseen.has_begun or not foreseen.is_like(window):
                self._agenda.put_final(job)
                self._changed.notify()
                return
            self._agenda.counts.foreseen += 1
            if foreseen.results is None:
                foreseen.final = window
                return
        self._tell(job, foreseen.results, None)

    def looks_ahead(self) -> bool:
        """Whether there is time to recognise what will be a final if the silence goes on."""
        with self._changed:
            return self._agenda.looks_ahead(self._now_ms())

    def foresee(self, call: Hashable, role: Role, window: Window) -> None:
        """The channel's next window if nobody speaks for a while: recognised if there is time. If it is submitted it
        is done already, else it was interim text."""
        with self._changed:
            if call in self._listeners:
                foreseen = self._foreseen[call, role] = _Foreseen(window)
                self._agenda.put_ahead(Job(Kind.AHEAD, call, role, foreseen, self._now_ms()))
                self._changed.notify()

    def offer(self, call: Hashable, kind: Kind, segment: Segment) -> None:
        """Interim work: done if there is time for it. A newer partial takes the place of the channel's last one."""
        with self._changed:
            job = Job(kind, call, segment.role, segment, self._now_ms())
            (self._agenda.offer_partial if kind is Kind.PARTIAL else self._agenda.put_early)(job)
            self._changed.notify()

    def stats(self) -> dict[str, Any]:
        with self._changed:
            counts = self._agenda.counts
            return {
                "waiting": {kind.value: n for kind, n in self._agenda.waiting.items()},
                "final_wait_ms": self._agenda.wait_ms,
                "interval_ms": self._agenda.interval_ms(self._now_ms()),
                **asdict(counts),
            }

    def close(self, *, within_s: float | None = None) -> bool:
        """Do what waits, then end the threads. returns whether all have ended in time; None waits for ever"""
        deadline = None if within_s is None else time.monotonic() + within_s
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    # ---- inside

    def _now_ms(self) -> float:
        return self._clock() * 1000

    def _note(self) -> None:
        """What calls cost, once a second."""
        now_s = self._clock()
        if now_s - self._noted_s >= NOTE_EVERY_S:
            self._noted_s = now_s
            spent_s, calls = dict(self._spent_s), len(self._listeners)
            self._room.note(now_s, sum(spent * self._cores_of[thread] for thread, spent in spent_s.items()), calls)
            for thread, door in self._room_of.items():
                door.note(now_s, spent_s[thread], calls)

    def _work(self) -> None:
        while (jobs := self._next()) is not None:
            began = self._clock()
            try:
                if jobs[0].kind is Kind.FINAL:
                    self._finals(jobs)
                elif jobs[0].kind is Kind.AHEAD:
                    self._look_ahead(jobs)
                else:
                    self._glances(jobs)
            finally:
                took = self._clock() - began
                with self._changed:
                    self._agenda.done(jobs, took * 1000)
                    self._changed.notify_all()
            if jobs[0].kind is not Kind.PARTIAL:  # what is given up first
                self.spend("recogniser", took)
            self._tell_meter(jobs, began, took)

    def _tell_meter(self, jobs: Sequence[Job], began: float, took: float) -> None:
        if self.meter is None:
            return
        try:
            self.meter.batch(jobs[0].kind, len(jobs), [began - job.since_ms / 1000 for job in jobs], took)
        except Exception:
            log.exception("a batch of %d is not metered", len(jobs))

    def _next(self) -> list[Job] | None:
        """The next batch, or None when there will be no more."""
        with self._changed:
            while True:
                self._note()
                if jobs := self._agenda.take(self._now_ms()):
                    for job in jobs:
                        if job.kind is Kind.AHEAD:
                            job.work.has_begun = True
                    return jobs
                if self._closing and not self._agenda.waiting[Kind.FINAL]:
                    return None
                self._changed.wait(timeout=0.2)

    def _finals(self, jobs: Sequence[Job]) -> None:
        """Where a batch fails, each alone: one bad window must not take the others with it."""
        try:
            results = list(zip(jobs, self.recogniser.recognise([job.work for job in jobs]), strict=True))
        except Exception as error:
            if len(jobs) == 1:
                log.exception("call %s: a window could not be recognised", jobs[0].call)
                self._tell(jobs[0], (), error)
                return
            for job in jobs:
                self._finals([job])
            return
        for job, utterances in results:
            self._tell(job, utterances, None)

    def _look_ahead(self, jobs: Sequence[Job]) -> None:
        """What became a final meanwhile is told as one, and tried once more where this failed."""
        try:
            results = self.recogniser.recognise([job.work.window for job in jobs])
            told = list(zip(jobs, results, strict=True))
        except Exception:
            log.exception("%d windows could not be recognised ahead", len(jobs))
            with self._changed:
                for job in jobs:
                    self._foresaw_nothing(job)
            return
        for job, utterances in told:
            foreseen: _Foreseen = job.work
            with self._changed:
                foreseen.results = utterances
                final = foreseen.final
            if final is not None:
                self._tell(Job(Kind.FINAL, job.call, job.role, final, job.since_ms), utterances, None)
            elif listener := self._listeners.get(job.call):
                for segment, utterance in zip(foreseen.window.segments, utterances, strict=True):
                    self._hand_over(job, partial(listener.glimpsed, job.kind, segment, utterance))

    def _foresaw_nothing(self, job: Job) -> None:
        foreseen: _Foreseen = job.work
        if foreseen.final is not None:
            self._agenda.put_final(Job(Kind.FINAL, job.call, job.role, foreseen.final, self._now_ms()))
        elif self._foreseen.get((job.call, job.role)) is foreseen:
            del self._foreseen[job.call, job.role]

    def _tell(self, job: Job, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
        if listener := self._listeners.get(job.call):
            self._hand_over(job, partial(listener.recognised, job.work, utterances, error))

    def _glances(self, jobs: Sequence[Job]) -> None:
        try:
            results = list(zip(jobs, self.recogniser.glance([job.work for job in jobs]), strict=True))
        except Exception:
            log.exception("interim text of %d channels failed", len(jobs))
            return
        for job, utterance in results:
            if listener := self._listeners.get(job.call):
                self._hand_over(job, partial(listener.glimpsed, job.kind, job.work, utterance))

    def _hand_over(self, job: Job, tell: Callable[[], None]) -> None:
        """Whoever gets the results has faults of their own: no other call's result may be lost by them."""
        try:
            tell()
        except Exception:
            log.exception("call %s did not take a result", job.call)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
