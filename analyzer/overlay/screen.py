"""The overlay on a real terminal: events to pictures, keys to wishes."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.live import Live

from analyzer.live.hub import Session
from analyzer.live.journal import EventLog
from analyzer.live.messages import EVENT
from analyzer.overlay.plain import line
from analyzer.overlay.state import State, reduce
from analyzer.overlay.view import picture

REDRAW_S = 0.125  # at most eight pictures a second
TICK_S = 0.25  # timers go on between events
MOST_AHEAD_MS = 1_500  # the clock between two events is a guess, and not a long one

if sys.platform != "win32":
    import termios
    import tty


def show(session: Session, titles: Mapping[str, str], stop: Callable[[], None], console: Console, speed: float) -> None:
    """The overlay until the call is over. ``x`` puts the first hint away, ``q`` stops.

    titles  of the rules, by id
    speed   of the call's clock against the wall's
    """
    state, read_at = State(), time.monotonic()

    def at_ms() -> int:
        since_ms = (time.monotonic() - read_at) * 1000 * speed
        return state.at_ms + round(min(since_ms, MOST_AHEAD_MS))

    def on_key(key: str) -> None:
        if key in ("q", "Q"):
            stop()
        elif key in ("x", "X") and (nudge := state.hint_to_dismiss(at_ms())):
            session.dismiss(nudge)

    with _news(session.events) as news, Live(console=console, screen=True, auto_refresh=False) as live, keys(on_key):
        while True:
            is_last = session.is_over
            for event in _unread(session.events, state.seq):
                state = reduce(state, event)
                read_at = time.monotonic()
            width, height = console.size
            live.update(picture(state, width, height, at_ms(), titles), refresh=True)
            if is_last:
                return
            time.sleep(REDRAW_S)
            news.wait(TICK_S - REDRAW_S)
            news.clear()


def tell(session: Session, say: Callable[[str], None]) -> None:
    """A line per event until the call is over."""
    state = State()
    with _news(session.events) as news:
        while True:
            is_last = session.is_over
            for event in _unread(session.events, state.seq):
                if text := line(event, state):
                    say(text)
                state = reduce(state, event)
            if is_last:
                return
            news.wait(TICK_S)
            news.clear()


def _unread(events: EventLog, seq: int) -> Iterator[object]:
    while batch := events.after(seq):
        yield from (EVENT.validate_json(text) for _, text in batch)
        seq = batch[-1][0]


@contextlib.contextmanager
def _news(events: EventLog) -> Iterator[threading.Event]:
    """Set whenever there is more to read."""
    news = threading.Event()
    end = events.watch(news.set)
    try:
        yield news
    finally:
        end()


@contextlib.contextmanager
def keys(on_key: Callable[[str], None]) -> Iterator[None]:
    """Tell of each key as it is pressed, from a thread of its own; the terminal is put back as it was.

    Without a terminal to type on, and on Windows, there are no keys: Ctrl-C stops all the same.
    """
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    is_over = threading.Event()

    def listen() -> None:
        while not is_over.is_set():
            if not select.select([terminal], [], [], 0.2)[0]:
                continue
            if not (typed := os.read(terminal, 32)):
                return
            for key in typed.decode("utf-8", "ignore"):
                on_key(key)

    thread = threading.Thread(target=listen, name="keys", daemon=True)
    try:
        tty.setcbreak(terminal)  # keys at once and unseen; Ctrl-C stays a signal
        thread.start()
        yield
    finally:
        is_over.set()
        thread.join()
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.contextmanager
def errors_to(path: Path) -> Iterator[None]:
    """What is written to standard error meanwhile goes to a file, from C libraries too: ALSA spoils pictures."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("ab") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
