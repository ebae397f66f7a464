"""A sound system of our own on a machine without a sound card, and ``analyzer live`` listening to it.

Needs pulseaudio, pulseaudio-utils, libportaudio2 and libasound2-plugins, and the bundled demo model.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
NEEDED = ("pulseaudio", "paplay", "pactl")
NULL_SINK = "module-null-sink sink_name=call rate=16000 channels=2"


class Pulse:
    """A server of our own with a stereo null sink ``call``, whose monitor ALSA shows as the device ``callmon``."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "native"
        (folder / "asound.conf").write_text(
            'pcm.callmon { type pulse device "call.monitor" hint { show on description "call" } }\n'
        )
        (folder / "full.conf").write_text(f"</usr/share/alsa/alsa.conf>\n<{folder}/asound.conf>\n")
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_SERVER": f"unix:{self._socket}",
            "ALSA_CONFIG_PATH": str(folder / "full.conf"),
            "PYTHONUNBUFFERED": "1",
            "ANALYZER_LANG": "en",
            "COLUMNS": "120",
        }
        self.start()

    def start(self) -> None:
        self._server = subprocess.Popen(
            ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
             f"--load=module-native-protocol-unix socket={self._socket} auth-anonymous=1",
             f"--load={NULL_SINK}"],
            env={name: value for name, value in self.environment.items() if name != "PULSE_SERVER"},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self._answers)

    def _answers(self) -> bool:
        asked = subprocess.run(["pactl", "info"], env=self.environment, capture_output=True, check=False)
        return asked.returncode == 0

    def unplug(self) -> None:
        """The sink is gone, as a device whose plug is pulled; the server lives on."""
        self._control("unload-module", "module-null-sink")

    def plug_in(self) -> None:
        self._control("load-module", *NULL_SINK.split())

    def _control(self, *command: str) -> None:
        subprocess.run(["pactl", *command], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self._server.terminate()
        self._server.wait(10)

    def play(self, recording: Path) -> None:
        subprocess.run(["paplay", "--device=call", recording], env=self.environment, check=True)

    @contextmanager
    def playing(self, recording: Path) -> Iterator[None]:
        """Played until it is over or the sink is gone."""
        player = subprocess.Popen(["paplay", "--device=call", recording], env=self.environment)
        try:
            yield
        finally:
            player.terminate()
            player.wait()


class Live:
    """``analyzer live --plain`` in a process of its own; ``said`` is what it printed."""

    def __init__(self, folder: Path, pulse: Pulse, *options: str) -> None:
        self.run = folder / "run"
        self._output: IO[str] = (folder / "output.txt").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "analyzer", "live", "--model", "demo", "--offline", "--plain",
             "--run", str(self.run), "--call-id", "c1", *options],
            cwd=ROOT, env=pulse.environment, stdout=self._output, stderr=subprocess.STDOUT,
        )  # fmt: skip

    @property
    def said(self) -> str:
        return Path(self._output.name).read_text(encoding="utf-8")

    def wait_for(self, text: str, times: int = 1) -> None:
        wait_for(lambda: self.said.count(text) >= times or self._process.poll() is not None, 120)
        assert self.said.count(text) >= times, self.said

    def hang_up(self) -> dict[str, Any]:
        """Ctrl-C; returns the report."""
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(120) == 0, self.said
        report: dict[str, Any] = json.loads((self.run / "reports" / "c1.json").read_text(encoding="utf-8"))
        return report

    @property
    def events(self) -> list[dict[str, Any]]:
        lines = (self.run / "live" / "c1.jsonl").read_text(encoding="utf-8").splitlines()
        return [entry for entry in map(json.loads, lines) if "seq" in entry]

    @property
    def missing_ms(self) -> int:
        """Of the agent's side, as the call's journal states it."""
        (ending,) = [event for event in self.events if event["type"] == "call" and event["state"] == "ending"]
        return sum(end - start for start, end in ending["gaps"].get("agent", []))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.1)
