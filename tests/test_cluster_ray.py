"""A Ray cluster of two nodes on this machine: nodes killed, the driver killed, poison; and the bytes of one machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_node import POISON_HZ
from tests.fake_speech import write_call
from tests.tiny_pack import write_tiny_pack

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent
N_CALLS = 40
PATIENCE_S = 120


class Nodes:
    """A head that computes nothing, for the driver, and nodes of one core that can be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.address: str = self._cluster.address
        self.nodes: list[Any] = []

    def start(self, n: int) -> None:
        self.nodes += [self._cluster.add_node(num_cpus=1) for _ in range(n)]

    def kill(self) -> None:
        """The newest node, with all its processes, as when the power goes."""
        self._cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def stop(self) -> None:
        self._cluster.shutdown()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray  # noqa: F401
    except ImportError:
        pytest.fail("Ray is not installed: make test-system installs it (pip install '.[ray]')")
    nodes = Nodes()
    nodes.start(2)
    yield nodes
    nodes.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("day")
    write_tiny_pack(folder / "pack")
    for seed in range(N_CALLS):
        write_call(folder / "in" / f"c{seed:02}.wav", seed, seconds=8)
    (folder / "in" / "bad.wav").write_bytes(b"not a recording")
    return folder


def start(folder: Path | str, run: Path | str, *more: str, delay_s: float = 0.0) -> subprocess.Popen[str]:
    pack = f"{folder}/pack".removeprefix("bucket://")
    arguments = ["score", f"{folder}/in", "--pack", pack, "--run", str(run), "-q", *more]
    command = [sys.executable, "-m", "tests.score_on_fake_nodes", str(delay_s), *arguments, "--model", "fake"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def on_ray(nodes: Nodes) -> tuple[str, ...]:
    return "--engine", "ray", "--address", nodes.address


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, errors


def events(run: Path, name: str) -> list[str]:
    """Call ids of the journal's lines of that event, in order."""
    journal = run / "journal.jsonl"
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True) if journal.exists() else []
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [entry["call_id"] for entry in entries if entry["event"] == name]


def wait_for(run: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while len(events(run, "done")) < count:
        assert process.poll() is None, f"it ended before there was anything to break: {process.communicate()[1]}"
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.02)


def reports(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "reports").iterdir()}


@pytest.fixture(scope="module")
def one_machine(folder: Path) -> Path:
    code, errors = finish(start(folder, folder / "one"))
    assert code == 3, errors
    assert len(reports(folder / "one")) == N_CALLS
    return folder / "one"


def assert_whole(run: Path, one_machine: Path) -> None:
    assert reports(run) == reports(one_machine)
    assert set(Counter(events(run, "done")).values()) == {1}, "exactly one result per call"
    assert len(events(run, "done")) == N_CALLS


def test_two_nodes_write_the_bytes_of_one_machine_and_the_bad_call_stops_nobody(
    nodes: Nodes, folder: Path, one_machine: Path
) -> None:
    code, errors = finish(start(folder, folder / "two", *on_ray(nodes)))
    assert code == 3, errors
    assert "bad.wav" in errors
    assert "Traceback" not in errors
    assert_whole(folder / "two", one_machine)
    settings = [json.loads((run / "run.json").read_text())["settings"] for run in (folder / "two", one_machine)]
    assert settings[0] == settings[1]


def test_the_run_goes_on_when_a_node_is_killed_and_takes_in_one_that_comes(
    nodes: Nodes, folder: Path, one_machine: Path
) -> None:
    run = folder / "node-killed"
    process = start(folder, run, *on_ray(nodes), "--format", "jsonl", delay_s=0.2)
    wait_for(run, 5, process)
    nodes.kill()
    before = len(events(run, "done"))
    nodes.start(1)
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, errors
    assert len([json.loads(line) for line in output.splitlines()]) == N_CALLS, "reports and nothing else"
    assert "state-dump" not in errors
    assert before < N_CALLS
    assert "worker lost" in errors
    assert_whole(run, one_machine)


def test_a_driver_killed_twice_is_resumed_by_the_same_command(nodes: Nodes, folder: Path, one_machine: Path) -> None:
    run = folder / "driver-killed"
    for count in (3, 12):
        process = start(folder, run, *on_ray(nodes), delay_s=0.2)
        wait_for(run, count, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert len(events(run, "done")) < N_CALLS
    code, errors = finish(start(folder, run, *on_ray(nodes)))
    assert code == 3, errors
    assert_whole(run, one_machine)


def test_with_everything_in_an_object_store_a_killed_driver_is_resumed_to_the_same_bytes(
    nodes: Nodes, folder: Path, one_machine: Path, tmp_path: Path
) -> None:
    """Recordings are fetched by the nodes, the run folder has no file that grows; the driver is killed half way."""
    command = on_ray(nodes)
    segments = tmp_path / "run" / "journal"
    process = start(f"bucket://{folder}", f"bucket://{tmp_path}/run", *command, delay_s=0.2)
    deadline = time.monotonic() + PATIENCE_S
    while not segments.is_dir() or len(list(segments.iterdir())) < 8:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "run" / "journal.jsonl").exists()
    code, errors = finish(start(f"bucket://{folder}", f"bucket://{tmp_path}/run", *command))
    assert code == 3, errors
    assert f"bucket://{folder}/in/bad.wav" in errors
    assert_whole(tmp_path / "run", one_machine)
    assert {"calls.csv", "calls.xlsx", "findings.csv", "run.json"} <= {
        path.name for path in (tmp_path / "run").iterdir()
    }


def test_stopped_by_sigterm_it_says_how_to_go_on_and_one_machine_can(
    nodes: Nodes, folder: Path, one_machine: Path
) -> None:
    run = folder / "stopped"
    process = start(folder, run, *on_ray(nodes), delay_s=0.2)
    wait_for(run, 3, process)
    process.send_signal(signal.SIGTERM)
    code, errors = finish(process)
    assert code == 130, errors
    assert "the same command goes on from here" in errors
    code, errors = finish(start(folder, run))
    assert code == 3, errors
    assert_whole(run, one_machine)


def test_a_poison_file_is_set_aside_with_its_error_and_no_other_call_is_blamed(
    nodes: Nodes, folder: Path, one_machine: Path, tmp_path: Path
) -> None:
    write_tiny_pack(tmp_path / "pack")
    for seed in range(12):
        write_call(tmp_path / "in" / f"c{seed:02}.wav", seed, seconds=8, poison_hz=POISON_HZ if seed == 4 else None)
    run = tmp_path / "run"
    code, errors = finish(start(tmp_path, run, *on_ray(nodes)))
    assert code == 3, errors
    assert events(run, "failed") == ["c04"]
    assert "c04.wav" in errors
    assert "workers died over this recording, at last with no other call in hand" in errors
    assert sorted(events(run, "done")) == [f"c{seed:02}" for seed in range(12) if seed != 4]
    assert reports(run)["c03.json"] == reports(one_machine)["c03.json"]


def test_a_node_with_another_model_ends_the_run_by_name(nodes: Nodes, folder: Path, tmp_path: Path) -> None:
    code, errors = finish(start(folder, tmp_path / "run", *on_ray(nodes), delay_s=-1))
    assert code == 4, errors
    assert "its model differs" in errors
    assert "put the same model folder on every node" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("address", "complaint"),
    [("127.0.0.1:1", "no Ray cluster answers"), ("ray://127.0.0.1:1", "no Ray cluster answers")],
)
def test_no_cluster_at_the_address_is_said_with_the_cure(
    nodes: Nodes, folder: Path, tmp_path: Path, address: str, complaint: str
) -> None:
    code, errors = finish(start(folder, tmp_path / "run", "--engine", "ray", "--address", address))
    assert code == 2, errors
    assert complaint in errors
    assert "ray start --head" in errors
