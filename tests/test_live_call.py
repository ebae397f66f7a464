"""A call from its samples to its report: the same as its recording's, whatever the threads and the pieces do."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analyzer import pipeline
from analyzer.asr import Packer, Window
from analyzer.asr.windows import OneByOne
from analyzer.audio import Recording, decode, find_recordings
from analyzer.catalog import load_pack
from analyzer.live import ear
from analyzer.live.call import AT_MOST_MS, LiveCall
from analyzer.live.journal import EventLog
from analyzer.live.judge import Facts
from analyzer.live.messages import UtteranceEvent
from analyzer.live.scheduler import Scheduler
from analyzer.pipeline import score_recordings
from analyzer.report import dump
from analyzer.rules import Pack
from analyzer.runs import RunFolder
from analyzer.types import Direction, Role, Span, Utterance
from analyzer.vad import Segment
from tests.fake_speech import FakeCallDetector, FakeRecogniser, write_call
from tests.tiny_pack import write_tiny_pack

PATIENCE_S = 20.0
ROLES = (Role.AGENT, Role.CUSTOMER)
Samples = NDArray[np.int16]


class FakeLiveDetector(FakeCallDetector):
    """What else an ear asks of a detector."""

    def settled_ms(self, role: Role) -> int:
        return self._detectors[role]._start_ms

    def is_open(self, role: Role) -> bool:
        return self.open_segment(role) is not None

    def open_speech(self, role: Role) -> Sequence[Span]:
        segment = self.open_segment(role)
        return (segment.span, *segment.speech) if segment else ()

    def open_segment(self, role: Role) -> Segment | None:
        detector = self._detectors[role]
        loud = np.flatnonzero(np.abs(detector._samples.astype(np.int32)) > 500)
        if not len(loud):
            return None
        begin, end = int(loud[0]) // 160 * 10, len(detector._samples) // 16
        span = Span(detector._start_ms + begin, detector._start_ms + max(begin, end))
        return Segment(role, span, detector._samples[begin * 16 : end * 16], (span,), -20.0)

    def foreseen_span(self, role: Role) -> Span | None:
        segment = self.foreseen_segment(role)
        return segment.span if segment else None

    def foreseen_segment(self, role: Role) -> Segment | None:
        """After half of the silence that ends a burst."""
        detector = self._detectors[role]
        loud = np.flatnonzero(np.abs(detector._samples.astype(np.int32)) > 500)
        if not len(loud):
            return None
        begin, end = int(loud[0]) // 160, int(loud[-1]) // 160 + 1
        if len(detector._samples) // 160 < end + 10:
            return None
        span = Span(detector._start_ms + begin * 10, detector._start_ms + end * 10)
        return Segment(role, span, detector._samples[begin * 160 : end * 160], (span,), -20.0)


@pytest.fixture(autouse=True)
def _no_voice_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CallDetector", FakeLiveDetector)
    monkeypatch.setattr(ear, "CallDetector", FakeLiveDetector)


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return load_pack(write_tiny_pack(tmp_path_factory.mktemp("pack")))


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, ...]:
    folder = tmp_path_factory.mktemp("calls")
    for seed in range(6):
        write_call(folder / f"c{seed}.wav", seed, seconds=8 + 3 * seed)
    return find_recordings([folder]).recordings


class RandomlySlow(FakeRecogniser):
    """Each batch takes its own time, so that results overtake one another. With an odd ``seed`` segments are alone in
    their windows, else two neighbours share one."""

    def __init__(self, seed: int, *, most_s: float = 0.02) -> None:
        super().__init__()
        self._random = random.Random(seed)
        self._delays_s = (0.0, most_s / 20, most_s)
        self._is_alone = seed % 2 == 1

    def packer(self) -> Packer:
        return OneByOne() if self._is_alone else super().packer()

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        time.sleep(self._random.choice(self._delays_s))
        return super().recognise(windows)


@dataclass
class Ending:
    """How calls ended, by id."""

    reports: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    errors: dict[str, Exception | None] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def of(self, call_id: str) -> Callable[[dict[str, Any] | None, Exception | None], None]:
        def ended(report: dict[str, Any] | None, error: Exception | None) -> None:
            with self._changed:
                assert call_id not in self.reports, "a call ends once"
                self.reports[call_id], self.errors[call_id] = report, error
                self._changed.notify_all()

        return ended

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.reports) == count, PATIENCE_S)


class Logs:
    """Event logs in a folder, closed in the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[EventLog] = []

    def open(self, call_id: str, kind: type[EventLog] = EventLog) -> EventLog:
        self._opened.append(kind(self._folder, call_id, {}))
        return self._opened[-1]

    def close(self) -> None:
        for log in self._opened:
            log.close()


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    opened = Logs(tmp_path)
    yield opened
    opened.close()


@contextmanager
def serving(recogniser: FakeRecogniser, workers: int = 2) -> Iterator[tuple[Scheduler, Executor, Executor]]:
    scheduler = Scheduler(recogniser, workers=workers)
    with ThreadPoolExecutor(1, "ear") as ears, ThreadPoolExecutor(1, "judge") as judges:
        yield scheduler, ears, judges
        scheduler.close()


def facts_of(recording: Recording, recogniser: FakeRecogniser) -> Facts:
    info = dict(recogniser.info)
    return Facts(recording.call_id, recording.direction, recording.roles, recording.metadata, info)


def channels_of(recording: Recording) -> dict[Role, Samples]:
    blocks = list(decode(recording))
    return {role: np.concatenate([block.channels[role] for block in blocks]) for role in recording.roles}


def in_pieces(channels: Mapping[Role, Samples], sizes: Iterator[int]) -> Iterator[dict[Role, Samples]]:
    at, end = 0, max(map(len, channels.values()))
    while at < end:
        size = next(sizes)
        yield {role: samples[at : at + size] for role, samples in channels.items()}
        at += size


def play_all(
    recordings: Sequence[Recording], pack: Pack, logs: Logs, recogniser: FakeRecogniser, sizes: Iterator[int]
) -> dict[str, str]:
    """All calls at once, a piece of each in turn; their reports as JSON text."""
    ending = Ending()
    with serving(recogniser) as (scheduler, ears, judges):
        calls = {}
        for recording in recordings:
            facts = facts_of(recording, recogniser)
            log = logs.open(facts.call_id)
            call = LiveCall(
                facts, pack, scheduler, log, ears=ears, judges=judges, reports=judges, on_end=ending.of(facts.call_id)
            )
            calls[call] = in_pieces(channels_of(recording), sizes)
        while calls:
            for call, pieces in list(calls.items()):
                if (piece := next(pieces, None)) is not None:
                    call.hear(piece)
                else:
                    call.end()
                    del calls[call]
        ending.wait_for(len(recordings))
    assert set(ending.errors.values()) == {None}
    return {call_id: dump(report) + "\n" for call_id, report in ending.reports.items() if report is not None}


@pytest.mark.parametrize("seed", range(4))
def test_played_in_any_pieces_with_results_in_any_order_a_call_ends_in_the_report_of_its_recording(
    recordings: tuple[Recording, ...], pack: Pack, tmp_path: Path, logs: Logs, seed: int
) -> None:
    with RunFolder(tmp_path / "scored", {"pack": "tiny"}) as run:
        outcomes = list(score_recordings(recordings, RandomlySlow(seed, most_s=0), pack, run, jobs=2))
    assert len(outcomes) == len(recordings)
    scored = {path.stem: path.read_text() for path in (tmp_path / "scored" / "reports").iterdir()}
    choose = random.Random(seed)
    sizes = iter(lambda: choose.choice((1, 37, 160, 320, 1601, 9_999, 40_000)), None)
    if seed == 0:
        sizes = iter(lambda: 320, None)
    assert play_all(recordings, pack, logs, RandomlySlow(seed), sizes) == scored


def test_a_call_that_fails_ends_with_its_error_and_the_others_with_their_reports(
    recordings: tuple[Recording, ...], pack: Pack, logs: Logs, caplog: pytest.LogCaptureFixture
) -> None:
    class FullDisk(EventLog):
        def add(self, kind: Any, at_ms: int, **fields: Any) -> None:
            if kind is UtteranceEvent:
                raise OSError("no space left")
            super().add(kind, at_ms, **fields)

    ending, recogniser = Ending(), FakeRecogniser()
    with serving(recogniser) as (scheduler, ears, judges):
        for number, recording in enumerate(recordings):
            facts = facts_of(recording, recogniser)
            log = logs.open(facts.call_id, FullDisk if number == 2 else EventLog)
            call = LiveCall(
                facts, pack, scheduler, log, ears=ears, judges=judges, reports=judges, on_end=ending.of(facts.call_id)
            )
            for piece in in_pieces(channels_of(recording), iter(lambda: 1600, None)):
                call.hear(piece)
            call.end()
        ending.wait_for(len(recordings))
    failed = {call_id for call_id, error in ending.errors.items() if error is not None}
    assert failed == {recordings[2].call_id}
    assert isinstance(ending.errors[recordings[2].call_id], OSError)
    assert sum(report is not None for report in ending.reports.values()) == len(recordings) - 1
    assert "您好" not in caplog.text


def test_speech_that_could_not_be_recognised_is_told_in_the_report(pack: Pack, tmp_path: Path, logs: Logs) -> None:
    write_call(tmp_path / "bad.wav", 1, seconds=12, poison_hz=950)
    (recording,) = find_recordings([tmp_path]).recordings
    ending, recogniser = Ending(), FakeRecogniser(poison_hz=950)
    with serving(recogniser) as (scheduler, ears, judges):
        facts = facts_of(recording, recogniser)
        call = LiveCall(
            facts, pack, scheduler, logs.open("bad"), ears=ears, judges=judges, reports=judges, on_end=ending.of("bad")
        )  # fmt: skip
        call.hear(channels_of(recording))
        call.end()
        ending.wait_for(1)
    report = ending.reports["bad"]
    assert report is not None
    assert report["truncated"]
    assert any("未能识别" in warning for warning in report["warnings"])


class Desk(Executor):
    """Does nothing by itself: the test says when the next piece of work is done."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()

    def submit(self, work: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:  # type: ignore[override]
        self.waiting.append(lambda: work(*args, **more))
        return Future()

    def do_one(self) -> None:
        self.waiting.popleft()()


@dataclass
class Ears:
    desk: Desk
    open: Callable[[str], LiveCall]


@pytest.fixture
def ears(pack: Pack, logs: Logs) -> Iterator[Ears]:
    """Calls whose ear works when told."""
    recogniser = FakeRecogniser()
    with serving(recogniser) as (scheduler, _, judges):
        desk = Desk()

        def begin(call_id: str) -> LiveCall:
            facts = Facts(call_id, Direction.INBOUND, ROLES, {}, dict(recogniser.info))
            log = logs.open(call_id)
            return LiveCall(
                facts, pack, scheduler, log, ears=desk, judges=judges, reports=judges, on_end=lambda *_: None
            )

        yield Ears(desk, begin)


def silence(ms: int) -> dict[Role, Samples]:
    return {role: np.zeros(16 * ms, np.int16) for role in ROLES}


def test_small_packets_are_heard_together(ears: Ears) -> None:
    call = ears.open("a")
    for _ in range(2):
        call.hear(silence(20))
    assert not ears.desk.waiting
    for _ in range(7):
        call.hear(silence(20))
    assert len(ears.desk.waiting) == 1
    ears.desk.do_one()
    assert call._ear.duration_ms == 180
    assert not ears.desk.waiting


def test_the_ear_is_woken_for_each_step_it_decides_in_counted_from_the_start(ears: Ears) -> None:
    call = ears.open("a")
    heard_at = []
    for packet in range(1, 27):
        call.hear(silence(20))
        if ears.desk.waiting:
            heard_at.append(20 * packet)
            ears.desk.do_one()
    assert heard_at == [140, 260, 400, 520]  # the first packets that reach beyond 128, 256, 384 and 512 ms


def test_either_side_wakes_the_ear(ears: Ears) -> None:
    call = ears.open("a")
    agent, customer = ROLES
    call.hear({agent: silence(120)[agent]})
    call.hear({customer: silence(120)[customer]})
    assert not ears.desk.waiting
    call.hear({customer: silence(20)[customer]})
    ears.desk.do_one()
    call.hear({agent: silence(20)[agent]})
    assert len(ears.desk.waiting) == 1


def test_a_call_that_catches_up_takes_turns_with_the_others(ears: Ears) -> None:
    late, other = ears.open("late"), ears.open("other")
    late.hear(silence(30_000))
    other.hear(silence(130))
    ears.desk.do_one()
    ears.desk.do_one()
    assert (late._ear.duration_ms, other._ear.duration_ms) == (AT_MOST_MS, 130)
    while ears.desk.waiting:
        ears.desk.do_one()
    assert late._ear.duration_ms == 30_000


def test_the_end_hears_what_still_waits(ears: Ears) -> None:
    call = ears.open("a")
    call.hear(silence(1_999))
    call.hear({Role.AGENT: np.zeros(5, np.int16)})
    call.end()
    while ears.desk.waiting:
        ears.desk.do_one()
    assert call._ear._lines[Role.AGENT].n_samples == 1_999 * 16 + 5


@pytest.mark.parametrize("where", ["ear", "judge"])
def test_a_call_that_fails_is_told_once_and_by_the_judge(
    pack: Pack, logs: Logs, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError("broken")

    threads: list[str] = []
    told = threading.Event()

    def ended(report: dict[str, Any] | None, error: Exception | None) -> None:
        assert report is None
        assert isinstance(error, OSError)
        threads.append(threading.current_thread().name)
        told.set()

    recogniser = FakeRecogniser()
    with serving(recogniser) as (scheduler, ears, judges):
        facts = Facts("a", Direction.INBOUND, ROLES, {}, dict(recogniser.info))
        call = LiveCall(facts, pack, scheduler, logs.open("a"), ears=ears, judges=judges, reports=judges, on_end=ended)
        monkeypatch.setattr(call._ear if where == "ear" else call._judge, "finish", fails)
        call.hear(silence(1_000))
        call.end()
        assert told.wait(PATIENCE_S)
        call.tick(5_000)
    assert len(threads) == 1
    assert threads[0].startswith("judge")


def test_ticks_that_wait_become_one_with_the_newest_time(pack: Pack, logs: Logs) -> None:
    recogniser, desk = FakeRecogniser(), Desk()
    with serving(recogniser) as (scheduler, ears, _):
        facts = Facts("a", Direction.INBOUND, ROLES, {}, dict(recogniser.info))
        call = LiveCall(
            facts, pack, scheduler, logs.open("a"), ears=ears, judges=desk, reports=desk, on_end=lambda *_: None
        )
        desk.do_one()
        for at_ms in range(250, 5_000, 250):
            call.tick(at_ms)
        assert len(desk.waiting) == 1
        desk.do_one()
        assert call._judge.at_ms == 4_750
        call.tick(5_000)
        assert len(desk.waiting) == 1
