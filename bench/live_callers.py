"""Callers for measurements of live calls: sample recordings played at real speed, and what became of every segment.

A caller plays its audio in packets of 20 ms on an absolute clock: the packet that ends at call time p is due at
``began + p``, and whatever is late (this thread too) counts as delay of what comes after. The reference says, from the
audio alone, which segments there are, when the last voice of each ended and with which packet the detector can know it.
So each delay splits up without a gap:

    voice ends ── endpoint ── known ── ear ── submitted ── wait ── begun ── recognise ── done ── judge ── text is out
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.asr import Packer, Recogniser, Window
from analyzer.asr.windows import OneByOne
from analyzer.audio import decode, find_recordings
from analyzer.live.agreement import Agreement
from analyzer.live.call import LiveCall
from analyzer.live.ear import Ear, Hearing, begun_ms
from analyzer.live.journal import EventLog
from analyzer.live.judge import Facts, Judge
from analyzer.live.scheduler import Scheduler
from analyzer.rules import Pack
from analyzer.types import Direction, Role, Utterance
from analyzer.vad import Segment

PACKET_MS = 20
TICK_MS = 250
GOLDEN = 0.618  # of a recording: where the next caller begins, so that no two speak in step
SAMPLES_PER_MS = 16

Samples = NDArray[np.int16]
Place = tuple[Role, int]  # of a segment: whose, and where it begins in ms


# ---- what is played, and what is in it


@dataclass(frozen=True, slots=True)
class Expected:
    """A segment of the reference, in ms of the call: last voice, and end of the packet with which it is complete."""

    role: Role
    start_ms: int
    voice_end_ms: int
    known_ms: int
    voiced_ms: int


@dataclass(frozen=True, slots=True)
class Play:
    """What one caller plays. ``segments`` without those that are the other side's leak.

    speed  times real time; what a sender may do that does not keep to the clock
    hangs  it never says that the call is over
    """

    name: str
    direction: Direction
    metadata: Mapping[str, Any]
    channels: Mapping[Role, Samples] = field(repr=False)
    segments: Mapping[Place, Expected] = field(repr=False)
    speed: int = 1
    hangs: bool = False

    @property
    def duration_ms(self) -> int:
        return max(map(len, self.channels.values())) // SAMPLES_PER_MS

    def packets(self) -> Iterator[dict[Role, Samples]]:
        step = PACKET_MS * SAMPLES_PER_MS
        for at in range(0, self.duration_ms * SAMPLES_PER_MS, step):
            yield {role: samples[at : at + step] for role, samples in self.channels.items()}


class Material:
    """The recordings of a folder, whole or as endless callers."""

    def __init__(self, folder: Path) -> None:
        self._recordings = find_recordings([folder]).recordings
        if not self._recordings:
            raise SystemExit(f"{folder}: no recordings")
        self._channels = cache(self._decode)
        self.caller = cache(self._caller)

    def whole(self) -> list[Play]:
        """Every recording from its beginning to its end."""
        return [self._play(number, self._channels(number), "") for number in range(len(self._recordings))]

    def _caller(self, number: int, seconds: int) -> Play:
        """Caller ``number``: some recording from some place on, round and round."""
        which = number % len(self._recordings)
        channels = self._channels(which)
        length = max(map(len, channels.values()))
        places = np.arange(seconds * 1000 * SAMPLES_PER_MS) + int(number * GOLDEN * length)
        return self._play(
            which, {role: np.take(all_, places % length) for role, all_ in channels.items()}, f"#{number}"
        )

    def _decode(self, which: int) -> dict[Role, Samples]:
        """All roles to the same length."""
        recording = self._recordings[which]
        blocks = list(decode(recording))
        channels = {role: np.concatenate([block.channels[role] for block in blocks]) for role in recording.roles}
        length = max(map(len, channels.values()))
        return {role: np.pad(samples, (0, length - len(samples))) for role, samples in channels.items()}

    def _play(self, which: int, channels: Mapping[Role, Samples], suffix: str) -> Play:
        recording = self._recordings[which]
        empty = Play(recording.call_id + suffix, recording.direction, recording.metadata, channels, {})
        segments = {(one.role, one.start_ms): one for one in _expected(empty)}
        return Play(empty.name, empty.direction, empty.metadata, channels, segments)


class _Cutter:
    """As much of a recogniser as an ear wants."""

    info: Mapping[str, Any] = {}

    def packer(self) -> Packer:
        return OneByOne()

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        raise NotImplementedError

    def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
        raise NotImplementedError


def _expected(play: Play) -> Iterator[Expected]:
    ear = Ear(tuple(play.channels), _Cutter())
    known_ms = 0
    for packet in play.packets():
        known_ms += PACKET_MS
        yield from _given(ear.hear(packet), known_ms)
    yield from _given(ear.finish(), known_ms)


def _given(hearing: Hearing, known_ms: int) -> Iterator[Expected]:
    for window in hearing.windows:
        for one in window.heard:
            voiced_ms = sum(span.duration_ms for span in one.speech)
            yield Expected(one.role, one.span.start_ms, one.speech[-1].end_ms, known_ms, voiced_ms)


# ---- what becomes of it


@dataclass(slots=True)
class Fate:
    """When things happened to one segment, in seconds of the monotonic clock; None: never."""

    submitted: float | None = None
    done: float | None = None
    out: float | None = None  # the judge is through with its final, or with complete text that came earlier
    final: float | None = None  # the judge is through with its final
    text: Utterance | None = None
    passes: list[tuple[float, Utterance, bool]] = field(default_factory=list)  # interim text as it came; of all of it?


class Stopwatch:
    """The recogniser, and when each of its windows was begun and done."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self.times: dict[int, tuple[float, float]] = {}  # by id of the window, which its call keeps alive

    @property
    def info(self) -> Mapping[str, Any]:
        return self._recogniser.info

    def packer(self) -> Packer:
        return self._recogniser.packer()

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        began = time.monotonic()
        results = self._recogniser.recognise(windows)
        done = time.monotonic()
        self.times.update((id(window), (began, done)) for window in windows)
        return results

    def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
        return self._recogniser.glance(segments)


class Caller(LiveCall):
    """A live call that plays itself and remembers what became of each segment."""

    def __init__(
        self,
        play: Play,
        name: str,
        pack: Pack,
        scheduler: Scheduler,
        folder: Path,
        *,
        ears: Executor,
        judges: Executor,
        make_judge: Callable[..., Any] = Judge,
    ) -> None:
        facts = Facts(name, play.direction, tuple(play.channels), play.metadata, dict(scheduler.recogniser.info))
        self.play = play
        self.fates: dict[Place, Fate] = {place: Fate() for place in play.segments}
        self.events_seen: list[tuple[float, str]] = []
        self.windows: list[Window] = []
        self.over = threading.Event()
        self.report: dict[str, Any] | None = None
        self.began = 0.0
        self._packets = play.packets()
        self._fed_ms = 0
        log = EventLog(folder, name, {})
        log.watch(self._see)
        super().__init__(
            facts, pack, scheduler, log, ears=ears, judges=judges, reports=judges, on_end=self._ended,
            make_judge=lambda *given, **more: _Watched(make_judge(*given, **more), self),
        )  # fmt: skip

    # -- playing

    def feed(self) -> float | None:
        """Feed the packet that is due; returns when the next one is, None after the last."""
        for _ in range(self.play.speed):
            packet = next(self._packets, None)
            if packet is None:
                if not self.play.hangs:
                    self.end()
                return None
            self._fed_ms += PACKET_MS
            self.hear(packet)
        if self._fed_ms % (TICK_MS * self.play.speed) < PACKET_MS * self.play.speed:
            self.tick(self._fed_ms)
        return self.began + (self._fed_ms + PACKET_MS) / 1000 / self.play.speed

    def _ended(self, report: dict[str, Any] | None, error: Exception | None) -> None:
        self.report = report
        self.events.close()
        self.over.set()

    # -- watching

    def _see(self) -> None:
        now = time.monotonic()
        seen = self.events_seen
        seen += [(now, line) for _, line in self.events.after(len(seen))]

    def _submit(self, window: Window) -> None:
        now = time.monotonic()
        self.windows.append(window)
        for segment in window.heard:
            if fate := self.fates.get((segment.role, segment.span.start_ms)):
                fate.submitted = now
        super()._submit(window)

    def recognised(self, window: Window, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
        now = time.monotonic()
        for segment in window.heard:
            if fate := self.fates.get((segment.role, segment.span.start_ms)):
                fate.done = now
        super().recognised(window, utterances, error)

    def note_final(self, window: Window, utterances: Sequence[Utterance | None]) -> None:
        now = time.monotonic()
        for segment, utterance in zip(window.segments, utterances, strict=True):
            if fate := self.fates.get((segment.role, segment.span.start_ms)):
                fate.final = now
                fate.out = fate.out or now
                fate.text = utterance

    def note_glimpse(self, segment: Segment, utterance: Utterance | None, complete: bool) -> None:
        now = time.monotonic()
        begun = begun_ms(segment)
        fate = self.fates.get((segment.role, begun))
        if fate is None:
            return
        if complete:
            fate.out = fate.out or now
        elif utterance is not None:
            fate.passes.append((now, utterance, segment.span.start_ms == begun))


class _Watched:
    """The judge, and when it is through with something."""

    def __init__(self, judge: Any, caller: Caller) -> None:
        self._judge, self._caller = judge, caller

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judge, name)

    def recognised(self, window: Window, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
        self._judge.recognised(window, utterances, error)
        if error is None:
            self._caller.note_final(window, utterances)

    def glimpsed(self, segment: Segment, utterance: Utterance | None, *, complete: bool) -> None:
        self._judge.glimpsed(segment, utterance, complete=complete)
        self._caller.note_glimpse(segment, utterance, complete)


class TextOnly:
    """In the judge's place where only text is wanted: what is agreed on, no rules, no report."""

    def __init__(self, facts: Facts, pack: Pack, log: EventLog, *, rejudge: bool) -> None:
        self.at_ms = 0
        self._waiting = 0
        self._begun: dict[Role, int] = {}
        self._agreements: dict[Role, Agreement] = {}

    def start(self, notice: str | None) -> None: ...

    def hear(self, hearing: Hearing) -> None:
        self._waiting += len(hearing.windows)

    def recognised(self, window: Window, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
        self._waiting -= 1

    def glimpsed(self, segment: Segment, utterance: Utterance | None, *, complete: bool) -> None:
        begun = begun_ms(segment)
        if utterance is None or complete:
            return
        if self._begun.get(segment.role) != begun:
            self._begun[segment.role], self._agreements[segment.role] = begun, Agreement()
        self._agreements[segment.role].hear(utterance, is_whole=segment.span.start_ms == begun)

    def agreed_ms(self, role: Role) -> int:
        agreement = self._agreements.get(role)
        return agreement.until_ms if agreement else 0

    def tick(self, at_ms: int, blind: Collection[Role] = ()) -> None: ...

    @property
    def is_waiting(self) -> bool:
        return self._waiting > 0

    def finish(self, **_: Any) -> dict[str, Any]:
        return {}


# ---- a run


@dataclass(frozen=True, slots=True)
class Load:
    """CPU in seconds: of this process, of all others, and per thread of this process by its name."""

    wall_s: float
    own_s: float
    others_s: float
    threads: Mapping[str, float]
    average: float  # load average at the end


@dataclass(slots=True)
class Run:
    """What a number of callers at once brought."""

    callers: list[Caller]  # without the disturbers
    stopwatch: Stopwatch
    stats: Mapping[str, Any]
    load: Load
    refused: int = 0

    @property
    def speech_s(self) -> float:
        return sum(one.voiced_ms for caller in self.callers for one in caller.play.segments.values()) / 1000

    @property
    def delays_ms(self) -> list[float]:
        """End of voice to its text, per segment; inf where it never came."""
        return [
            ((fate.out - caller.began) * 1000 - caller.play.segments[place].voice_end_ms) if fate.out else float("inf")
            for caller in self.callers
            for place, fate in caller.fates.items()
        ]

    @property
    def lost(self) -> int:
        """Segments whose final never came."""
        return sum(fate.final is None for caller in self.callers for fate in caller.fates.values())

    def stages_ms(self) -> dict[str, list[float]]:
        """Per segment with a final: how long each stage took."""
        names = ("endpoint", "ear", "wait", "recognise", "judge")
        stages: dict[str, list[float]] = {name: [] for name in names}
        for caller in self.callers:
            of_window = {
                (segment.role, segment.span.start_ms): self.stopwatch.times.get(id(window))
                for window in caller.windows
                for segment in window.heard
            }
            for place, fate in caller.fates.items():
                times, expected = of_window.get(place), caller.play.segments[place]
                if fate.submitted is None or fate.done is None or fate.final is None:
                    continue
                begun = times[0] if times else fate.submitted  # what was recognised ahead has not waited
                marks = (
                    expected.known_ms / 1000,
                    *(t - caller.began for t in (fate.submitted, begun, fate.done, fate.final)),
                )
                stages["endpoint"].append(expected.known_ms - expected.voice_end_ms)
                for name, before, after in zip(names[1:], marks, marks[1:], strict=False):
                    stages[name].append((after - before) * 1000)
        return stages


def run_callers(
    plays: Sequence[Play],
    pack: Pack,
    make_scheduler: Callable[[Recogniser], Scheduler],
    recogniser: Recogniser,
    folder: Path,
    *,
    apart_s: float,
    patience_s: float,
    admits: bool = False,
    disturbers: Sequence[Play] = (),
    make_judge: Callable[..., Any] = Judge,
) -> Run:
    """Play all at real speed, the next one ``apart_s`` after the one before; wait so long for the last results.

    admits      callers come in only while the scheduler accepts them
    disturbers  play beside the callers from the beginning; what becomes of them is not measured and not waited for
    make_judge  ``Judge``, or ``TextOnly``: calls are only transcribed
    """
    stopwatch = Stopwatch(recogniser)
    scheduler = make_scheduler(stopwatch)
    ears, judges = ThreadPoolExecutor(1, "ear"), ThreadPoolExecutor(1, "judge")
    meter = _CpuMeter(getattr(scheduler, "pids", ()))
    callers: list[Caller] = []
    others: list[Caller] = []
    refused = 0
    start = time.monotonic() + 0.05
    due: list[tuple[float, int, Callable[[], float | None]]] = []

    everybody = (*plays, *disturbers)

    def join(number: int) -> float | None:
        nonlocal refused
        if admits and not scheduler.accepts():
            refused += 1
            return None
        play, is_measured = everybody[number], number < len(plays)
        caller = Caller(
            play, f"{number}-{play.name}", pack, scheduler, folder, ears=ears, judges=judges, make_judge=make_judge
        )
        caller.began = start + number * apart_s if is_measured else start
        (callers if is_measured else others).append(caller)
        heapq.heappush(due, (caller.began + PACKET_MS / 1000, number + len(everybody), caller.feed))
        return None

    due += [(start + number * apart_s, number, partial(join, number)) for number in range(len(plays))]
    due += [(start, number, partial(join, number)) for number in range(len(plays), len(everybody))]
    while due:
        at, order, act = heapq.heappop(due)
        if (ahead_s := at - time.monotonic()) > 0:
            time.sleep(ahead_s)
        if (again := act()) is not None:
            heapq.heappush(due, (again, order, act))
    deadline = time.monotonic() + patience_s
    for caller in callers:
        caller.over.wait(max(0.0, deadline - time.monotonic()))
    stats = scheduler.stats()
    load = meter.read()
    for caller in (*callers, *others):
        scheduler.leave(caller.facts.call_id)
    scheduler.close()
    ears.shutdown()
    judges.shutdown()
    return Run(callers, stopwatch, stats, load, refused)


class _CpuMeter:
    """pids  of processes that belong to this one"""

    def __init__(self, pids: Collection[int]) -> None:
        self._pids = pids
        self._wall, self._own, self._all = time.monotonic(), self._own_s(), busy_s()
        self._before = _threads_s()

    def _own_s(self) -> float:
        return time.process_time() + sum(map(process_s, self._pids))

    def read(self) -> Load:
        own, busy = self._own_s() - self._own, busy_s() - self._all
        threads: dict[str, float] = {}
        names = {thread.native_id: thread.name.split("_")[0] for thread in threading.enumerate()}
        for number, seconds in _threads_s().items():
            name = names.get(number, "engine")  # CTranslate2's own
            threads[name] = threads.get(name, 0.0) + seconds - self._before.get(number, 0.0)
        return Load(time.monotonic() - self._wall, own, max(0.0, busy - own), threads, os.getloadavg()[0])


def busy_s() -> float:
    """CPU time of all cores that was not idle, since the machine was started."""
    fields = [int(field) for field in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def _threads_s() -> dict[int, float]:
    seconds = {}
    for path in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it ended meanwhile
            seconds[int(path.name)] = _cpu_s(path / "stat")
    return seconds


def process_s(pid: int) -> float:
    """CPU time of another process so far, without what it started."""
    return _cpu_s(Path(f"/proc/{pid}/stat"))


def _cpu_s(stat: Path) -> float:
    """Of a process or thread, by its ``stat``."""
    fields = stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all do not exceed; nan without any."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def shed_share(stats: Mapping[str, Any]) -> float:
    """Of the interim work that was asked for, what was not done."""
    asked = stats["shed"] + stats["partials"] + stats["early"] + stats.get("ahead", 0)
    return stats["shed"] / asked if asked else 0.0
