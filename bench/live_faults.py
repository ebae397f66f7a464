"""What happens to live calls when things go wrong: each fault is brought about, what was lost is counted.

    python -m bench.live_faults [--call telecom-data-plan] [--speed 1] [--only kill-server,loss,…]

A server in a process of its own (``analyzer serve``, demo model) gets a sample call over WebSocket, first undisturbed,
then under each fault; the report is held against the undisturbed one, and what the server said of it is printed. The
clock jumps in this process, around a ``Hub``: nobody lends us a machine's clock. The device is PulseAudio's null sink,
which `analyzer live` listens to while the call is played into it; without PulseAudio it is left out.

    killed client   its socket vanishes in the middle of the call; after 3 s it is back and goes on where acknowledged
    loss            of packets of 20 ms that carry their position 5 % vanish, 5 % come twice, 5 % change places
    rubbish         200 connections beside the call: noise as text and bytes, half a hello, a wrong token, silence, HTTP
    kill-server     kill -9 in the middle of the call, then a new server on the same run folder
    unplugged       the device goes away in the middle of the call and is back 5 s later; the speakers talk on
    clock           during the call the wall clock jumps an hour ahead and two back
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import difflib
import json
import random
import shutil
import socket
import tempfile
import threading
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.sync.client import connect

from analyzer.asr import WhisperRecogniser
from analyzer.audio import Recording, find_recordings
from analyzer.catalog import load_pack
from analyzer.live import hub as live_hub
from analyzer.live.hub import Hub
from analyzer.live.intake import Chunk
from analyzer.live.scheduler import Scheduler
from analyzer.models import resolve
from analyzer.runs import RunFolder, file_stem
from bench.live_server import RATE, TOKEN, Server, WebSocketLine, client_of, pacer, sound_of
from tests.live_client import LiveClient, RefusedError, play
from tests.sound_system import NEEDED, Live, Pulse

AWAY_S = 3.0
UNPLUGGED_S = 5.0
CONNECTIONS = 200
Report = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a fault did: the call's report after it, and what the server said of it."""

    fault: str
    report: Report | None
    said: Sequence[str] = field(default=())


# ---- a call and its end


def report_of(server: Server, call_id: str) -> tuple[Report | None, list[dict[str, Any]]]:
    """The report as it came over the events stream, and all events."""
    events = list(server.events(call_id))
    return (events[-1]["report"] if events and events[-1]["type"] == "scorecard" else None), events


def undisturbed(server: Server, recording: Recording, speed: float) -> Report:
    line = server.line("undisturbed")
    play(client_of(recording), line, pace=pacer(speed))
    report, _ = report_of(server, "undisturbed")
    line.close()
    if report is None:
        raise SystemExit("the undisturbed call has no report")
    return report


def text_of(report: Report) -> str:
    return "\n".join(f"{turn['role']} {turn['text']}" for turn in report["turns"])


def difference(report: Report, reference: Report) -> str:
    """In a few words."""
    if {**report, "call_id": ""} == {**reference, "call_id": ""}:
        return "the same, byte for byte"
    matcher = difflib.SequenceMatcher(None, text_of(reference), text_of(report), autojunk=False)
    kept = sum(block.size for block in matcher.get_matching_blocks())
    rules = {rule["rule"]: rule["outcome"] for rule in reference["rules"]}
    changed = sum(rules[rule["rule"]] != rule["outcome"] for rule in report["rules"])
    return (
        f"{len(report['turns'])} of {len(reference['turns'])} turns, {kept / len(text_of(reference)):.0%} of the text, "
        f"{changed} outcomes differ"
    )


def what_was_said(report: Report | None, events: Sequence[dict[str, Any]]) -> list[str]:
    """Of losses, in events and report; no word of the call."""
    states = [event for event in events if event["type"] == "call"]
    gaps: dict[str, list[tuple[int, int]]] = next((one["gaps"] for one in reversed(states) if one.get("gaps")), {})
    gaps_ms = {role: sum(end - start for start, end in stretches) for role, stretches in gaps.items()}
    lost: dict[str, int] = next((one["lost"] for one in reversed(states) if one.get("lost")), {})
    said = ["events: " + ", ".join(event["state"] for event in states)]
    said += [f"gaps in {role}, near ones joined: {ms} ms" for role, ms in gaps_ms.items() if ms]
    said += [f"counted: {', '.join(f'{name} {count}' for name, count in lost.items())}"] if lost else []
    if report is not None:
        said += ["truncated"] if report["truncated"] else []
        said += [warning for warning in report["warnings"] if "演示" not in warning]
    return said


# ---- the faults


def killed_client(server: Server, recording: Recording, speed: float) -> Outcome:
    client, half_ms = client_of(recording), len(sound_of(recording)) * 1000 // RATE // 2
    line = server.line("killed-client")
    play(client, line, pace=pacer(speed), cut_after_ms=half_ms)
    line.break_off()
    time.sleep(AWAY_S)
    line = server.line("killed-client")
    play(client, line, pace=pacer(speed, from_ms=client.acked_ms))
    report, events = report_of(server, "killed-client")
    line.close()
    return Outcome("client killed, back after 3 s", report, what_was_said(report, events))


class Shaken(LiveClient):
    """A client whose packets get lost, doubled and swapped on the way."""

    def frames(self, frame_ms: int = 20) -> Iterator[tuple[int, bytes]]:
        chance = random.Random(4)
        held: tuple[int, bytes] | None = None
        for frame in super().frames(frame_ms):
            if (luck := chance.random()) < 0.05:
                continue
            if luck < 0.10 and held is None:
                held = frame
                continue
            yield frame
            if luck > 0.95:
                yield frame
            if held is not None:
                yield frame[0], held[1]
                held = None


def loss(server: Server, recording: Recording, speed: float) -> Outcome:
    plain = client_of(recording, timed=True)
    fields = {name: getattr(plain, name) for name in ("sound", "rate", "channels", "token", "direction", "timed")}
    line = server.line("loss")
    play(Shaken(**fields, metadata=plain.metadata), line, pace=pacer(speed))
    report, events = report_of(server, "loss")
    line.close()
    return Outcome("5 % lost, 5 % doubled, 5 % swapped", report, what_was_said(report, events))


def kill_server(server: Server, recording: Recording, speed: float) -> Outcome:
    duration_ms = len(sound_of(recording)) * 1000 // RATE
    seen: list[dict[str, Any]] = []
    watching = threading.Thread(target=lambda: seen.extend(server.events("kill-server", patience_s=30)))
    line = server.line("kill-server")
    client = client_of(recording)
    sending = threading.Thread(target=_play_until_cut, args=(client, line, speed))
    sending.start()
    time.sleep(0.5)
    watching.start()
    time.sleep(duration_ms * 0.6 / 1000 / speed)
    server.kill()
    sending.join()
    watching.join()
    server.start()
    report = recorded(server.run, "kill-server")
    shown = sum(event["type"] == "utterance" for event in seen)
    kept, heard_ms = (len(report["turns"]), report["duration_ms"]) if report else (0, 0)
    said = [
        f"{shown} utterances were shown before, {kept} are in the report",
        f"acknowledged {client.acked_ms / 1000:.1f} s, reported on {heard_ms / 1000:.1f} s",
    ]
    events = list(server.events("kill-server", patience_s=3))
    return Outcome("server killed (-9), started again", report, said + what_was_said(report, events))


def recorded(run: Path, call_id: str) -> Report | None:
    path = run / "reports" / f"{file_stem(call_id)}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _play_until_cut(client: LiveClient, line: WebSocketLine, speed: float) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        play(client, line, pace=pacer(speed))


def rubbish(server: Server, recording: Recording, speed: float) -> Outcome:
    before = server.rss_mib
    line = server.line("rubbish")
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as senders:
        good = senders.submit(play, client_of(recording), line, pace=pacer(speed))
        time.sleep(1)
        answers = Counter(
            future.result() for future in [senders.submit(_send_rubbish, server, n) for n in range(CONNECTIONS - 1)]
        )
        good.result()
    report, events = report_of(server, "rubbish")
    line.close()
    told = ", ".join(f"{count} {answer}" for answer, count in answers.most_common())
    said = [f"rubbish was answered: {told}", f"server's memory {before:.0f} → {server.rss_mib:.0f} MiB"]
    return Outcome(f"{CONNECTIONS} connections of rubbish", report, said + what_was_said(report, events))


def _send_rubbish(server: Server, number: int) -> str:
    """What became of the connection, in a word or two."""
    noise = random.Random(number).randbytes(4_000)
    if number % 8 == 7:
        return _raw_bytes(server.port, noise)
    hello = json.loads(_hello(number))
    messages: list[str | bytes] = [
        [noise],
        [noise.decode("latin-1")],
        [_hello(number)[: len(_hello(number)) // 2]],
        [json.dumps({**hello, "token": "wrong"})],
        [json.dumps({**hello, "sample_rate": 44_100})],
        [json.dumps({**hello, "channels": ["agent", "agent"]})],
        [],  # says nothing and waits
    ][number % 8]  # type: ignore[assignment]
    try:
        with connect(f"ws://127.0.0.1:{server.port}/live/rubbish-{number}/audio", open_timeout=30) as connection:
            for message in messages:
                connection.send(message)
            answer = json.loads(connection.recv(timeout=40))
            return f"{answer['type']} {answer.get('code', '')}".strip()
    except ConnectionClosed as closed:
        return f"closed {closed.rcvd.code if closed.rcvd else 'without a word'}"
    except (TimeoutError, InvalidHandshake, InvalidMessage, OSError) as error:
        return type(error).__name__


def _hello(number: int) -> str:
    return LiveClient(sound=sound_of_nothing(), token=TOKEN, metadata={"agent_id": str(number)}).hello()


def sound_of_nothing() -> NDArray[np.int16]:
    return np.zeros((0, 2), np.int16)


def _raw_bytes(port: int, noise: bytes) -> str:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=30) as plain:
        plain.sendall(noise)
        answer = plain.recv(100)
        return answer[:12].decode("latin-1") if answer else "closed"
    return "closed"


# ---- a device, in a process of its own


def unplugged(recording: Recording, folder: Path) -> Outcome:
    """At real speed: a sound system knows no other."""
    sound = sound_of(recording)
    half = len(sound) // 2
    rest = half + int(UNPLUGGED_S * RATE)
    pulse = Pulse(folder)
    roles = ",".join(role.value for role in recording.roles)
    live = Live(folder, pulse, "--mic", "callmon", "--channels", roles, "--direction", recording.direction.value)
    try:
        live.wait_for("通话开始")
        with pulse.playing(_wave(folder / "call.wav", sound)):
            time.sleep(half / RATE)
            pulse.unplug()
        time.sleep(UNPLUGGED_S)
        pulse.plug_in()
        pulse.play(_wave(folder / "rest.wav", sound[rest:]))
        time.sleep(1.5)  # the last word's pause
        report = live.hang_up()
        said = what_was_said(report, live.events)
    finally:
        live.close()
        pulse.stop()
    return Outcome(f"device unplugged, back after {UNPLUGGED_S:g} s", report, said)


def _wave(path: Path, sound: NDArray[np.int16]) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.astype("<i2").tobytes())
    return path


# ---- the clock, in this process


class JumpingTime:
    """Stands for the module ``time`` in the hub: the wall clock jumps, the monotonic one does not."""

    def __init__(self) -> None:
        self.jump_s = 0.0
        self.monotonic, self.sleep = time.monotonic, time.sleep

    def time(self) -> float:
        return time.time() + self.jump_s


def clock(recording: Recording, speed: float, folder: Path) -> Outcome:
    jumping = JumpingTime()
    live_hub.time = jumping  # type: ignore[assignment]
    recogniser = WhisperRecogniser(resolve("demo", offline=True), device="cpu", workers=2, threads=1)
    try:
        with RunFolder(folder, {"bench": "clock"}) as run:
            hub = Hub(load_pack("standard", "standard"), Scheduler(recogniser, workers=2), run)
            session = hub.open(
                "clock", direction=recording.direction, roles=recording.roles, rate=RATE, metadata=recording.metadata
            )
            pace, sound = pacer(speed), sound_of(recording)
            for at in range(0, len(sound), RATE // 50):
                at_ms = at * 1000 // RATE
                jumping.jump_s = 3600 if at_ms > 20_000 else 0
                jumping.jump_s = -3600 if at_ms > 40_000 else jumping.jump_s
                pace(at_ms)
                session.feed(Chunk(recording.roles, sound[at : at + RATE // 50]))
            session.end()
            while not session.is_over:
                time.sleep(0.05)
            report = session.report
            events = [json.loads(line) for _, line in session.events.after(0, 100_000)]
            hub.stop()
    finally:
        live_hub.time = time
    return Outcome("wall clock +1 h, then -2 h", report, what_was_said(report, events))


# ---- the command

FAULTS: dict[str, Callable[[Server, Recording, float], Outcome]] = {
    "killed-client": killed_client,
    "loss": loss,
    "rubbish": rubbish,
    "kill-server": kill_server,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--call", default="telecom-data-plan")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--only", default=",".join([*FAULTS, "unplugged", "clock"]))
    parser.add_argument("--samples", type=Path, default=Path(__file__).parent.parent / "samples")
    given = parser.parse_args()
    recordings = {one.call_id: one for one in find_recordings([given.samples]).recordings}
    if given.call not in recordings:
        raise SystemExit(f"--call {given.call}: choose one of {', '.join(recordings)}")
    recording, chosen = recordings[given.call], given.only.split(",")
    table = Table(title=f"{given.call}, played at {given.speed:g}x")
    for heading in ("fault", "report against the undisturbed call's", "how it was reported"):
        table.add_column(heading)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "run")
        server.start()
        try:
            reference = undisturbed(server, recording, given.speed)
            outcomes = []
            for name in (name for name in FAULTS if name in chosen):
                try:
                    outcomes.append(FAULTS[name](server, recording, given.speed))
                except (RefusedError, ConnectionError) as error:
                    outcomes.append(Outcome(name, None, [str(error)]))
        finally:
            server.stop()
        if "unplugged" in chosen and all(map(shutil.which, NEEDED)):
            (Path(folder) / "sound").mkdir()
            outcomes.append(unplugged(recording, Path(folder) / "sound"))
        if "clock" in chosen:
            outcomes.append(clock(recording, given.speed, Path(folder) / "clock"))
    for outcome in outcomes:
        against = "no report" if outcome.report is None else difference(outcome.report, reference)
        table.add_row(outcome.fault, against, "\n".join(outcome.said))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
