"""Ten thousand short recordings on a Ray cluster of two nodes, one of them killed: nothing lost, nothing double.

    python -m bench.cluster [--files 10000] [--model demo] [--seed 1] [--folder DIR]

The recordings of ``bench.batch_soak`` (3 to 5 s, some broken), scored by ``analyzer score --engine ray``. Cluster and
command run on this machine: a head without cores for the driver, and two nodes that share the cores. After a third of
the calls one node is killed with all its processes (SIGKILL); when the other has done a twentieth of the calls alone, a
new node joins. Then the run is held against what it should be:

    every good call has one report and one ``done`` in the journal, every broken one a failure and no report
    a random 200 reports are the bytes of a run of one machine over those 200 alone
    memory of driver and workers, read every half second

Rates are those of all three stretches apart, and of one machine on the 200 calls, its start included; one after the
other, so other work on the machine shows. Exit 1 if a call is lost, double or different. The table is for people.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from analyzer.runs import report_path
from bench.batch_soak import COMPARED, LOOK_EVERY_S, Journal, differing, generate, resident_mib, slope

KILLED_AT = 1 / 3  # of the calls
ALONE_FOR = 1 / 20


@dataclass
class Watched:
    """A command, its journal and its memory. memory: (seconds since its start, calls done, MiB), driver and workers."""

    process: subprocess.Popen[str]
    journal: Journal
    began: float = field(default_factory=time.monotonic)
    driver: list[tuple[float, int, float]] = field(default_factory=list)
    workers: list[tuple[float, int, float]] = field(default_factory=list)

    def until(self, calls: int | None = None) -> float:
        """Watch until so many calls are done, or to the end. Returns the seconds since the command began."""
        while self.process.poll() is None:
            done, now = self.journal.follow(), time.monotonic() - self.began
            self.driver.append((now, done, resident_mib(self.process.pid)))
            self.workers.append((now, done, max(map(resident_mib, worker_pids()), default=0.0)))
            if calls is not None and done >= calls:
                return now
            time.sleep(LOOK_EVERY_S)
        self.journal.follow()
        return time.monotonic() - self.began


def worker_pids() -> list[int]:
    """Of our workers' processes: Ray names a process after the actor it runs."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and (place / "cmdline").read_bytes().startswith(b"ray::Worker"):
                found.append(int(place.name))
        except OSError:  # it has just ended
            continue
    return found


def score_on(address: str, calls: Path, run: Path, model: str, log: Path) -> Watched:
    command = [sys.executable, "-m", "analyzer", "score", str(calls), "--run", str(run), "--model", model]
    options = ["--offline", "-q", "--engine", "ray", "--address", address]
    environment = {**os.environ, "ANALYZER_LANG": "en"}
    with log.open("w") as out:
        process = subprocess.Popen([*command, *options], env=environment, stdout=out, stderr=out, text=True)
    return Watched(process, Journal(run))


def with_cluster(work: Callable[[Any, Any], bool]) -> bool:
    """Call ``work`` with a cluster of two nodes and one of them."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - an extra, and the variable is read when it is imported

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=cores_per_node())
        return work(cluster, cluster.add_node(num_cpus=cores_per_node()))
    finally:
        cluster.shutdown()


def cores_per_node() -> int:
    return max(1, len(os.sched_getaffinity(0)) // 2)


def measure(scratch: Path, files: int, model: str, seed: int) -> bool:
    calls, run, log = scratch / "calls", scratch / "run", scratch / "log"
    broken = generate(calls, files, seed)
    good = {str(path.relative_to(calls).with_suffix("")) for path in calls.rglob("*.wav")} - broken
    stretches: dict[str, tuple[int, float]] = {}

    def work(cluster: Any, doomed: Any) -> bool:
        watched = score_on(cluster.address, calls, run, model, log)
        first_s, first = watched.until(calls=1), watched.journal.done.total()
        killed_s = watched.until(calls=int(len(good) * KILLED_AT))
        killed = watched.journal.done.total()
        cluster.remove_node(doomed, allow_graceful=False)
        joined_s = watched.until(calls=killed + max(1, int(len(good) * ALONE_FOR)))
        joined = watched.journal.done.total()
        cluster.add_node(num_cpus=cores_per_node())
        end_s = watched.until()
        stretches["two nodes"] = killed - first, killed_s - first_s
        stretches["one node, from the kill"] = joined - killed, joined_s - killed_s
        stretches["two nodes again, to the end"] = watched.journal.done.total() - joined, end_s - joined_s
        return report(watched, first_s)

    def report(watched: Watched, first_s: float) -> bool:
        chosen = random.Random(seed).sample(sorted(good), min(COMPARED, len(good)))
        began = time.monotonic()
        different = differing(calls, run, chosen, model, scratch)
        one_machine_s = time.monotonic() - began
        half = len(good) // 2
        checks = {
            "exit code 3: the broken files are told of": watched.process.wait() == 3,
            "one report per good call, none beside": {path.name for path in (run / "reports").iterdir()}
            == {report_path(run, call_id).name for call_id in good},
            "one `done` per good call": watched.journal.done == Counter(good),
            "broken files failed and have no report": set(watched.journal.failed) == broken,
            "a worker was lost and it was told": "worker lost" in log.read_text(),
            f"{len(chosen)} reports are those of one machine": not different,
        }
        table = Table(title=f"{files:,} recordings, {len(broken)} broken, model {model}, 2 nodes, seed {seed}")
        table.add_column("what")
        table.add_column("seen", justify="right")
        table.add_row("seconds to the first result", f"{first_s:.0f}")
        for name, (done, seconds) in stretches.items():
            table.add_row(f"calls per second, {name}", f"{done / seconds:.1f} ({done:,} calls)")
        table.add_row("calls per second, one machine with its start", f"{len(chosen) / one_machine_s:.1f}")
        for name, memory in {"driver": watched.driver, "largest worker": watched.workers}.items():
            table.add_row(f"peak of the {name}, MiB", f"{max(mib for _, _, mib in memory):.0f}")
        table.add_row(
            "growth of the driver, last half, MiB per 1,000", f"{slope(watched.driver, half, len(good)):+.2f}"
        )
        table.add_row("load average (1 min) at the end", f"{os.getloadavg()[0]:.1f}")
        for check, holds in checks.items():
            table.add_row(check, "yes" if holds else "NO")
        Console(width=110).print(table)
        print(log.read_text()[-2_500:])
        return all(checks.values())

    return with_cluster(work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder, removed afterwards")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        sys.exit(0 if measure(Path(scratch), given.files, given.model, given.seed) else 1)


if __name__ == "__main__":
    main()
