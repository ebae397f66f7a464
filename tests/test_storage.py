"""Run folders in an object store: the promises of a disk without append, rename and lock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from analyzer.errors import ConfigError, StoreError
from analyzer.runs import Record, RunFolder, finished_calls
from analyzer.storage import JOURNAL, Bucket
from tests.test_runs import Killed, report_of

URL = "memory://runs/day"
SETTINGS = {"pack": "sha256:p"}


@pytest.fixture
def store() -> Iterator[Any]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory
    memory.store.clear()


def events(store: Any) -> list[str]:
    """Of all segments, in order."""
    return [json.loads(store.cat_file(name))["event"] for name in sorted(store.ls("/runs/day/journal", detail=False))]


def test_every_entry_is_an_object_of_its_own_and_the_whole_journal_is_there_at_the_end(store: Any) -> None:
    with RunFolder(URL, SETTINGS) as run:
        run.record("a/b", "sha256:1", report_of("a/b"))
        assert events(store) == ["opened", "done"]
        assert not store.exists(f"/runs/day/{JOURNAL}")
        assert run.place == URL
    assert events(store) == ["opened", "done", "closed"]
    journal = store.cat_file(f"/runs/day/{JOURNAL}").splitlines()
    assert [json.loads(line)["event"] for line in journal] == ["opened", "done", "closed", "merged"]
    assert json.loads(store.cat_file("/runs/day/reports/a%2Fb.json"))["call_id"] == "a/b"
    assert json.loads(store.cat_file("/runs/day/run.json"))["state"] == "finished"


def test_a_group_of_calls_is_one_entry_of_the_journal(store: Any) -> None:
    with RunFolder(URL, SETTINGS) as run:
        run.record_all([Record(name, "sha256:1", report_of(name)) for name in "abc"])
        segments = sorted(store.ls("/runs/day/journal", detail=False))
        assert len(segments) == 2
        assert [json.loads(line)["call_id"] for line in store.cat_file(segments[1]).splitlines()] == ["a", "b", "c"]
    with RunFolder(URL, SETTINGS) as again:
        assert [again.why_score(name, "sha256:1") for name in "abcd"] == [None, None, None, "new"]
        assert list(again.report_texts(["c"])) == [report_of("c")]


def test_what_was_recorded_stands_when_the_run_is_opened_again_with_and_without_a_proper_end(store: Any) -> None:
    run = RunFolder(URL, SETTINGS)
    run.record("a", "sha256:1", report_of("a"))
    with RunFolder(URL, SETTINGS) as second:  # the first process died
        assert second.why_score("a", "sha256:1") is None
        second.record("b", "sha256:1", report_of("b"))
    with RunFolder(URL, SETTINGS) as third:
        assert [third.why_score(call_id, "sha256:1") for call_id in "abc"] == [None, None, "new"]
        assert list(third.report_texts(["b", "a"])) == [report_of("b"), report_of("a")]
        store.pipe_file("/runs/day/reports/a.json", b"{}")
        assert third.why_score("a", "sha256:1") == "its report is missing or was edited"


def test_a_writer_that_was_overtaken_stops_before_it_does_harm(store: Any) -> None:
    first = RunFolder(URL, SETTINGS)
    first.record("a", "sha256:1", report_of("a"))
    with RunFolder(URL, SETTINGS) as second:
        with pytest.raises(StoreError, match=r"runs/day: another process has taken this run over"):
            first.record("b", "sha256:1", report_of("b"))
        with pytest.raises(StoreError, match="taken this run over"):
            first.close("finished")
        assert second.why_score("b", "sha256:1") == "new"
        second.record("b", "sha256:1", report_of("b"))
    assert events(store).count("done") == 2


def test_a_put_whose_answer_was_lost_is_not_taken_for_another_writer(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that asks again after a broken line is told that the object exists: it is our own."""
    with RunFolder(URL, SETTINGS) as run:
        real = Bucket._create

        def answer_lost(self: Bucket, name: str, content: bytes) -> bool:
            real(self, name, content)
            return real(self, name, content)

        monkeypatch.setattr(Bucket, "_create", answer_lost)
        run.record("a", "sha256:1", report_of("a"))
        monkeypatch.undo()
    assert events(store).count("done") == 1


def test_a_store_that_overwrites_what_it_should_create_is_refused(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def overwrites(self: Any, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self.open(path, mode="wb", data=value)

    monkeypatch.setattr(type(store), "pipe_file", overwrites)
    with pytest.raises(StoreError, match=r"no conditional PUT.*choose a run folder on a disk"):
        RunFolder(URL, SETTINGS)


@pytest.mark.parametrize("step", ["stage", "append", "publish"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_the_call_counts_once_and_has_its_bytes(
    store: Any, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    real = getattr(Bucket, step)

    def dies(*args: object) -> None:
        if when == "after":
            real(*args)
        raise Killed

    run = RunFolder(URL, SETTINGS)
    monkeypatch.setattr(Bucket, step, dies)
    with pytest.raises(Killed):
        run.record("a", "sha256:1", report_of("a"))
    monkeypatch.undo()
    with RunFolder(URL, SETTINGS) as resumed:
        if resumed.why_score("a", "sha256:1") is not None:
            resumed.record("a", "sha256:1", report_of("a"))
    assert events(store).count("done") == 1
    assert store.cat_file("/runs/day/reports/a.json").decode() == report_of("a")


def test_a_lost_segment_is_missed_by_name(store: Any) -> None:
    run = RunFolder(URL, SETTINGS)
    run.record("a", "sha256:1", report_of("a"))
    run.record("b", "sha256:1", report_of("b"))
    store.rm_file("/runs/day/journal/000000002.jsonl")
    with pytest.raises(StoreError, match=r"journal/000000002\.jsonl: missing from the journal"):
        RunFolder(URL, SETTINGS)


def test_copied_to_a_disk_it_is_an_ordinary_run_folder(store: Any, tmp_path: Path) -> None:
    with RunFolder(URL, SETTINGS) as run, run.folder() as folder:
        run.record("a", "sha256:1", report_of("a"))
        run.record_failure("b", ValueError("x"))
        (folder / "calls.csv").write_text("call_id\na\n")
    store.get("/runs/day", str(tmp_path / "day"), recursive=True)
    (copied,) = finished_calls(tmp_path / "day")
    assert copied.call_id == "a"
    assert copied.path.read_text() == report_of("a")
    assert (tmp_path / "day" / "calls.csv").read_text() == "call_id\na\n"
    with RunFolder(tmp_path / "day", SETTINGS) as here:
        assert here.why_score("a", "sha256:1") is None
        assert [failure.call_id for failure in here.failures()] == ["b"]


def test_a_failure_takes_the_report_of_an_earlier_input_away(store: Any) -> None:
    with RunFolder(URL, SETTINGS) as run:
        run.record("a", "sha256:1", report_of("a"))
        run.record_failure("a", ValueError("x"))
        assert not store.exists("/runs/day/reports/a.json")
        assert run.why_score("a", "sha256:1") == "new"


def test_a_kind_of_place_nobody_knows_is_a_fault_of_the_command() -> None:
    with pytest.raises(ConfigError, match="nowhere://x: "):
        RunFolder("nowhere://x", SETTINGS)
