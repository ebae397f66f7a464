"""Capture end to end on a machine without a sound card: PulseAudio's null sink, PortAudio, a call played into it.

Needs what ``tests.sound_system`` does.
"""

from __future__ import annotations

import difflib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sound_system import NEEDED, ROOT, Live, Pulse

CALL = ROOT / "samples" / "bank-card-renewal"

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"),
]


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
    assert missing_ms <= 1_000, "a busy machine loses something, and says how much; the beginning is never missing"
    assert bool(report["warnings"]) == bool(missing_ms)
    assert missing_ms or not report["truncated"], "a little that is missing is stated, and only much of it truncates"


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


def test_a_device_whose_plug_is_pulled_during_a_call_is_heard_again_once_it_is_back(
    pulse: Pulse, live: Callable[..., Live]
) -> None:
    call = live("--mic", "callmon", "--channels", "agent,customer")
    call.wait_for("通话开始")
    time.sleep(1)  # something is heard
    pulse.unplug()
    call.wait_for("听不到坐席、客户声道")
    time.sleep(1)
    pulse.plug_in()
    call.wait_for("又听到坐席、客户声道")
    report = call.hang_up()
    states = [event["state"] for event in call.events if event["type"] == "call"]
    assert states == ["started", "disconnected", "resumed", "ending", "ended"], "once each: it does not flap"
    assert call.missing_ms >= 1_000
    assert report["truncated"]
    assert any("缺失" in warning for warning in report["warnings"])


def test_a_device_that_is_gone_at_the_end_of_the_call_is_stated(pulse: Pulse, live: Callable[..., Live]) -> None:
    call = live("--mic", "callmon", "--channels", "agent,customer")
    call.wait_for("通话开始")
    pulse.unplug()
    call.wait_for("听不到坐席、客户声道")
    report = call.hang_up()
    assert report["truncated"]
    assert any("没有恢复" in warning for warning in report["warnings"])


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
