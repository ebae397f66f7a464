"""One live call from its samples to its report, across the threads that work on it.

    whoever has audio      ear thread             recogniser threads       judge thread                  report thread
    hear(samples)    ──►   Ear: VAD, windows ──►  Scheduler          ──►   Judge: engine, coach, log ──► report
                              │ hearing ─────────────────────────────────►

A call belongs to no thread of its own: ear, judge and reports are one thread each for all calls, and every part of a
call is touched by one of them only; the judge is handed over once, when all is recognised, because a report takes its
time and that of the disk, and other calls' hints must not wait for it. What is handed over keeps its order.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analyzer.asr import Window
from analyzer.live.agenda import Kind
from analyzer.live.ear import Ear, Hearing
from analyzer.live.journal import EventLog
from analyzer.live.judge import Facts, Judge
from analyzer.live.scheduler import Scheduler
from analyzer.rules import Pack
from analyzer.types import Role, Utterance
from analyzer.vad import Segment
from analyzer.vad.detector import STEP
from analyzer.vad.segment import SAMPLES_PER_MS

log = logging.getLogger(__name__)

Samples = NDArray[np.int16]
BEHIND_MS = 2_000  # audio waiting for the ear above which partials are not worth it
AT_MOST_MS = 512  # and takes before it turns to the next call: who catches up must not hold up the others


class LiveCall:
    """``hear`` and ``end`` may be called from any thread, by one at a time.

    make_judge  of the call's speech: as ``Judge``
    on_end      told on the report thread: the report, or the error that prevented one
    """

    def __init__(
        self,
        facts: Facts,
        pack: Pack,
        scheduler: Scheduler,
        event_log: EventLog,
        *,
        ears: Executor,
        judges: Executor,
        reports: Executor,
        on_end: Callable[[dict[str, Any] | None, Exception | None], None],
        make_judge: Callable[..., Judge] = Judge,
    ) -> None:
        self.facts, self.events = facts, event_log
        self._scheduler = scheduler
        self._ears, self._judges, self._reports = ears, judges, reports
        self._on_end = on_end
        recogniser = scheduler.recogniser
        self._ear = Ear(facts.roles, recogniser)
        late_windows = recogniser.info.get("window") == "30s"
        self._judge = make_judge(facts, pack, event_log, rejudge=late_windows)
        self._partial_at_ms = dict.fromkeys(facts.roles, 0)
        self._agreed_ms = dict.fromkeys(facts.roles, 0)  # how far interim text is agreed on; set by the judge
        self._hearing = Hearing(0)  # what the judge was told last
        self._inbox = _Inbox(facts.roles)
        self._ending: dict[str, Any] | None = None
        self._newest_tick: tuple[int, Collection[Role]] | None = None  # while it waits for the judge
        self._lock = threading.Lock()
        self._is_judged = False  # the judge's thread is done with this call
        self._is_over = False
        self.error: Exception | None = None
        scheduler.enter(facts.call_id, self)
        self._on_judge(self._judge.start, facts.recogniser.get("notice"))

    # ---- from outside

    def hear(self, block: Mapping[Role, Samples]) -> None:
        """The next samples (int16, 16 kHz) of some or all roles. What comes while the ear is busy is heard at once."""
        if self._inbox.put(block):
            self._wake_ear()

    @property
    def queued_ms(self) -> int:
        """Audio that waits for the ear: who sends faster than it hears should pause."""
        return self._inbox.waiting_ms

    @property
    def late_ms(self) -> int:
        """How long the oldest audio that waits for the ear has been waiting, because the machine is slow."""
        return self._inbox.waited_ms(time.monotonic())

    def tick(self, at_ms: int, blind: Collection[Role] = ()) -> None:
        """The clock of the call, and the roles that nothing can be heard of. A judge that is late gets the newest."""
        with self._lock:
            is_queued = self._newest_tick is not None
            self._newest_tick = at_ms, blind
        if not is_queued:
            self._on_judge(self._tick)

    def dismiss(self, nudge: str) -> None:
        self._on_judge(lambda: self._judge.dismiss(nudge))

    def end(
        self, *, metadata: Mapping[str, Any] | None = None, truncated: bool = False, warnings: Sequence[str] = ()
    ) -> None:
        """No more audio: recognise what was heard, then report."""
        self._ears.submit(self._guarded, self._close, dict(metadata or {}), truncated, tuple(warnings))

    def add_event(self, kind: Any, **fields: Any) -> None:
        """Something that happened to the call from outside: a whisper, a lost connection."""
        self._on_judge(lambda: self.events.add(kind, self._judge.at_ms, **fields))

    # ---- ear thread

    def _wake_ear(self) -> None:
        self._ears.submit(self._metered, "ear", time.monotonic(), self._listen)

    def _listen(self) -> None:
        if not self._inbox.waiting_ms:
            return
        block, behind_ms, holds_step = self._inbox.take(AT_MOST_MS)
        if holds_step:
            self._wake_ear()
        hearing = self._ear.hear(block)
        if hearing.says_more_than(self._hearing):
            self._hearing = hearing
            self._on_judge(self._judge.hear, hearing)
        for window in hearing.windows:
            self._submit(window)
        for segment in hearing.segments:
            self._scheduler.offer(self.facts.call_id, Kind.EARLY, segment)
        if behind_ms < BEHIND_MS:
            self._look_ahead()
            self._offer_partials(hearing.heard_ms)

    def _submit(self, window: Window) -> None:
        if window.heard:
            self._scheduler.submit(self.facts.call_id, window.segments[0].role, window)
        else:
            self.recognised(window, [None] * len(window.segments), None)

    def _look_ahead(self) -> None:
        if not self._scheduler.looks_ahead():
            return
        for role in self.facts.roles:
            window = self._ear.foreseen(role)
            if window is not None:
                self._scheduler.foresee(self.facts.call_id, role, window)

    def _offer_partials(self, heard_ms: int) -> None:
        interval_ms = self._scheduler.interval_ms()
        for role, last_ms in self._partial_at_ms.items():
            if interval_ms is None or heard_ms - last_ms < interval_ms:
                continue
            segment = self._ear.partial(role, self._agreed_ms[role])
            if segment is not None:
                self._partial_at_ms[role] = heard_ms
                self._scheduler.offer(self.facts.call_id, Kind.PARTIAL, segment)

    def _close(self, metadata: dict[str, Any], truncated: bool, warnings: tuple[str, ...]) -> None:
        while self._inbox.waiting_ms:
            self._listen()
        hearing = self._ear.finish()
        self._on_judge(self._judge.hear, hearing)
        for window in hearing.windows:
            self._submit(window)
        ending = {
            "duration_ms": self._ear.duration_ms,
            "peaks": dict(self._ear.peaks),
            "metadata": metadata,
            "truncated": truncated,
            "warnings": warnings,
        }
        self._on_judge(self._finish_when_done, ending)

    # ---- recogniser threads (``scheduler.Listener``)

    def recognised(self, window: Window, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
        self._on_judge(lambda: self._judge.recognised(window, utterances, error))
        self._on_judge(self._note_lateness, window)
        self._on_judge(self._finish_when_done)

    def glimpsed(self, kind: Kind, segment: Segment, utterance: Utterance | None) -> None:
        self._on_judge(self._glimpse, kind, segment, utterance)

    # ---- judge thread

    def _finish_when_done(self, ending: dict[str, Any] | None = None) -> None:
        self._ending = ending or self._ending
        if self._ending is None or self._judge.is_waiting:
            return
        self._scheduler.leave(self.facts.call_id)
        self._is_judged = True
        with contextlib.suppress(RuntimeError):  # the process stops: the next one recovers the call
            self._reports.submit(self._guarded, self._report, self._ending)

    def _tick(self) -> None:
        with self._lock:
            newest, self._newest_tick = self._newest_tick, None
        if newest is not None:
            self._judge.tick(*newest)

    def _glimpse(self, kind: Kind, segment: Segment, utterance: Utterance | None) -> None:
        self._judge.glimpsed(segment, utterance, complete=kind is Kind.EARLY)
        if utterance is not None and utterance.characters is not None:  # without times nothing can be joined
            self._agreed_ms[segment.role] = self._judge.agreed_ms(segment.role)

    def _note_lateness(self, window: Window) -> None:
        if self._scheduler.meter is not None and self._ending is None:  # at the end no clock runs
            late_ms = self._judge.at_ms - window.segments[-1].span.end_ms
            self._scheduler.meter.stage("end_to_final", max(0, late_ms) / 1000)

    def _judged(self, work: Callable[..., None], *args: Any) -> None:
        if not self._is_judged:
            work(*args)

    # ---- report thread

    def _report(self, ending: dict[str, Any]) -> None:
        report = self._judge.finish(**ending)
        self._is_over = True
        self._on_end(report, None)
        del self._ear, self._judge  # an ended call is remembered for a while and should weigh nothing

    def _end_without_report(self, error: Exception) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_end(None, error)

    # ---- any thread

    def _on_judge(self, work: Callable[..., None], *args: Any) -> None:
        self._judges.submit(self._metered, "judge", time.monotonic(), self._judged, work, *args)

    def _metered(self, stage: Literal["ear", "judge"], since: float, work: Callable[..., None], *args: Any) -> None:
        began = time.monotonic()
        self._guarded(work, *args)
        took = time.monotonic() - began
        self._scheduler.spend(stage, took)
        if (meter := self._scheduler.meter) is not None:
            meter.stage("ear_queue" if stage == "ear" else "judge_queue", began - since)
            meter.stage(stage, took)

    def _guarded(self, work: Callable[..., None], *args: Any) -> None:
        """An error in one call is that call's: it is reported once, and the others go on."""
        if self.error is not None or self._is_over:
            return
        try:
            work(*args)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self.error is not None:
                return
            self.error = error
        log.error("call %s failed", self.facts.call_id, exc_info=error)
        self._scheduler.leave(self.facts.call_id)
        try:
            self._reports.submit(self._end_without_report, error)
        except RuntimeError:  # no report is made any more: nobody else will tell
            self._end_without_report(error)


class _Inbox:
    """Audio that waits for the ear. The ear is told once, as soon as a side's audio is enough for a decision (``STEP``,
    counted from its start: woken in between it would only keep what it gets), and takes all that has come by then."""

    def __init__(self, roles: Sequence[Role]) -> None:
        self._blocks: dict[Role, deque[tuple[float, Samples]]] = {role: deque() for role in roles}  # when each came
        self._counts = dict.fromkeys(roles, 0)  # samples in them
        self._taken = dict.fromkeys(roles, 0)  # samples that the ear has got
        self._lock = threading.Lock()
        self._is_told = False

    @property
    def waiting_ms(self) -> int:
        """Of the role with most; a rest below a millisecond counts as one."""
        return -(-max(self._counts.values()) // SAMPLES_PER_MS)

    def waited_ms(self, now: float) -> int:
        """Of what the ear was told of; what is less than a step does not wait for it."""
        with self._lock:
            oldest = [blocks[0][0] for blocks in self._blocks.values() if blocks]
            return round((now - min(oldest)) * 1000) if oldest and self._is_told else 0

    def put(self, block: Mapping[Role, Samples]) -> bool:
        """returns whether the ear is to be told"""
        now = time.monotonic()
        with self._lock:
            for role, samples in block.items():
                if len(samples):
                    self._blocks[role].append((now, samples))
                    self._counts[role] += len(samples)
            is_news = not self._is_told and self._holds_step()
            self._is_told = self._is_told or is_news
            return is_news

    def take(self, most_ms: int) -> tuple[dict[Role, Samples], int, bool]:
        """Up to ``most_ms`` of each role, how much is left, and whether that holds a step: then the taker has to come
        back."""
        with self._lock:
            taken = {role: self._take(role, most_ms * SAMPLES_PER_MS) for role, count in self._counts.items() if count}
            self._is_told = self._holds_step()
            return taken, self.waiting_ms, self._is_told

    def _holds_step(self) -> bool:
        return any(taken % STEP + self._counts[role] >= STEP for role, taken in self._taken.items())

    def _take(self, role: Role, most: int) -> Samples:
        blocks = self._blocks[role]
        parts: list[Samples] = []
        while blocks and most:
            came, block = blocks.popleft()
            if len(block) > most:
                blocks.appendleft((came, block[most:]))
            parts.append(block[:most])
            most -= len(parts[-1])
            self._counts[role] -= len(parts[-1])
            self._taken[role] += len(parts[-1])
        return np.concatenate(parts)
