"""All sample calls at real speed together over WebSocket: how late text is, and whether reports are those of score.

    python -m bench.live_samples

``analyzer serve`` with the demo model in a process of its own; every sample is sent as 20 ms packets at 16 kHz, all
from the same moment on, and followed by a client of its event stream. Reports are compared byte for byte. Two delays:

- per final, from the end of its last character to its arrival at that client. That end is in the recording's script
  (truth.json); which character was the last is told by the voiced time of the final, or, as a second figure, by the
  recogniser's times. Those leave a last character out now and then, which then counts as delay, since the aligner lets
  characters end before their voice does. The third figure is from the recogniser's end itself. A final is lost if the
  report that ``analyzer score`` makes of the recording has a turn that never came;
- in running speech, per character of a final with more speech after it: from its end to the arrival of the first
  interim event in which two passes agree on it, or of the final.

Callers share the machine with the server and should not be what is measured: one thread sends frames that were made
before the start, and what comes is only noted with its time while calls run. Their CPU is printed beside the server's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any

from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from analyzer.audio import Recording, find_recordings
from analyzer.live.journal import read_journal
from analyzer.runs import events_path, file_stem
from bench.live_callers import busy_s, percentile
from bench.live_server import Server, client_of
from tests.live_client import LiveClient

SAMPLES = Path(__file__).parent.parent / "samples"
RUNNING_MS = 600  # a phrase ends in running speech if so much more follows
SLACK_MS = 300  # what the recogniser's times may be off; half of the silence that parts two stretches
ENDS_WITHIN_S = 60.0


@dataclass(slots=True)
class Call:
    """One recording, what is sent of it, and what a client of its events saw and when (s)."""

    recording: Recording
    client: LiveClient
    line: ClientConnection
    frames: list[tuple[int, bytes]] = field(repr=False)  # when each is due (ms), and its bytes on the wire
    seen: list[tuple[float, str]] = field(default_factory=list, repr=False)


def join(server: Server, recording: Recording, lines: ExitStack) -> Call:
    """Say hello, and make all that will be sent. ``lines`` closes the connection."""
    client = client_of(recording)
    address = f"ws://127.0.0.1:{server.port}/live/{recording.call_id}/audio"
    line = lines.enter_context(connect(address, max_queue=None, ping_interval=None))
    line.send(client.hello())
    client.receive(str(line.recv(timeout=10)))
    frames = [(at_ms, Frame(Opcode.BINARY, sound).serialize(mask=True)) for at_ms, sound in client.frames()]
    end = Frame(Opcode.TEXT, client.end().encode()).serialize(mask=True)
    return Call(recording, client, line, [*frames, (frames[-1][0], end)])


def follow(server: Server, call: Call) -> None:
    for at, line in server.lines(call.recording.call_id, patience_s=ENDS_WITHIN_S):
        call.seen.append((at, line))


def send(calls: Sequence[Call]) -> float:
    """All of them at once, on an absolute clock. returns when they began, by the monotonic clock"""
    due = [(at_ms, number, frame) for number, call in enumerate(calls) for at_ms, frame in call.frames]
    due.sort(key=lambda one: one[0])  # by time alone: what is due at once stays in order, and the end comes last
    began = time.monotonic()
    for at_ms, number, frame in due:
        ahead_s = began + at_ms / 1000 - time.monotonic()
        if ahead_s > 0:
            time.sleep(ahead_s)
        calls[number].line.socket.sendall(frame)
    return began


def serve_samples(recordings: Sequence[Recording], folder: Path) -> tuple[list[Call], float]:
    """All recordings through one server, up to their reports; and when the first packets were due."""
    server = Server(folder)
    server.start()
    lines = ExitStack()
    try:
        calls = [join(server, recording, lines) for recording in recordings]
        followers = [threading.Thread(target=follow, args=(server, call)) for call in calls]
        for follower in followers:
            follower.start()
        own, served, others = process_time(), server.cpu_s, busy_s()
        began = send(calls)
        wall_s = time.monotonic() - began
        own, served = process_time() - own, server.cpu_s - served
        others = busy_s() - others - own - served
        print(
            f"CPU in cores: server {served / wall_s:.2f}, callers {own / wall_s:.2f}, others {others / wall_s:.2f}; "
            f"load average {os.getloadavg()[0]:.1f}"
        )
        for follower in followers:
            follower.join()
    finally:
        lines.close()
        server.stop()
    return calls, began


# ---- what was seen


@dataclass(slots=True)
class Delays:
    """ms: of each final, from the end in the script (of the last character in its voiced time, of the last one by the
    recogniser's times) and from the recogniser's end; of characters in running speech."""

    spoken: list[float] = field(default_factory=list)
    spoken_by_times: list[float] = field(default_factory=list)
    recognised: list[float] = field(default_factory=list)
    running: list[float] = field(default_factory=list)

    def add(self, other: Delays) -> None:
        self.spoken += other.spoken
        self.spoken_by_times += other.spoken_by_times
        self.recognised += other.recognised
        self.running += other.running


def delays(call: Call, began: float, journal: Path) -> Delays:
    found = Delays()
    ends = script_ends(call.recording)
    voiced = voiced_stretches(journal)
    agreed: dict[str, list[tuple[float, int]]] = {}  # by role: when how many spoken characters were agreed on
    for at, line in call.seen:
        event = json.loads(line)
        at_ms = (at - began) * 1000
        if event["type"] == "interim":
            count = sum(map(str.isalnum, event["text"][: event["agreed"]]))
            agreed.setdefault(event["role"], []).append((at_ms, count))
        elif event["type"] == "utterance":
            found.recognised.append(at_ms - event["end_ms"])
            characters, (start_ms, end_ms) = ends[event["role"]], (event["start_ms"], event["end_ms"])
            stretch = next(span for span in voiced[event["role"]] if span[0] <= start_ms and end_ms <= span[1])
            if (end := last_end(characters, *stretch)) is not None:
                found.spoken.append(at_ms - end)
            if (end := last_end(characters, start_ms - SLACK_MS, end_ms + SLACK_MS)) is not None:
                found.spoken_by_times.append(at_ms - end)
            found.running += _running(event, at_ms, agreed.pop(event["role"], []))
    return found


def script_ends(recording: Recording) -> dict[str, list[tuple[int, int]]]:
    """Begin and end of every character that is spoken, per role; ms."""
    script = json.loads((recording.tracks[0].path.parent / "truth.json").read_text(encoding="utf-8"))
    ends: dict[str, list[tuple[int, int]]] = {"agent": [], "customer": []}
    for turn in script["turns"]:
        ends[turn["role"]] += [(start, end) for start, end in turn["chars"] if end > start]
    return ends


def voiced_stretches(journal: Path) -> dict[str, list[tuple[int, int]]]:
    """First and last voiced ms of every stretch that was recognised, per role."""
    stretches: dict[str, list[tuple[int, int]]] = {"agent": [], "customer": []}
    _, entries = read_journal(journal)
    for entry in entries:
        spans = entry.get("heard", {}).get("activity", ())
        for role in {role for role, _, _ in spans}:
            own = [(start, end) for who, start, end in spans if who == role]
            stretches[role].append((own[0][0], own[-1][1]))
    return stretches


def last_end(characters: Sequence[tuple[int, int]], start_ms: int, end_ms: int) -> int | None:
    """The end of the last character whose middle is between two moments; None if there is none."""
    within = [end for start, end in characters if start_ms <= (start + end) / 2 <= end_ms]
    return max(within, default=None)


def _running(final: Mapping[str, Any], came_ms: float, agreed: Sequence[tuple[float, int]]) -> list[float]:
    spoken = [end_ms for (_, end_ms), letter in zip(final["chars"], final["text"], strict=True) if letter.isalnum()]
    return [
        min(came_ms, next((at_ms for at_ms, count in agreed if count > place), came_ms)) - end_ms
        for place, end_ms in enumerate(spoken)
        if end_ms <= final["end_ms"] - RUNNING_MS
    ]


def scored(folder: Path) -> None:
    """As everybody does it: the command decides how many threads compute features, which shows in their last digits."""
    command = [sys.executable, "-m", "analyzer", "score", str(SAMPLES), "--offline", "--run", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    recordings = find_recordings([str(SAMPLES)]).recordings
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calls, began = serve_samples(recordings, folder / "live")
        scored(folder / "scored")
        found = Delays()
        lost, same = 0, 0
        for call in calls:
            reports = [
                (folder / kind / "reports" / f"{file_stem(call.recording.call_id)}.json").read_bytes()
                for kind in ("scored", "live")
            ]
            same += reports[0] == reports[1]
            of_call = delays(call, began, events_path(folder / "live", call.recording.call_id))
            lost += len(json.loads(reports[0])["turns"]) - len(of_call.recognised)
            found.add(of_call)
    print(f"{len(recordings)} calls at once, {len(found.recognised)} finals, {lost} lost")
    print(f"end of speech by the script -> final at the client: {_spread(found.spoken)} ({len(found.spoken)})")
    print(f"the same, last character by the recogniser's times: {_spread(found.spoken_by_times)}")
    print(f"end of speech by the recogniser -> final at the client: {_spread(found.recognised)}")
    running = found.running
    print(f"phrase ends in running speech -> its text agreed at the client: {_spread(running)} ({len(running)})")
    print(f"reports equal to score's, byte for byte: {same} of {len(recordings)}")


def _spread(values: Sequence[float]) -> str:
    return f"p50 {percentile(values, 0.5):.0f}, p95 {percentile(values, 0.95):.0f}, max {max(values):.0f} ms"


if __name__ == "__main__":
    main()
