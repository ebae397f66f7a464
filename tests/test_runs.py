"""The run folder: what it promises when a process dies, the disk fills up or the input changes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer import runs
from analyzer.errors import InputError, StoreError
from analyzer.runs import Record, RunFolder, file_stem, finished_calls
from analyzer.storage import Disk

SETTINGS = {"pack": "sha256:p", "model": "sha256:m"}


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


def report_of(call_id: str) -> str:
    return json.dumps({"call_id": call_id, "score": 90}) + "\n"


def journal_events(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (folder / runs.JOURNAL).read_text().splitlines()]


def test_a_recorded_call_is_not_scored_again(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        assert run.why_score("a", "sha256:1") == "new"
        run.record("a", "sha256:1", report_of("a"))
    with RunFolder(tmp_path, SETTINGS) as run:
        assert run.why_score("a", "sha256:1") is None
        assert run.report_text("a") == report_of("a")


def test_a_changed_recording_is_noticed(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        run.record("a", "sha256:1", report_of("a"))
    with RunFolder(tmp_path, SETTINGS) as run:
        assert run.why_score("a", "sha256:2") == "the recording, its channels or its metadata changed"


def test_a_changed_model_or_pack_is_noticed_and_named(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        run.record("a", "sha256:1", report_of("a"))
    with RunFolder(tmp_path, {**SETTINGS, "model": "sha256:other"}) as run:
        assert run.why_score("a", "sha256:1") == "model changed"
        run.record("a", "sha256:1", report_of("a"))
        assert run.why_score("a", "sha256:1") is None


@pytest.mark.parametrize("harm", [lambda report: report.unlink(), lambda report: report.write_text("{}")])
def test_a_lost_or_edited_report_is_scored_again(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        run.record("a", "sha256:1", report_of("a"))
    harm(tmp_path / "reports" / "a.json")
    with RunFolder(tmp_path, SETTINGS) as run:
        assert run.why_score("a", "sha256:1") == "its report is missing or was edited"


def test_fresh_scores_everything_once_more(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        run.record("a", "sha256:1", report_of("a"))
    with RunFolder(tmp_path, SETTINGS, fresh=True) as run:
        assert run.why_score("a", "sha256:1") == "asked for"
        run.record("a", "sha256:1", report_of("a"))
        assert run.why_score("a", "sha256:1") is None


@pytest.mark.parametrize("step", ["stage", "append", "publish"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_a_call_is_whole_or_absent_and_the_next_run_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """Die before or after each durable step of ``record``; then resume and compare with a run that was left alone."""
    real = getattr(Disk, step)

    def dies(*args: object, **kwargs: object) -> None:
        if when == "after":
            real(*args, **kwargs)
        raise Killed

    run = RunFolder(tmp_path, SETTINGS)
    monkeypatch.setattr(Disk, step, dies)
    with pytest.raises(Killed):
        run.record("a", "sha256:1", report_of("a"))
    monkeypatch.undo()
    run._storage.close()  # what the kernel does for a dead process

    final = tmp_path / "reports" / "a.json"
    assert not final.exists() or final.read_text() == report_of("a")
    with RunFolder(tmp_path, SETTINGS) as resumed:
        if resumed.why_score("a", "sha256:1") is not None:
            resumed.record("a", "sha256:1", report_of("a"))
        assert resumed.why_score("a", "sha256:1") is None
    assert final.read_text() == report_of("a")
    assert journal_events(tmp_path).count("done") == 1, "the call must count exactly once"
    assert [path.name for path in (tmp_path / "reports").iterdir()] == ["a.json"]


@pytest.mark.parametrize("step", ["stage_all", "stage", "append", "publish_all", "publish"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_any_step_of_a_group_each_call_is_whole_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """As for one call; with ``stage`` it dies when one of the three reports is on disk."""
    real = getattr(Disk, step)
    group = [Record(name, "sha256:1", report_of(name)) for name in "abc"]
    calls = 0

    def dies(*args: object, **kwargs: object) -> None:
        nonlocal calls
        calls += 1
        is_second = calls == 2
        if when == "after" or (step == "stage" and not is_second):
            real(*args, **kwargs)
        if step != "stage" or is_second:
            raise Killed

    run = RunFolder(tmp_path, SETTINGS)
    run.record("a", "sha256:0", report_of("a") + " ")  # an earlier report, to be replaced
    monkeypatch.setattr(Disk, step, dies)
    with pytest.raises(Killed):
        run.record_all(group)
    monkeypatch.undo()
    run._storage.close()  # what the kernel does for a dead process

    with RunFolder(tmp_path, SETTINGS) as resumed:
        missing = [record for record in group if resumed.why_score(record.call_id, "sha256:1") is not None]
        assert len(missing) in (0, 3), "the lines were one write"
        resumed.record_all(missing)
        assert [resumed.why_score(record.call_id, "sha256:1") for record in group] == [None] * 3
    assert {path.name: path.read_text() for path in (tmp_path / "reports").iterdir()} == {
        f"{record.call_id}.json": record.report for record in group
    }
    assert journal_events(tmp_path).count("done") == 4


@pytest.mark.parametrize("kept", range(0, 600, 37))
def test_of_a_torn_group_of_lines_the_whole_ones_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    """The power goes while the lines are written: any beginning of them may be on disk, and all reports are."""
    group = [Record(name, "sha256:1", report_of(name)) for name in "abc"]
    real = os.write
    run = RunFolder(tmp_path, SETTINGS)

    def torn(descriptor: int, content: bytes) -> int:
        real(descriptor, content[:kept])
        raise Killed

    monkeypatch.setattr(os, "write", torn)
    with pytest.raises(Killed):
        run.record_all(group)
    monkeypatch.undo()
    run._storage.close()
    text = (tmp_path / runs.JOURNAL).read_text()
    whole = sum('"done"' in line and line.endswith("\n") for line in text.splitlines(keepends=True))
    with RunFolder(tmp_path, SETTINGS) as resumed:
        finished = [record.call_id for record in group if resumed.why_score(record.call_id, "sha256:1") is None]
        assert finished == ["a", "b", "c"][:whole]
        assert {path.name for path in (tmp_path / "reports").glob("*.json")} == {f"{name}.json" for name in finished}


def test_a_group_on_a_full_disk_leaves_no_line_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path, SETTINGS)
    monkeypatch.setattr(os, "write", lambda descriptor, content: len(content) // 2)
    with pytest.raises(StoreError, match="No space left"):
        run.record_all([Record(name, "sha256:1", report_of(name)) for name in "abc"])
    monkeypatch.undo()
    run.close("interrupted")
    assert journal_events(tmp_path) == ["opened", "closed"]


@pytest.mark.parametrize("kept", range(0, 80, 13))
def test_a_torn_last_journal_line_is_cut_off(tmp_path: Path, kept: int) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        run.record("a", "sha256:1", report_of("a"))
    journal = tmp_path / runs.JOURNAL
    whole = journal.read_bytes()
    torn = b'{"event": "done", "call_id": "b", "input": "sha256:1", "settings": "x", "report":'
    journal.write_bytes(whole + torn[:kept])
    with RunFolder(tmp_path, SETTINGS) as run:
        assert run.why_score("a", "sha256:1") is None
        assert run.why_score("b", "sha256:1") == "new"
    assert journal.read_bytes().startswith(whole + b'{"event": "opened"')


def test_a_journal_of_something_else_is_refused_by_line(tmp_path: Path) -> None:
    (tmp_path / runs.JOURNAL).write_text('{"event": "opened", "settings": {}, "settings_digest": "x"}\nhello\n')
    with pytest.raises(StoreError, match=r"journal\.jsonl:2: not a journal line"):
        RunFolder(tmp_path, SETTINGS)


def test_two_processes_cannot_write_one_run(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS), pytest.raises(StoreError, match="another process is writing this run"):
        RunFolder(tmp_path, SETTINGS)
    RunFolder(tmp_path, SETTINGS).close("finished")


def test_a_full_disk_leaves_no_half_line_and_says_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path, SETTINGS)
    real_write = os.write

    def full(descriptor: int, content: bytes) -> int:
        real_write(descriptor, content[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match="No space left on device; free the disk"):
        run.record("a", "sha256:1", report_of("a"))
    monkeypatch.undo()
    run.close("interrupted")
    assert journal_events(tmp_path) == ["opened", "closed"]


def test_a_failure_is_remembered_with_its_error_until_the_call_succeeds(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        run.record("a", "sha256:1", report_of("a"))
        run.record_failure("a", InputError("a.wav: empty file; record it again"))
        run.record_failure("b", ZeroDivisionError("division by zero"))
    assert not (tmp_path / "reports" / "a.json").exists(), "a report of an earlier input must not pass for this one's"
    with RunFolder(tmp_path, SETTINGS) as run:
        assert [(one.call_id, one.kind, one.exit_code) for one in run.failures()] == [
            ("a", "InputError", 3),
            ("b", "ZeroDivisionError", 3),
        ]
        assert run.why_score("a", "sha256:1") == "new"
        run.record("a", "sha256:1", report_of("a"))
        assert [one.call_id for one in run.failures()] == ["b"]


def test_a_fault_of_the_inputs_stands_in_the_journal(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        assert run.record_fault(InputError("day.csv:3: names no recording; give path")).call_id == ""
    with RunFolder(tmp_path, SETTINGS) as run:
        assert run.failures() == []
    assert "day.csv:3" in (tmp_path / runs.JOURNAL).read_text()


def test_a_run_is_told_apart_from_any_other_and_stays_itself_when_it_goes_on_or_moves(tmp_path: Path) -> None:
    def identities(folder: Path) -> set[str]:
        return {one.origin.run for one in finished_calls(folder)}

    for name in ("one", "other"):
        with RunFolder(tmp_path / name, SETTINGS) as run:
            run.record("a", "sha256:1", report_of("a"))
    one = identities(tmp_path / "one")
    assert len(one) == len(identities(tmp_path / "other") - one) == 1
    (tmp_path / "one").rename(tmp_path / "moved")
    with RunFolder(tmp_path / "moved", {**SETTINGS, "model": "sha256:other"}) as run:
        run.record("b", "sha256:1", report_of("b"))
    assert identities(tmp_path / "moved") == one
    assert [origin.call_id for origin in (call.origin for call in finished_calls(tmp_path / "moved"))] == ["a", "b"]


def test_half_a_surrogate_pair_in_a_report_is_written_as_its_json_escape(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS) as run:
        run.record("a", "sha256:1", json.dumps({"call_id": "a\ud800"}, ensure_ascii=False))
        assert run.why_score("a", "sha256:1") is None
        assert json.loads(run.report_text("a")) == {"call_id": "a\ud800"}


def test_run_json_holds_clock_host_and_settings_and_reports_do_not(tmp_path: Path) -> None:
    with RunFolder(tmp_path, SETTINGS, inputs=["/srv/recordings"]) as run:
        run.record("a", "sha256:1", report_of("a"))
        assert json.loads((tmp_path / "run.json").read_text())["state"] == "running"
    about = json.loads((tmp_path / "run.json").read_text())
    assert about["schema"] == "analyzer.run/1"
    assert about["state"] == "finished"
    assert about["settings"] == SETTINGS
    assert about["inputs"] == ["/srv/recordings"]
    assert about["calls"] == {"done": 1, "scored_now": 1, "failed": 0}
    assert {"started_at", "written_at", "host"} <= about.keys()
    assert (tmp_path / "reports" / "a.json").read_text() == report_of("a")


def test_an_unwritable_place_names_the_path_and_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.*choose another folder with --run"):
        RunFolder(tmp_path / "file", SETTINGS)


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_every_call_id_has_its_own_name_inside_the_folder(one: str, other: str) -> None:
    name = file_stem(one) + ".json.part"
    assert len(name.encode("utf-8")) <= 255
    assert "/" not in name
    assert "\0" not in name
    assert not name.startswith(".")
    assert (file_stem(one) == file_stem(other)) == (one == other)
