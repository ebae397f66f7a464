"""What the one recogniser does next, for all calls: pure policy, told the time, without a thread.

Finals come before partials, always, and are never dropped. Among finals each call's oldest comes first, so that a call
with much to say cannot push the others back; within that the agent's before the customer's, then by age. Of a channel
only the newest partial waits: a newer one takes its place. A partial that grew too old while it waited is shed.

    finals    FIFO per call                         taken up to ``most`` at once, shared among idle workers
    ahead     one per channel, the newest           a final that is foreseen, while finals do not wait
    early     FIFO over all, sheddable              speech that is complete, but whose window is not (30 s windows)
    partials  one per channel, the newest           only while another worker stays free, and no more than take 0.3 s

A silence of half the length that ends a segment shows what its final will be. To recognise that at once costs nothing
if the silence goes on, for the final is done when it ends; if not, it was one more pass over the speech.

How often a channel may ask for a partial follows how long finals and partials waited lately (``interval_ms``), with
hysteresis: from 0.6 s to 2 s to not at all. And whatever they cost, partials get a third of the workers' time at most:
with 30 s windows each costs as much as a final. New calls are refused while finals wait too long (``accepts``).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from analyzer.types import Role

MOST = 8  # windows decoded together: the decoder gains up to fourfold, more gains little
PARTIAL_AGE_MS = 1_200  # older interim text helps nobody
AHEAD_AGE_MS = 600  # then the segment has ended, or was not about to
EARLY_AGE_MS = 6_000
# Between two partials of a channel; None: no partials. A phrase needs two to agree: at 600 ms the text is known 1.7 s
# after it in 19 of 20 cases if nothing waits; they cost as much CPU as the finals.
INTERVALS_MS = (600, 1_000, 2_000, None)
PARTIALS_SHARE = 0.35  # of the workers' time
PARTIALS_MS = 300  # of a worker at once: what comes meanwhile waits so long
SAVED_MS = 1_500  # of it that may be used later
SLOW_DOWN_MS = 250  # finals that wait longer on average make partials rarer
SPEED_UP_MS = 80  # and shorter than this more frequent
STEP_MS = 1_000  # between two changes of the interval
REFUSE_MS = 1_500  # average wait of finals above which no call is accepted
SMOOTHING = 0.2


Channel = tuple[Hashable, Role]  # of which call, and whose


class Kind(StrEnum):
    FINAL = "final"
    AHEAD = "ahead"
    EARLY = "early"
    PARTIAL = "partial"


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Something to recognise. ``work`` is the window of a final, what the scheduler knows of one foreseen, or the
    segment of the others; ``since_ms`` by the scheduler's clock."""

    kind: Kind
    call: Hashable
    role: Role
    work: Any = field(repr=False)
    since_ms: float


@dataclass(slots=True)
class Counts:
    """Since the start."""

    finals: int = 0  # those foreseen and done in time are not among them
    ahead: int = 0
    foreseen: int = 0  # finals that were begun, or done, when their segment ended
    partials: int = 0
    early: int = 0
    shed: int = 0  # all but finals that were replaced, too old, or of a call that left
    batches: int = 0


class Agenda:
    """The waiting jobs. Every method is told the time in ms of one monotonic clock."""

    def __init__(self, workers: int, *, refuse_ms: float = REFUSE_MS, most: int = MOST) -> None:
        self.counts = Counts()
        self._workers = workers
        self._refuse_ms = refuse_ms
        self._most = most
        self._finals: dict[Hashable, deque[Job]] = {}
        self._ahead: OrderedDict[Channel, Job] = OrderedDict()
        self._early: deque[Job] = deque()
        self._partials: OrderedDict[Channel, Job] = OrderedDict()
        self._busy_finals = 0
        self._busy_early = 0
        self._busy_partials = 0
        self._partial_ms = 0.0  # what one took lately
        self._wait_ms = 0.0  # of finals, smoothed
        self._level = 0
        self._stepped_ms = 0.0
        self._credit_ms = float(SAVED_MS)  # time that partials may still take
        self._earned_ms = 0.0

    # ---- what comes in

    def put_final(self, job: Job) -> None:
        self._finals.setdefault(job.call, deque()).append(job)
        self._forget(job, self._partials, self._ahead)  # the final says it better

    def put_ahead(self, job: Job) -> None:
        """Takes the place of what waits of the channel."""
        self._forget(job, self._partials, self._ahead)
        self._ahead[job.call, job.role] = job

    def put_early(self, job: Job) -> None:
        self._early.append(job)

    def offer_partial(self, job: Job) -> None:
        """Takes the place of the channel's partial that still waits; keeps its turn."""
        key = job.call, job.role
        self._forget(job, self._ahead)  # the speech went on
        if key in self._partials:
            self.counts.shed += 1
        self._partials[key] = job

    def drop(self, call: Hashable) -> None:
        """Nobody waits for this call any more: forget all that waits of it."""
        self._finals.pop(call, None)
        for jobs in (self._partials, self._ahead):
            for key in [key for key in jobs if key[0] == call]:
                self._shed(jobs.pop(key))
        self._early = deque(job for job in self._early if job.call != call)

    # ---- what goes out

    def take(self, now_ms: float) -> list[Job]:
        """The next batch, all of one kind; empty if nothing is to be done now. Call ``done`` with it afterwards."""
        self._drop_old(now_ms)
        self._adapt(now_ms)
        self._earn(now_ms)
        jobs = self._next_finals() or self._next_ahead() or self._next_others()
        if not jobs:
            return []
        self.counts.batches += 1
        if jobs[0].kind is Kind.AHEAD:
            self._busy_finals += 1
            self.counts.ahead += len(jobs)
        elif jobs[0].kind is Kind.FINAL:
            self._busy_finals += 1
            self.counts.finals += len(jobs)
            self._wait_ms += SMOOTHING * (max(now_ms - job.since_ms for job in jobs) - self._wait_ms)
        elif jobs[0].kind is Kind.EARLY:
            self._busy_early += 1
            self.counts.early += len(jobs)
        else:
            self._busy_partials += 1
            self.counts.partials += len(jobs)
        return jobs

    def done(self, jobs: list[Job], took_ms: float = 0.0) -> None:
        if jobs[0].kind in (Kind.FINAL, Kind.AHEAD):
            self._busy_finals -= 1
            return
        if jobs[0].kind is Kind.EARLY:
            self._busy_early -= 1
            return
        self._busy_partials -= 1
        self._credit_ms -= took_ms
        self._partial_ms += SMOOTHING * (took_ms / len(jobs) - self._partial_ms)

    # ---- how things stand

    def interval_ms(self, now_ms: float) -> int | None:
        """How far apart a channel's partials should be; None: none now."""
        self._adapt(now_ms)
        return INTERVALS_MS[self._level]

    def looks_ahead(self, now_ms: float) -> bool:
        """Whether finals may be recognised before they are known to be finals."""
        return self.interval_ms(now_ms) == INTERVALS_MS[0]

    def accepts(self, now_ms: float) -> bool:
        """Whether one more call can be served in time."""
        return max(self._wait_ms, self._oldest_wait_ms(now_ms)) <= self._refuse_ms

    @property
    def wait_ms(self) -> float:
        """How long finals waited lately."""
        return self._wait_ms

    @property
    def waiting(self) -> dict[Kind, int]:
        return {
            Kind.FINAL: sum(map(len, self._finals.values())),
            Kind.AHEAD: len(self._ahead),
            Kind.EARLY: len(self._early),
            Kind.PARTIAL: len(self._partials),
        }

    @property
    def is_idle(self) -> bool:
        return not (any(self.waiting.values()) or self._busy)

    # ---- inside

    @property
    def _busy(self) -> int:
        """Workers that have something to do."""
        return self._busy_finals + self._busy_early + self._busy_partials

    def _next_finals(self) -> list[Job]:
        """Each call's oldest before any call's second; what waits is shared with the workers that are idle."""
        waiting = sum(map(len, self._finals.values()))
        idle = max(1, self._workers - self._busy)
        size = min(self._most, -(-waiting // idle))
        chosen = [job for _, job in sorted(self._ranked(), key=lambda ranked: ranked[0])[:size]]
        for job in chosen:
            own = self._finals[job.call]
            own.remove(job)
            if not own:
                del self._finals[job.call]
        return chosen

    def _ranked(self) -> Iterator[tuple[tuple[int, bool, float], Job]]:
        for own in self._finals.values():
            for place, job in enumerate(own):
                if place >= self._most:
                    break
                yield (place, job.role is not Role.AGENT, job.since_ms), job

    def _next_ahead(self) -> list[Job]:
        if self._level > 0:
            return []
        return [self._ahead.popitem(last=False)[1] for _ in range(min(2, len(self._ahead)))]

    def _next_others(self) -> list[Job]:
        """Complete speech, which somebody waits for; else partials, which leave a worker free if there are several."""
        idle = max(1, self._workers - self._busy)
        if self._early:
            return [self._early.popleft() for _ in range(min(2, -(-len(self._early) // idle)))]
        if self._busy and self._busy >= self._workers - 1:
            return []
        if self._level == len(INTERVALS_MS) - 1 or self._credit_ms <= 0:
            return []
        fit = int(PARTIALS_MS / self._partial_ms) if self._partial_ms > 0 else self._most
        size = min(len(self._partials), max(1, min(fit, self._most // 2)))
        return [self._partials.popitem(last=False)[1] for _ in range(size)]

    def _drop_old(self, now_ms: float) -> None:
        for jobs, age_ms in ((self._partials, PARTIAL_AGE_MS), (self._ahead, AHEAD_AGE_MS)):
            for key in [key for key, job in jobs.items() if now_ms - job.since_ms > age_ms]:
                self._shed(jobs.pop(key))
        while self._early and now_ms - self._early[0].since_ms > EARLY_AGE_MS:
            self._shed(self._early.popleft())

    def _forget(self, job: Job, *waiting: dict[Channel, Job]) -> None:
        """What waits of the same channel is not needed any more."""
        for jobs in waiting:
            if needless := jobs.pop((job.call, job.role), None):
                self._shed(needless)

    def _shed(self, job: Job) -> None:
        self.counts.shed += 1

    def _oldest_wait_ms(self, now_ms: float) -> float:
        return max((now_ms - own[0].since_ms for own in self._finals.values()), default=0.0)

    def _earn(self, now_ms: float) -> None:
        """Time that passes is time partials may take a share of."""
        passed_ms = max(0.0, now_ms - self._earned_ms)
        self._earned_ms = now_ms
        self._credit_ms = min(SAVED_MS, self._credit_ms + passed_ms * self._workers * PARTIALS_SHARE)

    def _adapt(self, now_ms: float) -> None:
        """One step slower or faster, at most once a second. A wait that nobody adds to fades."""
        if now_ms - self._stepped_ms < STEP_MS:
            return
        self._stepped_ms = now_ms
        oldest_ms = self._oldest_wait_ms(now_ms)
        if not self._finals and not self._busy_finals:
            self._wait_ms *= 1 - SMOOTHING
        late = max(self._wait_ms, oldest_ms)
        if late > SLOW_DOWN_MS:
            self._level = min(self._level + 1, len(INTERVALS_MS) - 1)
        elif late < SPEED_UP_MS:
            self._level = max(self._level - 1, 0)
