"""One recogniser for many calls: what its threads promise whatever fails or leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from analyzer.asr import Window
from analyzer.live import scheduler as scheduling
from analyzer.live.agenda import Kind
from analyzer.live.scheduler import Scheduler
from analyzer.types import Role, Span, Utterance
from analyzer.vad import Segment
from tests.fake_speech import FakeRecogniser

PATIENCE_S = 10.0


@pytest.fixture(autouse=True)
def _no_thread_left_behind() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def segment(start_ms: int = 0, pitch_hz: int = 300) -> Segment:
    span = Span(start_ms, start_ms + 500)
    samples = (8000 * np.sin(2 * np.pi * pitch_hz * np.arange(8000) / 16_000)).astype(np.int16)
    return Segment(Role.AGENT, span, samples, (span,), -20.0)


def window(start_ms: int = 0, pitch_hz: int = 300) -> Window:
    return Window((segment(start_ms, pitch_hz),))


@dataclass
class Listener:
    """Keeps what it is told; ``wait_for`` returns once there is so much."""

    finals: list[tuple[Window, Exception | None]] = field(default_factory=list)
    glimpses: list[Segment] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def recognised(self, window: Window, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
        with self._changed:
            self.finals.append((window, error))
            self._changed.notify_all()

    def glimpsed(self, kind: Kind, segment: Segment, utterance: Utterance | None) -> None:
        with self._changed:
            self.glimpses.append(segment)
            self._changed.notify_all()

    def wait_for(self, is_enough: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(is_enough, PATIENCE_S)


class GatedRecogniser(FakeRecogniser):
    """Works only while the gate is open; tells when it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.has_begun = threading.Event(), threading.Event()

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        self.has_begun.set()
        assert self.gate.wait(PATIENCE_S)
        return super().recognise(windows)


def test_a_bad_window_fails_alone_and_the_rest_of_its_batch_is_recognised() -> None:
    recogniser = GatedRecogniser()
    recogniser._poison_hz = 777
    scheduler = Scheduler(recogniser)
    good, bad = Listener(), Listener()
    scheduler.enter("good", good)
    scheduler.enter("bad", bad)
    scheduler.submit("good", Role.AGENT, window(0))
    assert recogniser.has_begun.wait(PATIENCE_S)  # the others wait together meanwhile
    scheduler.submit("bad", Role.AGENT, window(1000, pitch_hz=777))
    scheduler.submit("good", Role.AGENT, window(1000))
    scheduler.submit("bad", Role.AGENT, window(2000))
    recogniser.gate.set()
    scheduler.close()
    assert recogniser.batches[:2] == [1, 3]
    assert [error for _, error in good.finals] == [None, None]
    assert sorted((one.segments[0].span.start_ms, error is None) for one, error in bad.finals) == [
        (1000, False),
        (2000, True),
    ]


def test_what_waits_of_a_call_that_left_is_not_recognised() -> None:
    recogniser = GatedRecogniser()
    scheduler = Scheduler(recogniser)
    stays, leaves = Listener(), Listener()
    scheduler.enter("stays", stays)
    scheduler.enter("leaves", leaves)
    scheduler.submit("leaves", Role.AGENT, window(0))
    assert recogniser.has_begun.wait(PATIENCE_S)
    for start_ms in range(1000, 9000, 1000):
        scheduler.submit("leaves", Role.AGENT, window(start_ms))
    scheduler.offer("leaves", Kind.PARTIAL, segment(9000))
    scheduler.submit("stays", Role.AGENT, window(0))
    scheduler.leave("leaves")
    assert scheduler.stats()["waiting"] == {"final": 1, "ahead": 0, "early": 0, "partial": 0}
    recogniser.gate.set()
    scheduler.close()
    assert recogniser.batches == [1, 1]
    assert len(stays.finals) == 1
    assert leaves.finals == []
    assert leaves.glimpses == []


@pytest.mark.parametrize("workers", [1, 3])
def test_closing_recognises_what_waits(workers: int) -> None:
    recogniser = FakeRecogniser(delay_s=0.01)
    scheduler = Scheduler(recogniser, workers=workers)
    listeners = [Listener() for _ in range(5)]
    for number, listener in enumerate(listeners):
        scheduler.enter(number, listener)
        for start_ms in range(0, 8000, 1000):
            scheduler.submit(number, Role.AGENT, window(start_ms))
    scheduler.close()
    assert [len(listener.finals) for listener in listeners] == [8] * 5
    assert not scheduler.accepts()


def test_a_call_that_would_take_what_the_others_need_is_refused_before_anybody_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scheduling, "_cores", lambda: 2)
    scheduler = Scheduler(FakeRecogniser(), call_cost=0.5)  # of 1.6 cores
    for number in range(3):
        assert scheduler.accepts()
        scheduler.enter(number, Listener())
    assert not scheduler.accepts()
    scheduler.leave(0)
    assert scheduler.accepts()
    scheduler.close()


@pytest.mark.parametrize(("thread", "workers", "busy_s"), [("ear", 2, 0.7), ("judge", 2, 0.7), ("recogniser", 2, 1.4)])
def test_a_thread_that_has_no_time_left_refuses_calls_though_cores_are_free(
    monkeypatch: pytest.MonkeyPatch, thread: Any, workers: int, busy_s: float
) -> None:
    monkeypatch.setattr(scheduling, "_cores", lambda: 64)
    now = 0.0
    scheduler = Scheduler(FakeRecogniser(), workers=workers, clock=lambda: now)
    for number in range(4):
        scheduler.enter(number, Listener())
    for now in range(1, 31):
        scheduler.spend(thread, busy_s)
        assert scheduler.accepts() or now > 2, "what calls cost is not known yet"
    assert not scheduler.accepts()
    scheduler.close()


@pytest.mark.parametrize(("cores_each", "accepts"), [(1, True), (4, False)])
def test_a_batch_takes_as_many_cores_as_compute_it(
    monkeypatch: pytest.MonkeyPatch, cores_each: int, accepts: bool
) -> None:
    monkeypatch.setattr(scheduling, "_cores", lambda: 16)
    now = 0.0
    scheduler = Scheduler(FakeRecogniser(), workers=8, cores_each=cores_each, clock=lambda: now)
    for number in range(8):
        scheduler.enter(number, Listener())
    for now in range(1, 31):
        scheduler.spend("recogniser", 3.2)  # 12.8 cores, were each batch computed by four
        assert scheduler.accepts() or now > 2, "what calls cost is not known yet"
    assert scheduler.accepts() is accepts
    scheduler.close()


def test_a_final_that_was_foreseen_is_told_without_being_recognised_again() -> None:
    recogniser, listener = FakeRecogniser(), Listener()
    scheduler = Scheduler(recogniser)
    scheduler.enter("a", listener)
    scheduler.foresee("a", Role.AGENT, window(1000))
    listener.wait_for(lambda: bool(listener.glimpses))  # it serves as interim text until its segment ends
    assert listener.finals == []
    final = window(1000)
    scheduler.submit("a", Role.AGENT, final)
    assert listener.finals == [(final, None)]
    scheduler.close()
    assert recogniser.batches == [1]


def test_a_final_that_is_being_recognised_when_its_segment_ends_is_not_begun_again() -> None:
    recogniser, listener = GatedRecogniser(), Listener()
    scheduler = Scheduler(recogniser)
    scheduler.enter("a", listener)
    scheduler.foresee("a", Role.AGENT, window(1000))
    assert recogniser.has_begun.wait(PATIENCE_S)
    final = window(1000)
    scheduler.submit("a", Role.AGENT, final)
    recogniser.gate.set()
    scheduler.close()
    assert recogniser.batches == [1]
    assert listener.finals == [(final, None)]
    assert listener.glimpses == []


@pytest.mark.parametrize("came", [window(1000, pitch_hz=500), window(1500)], ids=["another sound", "another span"])
def test_a_final_that_is_not_what_was_foreseen_is_recognised(came: Window) -> None:
    recogniser, listener = FakeRecogniser(), Listener()
    scheduler = Scheduler(recogniser)
    scheduler.enter("a", listener)
    scheduler.foresee("a", Role.AGENT, window(1000))
    listener.wait_for(lambda: bool(listener.glimpses))
    scheduler.submit("a", Role.AGENT, came)
    scheduler.close()
    assert recogniser.batches == [1, 1]
    assert [one for one, _ in listener.finals] == [came]


def test_a_final_whose_recognition_ahead_failed_is_tried_once_more() -> None:
    class FailsOnce(GatedRecogniser):
        def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
            results = super().recognise(windows)
            if len(self.batches) == 1:
                raise RuntimeError("no memory")
            return results

    for is_claimed_meanwhile in (True, False):
        recogniser, listener = FailsOnce(), Listener()
        scheduler = Scheduler(recogniser)
        scheduler.enter("a", listener)
        scheduler.foresee("a", Role.AGENT, window(1000))
        assert recogniser.has_begun.wait(PATIENCE_S)
        if is_claimed_meanwhile:
            scheduler.submit("a", Role.AGENT, window(1000))
        recogniser.gate.set()
        if not is_claimed_meanwhile:
            while scheduler.stats()["ahead"] and scheduler._foreseen:
                threading.Event().wait(0.001)
            scheduler.submit("a", Role.AGENT, window(1000))
        scheduler.close()
        assert [error for _, error in listener.finals] == [None]


def test_interim_text_that_fails_takes_no_final_with_it() -> None:
    recogniser = FakeRecogniser(poison_hz=777)
    scheduler = Scheduler(recogniser)
    listener = Listener()
    scheduler.enter("a", listener)
    scheduler.offer("a", Kind.PARTIAL, segment(0, pitch_hz=777))
    scheduler.offer("a", Kind.EARLY, segment(1000))
    listener.wait_for(lambda: bool(listener.glimpses))
    scheduler.submit("a", Role.AGENT, window(2000))
    scheduler.close()
    assert [one.span.start_ms for one in listener.glimpses] == [1000]
    assert len(listener.finals) == 1


def test_every_batch_is_metered_with_the_wait_of_each_of_its_windows() -> None:
    class Meter:
        def __init__(self) -> None:
            self.batches: list[tuple[Kind, int, int]] = []

        def batch(self, kind: Kind, size: int, waited_s: Sequence[float], took_s: float) -> None:
            assert took_s >= 0
            assert min(waited_s) >= 0
            self.batches.append((kind, size, len(waited_s)))

    meter = Meter()
    scheduler = Scheduler(FakeRecogniser(), meter=meter)
    scheduler.enter("a", Listener())
    scheduler.submit("a", Role.AGENT, window())
    scheduler.close()
    assert meter.batches == [(Kind.FINAL, 1, 1)]


def test_a_worker_goes_on_whatever_recogniser_listener_or_meter_do() -> None:
    class Forgetful(FakeRecogniser):
        """Has no answer to some windows."""

        def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
            whole = super().recognise(windows)
            return [one for one, window in zip(whole, windows, strict=True) if window.segments[0].span.start_ms != 3000]

        def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
            return []

    class Broken(Listener):
        def recognised(self, window: Window, utterances: Sequence[Utterance | None], error: Exception | None) -> None:
            raise RuntimeError("no room")

    class BrokenMeter:
        def batch(self, kind: Kind, size: int, waited_s: Sequence[float], took_s: float) -> None:
            raise RuntimeError("no room")

        def stage(self, stage: str, took_s: float) -> None: ...

    scheduler = Scheduler(Forgetful(), meter=BrokenMeter())
    good = Listener()
    scheduler.enter("broken", Broken())
    scheduler.enter("good", good)
    for start_ms in (1000, 2000, 3000, 4000):
        scheduler.submit("broken", Role.AGENT, window(start_ms))
        scheduler.submit("good", Role.AGENT, window(start_ms))
        scheduler.offer("good", Kind.EARLY, segment(start_ms))
    good.wait_for(lambda: len(good.finals) == 4)
    scheduler.close()
    failed = [one.segments[0].span.start_ms for one, error in good.finals if error is not None]
    assert failed == [3000]
