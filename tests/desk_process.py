"""``analyzer serve --no-live`` in a process of its own, as users start it; for tests and measurements of the whole."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parent.parent


class DeskProcess:
    """The review desk on the store at ``url``; what it keeps elsewhere goes to ``data``.

    origin  where it answers, as ``http://127.0.0.1:PORT``
    """

    def __init__(self, url: str, data: Path) -> None:
        self._url, self._data = url, data
        self._process: subprocess.Popen[str] | None = None
        self.origin = ""

    def start(self, port: int = 0) -> None:
        """raises RuntimeError if it ends before it listens"""
        command = [sys.executable, "-m", "analyzer", "serve", "--no-live", "--store", self._url, "--port", str(port)]
        self._process = subprocess.Popen(
            command, env=self.environment, cwd=PROJECT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        if not (found := re.search(r"http://[^/\s]+", first)):
            raise RuntimeError(f"the desk did not start: exit code {self._process.wait()}")
        self.origin = found[0]

    def read_setup_url(self) -> str:
        """The second line of a desk where there is nobody yet."""
        assert self._process is not None
        assert self._process.stdout is not None
        found = re.search(r"http://\S+/setup\S+", self._process.stdout.readline())
        assert found
        return found[0]

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "ANALYZER_DATA": str(self._data), "ANALYZER_LANG": "en"}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def command(self, *arguments: str, typed: str = "") -> str:
        """Run ``analyzer …`` on the same store. raises CalledProcessError"""
        ran = subprocess.run(
            [sys.executable, "-m", "analyzer", *arguments, "--store", self._url],
            env=self.environment, cwd=PROJECT, input=typed, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return ran.stdout


@contextmanager
def a_desk(url: str, data: Path) -> Iterator[DeskProcess]:
    desk = DeskProcess(url, data)
    desk.start()
    try:
        yield desk
    finally:
        desk.stop()
