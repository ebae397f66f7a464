"""Capture end to end on a machine without a sound card: PulseAudio's null sink, PortAudio, a call played into it.

Needs pulseaudio, pulseaudio-utils, libportaudio2 and libasound2-plugins, and the bundled demo model.
"""

from __future__ import annotations

import difflib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

ROOT = Path(__file__).parent.parent
CALL = ROOT / "samples" / "bank-card-renewal"
NEEDED = ("pulseaudio", "paplay", "pactl")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
]


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
             "--load=module-null-sink sink_name=call rate=16000 channels=2"],
            env={name: value for name, value in self.environment.items() if name != "PULSE_SERVER"},
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self._answers)

    def _answers(self) -> bool:
        asked = subprocess.run(["pactl", "info"], env=self.environment, capture_output=True, check=False)
        return asked.returncode == 0

    def stop(self) -> None:
        self._server.terminate()
        self._server.wait(10)

    def play(self, recording: Path) -> None:
        subprocess.run(["paplay", "--device=call", recording], env=self.environment, check=True)


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
    def missing_ms(self) -> int:
        """Of the agent's side, as the call's journal states it."""
        events = map(json.loads, (self.run / "live" / "c1.jsonl").read_text(encoding="utf-8").splitlines())
        (ending,) = [event for event in events if event.get("type") == "call" and event["state"] == "ending"]
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


@pytest.fixture
def pulse(tmp_path: Path) -> Iterator[Pulse]:
    server = Pulse(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def live(tmp_path: Path, pulse: Pulse) -> Iterator[Callable[..., Live]]:
    started: list[Live] = []

    def begin(*options: str) -> Live:
        started.append(Live(tmp_path, pulse, *options))
        return started[-1]

    yield begin
    for one in started:
        one.close()


def test_a_call_played_into_the_sound_system_is_reported_as_its_recording_is(
    pulse: Pulse, live: Callable[..., Live], capsys: pytest.CaptureFixture[str]
) -> None:
    call = live("--mic", "callmon", "--channels", "agent,customer")
    call.wait_for("通话开始")
    pulse.play(CALL / "call.wav")
    time.sleep(1.5)  # the last word's pause
    report = call.hang_up()
    expected = json.loads((CALL / "expected.json").read_text(encoding="utf-8"))
    heard, written = _text(report), _text(expected)
    likeness = difflib.SequenceMatcher(None, heard, written, autojunk=False).ratio()
    offsets, missing_ms = _offsets(report, expected), call.missing_ms
    with capsys.disabled():
        print(
            f"\nlikeness {likeness:.3f}, {len(report['turns'])} turns of {len(expected['turns'])}, offset "
            f"{min(offsets)}..{max(offsets)} ms, missing {missing_ms} ms, warnings {report['warnings']}"
        )
    assert likeness > 0.95
    assert max(offsets) - min(offsets) <= 180, "drift to 60 ms either way, and a frame of speech detection at each end"
    assert missing_ms <= 1_500, "a busy machine loses something, and says how much"
    assert bool(report["warnings"]) == report["truncated"] == bool(missing_ms)


def test_a_device_that_goes_away_during_a_call_is_told_found_again_and_leaves_a_gap(
    pulse: Pulse, live: Callable[..., Live]
) -> None:
    call = live("--mic", "callmon", "--channels", "agent,customer")
    call.wait_for("通话开始")
    time.sleep(1)
    pulse.stop()
    call.wait_for("听不到坐席、客户声道")
    pulse.start()
    call.wait_for("又听到坐席、客户声道")
    time.sleep(2)
    report = call.hang_up()
    assert report["truncated"]
    assert any("缺失" in warning for warning in report["warnings"])


def test_devices_lists_what_can_be_heard(pulse: Pulse) -> None:
    command = [sys.executable, "-m", "analyzer", "devices"]
    listed = subprocess.run(
        command, cwd=ROOT, env=pulse.environment, stdout=subprocess.PIPE, encoding="utf-8", check=True
    )
    assert "callmon" in listed.stdout


def _text(report: dict[str, Any]) -> str:
    return "".join(turn["text"] for turn in sorted(report["turns"], key=lambda turn: turn["start_ms"]))


def _offsets(report: dict[str, Any], expected: dict[str, Any]) -> list[int]:
    """How much later each sentence stands than in the recording, where the words are the same."""
    where = {(turn["role"], turn["text"]): turn["start_ms"] for turn in expected["turns"]}
    found = [
        turn["start_ms"] - where[turn["role"], turn["text"]]
        for turn in report["turns"]
        if (turn["role"], turn["text"]) in where
    ]
    assert len(found) >= len(where) // 2
    return found
