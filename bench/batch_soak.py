"""Ten thousand short recordings, a command killed five times: nothing lost, nothing double, memory level.

    python -m bench.batch_soak [--files 10000] [--model demo] [--seed 1] [--folder DIR]

Cuts 3 to 5 s out of what is said in ``samples/`` (8 kHz, two channels, mu-law: some 65 KB each; the same files for
the same seed), puts a few broken files among them, and runs ``analyzer score`` on the folder in a process of its own.
At five moments drawn at random from the first 40 % of the calls it is killed with SIGKILL and the same command is given
again; the rest it scores in one go. Resident memory is read every half second. Then the run is held against what it
should be:

    every good call has one report and one ``done`` in the journal, every broken one a failure and no report
    a random 200 reports are the bytes of a run over those 200 alone that nobody disturbed
    memory: the slope over the last half of the last process's calls

Exit 1 if a call is lost, double or different. The table is for people.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from analyzer.audio import decode, find_recordings
from analyzer.runs import report_path

SAMPLES = Path(__file__).parent.parent / "samples"
RATE = 8_000
KILLS = 5
KILLED_WITHIN = 0.4  # of the calls
COMPARED = 200
LOOK_EVERY_S = 0.5
BROKEN = {"empty": b"", "text": b"this is not a recording\n", "torn": b"RIFF\x24\x00\x00\x00WAVEfmt "}

Samples = NDArray[np.int16]


def spoken(samples: Path) -> list[Samples]:
    """Every utterance of the sample calls that lasts 3 s or more: int16 at 8 kHz, shape (n, 2)."""
    found = []
    for recording in find_recordings([samples]).recordings:
        blocks = list(decode(recording))
        stereo = np.stack([np.concatenate([block.channels[role] for block in blocks]) for role in recording.roles], 1)
        truth = json.loads((Path(recording.tracks[0].path).parent / "truth.json").read_text(encoding="utf-8"))
        spans = [(turn["start_ms"], turn["end_ms"]) for turn in truth["turns"]]
        found += [stereo[start * 16 : end * 16 : 2] for start, end in spans if end - start >= 3_000]
    return found


def mu_law(samples: Samples) -> NDArray[np.uint8]:
    """G.711 mu-law, as telephone systems store it."""
    magnitude = np.minimum(np.abs(samples.astype(np.int32)), 32_635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    coded = np.where(samples < 0, 0x80, 0) | (exponent << 4) | mantissa
    return (~coded & 0xFF).astype(np.uint8)


def write_mu_law(path: Path, stereo: Samples) -> None:
    data = mu_law(stereo).tobytes()
    format_chunk = b"".join(
        number.to_bytes(size, "little") for number, size in ((7, 2), (2, 2), (RATE, 4), (2 * RATE, 4), (2, 2), (8, 2))
    )
    body = b"WAVEfmt " + len(format_chunk).to_bytes(4, "little") + format_chunk
    body += b"data" + len(data).to_bytes(4, "little") + data
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)


def generate(folder: Path, files: int, seed: int) -> set[str]:
    """Write the recordings, a hundred to a subfolder. Returns the call ids of the broken ones."""
    utterances = spoken(SAMPLES)
    chance = random.Random(seed)
    broken_at = set(chance.sample(range(files), max(3, files // 1000)))
    broken = set()
    for number in range(files):
        call_id = f"{number // 100:03}/call-{number:05}"
        path = folder / f"{call_id}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number in broken_at:
            broken.add(call_id)
            path.write_bytes(BROKEN[chance.choice(sorted(BROKEN))])
            continue
        utterance = chance.choice(utterances)
        length = min(len(utterance), chance.randrange(3 * RATE, 5 * RATE))
        start = chance.randrange(len(utterance) - length + 1)
        write_mu_law(path, utterance[start : start + length])
    return broken


@dataclass
class Scoring:
    """``analyzer score`` in a process of its own. memory: (seconds since its start, calls done, RSS in MiB)."""

    folder: Path
    run: Path
    model: str
    memory: list[tuple[float, int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "analyzer", "score", str(self.folder), "--run", str(self.run)]
        environment = {**os.environ, "ANALYZER_LANG": "en"}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as this; a pipe would fill
        self._process = subprocess.Popen(
            [*command, "--model", self.model, "--offline", "-q"],
            cwd=SAMPLES.parent,
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._began = time.monotonic()
        self._journal = Journal(self.run)

    def wait(self, until_done: int | None = None) -> bool:
        """Watch until so many calls are done in the journal, or to the end; says whether it still runs."""
        while self._process.poll() is None:
            done = self._journal.follow()
            self.memory.append((time.monotonic() - self._began, done, resident_mib(self._process.pid)))
            if until_done is not None and done >= until_done:
                return True
            time.sleep(LOOK_EVERY_S)
        return False

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    @property
    def exit_code(self) -> int:
        return self._process.wait()

    @property
    def said(self) -> str:
        self._log.seek(0)
        return self._log.read()


def resident_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:  # it has just ended
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0.0)


class Journal:
    """Follows a run's journal. done, failed: how often each call id was written, in whole lines."""

    def __init__(self, run: Path) -> None:
        self._path = run / "journal.jsonl"
        self._read = 0  # bytes
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def follow(self) -> int:
        """Read on; how many calls are done."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                for line in file:
                    if not line.endswith(b"\n"):  # being written: what the file yields next would be its other half
                        break
                    self._read += len(line)
                    self._note(json.loads(line))
        return self.done.total()

    def _note(self, entry: dict[str, str]) -> None:
        counter = {"done": self.done, "failed": self.failed}.get(entry["event"])
        if counter is not None:
            counter[entry["call_id"]] += 1


def slope(memory: list[tuple[float, int, float]], first_done: int, last_done: int) -> float:
    """MiB per 1,000 calls, by least squares over the samples with so many calls done."""
    inside = [(done, mib) for _, done, mib in memory if first_done <= done < last_done and mib]
    if len({done for done, _ in inside}) < 2:
        return float("nan")
    return float(np.polyfit(*np.array(inside).T, 1)[0]) * 1000


def differing(calls: Path, run: Path, chosen: list[str], model: str, scratch: Path) -> list[str]:
    """Which of the chosen calls have another report in a run over them alone, undisturbed."""
    alone = scratch / "chosen"
    for call_id in chosen:
        link = alone / f"{call_id}.wav"
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(calls / f"{call_id}.wav", link)
    undisturbed = Scoring(alone, scratch / "undisturbed", model)
    undisturbed.wait()
    if undisturbed.exit_code:
        raise SystemExit(undisturbed.said)
    pairs = ((report_path(run, call_id), report_path(scratch / "undisturbed", call_id)) for call_id in chosen)
    return [one.name for one, other in pairs if not one.exists() or one.read_bytes() != other.read_bytes()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder, removed afterwards")
    given = parser.parse_args()
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        sys.exit(0 if soak(Path(scratch), given.files, given.model, given.seed) else 1)


def soak(scratch: Path, files: int, model: str, seed: int) -> bool:
    calls, run = scratch / "calls", scratch / "run"
    broken = generate(calls, files, seed)
    good = {str(path.relative_to(calls).with_suffix("")) for path in calls.rglob("*.wav")} - broken
    chance = random.Random(seed)
    killed_at = []
    began = time.monotonic()
    for moment in sorted(chance.randrange(int(len(good) * KILLED_WITHIN)) for _ in range(KILLS)):
        scoring = Scoring(calls, run, model)
        if not scoring.wait(until_done=moment):
            raise SystemExit(f"ended before it was killed:\n{scoring.said}")
        time.sleep(chance.random())
        scoring.kill()
        killed_at.append(Journal(run).follow())
    last = Scoring(calls, run, model)
    last.wait()
    code, elapsed_s = last.exit_code, time.monotonic() - began
    events = Journal(run)
    events.follow()
    names = {report_path(run, call_id).name for call_id in good}
    there = {path.name for path in (run / "reports").iterdir()}
    chosen = chance.sample(sorted(good), min(COMPARED, len(good)))
    different = differing(calls, run, chosen, model, scratch)
    half = (killed_at[-1] + len(good)) // 2
    peak = max(mib for _, _, mib in last.memory)
    checks = {
        "exit code 3: the broken files are told of": code == 3,
        "one report per good call, none beside": there == names,
        "one `done` per good call": events.done == Counter(good),
        "broken files failed and have no report": set(events.failed) == broken,
        f"{len(chosen)} reports are those of an undisturbed run": not different,
    }
    table = Table(title=f"{files:,} recordings, {len(broken)} broken, model {model}, seed {seed}")
    table.add_column("what")
    table.add_column("seen", justify="right")
    table.add_row("killed with so many calls done", ", ".join(f"{done:,}" for done in killed_at))
    table.add_row("seconds in all, calls per second", f"{elapsed_s:.0f}, {len(good) / elapsed_s:.1f}")
    table.add_row("load average (1 min) at the end", f"{os.getloadavg()[0]:.1f}")
    table.add_row("peak of the last process, MiB", f"{peak:.0f}")
    for name, (first, until) in {"first": (killed_at[-1], half), "last": (half, len(good))}.items():
        table.add_row(f"growth, {name} half of its calls, MiB per 1,000", f"{slope(last.memory, first, until):+.2f}")
    for check, holds in checks.items():
        table.add_row(check, "yes" if holds else "NO")
    Console(width=110).print(table)
    print(last.said[-2_500:])
    return all(checks.values())


if __name__ == "__main__":
    main()
