"""All sample calls at real speed together over WebSocket: how late finals come, and whether reports are those of score.

    python -m bench.live_samples

``analyzer serve`` with the demo model in a process of its own; every sample is sent as 20 ms packets at 16 kHz, all
from the same moment on, and followed by a client of its event stream. Per final: from the end of its last character to
its arrival at that client. A final is lost if the report that ``analyzer score`` makes of the recording has a turn that
never came. Reports are compared byte for byte.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyzer.asr import WhisperRecogniser
from analyzer.audio import Recording, find_recordings
from analyzer.catalog import load_pack
from analyzer.models import resolve
from analyzer.pipeline import score_recordings
from analyzer.runs import RunFolder, file_stem
from bench.live_callers import percentile
from bench.live_server import Server, client_of, pacer
from tests.live_client import play

SAMPLES = Path(__file__).parent.parent / "samples"


@dataclass(slots=True)
class Heard:
    """What a client of one call's events saw, and when (s)."""

    began: float = 0.0
    finals: list[tuple[float, Mapping[str, Any]]] = field(default_factory=list)


def follow(server: Server, recording: Recording, heard: Heard) -> None:
    while not heard.began:
        time.sleep(0.05)
    time.sleep(0.5)  # a call has to be there before it is followed
    for event in server.events(recording.call_id):
        if event["type"] == "utterance":
            heard.finals.append((time.monotonic(), event))


def send(server: Server, recording: Recording, heard: Heard, start: threading.Barrier) -> None:
    client = client_of(recording)
    line = server.line(recording.call_id)
    start.wait()
    heard.began = time.monotonic()
    play(client, line, pace=pacer())
    line.close()


def scored(recordings: tuple[Recording, ...], folder: Path) -> None:
    recogniser = WhisperRecogniser(resolve("demo", offline=True), device="cpu")
    with RunFolder(folder, {}) as run:
        for _ in score_recordings(recordings, recogniser, load_pack(), run, jobs=2):
            pass


def main() -> None:
    recordings = find_recordings([str(SAMPLES)]).recordings
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scored(recordings, folder / "scored")
        server = Server(folder / "live")
        server.start()
        heard = {recording.call_id: Heard() for recording in recordings}
        start = threading.Barrier(len(recordings))
        senders = [threading.Thread(target=send, args=(server, r, heard[r.call_id], start)) for r in recordings]
        for sender in senders:
            sender.start()
        followers = [threading.Thread(target=follow, args=(server, r, heard[r.call_id])) for r in recordings]
        for follower in followers:
            follower.start()
        for thread in (*senders, *followers):
            thread.join()
        server.stop()
        delays, lost, same = [], 0, 0
        for recording in recordings:
            files = [folder / kind / "reports" / f"{file_stem(recording.call_id)}.json" for kind in ("scored", "live")]
            reports = [file.read_bytes() for file in files]
            same += reports[0] == reports[1]
            seen = heard[recording.call_id]
            delays += [(at - seen.began) * 1000 - final["end_ms"] for at, final in seen.finals]
            lost += len(json.loads(reports[0])["turns"]) - len(seen.finals)
    print(f"{len(recordings)} calls at once, {len(delays)} finals, {lost} lost")
    p50, p95 = percentile(delays, 0.5), percentile(delays, 0.95)
    print(f"end of speech -> final at the client: p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    print(f"reports equal to score's, byte for byte: {same} of {len(recordings)}")


if __name__ == "__main__":
    main()
