"""The overlay on a terminal: events reach it, keys reach the call, and the terminal is left as it was."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from analyzer.live.journal import EventLog
from analyzer.live.messages import CallEvent, NudgeEvent, UtteranceEvent
from analyzer.overlay.screen import errors_to, keys, show, tell


class FakeSession:
    def __init__(self, folder: Path) -> None:
        self.events = EventLog(folder, "c1", {})
        self.is_over = False
        self.dismissed: list[str] = []

    def say(self, text: str) -> None:
        self.events.add(UtteranceEvent, 1_000, turn=0, role="agent", start_ms=0, end_ms=900, text=text)

    def remind(self) -> None:
        self.events.add(NudgeEvent, 1_000, id="n1", state="shown", kind="owed", priority="high", rule="opening",
                        message="还没报工号", suggestion="工号三零一七")  # fmt: skip

    def dismiss(self, nudge: str) -> None:
        self.dismissed.append(nudge)

    def finish(self) -> None:
        self.events.add(CallEvent, 2_000, state="ended")
        self.is_over = True
        self.events.close()


@pytest.fixture
def session(tmp_path: Path) -> Iterator[FakeSession]:
    session = FakeSession(tmp_path)
    yield session
    session.events.close()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Standard input is a terminal, and somebody types."""
    typist, seat = pty.openpty()
    stdin = os.fdopen(seat)
    monkeypatch.setattr(sys, "stdin", stdin)
    yield lambda text: os.write(typist, text.encode()) and None
    stdin.close()
    os.close(typist)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.005)


def test_each_key_is_told_at_once_and_the_terminal_is_put_back(terminal: Callable[[str], None]) -> None:
    before = termios.tcgetattr(sys.stdin)
    pressed: list[str] = []
    with keys(pressed.append):
        assert termios.tcgetattr(sys.stdin) != before
        terminal("x")
        wait_for(lambda: pressed == ["x"])
        terminal("qé")
        wait_for(lambda: pressed == ["x", "q", "é"])
    assert termios.tcgetattr(sys.stdin) == before


def test_the_terminal_is_put_back_after_an_error_too(terminal: Callable[[str], None]) -> None:
    before = termios.tcgetattr(sys.stdin)
    with pytest.raises(ZeroDivisionError), keys(lambda key: None):
        raise ZeroDivisionError
    assert termios.tcgetattr(sys.stdin) == before


def test_without_a_terminal_to_type_on_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with keys(lambda key: None):
        assert "keys" not in {thread.name for thread in threading.enumerate()}


def test_x_puts_the_first_hint_away_and_q_stops(session: FakeSession, terminal: Callable[[str], None]) -> None:
    stopped = threading.Event()
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, color_system=None, width=80, height=24, legacy_windows=False)
    overlay = threading.Thread(target=show, args=(session, {}, stopped.set, console, 1.0))
    overlay.start()
    session.remind()
    session.say("您好")
    wait_for(lambda: "请说：工号三零一七" in screen.getvalue())
    terminal("x")
    wait_for(lambda: session.dismissed == ["n1"])
    terminal("q")
    wait_for(stopped.is_set)
    session.finish()
    overlay.join(5)
    assert not overlay.is_alive()
    assert "已结束" in screen.getvalue(), "the last events are shown before it closes"
    assert screen.getvalue().count("\x1b[?1049h") == screen.getvalue().count("\x1b[?1049l") == 1, "back to what was"


def test_lines_follow_the_events_to_the_last(session: FakeSession) -> None:
    said: list[str] = []
    telling = threading.Thread(target=tell, args=(session, said.append))
    session.say("您好")
    telling.start()
    wait_for(lambda: said)
    session.say("再见")
    session.finish()
    telling.join(5)
    assert said == ["00:01.0 坐席：您好", "00:01.0 坐席：再见", "00:02.0 报告已写好"]


def test_errors_of_c_libraries_go_to_the_file_meanwhile(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with errors_to(tmp_path / "live.log"):
        os.write(2, b"ALSA lib pcm.c: underrun\n")
    os.write(2, b"afterwards\n")
    assert (tmp_path / "live.log").read_text() == "ALSA lib pcm.c: underrun\n"
    assert capfd.readouterr().err == "afterwards\n"
