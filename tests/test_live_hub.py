"""All calls of a process: who may begin, how they end when the process stops, what a disk that refuses may not do."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzer.asr import Window
from analyzer.errors import StoreError
from analyzer.live.ear import Ear
from analyzer.live.hub import Hub, Session
from analyzer.live.intake import Chunk
from analyzer.live.journal import JOURNAL_SCHEMA
from analyzer.live.judge import Judge
from analyzer.live.refusal import Refusal
from analyzer.live.scheduler import Scheduler
from analyzer.report import dump
from analyzer.rules import Pack
from analyzer.runs import RunFolder
from analyzer.types import Direction, Role, Utterance
from analyzer.vad.detector import STEP
from tests.fake_speech import FakeRecogniser
from tests.serving import a_hub, frames, speech, until

ROLES = (Role.AGENT, Role.CUSTOMER)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with a_hub(tmp_path) as hub:
        yield hub


def begin(hub: Hub, call_id: str = "c1", leg: Role | None = None) -> Session:
    return hub.open(call_id, direction=Direction.INBOUND, roles=ROLES, rate=8000, metadata={}, leg=leg)


def silence(ms: int = 100, roles: tuple[Role, ...] = ROLES) -> Chunk:
    return Chunk(roles, np.zeros((8 * ms, len(roles)), np.int16))


def test_a_call_whose_sender_is_away_when_the_server_stops_is_reported_as_cut_off(hub: Hub) -> None:
    session = begin(hub)
    session.feed(silence())
    session.leave()
    assert hub.stop(patience_s=20)
    report = hub.report("c1")
    assert report is not None
    assert report["truncated"]
    assert any("通话中断" in warning for warning in report["warnings"])


def test_a_call_whose_device_is_still_gone_at_its_end_lacks_something(hub: Hub) -> None:
    session = begin(hub)
    session.feed(silence())
    session.side_gone(ROLES)
    session.end()
    until(lambda: session.is_over)
    assert session.report is not None
    assert session.report["truncated"]
    gone = [warning for warning in session.report["warnings"] if "断开后没有恢复" in warning]
    assert [warning[:4] for warning in gone] == ["坐席声道", "客户声道"]


def test_a_call_whose_device_came_back_lacks_nothing_but_its_gap(hub: Hub) -> None:
    session = begin(hub)
    session.feed(silence())
    session.side_gone([Role.CUSTOMER])
    session.side_back([Role.CUSTOMER])
    session.end()
    until(lambda: session.is_over)
    assert session.report is not None
    assert not session.report["truncated"]


def test_a_leg_that_hung_up_loses_nothing(hub: Hub) -> None:
    session = begin(hub)
    session.feed(silence())
    session.hang_up([Role.CUSTOMER])
    session.feed(silence(3_000, roles=(Role.AGENT,)))
    session.end()
    until(lambda: session.is_over)
    assert session.report is not None
    assert not session.report["truncated"]


def test_a_leg_that_comes_back_brings_no_other_back_that_hung_up(hub: Hub) -> None:
    session = begin(hub, leg=Role.AGENT)
    assert begin(hub, leg=Role.CUSTOMER) is session
    session.feed(silence())
    session.hang_up([Role.CUSTOMER])
    for _ in ROLES:
        session.leave()
    begin(hub, leg=Role.AGENT)
    session.feed(silence(3_000, roles=(Role.AGENT,)))
    session.end()
    until(lambda: session.is_over)
    assert session.report is not None
    assert not session.report["truncated"]
    assert not any("缺失" in warning for warning in session.report["warnings"])


def test_a_leg_that_is_put_through_after_a_while_lost_nothing(hub: Hub) -> None:
    session = begin(hub, leg=Role.AGENT)
    session.feed(silence(3_000, roles=(Role.AGENT,)))
    session._began -= 3.0
    assert begin(hub, leg=Role.CUSTOMER) is session
    session.feed(silence(roles=(Role.CUSTOMER,)))
    session.end()
    until(lambda: session.is_over)
    assert session.report is not None
    assert not session.report["truncated"]
    assert not any("缺失" in warning for warning in session.report["warnings"])


@pytest.mark.parametrize("sends_again", [True, False])
def test_what_was_said_while_a_sender_was_away_is_missing_unless_it_sends_it(hub: Hub, sends_again: bool) -> None:
    session = begin(hub)
    session.feed(silence(1_000))
    session.leave()
    assert session._left_at is not None
    session._left_at -= 10.0
    session.rejoin(ROLES, 8_000, sends_again=sends_again)
    session.feed(silence(1_000))
    session.end()
    until(lambda: session.is_over)
    assert session.report is not None
    assert session.report["truncated"] is not sends_again
    assert (session.report["duration_ms"] >= 12_000) is not sends_again


@contextmanager
def reopened(folder: Path, pack: Pack, *, fresh: bool = False, **settings: Any) -> Iterator[Hub]:
    """Another process on the same run folder."""
    with RunFolder(folder / "run", {"pack": pack.digest, **settings}, fresh=fresh) as run:
        hub = Hub(pack, Scheduler(FakeRecogniser()), run)
        try:
            yield hub
        finally:
            hub.stop(patience_s=20)


def played(folder: Path) -> tuple[Pack, dict[str, Any]]:
    with a_hub(folder) as hub:
        session = begin(hub)
        session.feed(silence())
        session.end()
        until(lambda: session.is_over)
        assert session.report is not None
        return hub.pack, session.report


def test_settings_that_changed_reopen_no_call_and_hide_no_report(tmp_path: Path) -> None:
    pack, report = played(tmp_path)
    with reopened(tmp_path, pack, model="another") as hub:
        with pytest.raises(Refusal) as refused:
            begin(hub)
        assert refused.value.code == "call_ended"
        assert hub.report("c1") == report


def cut_off(folder: Path) -> Pack:
    """A call of a process that was killed: its journal is there, its report is not."""
    pack, _ = played(folder)
    journal = folder / "run" / "live" / "c1.jsonl"
    kept = journal.read_bytes()
    shutil.rmtree(folder / "run")
    journal.parent.mkdir(parents=True)
    journal.write_bytes(kept)
    return pack


def test_a_recovered_call_may_be_played_again_by_who_asks_for_it_afresh(tmp_path: Path) -> None:
    pack = cut_off(tmp_path)
    with reopened(tmp_path, pack, fresh=True) as hub:
        assert hub.recovered == ["c1"]
        session = begin(hub)
        session.end()
        until(lambda: session.is_over)
        assert session.report is not None


def test_a_recovered_call_is_over_for_a_server(tmp_path: Path) -> None:
    pack = cut_off(tmp_path)
    with reopened(tmp_path, pack) as hub:
        assert hub.report("c1") is not None
        with pytest.raises(Refusal):
            begin(hub)


def test_a_journal_that_cannot_be_recovered_is_logged_and_keeps_nothing_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pack = cut_off(tmp_path)
    head = {"journal": JOURNAL_SCHEMA, "call_id": "b", "direction": "inbound", "metadata": {}}
    for name, lines in (
        ("a", [{"journal": JOURNAL_SCHEMA}]),
        ("b", [head, {"type": "utterance", "role": "agent", "text": "您好"}]),
    ):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (tmp_path / "run" / "live" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    with reopened(tmp_path, pack) as hub:
        assert hub.recovered == ["c1"]
    assert "a.jsonl" in caplog.text
    assert "b.jsonl" in caplog.text
    assert "您好" not in caplog.text


def test_a_call_whose_disk_or_clock_fails_keeps_the_clock_from_no_other(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, other = begin(hub, "a"), begin(hub, "b")
    ticks, syncs = threading.Event(), threading.Event()

    def fails() -> None:
        raise OSError("no space left")

    monkeypatch.setattr(failing, "tick", fails)
    monkeypatch.setattr(failing.events, "sync", fails)
    monkeypatch.setattr(other, "tick", ticks.set)
    monkeypatch.setattr(other.events, "sync", syncs.set)
    assert ticks.wait(5)
    assert syncs.wait(5)


def test_a_call_that_cannot_be_stored_is_refused_with_the_cure(hub: Hub) -> None:
    (hub.run.path / "live").write_text("in the way")
    with pytest.raises(Refusal, match="cannot store calls now; try another one or tell its operator") as refused:
        begin(hub)
    assert refused.value.code == "overloaded"
    assert hub.live == []


def test_a_call_whose_disk_fails_at_its_end_is_over_all_the_same(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    session = begin(hub)
    add = session.events.add

    def fails(kind: Any, at_ms: int, **fields: Any) -> None:
        if fields.get("state") == "ended":
            raise OSError("no space left")
        add(kind, at_ms, **fields)

    def fails_too() -> None:
        raise OSError("no space left")

    monkeypatch.setattr(session.events, "add", fails)
    close = session.events.close
    monkeypatch.setattr(session.events, "close", fails_too)
    session.end()
    with hub._ended:
        assert hub._ended.wait_for(lambda: session.is_over, 10)
    assert hub.live == []
    close()


def test_a_slow_disk_or_a_long_report_of_one_call_keeps_no_other_from_its_hints(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, is_held = threading.Event(), threading.Event()
    finish = Judge.finish

    def slow(judge: Judge, *args: Any, **ending: Any) -> dict[str, Any]:
        if judge.facts.call_id == "slow":
            is_held.set()
            assert gate.wait(20)
        return finish(judge, *args, **ending)

    monkeypatch.setattr(Judge, "finish", slow)
    begin(hub, "slow").end()
    assert is_held.wait(10)
    other = begin(hub, "other")
    try:
        for _ in range(30):
            other.feed(silence())
        until(lambda: any('"type":"gauge"' in line for _, line in other.events.after(0)), 5)
    finally:
        gate.set()
    until(lambda: hub.report("slow") is not None)


def test_a_stop_waits_for_the_report_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_hub(tmp_path) as hub:
        is_writing, record = threading.Event(), hub.run.record

        def slow(*args: Any) -> None:
            is_writing.set()
            time.sleep(0.3)
            record(*args)

        monkeypatch.setattr(hub.run, "record", slow)
        begin(hub).end()
        assert is_writing.wait(10)
        assert hub.stop(patience_s=10)
        assert hub.report("c1") is not None


def test_a_slow_sync_of_one_call_stops_no_clock(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, is_held, ticks = threading.Event(), threading.Event(), threading.Semaphore(0)
    slow, other = begin(hub, "slow"), begin(hub, "other")

    def waits() -> None:
        is_held.set()
        assert gate.wait(20)

    monkeypatch.setattr(slow.events, "sync", waits)
    assert is_held.wait(5)
    monkeypatch.setattr(other, "tick", ticks.release)
    try:
        assert ticks.acquire(timeout=5)
        assert ticks.acquire(timeout=5)
    finally:
        gate.set()


def test_a_report_that_the_disk_refuses_is_told_and_whole_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise StoreError("no space left")

    with a_hub(tmp_path) as hub:
        monkeypatch.setattr(hub.run, "record", fails)
        session = begin(hub)
        session.feed(silence())
        session.end()
        until(lambda: session.is_over)
        events = [json.loads(line) for _, line in session.events.after(0)]
        pack = hub.pack
    assert "no space left" in caplog.text
    assert events[-1]["state"] == "interrupted"
    (report,) = (event["report"] for event in events if event["type"] == "scorecard")
    with reopened(tmp_path, pack) as hub:
        assert hub.recovered == ["c1"]
        assert hub.report("c1") == report
        assert hub.run.report_text("c1") == dump(report) + "\n"
    assert not report["truncated"]


def test_a_call_whose_audio_waits_too_long_lets_no_other_begin(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(hub, "a")
    with monkeypatch.context() as patch:
        patch.setattr(Session, "late_ms", 2_001)
        with pytest.raises(Refusal) as refused:
            begin(hub, "b")
    assert refused.value.code == "overloaded"
    begin(hub, "b")


def test_a_sender_that_catches_up_keeps_no_other_out(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    hear = Ear.hear
    monkeypatch.setattr(Ear, "hear", lambda ear, block: gate.wait(20) and hear(ear, block))
    catching_up = begin(hub, "a")
    try:
        for _ in range(50):
            catching_up.feed(silence())
        assert catching_up.queued_ms > 4_000
        begin(hub, "b")
    finally:
        gate.set()


def test_audio_too_short_to_be_heard_alone_is_not_late(hub: Hub) -> None:
    paused = hub.open("a", direction=Direction.INBOUND, roles=ROLES, rate=16_000, metadata={})
    paused.feed(Chunk(ROLES, np.zeros((STEP - 16, 2), np.int16)))
    assert paused.queued_ms == STEP // 16 - 1
    time.sleep(0.01)
    assert paused.late_ms == 0


def test_audio_is_late_while_the_ear_is_busy(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, hear = threading.Event(), Ear.hear
    monkeypatch.setattr(Ear, "hear", lambda ear, block: gate.wait(20) and hear(ear, block))
    one, other = begin(hub, "a"), begin(hub, "b")
    try:
        one.feed(silence(300))
        other.feed(silence(300))
        until(lambda: other.late_ms > 50, 5)
    finally:
        gate.set()
    until(lambda: other.late_ms == 0, 5)


def test_a_stop_waits_no_longer_than_told_for_a_recogniser_that_hangs(tmp_path: Path) -> None:
    gate, has_begun = threading.Event(), threading.Event()

    class Hangs(FakeRecogniser):
        def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
            has_begun.set()
            assert gate.wait(30)
            return super().recognise(windows)

    with a_hub(tmp_path, Hangs()) as hub:
        session = begin(hub)
        for frame in frames(speech(8)):
            session.feed(Chunk(ROLES, np.frombuffer(frame, "<i2").reshape(-1, 2)))
        session.end()
        assert has_begun.wait(10)
        began = time.monotonic()
        assert not hub.stop(patience_s=0.2)
        assert time.monotonic() - began < 6
        assert not session.is_over
        gate.set()
        assert hub.scheduler.close(within_s=10)
        session.events.close()


def test_another_pack_judges_the_calls_that_begin_after_it(hub: Hub) -> None:
    running = begin(hub, "before")
    hub.judge_by(replace(hub.pack, version="next", digest="sha256:next"))
    later = begin(hub, "after")
    for session in (running, later):
        session.feed(silence())
        session.end({})
    assert hub.stop(patience_s=20)
    versions = {call_id: (hub.report(call_id) or {})["pack"]["version"] for call_id in ("before", "after")}
    assert versions["after"] == "next"
    assert versions["before"] != "next"
