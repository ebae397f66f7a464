"""A live server of our own in a process of its own, and callers over WebSocket, for measurements of the whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection, connect

from analyzer.audio import Recording, decode
from bench.live_callers import process_s
from tests.live_client import LiveClient

TOKEN = "bench-of-live-calls"
STARTS_WITHIN_S = 120.0
RATE = 16_000


class Server:
    """``analyzer serve`` with the demo model. Started by ``start``, ended by ``stop`` or ``kill``."""

    def __init__(self, run: Path, *, most_calls: int = 32) -> None:
        self.run, self._most_calls = run, most_calls
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._lines = contextlib.ExitStack()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        command = [
            sys.executable, "-m", "analyzer", "serve", "--model", "demo", "--offline", "--port", str(self.port),
            "--token", TOKEN, "--run", str(self.run), "--calls", str(self._most_calls),
            "--store", str(self.run / "desk.db"),
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2).close()
                return
            time.sleep(0.2)
        raise SystemExit("the server did not start")

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None
        self._lines.close()

    @property
    def rss_mib(self) -> float:
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def cpu_s(self) -> float:
        """CPU time of the server so far."""
        return process_s(self.pid)

    def line(self, call_id: str) -> WebSocketLine:
        address = f"ws://127.0.0.1:{self.port}/live/{call_id}/audio"
        return WebSocketLine(self._lines.enter_context(connect(address, max_queue=None)))

    def events(self, call_id: str, *, until: str = "scorecard", patience_s: float = 60.0) -> Iterator[dict[str, Any]]:
        """All events of a call from its first on, up to the first of type ``until`` or the end of patience."""
        for _, line in self.lines(call_id, patience_s=patience_s):
            event = json.loads(line)
            yield event
            if event["type"] == until:
                return

    def lines(self, call_id: str, *, patience_s: float) -> Iterator[tuple[float, str]]:
        """All events of a call as they come, each with the monotonic time (s), until the server closes the stream."""
        address = f"ws://127.0.0.1:{self.port}/live/{call_id}/events?after=0&token={TOKEN}"
        with contextlib.suppress(TimeoutError, WebSocketException, OSError), connect(address, max_size=None) as stream:
            while True:
                line = str(stream.recv(timeout=patience_s))
                yield time.monotonic(), line


class WebSocketLine:
    """A ``tests.live_client.Line`` over WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    def send(self, message: str | bytes) -> None:
        try:
            self._connection.send(message)
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from error

    def receive(self, timeout_s: float) -> str | None:
        try:
            message = self._connection.recv(timeout=timeout_s)
        except TimeoutError:
            return None
        except ConnectionClosed as error:
            raise ConnectionError(str(error)) from error
        return message if isinstance(message, str) else None

    def break_off(self) -> None:
        """As if the machine had died: no close frame, the socket is gone."""
        self._connection.socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def close(self) -> None:
        self._connection.close()


def sound_of(recording: Recording) -> NDArray[np.int16]:
    """Agent and customer at 16 kHz, shape (n, 2)."""
    blocks = list(decode(recording))
    channels = [np.concatenate([block.channels[role] for block in blocks]) for role in recording.roles]
    length = max(map(len, channels))
    return np.stack([np.pad(channel, (0, length - len(channel))) for channel in channels], axis=1)


def client_of(recording: Recording, *, timed: bool = False) -> LiveClient:
    return LiveClient(
        sound=sound_of(recording), rate=RATE, channels=[role.value for role in recording.roles], token=TOKEN,
        direction=recording.direction.value, timed=timed, metadata=recording.metadata,
    )  # fmt: skip


def pacer(speed: float = 1.0, from_ms: int = 0) -> Callable[[int], None]:
    """Waits until a moment of the call, which began at ``from_ms`` now."""
    began = time.monotonic()

    def pace(at_ms: int) -> None:
        ahead_s = began + (at_ms - from_ms) / 1000 / speed - time.monotonic()
        if ahead_s > 0:
            time.sleep(ahead_s)

    return pace
