"""A recording played as a call: when each piece is due, and a report that is the one of ``score``."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analyzer import cli, live_cli, pipeline
from analyzer.audio import Recording, decode, find_recordings, parse_layout
from analyzer.errors import InputError
from analyzer.live import ear
from analyzer.live.intake import Chunk
from analyzer.live.playing import CUT_SHORT, PIECE, Player
from analyzer.types import Role
from tests.fake_speech import FakeCallDetector, FakeRecogniser, write_call
from tests.tiny_pack import write_tiny_pack


class Clock:
    """Time that passes only where somebody waits; ``costs_s`` passes with every look at it."""

    def __init__(self, costs_s: float = 0.0) -> None:
        self.now_s = 50.0
        self.costs_s = costs_s

    def __call__(self) -> float:
        self.now_s += self.costs_s
        return self.now_s


class Stopping(threading.Event):
    """Waiting lets the clock pass; set after ``waits`` of them."""

    def __init__(self, clock: Clock, waits: int = 1 << 40) -> None:
        super().__init__()
        self._clock, self._waits = clock, waits

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.now_s += timeout or 0.0
        self._waits -= 1
        return self._waits < 0


class FakeSession:
    def __init__(self, clock: Callable[[], float]) -> None:
        self.fed: list[tuple[float, Chunk]] = []
        self.ended: dict[str, Any] = {}
        self._clock = clock

    def feed(self, chunk: Chunk) -> int:
        self.fed.append((self._clock(), chunk))
        return 0

    def end(self, **how: Any) -> None:
        self.ended = how


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    (found,) = find_recordings([write_call(tmp_path / "call.wav", 3, seconds=3)]).recordings
    return found


def played(recording: Recording, clock: Clock, *, speed: float = 1.0, waits: int = 1 << 40) -> FakeSession:
    session = FakeSession(lambda: clock.now_s)
    Player(recording, speed=speed, clock=clock).play(session, Stopping(clock, waits))  # type: ignore[arg-type]
    return session


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_each_piece_is_fed_when_it_has_been_spoken(recording: Recording, speed: float) -> None:
    clock = Clock()
    session = played(recording, clock, speed=speed)
    times = [at - 50.0 for at, _ in session.fed]
    assert times == pytest.approx([0.02 * (n + 1) / speed for n in range(150)])


def test_all_of_the_recording_is_fed_in_order_and_nothing_else(recording: Recording) -> None:
    session = played(recording, Clock())
    assert [chunk.position for _, chunk in session.fed] == [PIECE * n for n in range(150)]
    assert {chunk.roles for _, chunk in session.fed} == {(Role.AGENT, Role.CUSTOMER)}
    heard = np.concatenate([chunk.samples for _, chunk in session.fed])
    for column, role in enumerate((Role.AGENT, Role.CUSTOMER)):
        assert (heard[:, column] == np.concatenate([block.channels[role] for block in decode(recording)])).all()
    assert session.ended["truncated"] is False


def test_a_machine_that_stumbles_catches_up_and_loses_nothing(recording: Recording) -> None:
    clock = Clock(costs_s=0.03)  # each piece takes longer than it lasts
    session = played(recording, clock)
    assert len(session.fed) == 150
    assert session.ended["truncated"] is False


def test_the_call_s_clock_is_how_far_was_played_and_goes_on_at_the_end(recording: Recording) -> None:
    clock = Clock(costs_s=0.5)
    player = Player(recording, clock=clock)
    seen: list[float] = []
    session = FakeSession(player.now)
    assert player.now() == 0
    player.play(session, Stopping(clock))  # type: ignore[arg-type]
    seen = [at for at, _ in session.fed]
    assert seen == pytest.approx([0.02 * (n + 1) for n in range(150)])
    clock.costs_s = 0.0
    over = player.now()
    clock.now_s += 7
    assert player.now() == pytest.approx(over + 7), "so that whoever waits for the report waits no longer than told"


def test_a_stop_is_stated(recording: Recording) -> None:
    session = played(recording, Clock(), waits=40)
    assert len(session.fed) == 40
    assert session.ended == {"truncated": True, "warnings": (CUT_SHORT,)}


def test_a_recording_that_proves_unusable_ends_the_call_as_cut_short(tmp_path: Path) -> None:
    path = write_call(tmp_path / "call.wav", 3, seconds=3)
    (recording,) = find_recordings([path], parse_layout(mono="agent")).recordings
    clock = Clock()
    session = FakeSession(clock)
    with pytest.raises(InputError, match="use --channels agent,customer"):
        Player(recording, clock=clock).play(session, Stopping(clock))  # type: ignore[arg-type]
    assert session.ended["truncated"] is True


# ---- the command


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """A command in this process, with a recogniser and a speech detector that need no model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANALYZER_LANG", "en")
    for module in (cli, live_cli):
        monkeypatch.setattr(module, "load_recogniser", lambda *_, **__: FakeRecogniser())
    monkeypatch.setattr(pipeline, "CallDetector", FakeCallDetector)
    monkeypatch.setattr(ear, "CallDetector", LiveDetector)
    pack = write_tiny_pack(tmp_path / "pack")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["analyzer", *map(str, arguments), "--pack", str(pack)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return run


class LiveDetector(FakeCallDetector):
    """What the ear asks besides."""

    def settled_ms(self, role: Role) -> int:
        return self._detectors[role]._start_ms

    def is_open(self, role: Role) -> bool:
        return False

    def open_speech(self, role: Role) -> tuple[()]:
        return ()


def test_a_recording_that_is_played_ends_in_the_report_of_score_byte_for_byte(run: Run, tmp_path: Path) -> None:
    write_call(tmp_path / "day" / "c1.wav", 5, seconds=9)
    assert run("score", "day/c1.wav", "--model", "x", "--direction", "outbound", "--run", "scored")[0] == 0
    code, out, err = run("live", "--file", "day/c1.wav", "--model", "x", "--direction", "outbound", "--speed", "100",
                         "--run", "live")  # fmt: skip
    assert code == 0, err
    played, scored = (tmp_path / folder / "reports" / "c1.json" for folder in ("live", "scored"))
    assert played.read_bytes() == scored.read_bytes()
    assert "通话开始" in out
    assert "语速 坐席" in out, "the scorecard"
    assert "live/reports/c1.json" in err
    again = run("live", "--file", "day/c1.wav", "--model", "x", "--direction", "outbound", "--speed", "100",
                "--run", "live")  # fmt: skip
    assert again[0] == 0, "a recording may be played again"


def test_a_damaged_recording_says_so_as_score_does(run: Run, tmp_path: Path) -> None:
    path = write_call(tmp_path / "c1.wav", 5, seconds=9)
    path.write_bytes(path.read_bytes()[:-40_000])
    run("score", path, "--model", "x", "--run", "scored")
    run("live", "--file", path, "--model", "x", "--speed", "100", "--run", "live")
    played, scored = (tmp_path / folder / "reports" / "c1.json" for folder in ("live", "scored"))
    assert json.loads(played.read_text(encoding="utf-8"))["warnings"]
    assert played.read_bytes() == scored.read_bytes()


def test_attributes_of_the_call_reach_its_report(run: Run, tmp_path: Path) -> None:
    path = write_call(tmp_path / "c1.wav", 5, seconds=3)
    run("live", "--file", path, "--model", "x", "--speed", "100", "--run", "live", "--agent-id", "3017",
        "--metadata", "company=云岭银行", "--metadata", "ring_ms=4000", "--call-id", "c9")  # fmt: skip
    report = json.loads((tmp_path / "live" / "reports" / "c9.json").read_text(encoding="utf-8"))
    assert report["metadata"] == {"agent_id": "3017", "company": "云岭银行", "ring_ms": 4000}


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--file", "c1.wav", "--mic", "1"], 2, "give one or the other"),
        (["--file", "c1.wav", "--metadata", "company"], 2, "is not KEY=VALUE"),
        (["--file", "c1.wav", "--metadata", "ring_ms=soon"], 2, "ring_ms"),
        (["--file", "day"], 2, "2 recordings, where one can be played"),
        (["--file", "c2.wav"], 3, "c2.wav"),
        (["--file", "c1.wav"], 4, "no --model given"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_cure(
    run: Run, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    for name in ("c1.wav", "day/a.wav", "day/b.wav"):
        write_call(tmp_path / name, 5, seconds=3)
    ended, _, err = run("live", *options)
    assert (ended, said in err) == (code, True), err


def test_a_voice_at_a_microphone_is_no_sample(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyzer.live import capture
    from tests.fake_sound import FakeSound

    sound = FakeSound({"USB Headset": (1, (16_000,)), "Monitor": (2, (16_000,))})
    monkeypatch.setattr(capture, "open_sound", lambda: sound)
    code, _, err = run("live")
    assert code == 4
    assert "no --model given" in err
    assert "--loopback 'Monitor' adds the customer" in err
    assert run("live", "--channels", "agent,customer")[2].count("one channel") == 1
    assert "two sides need two devices" in run("live", "--loopback", "headset")[2]
    assert "give one of them" in run("live", "--loopback", "monitor", "--channels", "agent,customer")[2]
