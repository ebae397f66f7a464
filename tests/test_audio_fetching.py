"""Recordings and manifests that lie elsewhere: found, fetched, scored to the same bytes, and not left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from analyzer import pipeline
from analyzer.audio import Recording, Track, at_hand, fetching, find_recordings
from analyzer.catalog import load_pack
from analyzer.errors import InputError
from analyzer.pipeline import Scored, score_recordings
from analyzer.runs import Failure, RunFolder
from tests.fake_speech import FakeCallDetector, FakeRecogniser, write_call
from tests.tiny_pack import write_tiny_pack


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """/day/team/c0.wav, /day/c1.wav, /day/notes.txt"""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe_file("/day/team/c0.wav", write_call(tmp_path / "here" / "team" / "c0.wav", 0, seconds=6).read_bytes())
    memory.pipe_file("/day/c1.wav", write_call(tmp_path / "here" / "c1.wav", 1, seconds=6).read_bytes())
    memory.pipe_file("/day/notes.txt", b"lunch at noon")
    yield memory
    memory.store.clear()


def ids(*inputs: str) -> list[str]:
    found = find_recordings(inputs)
    assert not found.faults
    return sorted(recording.call_id for recording in found.recordings)


def test_folders_patterns_and_single_files_elsewhere_give_the_ids_that_they_give_here(store: Any) -> None:
    assert ids("memory://day") == ["c1", "team/c0"]
    assert ids("memory://day/") == ["c1", "team/c0"]
    assert ids("memory://day/*.wav") == ["c1"]
    assert ids("memory://day/team/c0.wav") == ["c0"]


def test_a_manifest_elsewhere_names_recordings_beside_it_and_one_here_names_recordings_elsewhere(
    store: Any, tmp_path: Path
) -> None:
    store.pipe_file("/day/manifest.csv", b"path,call_id,ring_ms\nteam/c0.wav,A,4000\n../day/c1.wav,B,\n")
    found = find_recordings(["memory://day/manifest.csv"])
    assert [recording.call_id for recording in found.recordings] == ["A", "B"]
    assert found.recordings[0].metadata["ring_ms"] == 4000
    assert ids("memory://day") == ["A", "B"], "a folder's own manifest is read with it"
    (tmp_path / "day.csv").write_text("path\nmemory://day/team/c0.wav\n")
    (recording,) = find_recordings([tmp_path / "day.csv"]).recordings
    with at_hand(recording) as here:
        assert here.tracks[0].path.read_bytes() == store.cat_file("/day/team/c0.wav")


def test_what_is_not_there_is_a_fault_of_that_input_alone(store: Any) -> None:
    found = find_recordings(["memory://day/c1.wav", "memory://night.csv", "memory://night/*.wav"])
    assert [recording.call_id for recording in found.recordings] == ["c1"]
    assert ["memory://night.csv" in str(found.faults[0]), "memory://night" in str(found.faults[1])] == [True, True]


def test_a_copy_is_at_hand_only_as_long_as_it_is_needed(store: Any) -> None:
    (recording,) = find_recordings(["memory://day/c1.wav"]).recordings
    with at_hand(recording) as here:
        path = here.tracks[0].path
        assert path.exists()
    assert not path.parent.exists()


def test_a_fault_in_a_copy_names_the_place_it_came_from(store: Any) -> None:
    store.pipe_file("/day/bad.wav", b"not a recording")
    (recording,) = find_recordings(["memory://day/bad.wav"]).recordings
    with pytest.raises(InputError) as caught, at_hand(recording) as here:
        raise InputError(f"{here.tracks[0].path}: is no recording")
    assert str(caught.value) == "memory:///day/bad.wav: is no recording"
    gone = Recording("gone", (Track(Path("x.wav"), recording.roles, "memory://day/gone.wav"),))
    with pytest.raises(InputError, match=r"memory://day/gone\.wav: no such recording"), at_hand(gone):
        pass


def test_copies_that_a_killed_process_left_are_removed_by_the_next(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = Path(tempfile.mkdtemp(prefix=f"analyzer-recording-{dead.pid}-"))
    in_use = Path(tempfile.mkdtemp(prefix=f"analyzer-recording-{os.getppid()}-"))
    fetching._sweep.cache_clear()
    (recording,) = find_recordings(["memory://day/c1.wav"]).recordings
    with at_hand(recording):
        assert not left.exists()
        assert in_use.exists()
    in_use.rmdir()


def test_scored_from_elsewhere_into_elsewhere_the_reports_are_the_bytes_of_here(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "CallDetector", FakeCallDetector)
    pack = load_pack(write_tiny_pack(tmp_path / "pack"))
    store.pipe_file("/day/bad.wav", b"not a recording")
    with RunFolder(tmp_path / "run", {}) as run:
        list(score_recordings(find_recordings([tmp_path / "here"]).recordings, FakeRecogniser(), pack, run, jobs=2))
    with RunFolder("memory://run", {}) as run:
        calls = find_recordings(["memory://day"]).recordings
        outcomes = {one.call_id: one for one in score_recordings(calls, FakeRecogniser(), pack, run, jobs=2)}
        again = score_recordings(calls, FakeRecogniser(), pack, run, jobs=1)
        assert sorted(one.call_id for one in again if isinstance(one, Scored) and one.why is None) == ["c1", "team/c0"]
    assert isinstance(outcomes["bad"], Failure)
    assert outcomes["bad"].message.startswith("memory:///day/bad.wav: ")
    for name in ("c1.json", "team%2Fc0.json"):
        assert store.cat_file(f"/run/reports/{name}") == (tmp_path / "run" / "reports" / name).read_bytes()
