"""``s3://`` through s3fs: that our calls reach a store as they should. The store is a small one of our own."""

from __future__ import annotations

import subprocess
import sys
from os import environ
from pathlib import Path

import pytest

from tests.fake_speech import write_call
from tests.s3_server import s3_server
from tests.tiny_pack import write_tiny_pack

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

ROOT = Path(__file__).parent.parent
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(autouse=True)
def _s3fs_is_there() -> None:
    try:
        import s3fs  # noqa: F401
    except ImportError:
        pytest.fail("s3fs is not installed: make test-system installs it (pip install '.[s3]')")


@pytest.fixture
def day(tmp_path: Path) -> Path:
    write_tiny_pack(tmp_path / "pack")
    for seed in range(3):
        write_call(tmp_path / "in" / f"c{seed}.wav", seed, seconds=6)
    return tmp_path


def score(day: Path, address: str, source: str, run: str) -> subprocess.CompletedProcess[str]:
    arguments = ["score", source, "--pack", str(day / "pack"), "--run", run, "-q", "--model", "fake"]
    command = [sys.executable, "-m", "tests.score_on_fake_nodes", "0", *arguments]
    environment = {**environ, **KEYS, "AWS_ENDPOINT_URL": address}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_recordings_manifest_and_run_folder_in_s3_give_the_bytes_of_a_disk(day: Path) -> None:
    here = score(day, "", str(day / "in"), str(day / "run"))
    assert here.returncode == 0, here.stderr
    with s3_server() as (address, objects):
        for path in (day / "in").iterdir():
            objects[f"calls/day/{path.name}"] = path.read_bytes()
        objects["calls/day.csv"] = b"path,call_id\nday/c0.wav,c0\nday/c1.wav,c1\nday/c2.wav,c2\n"
        for source in ("s3://calls/day.csv", "s3://calls/day"):
            done = score(day, address, source, "s3://qa/runs/day")
            assert done.returncode == 0, done.stderr
        entries = [content for key, content in sorted(objects.items()) if key.startswith("qa/runs/day/journal/")]
    assert sum(b'"done"' in entry for entry in entries) == 3, "the second run found all of them finished"
    for report in (day / "run" / "reports").iterdir():
        assert objects[f"qa/runs/day/reports/{report.name}"] == report.read_bytes()
    assert objects["qa/runs/day/calls.csv"] == (day / "run" / "calls.csv").read_bytes()


def test_a_store_without_conditional_put_is_refused_for_a_run(day: Path) -> None:
    with s3_server(is_conditional=False) as (address, _):
        done = score(day, address, str(day / "in"), "s3://qa/runs/day")
    assert done.returncode == 5, done.stderr
    assert "no conditional PUT" in done.stderr
    assert "choose a run folder on a disk or NFS" in done.stderr


def test_a_store_that_does_not_answer_is_said_with_the_cure(day: Path) -> None:
    done = score(day, "http://127.0.0.1:1", "s3://calls/day.csv", str(day / "run"))
    assert done.returncode == 3, done.stderr
    assert "s3://calls/day.csv: " in done.stderr
    assert "Traceback" not in done.stderr
