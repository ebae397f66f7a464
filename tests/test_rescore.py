"""``analyzer rescore``: stored calls judged again, the same bytes by the same rules, old and new side by side."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pandas
import pyarrow.parquet
import pytest

from analyzer import cli
from analyzer.catalog import load_pack
from analyzer.errors import ConfigError, InputError
from analyzer.report import analyze, dump
from analyzer.rescore import workers
from analyzer.rescore.changes import Judged, Total, change_of
from analyzer.rescore.running import Rescored, rescore
from analyzer.rescore.stored import Period, StoredCall, places, read_place, stored_calls
from analyzer.rescore.workers import Faulty, LeftOut, Rules, Task
from analyzer.runs import Failure, RunFolder, digest, finished_calls
from analyzer.transcripts import read_call, read_call_text
from tests import deadly_judge
from tests.clean_pack import spoil, write_clean_pack

ROOT = Path(__file__).parent.parent
CALLS = {
    "a": "# metadata.agent_id: 3017\n# metadata.team: 一组\n# metadata.started_at: 2026-11-01T23:30:00+08:00\n"
    "坐席: 谢谢您。",
    "b": "# metadata.started_at: 2026-11-02T09:00:00\n坐席: 不关我的事，电话13800138000，谢谢您。",
    "c": "坐席: 谢谢您。\n客户: 还有一个问题。\n坐席: 再见。",
}
Outcomes = list[Rescored | Failure | LeftOut]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_clean_pack(tmp_path / "pack")


def scored(folder: Path, reports: dict[str, str]) -> Path:
    """A run folder as ``score`` leaves it."""
    with RunFolder(folder, {"pack": "old"}) as run:
        for call_id, report in reports.items():
            track = {"path": f"/srv/{call_id}.wav", "channels": ["agent", "customer"]}
            run.record(call_id, "sha256:0", report, recording=[track])
    return folder


@pytest.fixture
def old(tmp_path: Path, pack: Path) -> Path:
    return scored(tmp_path / "old", {name: report(text, name, pack) for name, text in CALLS.items()})


def report(call: str, name: str, pack: Path) -> str:
    return dump(analyze(read_call_text(call, name).transcript, load_pack(pack))) + "\n"


def judge_again(
    sources: Sequence[Path], pack: Path | str, folder: Path, profile: str = "standard", **options: Any
) -> Outcomes:
    rules = Rules.of(pack, profile)
    fresh = options.pop("fresh", False)
    with RunFolder(folder, {"pack": rules.digest, "profile": profile}, fresh=fresh) as run:
        return list(rescore(sources, rules, run, jobs=1, **options))


def reports(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (run / "reports").iterdir()}


# ---- the same bytes


def messy_call() -> dict[str, Any]:
    """A report's facts as no transcript has them: unsorted turns that overlap, a foreign recogniser, damage."""
    turns = [
        {"role": "customer", "start_ms": 9_000, "end_ms": 9_900, "text": "嗯嗯", "confidence": 0.31},
        {"role": "agent", "start_ms": 300, "end_ms": 2_700, "text": "您好，雲嶺銀行", "confidence": 1.0,
         "chars": [[300 + 300 * i, 600 + 300 * i] for i in range(7)] , "interpolated": True, "level_db": -31.0},
        {"role": "unknown", "start_ms": 2_000, "end_ms": 2_000, "text": ""},
        {"role": "agent", "start_ms": 8_800, "end_ms": 12_345, "text": "这个不归我管，您打13800138000。"},
        {"role": "agent", "start_ms": 8_800, "end_ms": 12_345, "text": "这个不归我管，您打13800138000。"},
        {"role": "system", "start_ms": 0, "end_ms": 250, "text": "本次通话将被录音"},
    ]  # fmt: skip
    return {
        "schema": "analyzer.report/1", "call_id": "十一月/03\ud800#1", "direction": "outbound", "duration_ms": 12_000,
        "metadata": {"city": "昆\udfff明", "ring_ms": 4000, "agent_id": "3017", "started_at": "2026-11-03T10:00:00"},
        "recogniser": {"name": "other", "digest": "sha256:1", "window": {"tail_ms": 40}, "notice": None},
        "truncated": True, "recording_offset_ms": 700, "warnings": ["录音缺失", "清单中的属性 'city' 不在已知之列"],
        "activity": {"customer": [[9_000, 9_800]], "agent": [[300, 2_600], [8_900, 12_000]]}, "turns": turns,
    }  # fmt: skip


def test_the_same_rules_give_the_same_bytes_of_every_sample_and_of_a_messy_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard = load_pack()
    monkeypatch.setattr(workers, "load_pack", lambda *_: standard)  # once is enough
    samples = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("samples/*/expected.json"))]
    made = [analyze(read_call(fields, "x"), standard) for fields in (*samples, messy_call())]
    old = scored(tmp_path / "old", {one["call_id"]: dump(one) + "\n" for one in made})
    outcomes = judge_again([old], "standard", tmp_path / "new")
    assert len(outcomes) == len(samples) + 1
    assert [one for one in outcomes if not (isinstance(one, Rescored) and one.is_same and one.change is None)] == []
    assert reports(tmp_path / "new") == reports(old)
    kept = json.loads(max(reports(old).items())[1])
    for name in ("recogniser", "warnings", "metadata", "truncated", "recording_offset_ms", "activity"):
        assert kept[name] == messy_call()[name], "the messy call was stored as it was given"


def test_the_old_run_is_not_touched_and_the_new_one_knows_where_calls_were_heard(
    old: Path, pack: Path, tmp_path: Path
) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in old.rglob("*") if path.is_file()}
    judge_again([old], pack, tmp_path / "new", "strict")
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in old.rglob("*") if path.is_file()} == before
    was, new = ({one.call_id: one for one in finished_calls(run)} for run in (old, tmp_path / "new"))
    assert {key: (one.heard_at, one.recording) for key, one in new.items()} == {
        key: (one.finished_at, one.recording) for key, one in was.items()
    }


def test_another_profile_changes_what_it_is_about(old: Path, pack: Path, tmp_path: Path) -> None:
    outcomes = judge_again([old], pack, tmp_path / "new", "strict")
    changes = [str(one.change) for one in outcomes if isinstance(one, Rescored) and one.change]
    assert changes == ["b: 71.4→0", "c: 85.7→100  thanks violation→pass"]
    assert [one.call_id for one in outcomes if isinstance(one, Rescored) and one.is_same] == []


def test_transcripts_without_a_report_are_judged_and_have_nothing_to_be_compared_with(
    pack: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.txt").write_text(CALLS["b"], encoding="utf-8")
    (only,) = judge_again([tmp_path / "in"], pack, tmp_path / "new")
    assert isinstance(only, Rescored)
    assert (only.call_id, only.is_compared, only.change) == ("x", False, None)


def test_the_journal_names_the_run_that_judged_a_call_first(old: Path, pack: Path, tmp_path: Path) -> None:
    judge_again([old], pack, tmp_path / "new", "strict")
    judge_again([tmp_path / "new"], pack, tmp_path / "third")
    judge_again(sorted((tmp_path / "third" / "reports").iterdir()), pack, tmp_path / "fourth", "strict")
    runs = [old, tmp_path / "new", tmp_path / "third", tmp_path / "fourth"]
    first, *others = ({one.call_id: one.origin for one in finished_calls(run)} for run in runs)
    assert others == [first] * 3
    assert {(origin.call_id, len({one.run for one in first.values()})) for origin in first.values()} == {
        (call_id, 1) for call_id in CALLS
    }
    lines = [json.loads(line) for line in (tmp_path / "third" / "journal.jsonl").read_text().splitlines()]
    assert [one["origin"] for one in lines if one["event"] == "done"] == [
        {"run": first[call_id].run, "call_id": call_id} for call_id in sorted(CALLS)
    ]


def test_the_review_desk_shows_both_judgements_and_both_are_heard(old: Path, pack: Path, tmp_path: Path) -> None:
    from sqlalchemy import select

    from analyzer.store import open_store
    from analyzer.store.importing import import_run
    from analyzer.store.tables import Call

    judge_again([old], pack, tmp_path / "new", "strict")
    store = open_store(str(tmp_path / "desk.db"))
    assert [import_run(store, run).new for run in (old, tmp_path / "new")] == [3, 3]
    with store.reading() as session:
        calls = list(session.scalars(select(Call).where(Call.call_id == "b").order_by(Call.id)))
        assert [(call.score, call.pack.profile, call.recording) for call in calls] == [
            (71.4, "standard", calls[0].recording),
            (0, "strict", calls[0].recording),
        ]
        assert calls[0].recording["paths"] == ["/srv/b.wav"]
    store.close()


# ---- going on


def test_what_the_run_holds_is_not_judged_again(
    old: Path, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_again([old], pack, tmp_path / "new", "strict")
    changed = old / "reports" / "c.json"
    fields = json.loads(changed.read_text(encoding="utf-8"))
    with RunFolder(old, {"pack": "old"}) as run:  # recognised again
        run.record("c", "sha256:1", dump({**fields, "duration_ms": 99_000}) + "\n")
    judged: list[str] = []
    monkeypatch.setattr(workers, "analyze", lambda call, rules: judged.append(call.call_id) or analyze(call, rules))
    again = judge_again([old], pack, tmp_path / "new", "strict")
    assert judged == ["c"]
    assert [one.is_new for one in again if isinstance(one, Rescored)] == [False, False, True]
    assert [one.change is None for one in again if isinstance(one, Rescored)] == [True, False, False], (
        "known all the same"
    )
    (tmp_path / "new" / "reports" / "a.json").write_text("{}", encoding="utf-8")
    judge_again([old], pack, tmp_path / "new", "strict")
    assert judged == ["c", "a"], "an edited report is made anew"
    judge_again([old], pack, tmp_path / "new", "strict", fresh=True)
    assert judged == ["c", "a", "a", "b", "c"]
    spoil(pack, "words/shirk.tsv", "不关我的?事", "不归我管")
    judge_again([old], pack, tmp_path / "new", "strict")
    assert judged[5:] == ["a", "b", "c"], "the rules changed"


def test_a_run_is_not_judged_into_itself(old: Path, pack: Path) -> None:
    with pytest.raises(ConfigError, match="into itself"):
        judge_again([old], pack, old)


def test_the_second_call_of_an_id_is_a_fault_and_leaves_the_first_alone(old: Path, pack: Path, tmp_path: Path) -> None:
    other = scored(tmp_path / "other", {"a": report(CALLS["c"], "a", pack)})
    outcomes = judge_again([old, other], pack, tmp_path / "new")
    (fault,) = [one for one in outcomes if isinstance(one, Failure)]
    assert fault.message.startswith(f"{other}/reports/a.json: call_id 'a' was used by an earlier call")
    assert reports(tmp_path / "new") == reports(old)


# ---- one bad call


def test_a_bad_call_is_named_and_the_rest_go_on(
    old: Path, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old / "reports" / "b.json").write_text("{}", encoding="utf-8")
    (old / "reports" / "d.json").write_text('{"turns": [', encoding="utf-8")

    def breaks(call: Any, rules: Any) -> Any:
        if call.call_id == "c":
            raise ZeroDivisionError("谢谢您")
        return analyze(call, rules)

    monkeypatch.setattr(workers, "analyze", breaks)
    outcomes = judge_again([old, tmp_path / "gone"], pack, tmp_path / "new")
    assert [one.call_id for one in outcomes] == ["a", "", "c", "", ""]
    messages = [one.message for one in outcomes if isinstance(one, Failure)]
    assert "b.json: edited since it was written" in messages[0]
    assert "c.json: c: ZeroDivisionError at" in messages[1]
    assert "谢谢" not in messages[1]
    assert "d.json" in messages[2]
    assert "gone: no such file" in messages[3]


def test_a_call_that_kills_its_process_is_a_fault_and_all_others_are_judged(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "c.jsonl").write_text("{}\n" * 24, encoding="utf-8")
    monkeypatch.setattr(workers, "_judge", deadly_judge.judge)
    monkeypatch.setattr(workers, "_FEW", 1)
    tasks = [Task(place) for place in places([tmp_path / "c.jsonl"]) if not isinstance(place, InputError)]
    batches = workers.rejudge(tasks, workers.Errand(Rules.of(pack, "standard")), jobs=2)
    outcomes = [outcome for batch in batches for outcome in batch.outcomes]
    assert len(outcomes) == len(tasks)
    (fault,) = [one for one in outcomes if isinstance(one, Faulty)]
    assert outcomes.index(fault) == 6, "in its place"
    assert "c.jsonl:7: the process that judged it died" in str(fault.error)


# ---- days


def test_days_are_those_of_the_call_else_those_of_its_recording_s_first_score(
    old: Path, pack: Path, tmp_path: Path
) -> None:
    today = next(one for one in finished_calls(old) if one.call_id == "c").finished_at.astimezone().date()

    def judged(name: str, **days: date) -> list[str]:
        outcomes = judge_again([old], pack, tmp_path / name, period=Period(**days))
        return [one.call_id for one in outcomes if isinstance(one, Rescored)]

    first = date(2026, 11, 1)
    assert judged("one", since=first, until=first) == ["a"], "as written, whatever the zone here"
    assert judged("two", until=date(2026, 11, 2)) == ["a", "b"]
    assert judged("three", since=today) == ["c"]


def test_calls_without_any_date_are_named(pack: Path, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(CALLS["c"], encoding="utf-8")
    (only,) = judge_again([tmp_path / "x.txt"], pack, tmp_path / "new", period=Period(since=date(2026, 1, 1)))
    assert isinstance(only, LeftOut)
    assert "x.txt: x has no date, neither metadata.started_at nor a run's journal" in str(only.undated)
    assert not list((tmp_path / "new" / "reports").iterdir())


# ---- where calls lie


def test_lines_are_found_without_reading_the_calls(pack: Path, tmp_path: Path) -> None:
    lines = [report(text, name, pack).encode() for name, text in CALLS.items()]
    (tmp_path / "day.jsonl").write_bytes(b"\xef\xbb\xbf" + lines[0] + b"\n" + lines[1] + lines[2].rstrip())
    found = list(places([tmp_path / "day.jsonl"]))
    assert [str(one) for one in found] == [f"{tmp_path}/day.jsonl:{line}" for line in (1, 3, 4)]
    calls = [call for one in found if not isinstance(one, InputError) for call in read_place(one)]
    assert [call.transcript.call_id for call in calls if isinstance(call, StoredCall)] == ["a", "b", "c"]
    (tmp_path / "one.jsonl").write_text('{"turns": []}\n\n', encoding="utf-8")
    (tmp_path / "wide.jsonl").write_text('{"turns": []}\n', encoding="utf-16")
    (tmp_path / "list.json").write_text('[{"turns": []}, {"turns": []}]', encoding="utf-8")
    names = [
        call.transcript.call_id
        for call in stored_calls([tmp_path / f"{name}" for name in ("one.jsonl", "wide.jsonl", "list.json")])
        if isinstance(call, StoredCall)
    ]
    assert names == ["one", "wide", "list#1", "list#2"]


def test_a_rule_that_is_new_and_does_not_apply_changes_nothing() -> None:
    total = Total("pass", 94.1)
    before = Judged(total, {"opening": "pass", "gone": "not_applicable"})
    assert change_of("a", before, Judged(total, {"opening": "pass", "new": "not_applicable"})) is None
    change = change_of("a", before, Judged(total, {"opening": "violation", "new": "not_applicable"}))
    assert change is not None
    assert change.rules == {"opening": ("pass", "violation")}


# ---- tables


def tables_of(old: Path, pack: Path, tmp_path: Path, profile: str = "strict", **options: Any) -> Path:
    from analyzer.rescore.tables import Tables

    with Tables(tmp_path / "tables") as tables:
        judge_again([old], pack, tmp_path / "new", profile, tables=tables, **options)
        tables.finish()
    return tmp_path / "tables"


def asked_of_duckdb(query: str) -> list[list[Any]]:
    """In a process of its own: it complains about itself when the interpreter ends."""
    program = "import duckdb, json, sys; print(json.dumps(duckdb.sql(sys.argv[1]).fetchall(), default=str))"
    done = subprocess.run([sys.executable, "-c", program, query], capture_output=True, text=True, check=True)
    rows: list[list[Any]] = json.loads(done.stdout)
    return rows


def test_old_and_new_stand_side_by_side_in_duckdb_and_pandas(old: Path, pack: Path, tmp_path: Path) -> None:
    folder = tables_of(old, pack, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["findings.parquet", "rules.parquet", "scores.parquet"]
    rows = asked_of_duckdb(
        "select call_id, agent_id, team, date, date_from, old_score, new_score, old_verdict, new_verdict, old_profile, "
        f"new_profile, changed, flipped_rules from '{folder}/scores.parquet'"
    )
    profiles = ("standard", "strict")
    today = next(iter(finished_calls(old))).finished_at.astimezone().date()
    assert rows == [
        ["a", "3017", "一组", "2026-11-01", "started_at", 100, 100, "pass", "pass", *profiles, False, []],
        ["b", None, None, "2026-11-02", "started_at", 71.4, 0, "fail", "fail", *profiles, True, []],
        ["c", None, None, str(today), "finished", 85.7, 100, "pass", "pass", *profiles, True, ["thanks"]],
    ]
    flips = asked_of_duckdb(
        "select call_id, rule, old_outcome, new_outcome, old_points, new_points "
        f"from '{folder}/rules.parquet' where flipped"
    )
    assert flips == [["c", "thanks", "violation", "pass", -5, 0]]
    frame = pandas.read_parquet(folder / "findings.parquet")
    assert frame[["call_id", "rule", "side"]].values.tolist() == [["b", "shirk", "both"], ["c", "thanks", "old"]]
    assert frame["quote"][0] == "不关我的事"
    assert frame["quote"].isna().tolist() == [False, True]
    scores = pandas.read_parquet(folder / "scores.parquet")
    assert str(scores["started_at"].dtype) == "datetime64[us, UTC]"
    assert scores["started_at"][0].isoformat() == "2026-11-01T15:30:00+00:00"


def test_the_types_are_those_that_spark_reads_too(old: Path, pack: Path, tmp_path: Path) -> None:
    """By Spark's table of Parquet types: no unsigned integers, nanoseconds or dictionary types."""
    folder = tables_of(old, pack, tmp_path)
    kinds = set()
    for path in folder.iterdir():
        schema = pyarrow.parquet.ParquetFile(path).schema
        assert b"ARROW:schema" not in (pyarrow.parquet.read_metadata(path).metadata or {})
        columns = [schema.column(index) for index in range(len(schema))]
        kinds |= {(column.physical_type, str(column.logical_type).partition("(")[0]) for column in columns}
        assert all("isSigned=false" not in str(column.logical_type) for column in columns)
        assert all("nano" not in str(column.logical_type).lower() for column in columns)
    assert kinds == {
        ("BYTE_ARRAY", "String"), ("DOUBLE", "None"), ("INT32", "None"), ("INT64", "None"), ("BOOLEAN", "None"),
        ("INT32", "Date"), ("INT64", "Timestamp"),
    }  # fmt: skip


def test_identifiers_are_masked_unless_asked_for_and_half_pairs_do_no_harm(pack: Path, tmp_path: Path) -> None:
    spoil(pack, "words/shirk.tsv", "不关我的?事", "不关我的?事，?电话13800138000")
    old = scored(tmp_path / "old", {"b\ud800": report(CALLS["b"], "b\ud800", pack)})
    masked = pandas.read_parquet(tables_of(old, pack, tmp_path) / "findings.parquet")
    assert masked["call_id"].tolist() == ["b\\ud800"]
    assert masked["quote"].tolist() == ["不关我的事，电话***********"]
    assert "13800138000" not in masked["message"][0]
    plain = pandas.read_parquet(tables_of(old, pack, tmp_path, unmasked=True) / "findings.parquet")
    assert plain["quote"].tolist() == ["不关我的事，电话13800138000"]


def test_tables_hold_calls_that_the_run_held_and_no_second_call_of_an_id(old: Path, pack: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in tables_of(old, pack, tmp_path).iterdir()}
    again = {path.name: path.read_bytes() for path in tables_of(old, pack, tmp_path).iterdir()}
    assert first == again
    from analyzer.rescore.tables import Tables

    other = scored(tmp_path / "other", {"a": report(CALLS["c"], "a", pack), "z": report(CALLS["a"], "z", pack)})
    with Tables(tmp_path / "both") as tables:
        judge_again([old, other], pack, tmp_path / "new", "strict", tables=tables)
        tables.finish()
    for name in ("scores", "rules"):
        calls = pandas.read_parquet(tmp_path / "both" / f"{name}.parquet")["call_id"].unique().tolist()
        assert calls == ["a", "b", "c", "z"]
    assert len(pandas.read_parquet(tmp_path / "both" / "rules.parquet")) == 8


def test_tables_appear_whole_or_not_at_all(old: Path, pack: Path, tmp_path: Path) -> None:
    from analyzer.rescore.tables import Tables

    tables_of(old, pack, tmp_path)
    before = (tmp_path / "tables" / "scores.parquet").read_bytes()

    def stopped() -> None:
        with Tables(tmp_path / "tables") as tables:
            judge_again([old], pack, tmp_path / "new", tables=tables)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (tmp_path / "tables" / "scores.parquet").read_bytes() == before
    assert len(list((tmp_path / "tables").iterdir())) == 3


# ---- the commands


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Result]:
    """Run ``analyzer …`` in this process, in the temporary folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["analyzer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return Result(int(ended.value.code or 0), output.out, output.err)

    return run


def test_the_command_lists_changes_sums_up_and_finds_its_folder_again(
    command: Callable[..., Result], old: Path, pack: Path
) -> None:
    options = ("--pack", "pack", "--profile", "strict", "--parquet", "tables")
    first = command("rescore", "old", *options)
    (folder,) = Path("runs").iterdir()
    assert first.code == 0, first.err
    assert first.out.splitlines() == [
        "b: 71.4→0",
        "c: 85.7→100  thanks violation→pass",
        "共 3 通，2 通有变化，0 通报告逐字节相同，0 通无法处理",
        "  thanks  1",
        f"{folder}/",
    ]
    assert Path("tables/scores.parquet").is_file()
    assert command("rescore", "old", *options).out == first.out
    assert len(list(Path("runs").iterdir())) == 1
    lines = command("rescore", "old", *options, "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["score"] for line in lines] == [[71.4, 0], [85.7, 100]]
    same = command("rescore", "old", "--pack", "pack", "-q")
    assert same.out.splitlines()[0] == "共 3 通，0 通有变化，3 通报告逐字节相同，0 通无法处理"
    assert len(list(Path("runs").iterdir())) == 2


def test_the_command_says_which_calls_it_leaves_out(command: Callable[..., Result], old: Path, pack: Path) -> None:
    shutil.copy(old / "reports" / "c.json", "undated.json")
    result = command("rescore", "undated.json", "old", "--pack", "pack", "--until", "2026-11-01", "--run", "new")
    assert result.code == 3
    assert "undated.json: c has no date" in result.err
    assert "共 1 通，0 通有变化，1 通报告逐字节相同，2 通不在所选日期，1 通无法处理" in result.out
    assert command("rescore", "old", "--since", "11/01").code == 2
    assert "writes to a folder" in command("rescore", "old", "--run", "s3://bucket/run").err
    assert "exchange them" in command("rescore", "old", "--since", "2026-11-02", "--until", "2026-11-01").err


def test_without_pyarrow_parquet_says_what_to_install(
    command: Callable[..., Result], old: Path, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "analyzer.rescore.tables", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = command("rescore", "old", "--pack", "pack", "--parquet", "tables")
    assert (result.code, "pip install '.[parquet]'" in result.err) == (2, True)
    assert not Path("runs").exists()


def test_backtest_in_processes_finds_the_same_in_the_same_order(
    command: Callable[..., Result], pack: Path, tmp_path: Path
) -> None:
    many = {
        f"{name}{number:02}": report(text, f"{name}{number:02}", pack)
        for number in range(12)
        for name, text in CALLS.items()
    }
    scored(tmp_path / "many", many)
    options = ("--pack", "pack", "--profile", "strict")
    one = command("rules", "backtest", "many", *options, "--jobs", 1)
    two = command("rules", "backtest", "many", *options, "--jobs", 2, "--parquet", "tables")
    assert one.out == two.out
    assert "共 36 通，24 通有变化，0 通无法处理" in two.out
    scores = pandas.read_parquet("tables/scores.parquet")
    assert (scores["call_id"].tolist(), int(scores["changed"].sum())) == (sorted(many), 24)


def test_digests_tell_calls_apart(old: Path) -> None:
    found = [call.digest for call in stored_calls([old]) if isinstance(call, StoredCall)]
    assert found == [digest(path.read_bytes()) for path in sorted((old / "reports").iterdir())]
