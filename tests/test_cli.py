"""The command line: what it prints where, what it ends with, and what it needs to start."""

from __future__ import annotations

import csv
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analyzer import cli, desk_cli, live_cli, model_options, models, pipeline, store_options
from analyzer.runs import RunFolder
from tests import random_whisper
from tests.fake_speech import FakeCallDetector, FakeRecogniser, write_call
from tests.tiny_pack import write_tiny_pack

ROOT = Path(__file__).parent.parent
HEAVY = ("av", "ctranslate2", "faster_whisper", "jieba", "numpy", "pydantic", "sounddevice", "xlsxwriter", "rich")
COMMANDS = (
    [],
    ["score"],
    ["check"],
    ["model"],
    ["model", "list"],
    ["model", "pull"],
    ["model", "info"],
    ["model", "calibrate"],
    ["rescore"],
    ["report"],
    ["rules", "backtest"],
    ["live"],
    ["devices"],
    ["serve"],
    ["db"],
    ["db", "upgrade"],
    ["db", "import"],
    ["user"],
    ["user", "add"],
    ["user", "passwd"],
    ["audit"],
    ["audit", "verify"],
)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["analyzer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return Result(int(ended.value.code or 0), output.out, output.err)

    return run


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRecogniser:
    """``score`` and its recogniser without a model; the path to it, ``--model`` included, stays."""
    recogniser = FakeRecogniser()
    monkeypatch.setattr(cli, "load_recogniser", lambda *_, **__: recogniser)
    monkeypatch.setattr(pipeline, "CallDetector", FakeCallDetector)
    return recogniser


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_tiny_pack(tmp_path / "pack")


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """Three calls."""
    for seed in range(3):
        write_call(tmp_path / "day" / f"c{seed}.wav", seed)
    return tmp_path / "day"


def transcript(path: Path, text: str = "您好，云岭银行", **fields: Any) -> Path:
    turn = {"role": "agent", "start_ms": 0, "end_ms": 3_000, "text": text}
    path.write_text(json.dumps({"turns": [turn], **fields}), encoding="utf-8")
    return path


# ---- starting


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    code = f"import sys, analyzer.cli; print(*[name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_help_costs_less_than_a_second_of_processor_time() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "analyzer", "score", "--help"], cwd=ROOT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


@pytest.mark.parametrize("language", ["en_GB.UTF-8", "zh_CN.UTF-8"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_in_both_languages(command: list[str], language: str) -> None:
    environment = {**os.environ, "LC_ALL": language, "COLUMNS": "80", "PYTHONUTF8": "1"}
    environment.pop("ANALYZER_LANG", None)
    help_ = subprocess.run(
        [sys.executable, "-m", "analyzer", *command, "--help"],
        cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True,
    ).stdout  # fmt: skip
    explained = (
        re.search("[一-鿿]{4}", help_) if language.startswith("zh") else re.search(r"[A-Z][a-z]+( [a-z]+){2}", help_)
    )
    assert explained
    assert not re.search(r"… *│", help_), "cut off"


def test_the_version_is_the_package_s(run: Run) -> None:
    from analyzer import __version__

    assert run("--version").out == f"analyzer {__version__}\n"


def test_every_command_and_option_is_in_the_documentation() -> None:
    documented = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for command in COMMANDS[1:]:
        assert f"analyzer {' '.join(command)}" in documented
    modules = (cli, desk_cli, store_options, live_cli, model_options)
    sources = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in modules)
    for option in re.findall(r'"(--[a-z-]+)"', sources):
        assert re.search(rf"[` ]{option}[` ]", documented), option


# ---- check


def test_check_prints_reports_and_nothing_else_as_jsonl(run: Run, pack: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    transcript(tmp_path / "in" / "a.json")
    (tmp_path / "in" / "b.json").write_text("{", encoding="utf-8")
    transcript(tmp_path / "in" / "c.json", "这不关我的事")
    result = run("check", "in", "--pack", pack, "--format", "jsonl")
    reports = [json.loads(line) for line in result.out.splitlines()]
    assert [report["call_id"] for report in reports] == ["a", "c"]
    assert reports[1]["rules"][0]["findings"][0]["quote"] == "不关我的事"
    assert result.code == 3
    assert result.err.startswith("error: in/b.json: ")
    assert result.err.count("\n") == 1


def test_check_prints_one_array_as_json(run: Run, pack: Path, tmp_path: Path) -> None:
    paths = [transcript(tmp_path / f"{name}.json") for name in "ab"]
    assert [
        report["call_id"] for report in json.loads(run("check", *paths, "--pack", pack, "--format", "json").out)
    ] == ["a", "b"]
    assert json.loads(run("check", "none.json", "--pack", pack, "--format", "json").out) == []


def test_check_prints_scorecards_and_a_summary(run: Run, pack: Path, tmp_path: Path) -> None:
    result = run("check", transcript(tmp_path / "a.json", "这不关我的事"), "--pack", pack)
    assert "✗ 服务禁语" in result.out
    assert "【不关我的事】" in result.out
    assert result.out.splitlines()[-1].startswith("共 1 通  不合格 1")
    assert result.code == 0
    quiet = run("check", tmp_path / "a.json", "--pack", pack, "-q")
    assert quiet.out.splitlines() == result.out.splitlines()[-1:]


def test_a_score_below_the_mark_ends_with_one(run: Run, pack: Path, tmp_path: Path) -> None:
    good, bad = transcript(tmp_path / "good.json"), transcript(tmp_path / "bad.json", "这不关我的事")
    assert run("check", good, "--pack", pack, "--fail-below", 80).code == 0
    assert run("check", bad, "--pack", pack, "--fail-below", 80).code == 1
    assert run("check", bad, "missing.json", "--pack", pack, "--fail-below", 80).code == 3, "graver than 1"


# ---- score


def test_score_shows_each_call_in_order_and_fills_the_run_folder(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path, tmp_path: Path
) -> None:
    result = run("score", "day", "--model", "x", "--pack", pack, "--run", "out", "--jobs", 3)
    assert result.code == 0, result.err
    heads = [line for line in result.out.splitlines() if "══" in line]
    assert [head.split()[0] for head in heads] == ["c0", "c1", "c2"]
    assert "识别模型 fake (tests only)" in result.out
    assert result.out.splitlines()[-1] == "报告与表格：out/"
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "run.json", "journal.jsonl", "reports", "calls.csv", "findings.csv", "calls.xlsx",
    }  # fmt: skip
    with (out / "calls.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["call_id"] for row in csv.DictReader(file)] == ["c0", "c1", "c2"]
    assert "您好" not in (out / "journal.jsonl").read_text(encoding="utf-8")
    assert "您好" not in (out / "run.json").read_text(encoding="utf-8")


def test_score_as_jsonl_prints_the_reports_of_the_run_folder_in_order(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path, tmp_path: Path
) -> None:
    (day / "b-bad.wav").write_bytes(b"")
    result = run("score", "day", "--model", "x", "--pack", pack, "--run", "out", "--format", "jsonl", "--jobs", 4)
    assert result.code == 3
    assert result.out == "".join((tmp_path / "out" / "reports" / f"c{n}.json").read_text() for n in range(3))
    assert "b-bad.wav: is empty (0 bytes)" in result.err


def test_the_same_command_again_recognises_nothing_and_prints_the_same(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path, tmp_path: Path
) -> None:
    command = ("score", "day", "--model", "x", "--pack", pack)
    first = run(*command)
    fake.batches.clear()
    again = run(*command)
    assert again.out == first.out
    assert fake.batches == []
    assert len(list((tmp_path / "runs").iterdir())) == 1
    run(*command, "--fresh")
    assert fake.batches != []


def test_a_changed_pack_scores_again_and_says_so(run: Run, fake: FakeRecogniser, pack: Path, day: Path) -> None:
    run("score", "day", "--model", "x", "--pack", pack)
    rule = pack / "rules" / "forbidden" / "banned_phrase.yaml"
    rule.write_text(rule.read_text(encoding="utf-8").replace("不关我的事", "谢谢"), encoding="utf-8")
    result = run("score", "day", "--model", "x", "--pack", pack)
    assert "3 calls scored again: pack changed" in result.err
    assert "【谢谢】" in result.out


def test_a_manifest_in_another_format_is_told_of_as_such(run: Run, fake: FakeRecogniser, pack: Path, day: Path) -> None:
    result = run("score", "--manifest", "day.xlsx", "--model", "x", "--pack", pack)
    assert result.code == 2
    assert "save the table as CSV" in result.err


def test_without_a_single_recording_json_is_an_empty_list(run: Run, fake: FakeRecogniser, pack: Path) -> None:
    result = run("score", "nosuch.wav", "--model", "x", "--pack", pack, "--format", "json")
    assert (result.code, result.out) == (3, "[]\n")


def test_reports_of_calls_that_are_not_among_the_inputs_are_told_of(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path
) -> None:
    command = ("score", "day", "--model", "x", "--pack", pack, "--run", "out")
    assert "not of these inputs" not in run(*command).err
    (day / "c1.wav").unlink()
    assert "out/ also holds 1 reports that are not of these inputs (c1)" in run(*command).err


def test_a_failed_call_has_its_own_sheet_and_no_row(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path, tmp_path: Path
) -> None:
    import openpyxl

    (day / "c1.wav").write_bytes(b"RIFF")
    result = run("score", "day", "--model", "x", "--pack", pack, "--run", "out", "-q")
    assert result.code == 3
    assert "无法处理 1" in result.out
    book = openpyxl.load_workbook(tmp_path / "out" / "calls.xlsx", read_only=True)
    (_, (call_id, why)) = book["无法处理"].iter_rows(values_only=True)
    book.close()
    assert call_id == "c1"
    assert "c1.wav" in why


def test_inputs_that_are_no_call_stand_in_journal_and_table(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path, tmp_path: Path
) -> None:
    (day / "manifest.csv").write_text("path,call_id\nc1.wav,one\n,two\n", encoding="utf-8")
    result = run("score", "day", "missing.wav", "--model", "x", "--pack", pack, "--run", "out", "-q")
    assert result.code == 3
    assert "无法处理 2" in result.out
    journal = (tmp_path / "out" / "journal.jsonl").read_text(encoding="utf-8")
    assert "manifest.csv:3" in journal
    assert "missing.wav" in journal


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "ascii"])
def test_reports_are_utf8_whatever_the_locale_and_scorecards_never_stop_at_a_letter(
    pack: Path, tmp_path: Path, encoding: str
) -> None:
    path = transcript(tmp_path / "a.json", "这不关我的事")
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}

    def check(*options: str) -> bytes:
        command = [sys.executable, "-m", "analyzer", "check", str(path), "--pack", str(pack), *options]
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True).stdout

    assert json.loads(check("--format", "jsonl").decode("utf-8"))["turns"][0]["text"] == "这不关我的事"
    assert "banned_phrase" in check().decode(encoding)


def test_the_direction_of_the_option_serves_calls_whose_manifest_gives_none(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path
) -> None:
    (day / "manifest.csv").write_text("path,call_id,direction\nc1.wav,one,inbound\n", encoding="utf-8")
    result = run("score", "day", "--model", "x", "--pack", pack, "--direction", "outbound", "--format", "jsonl")
    directions = {report["call_id"]: report["direction"] for report in map(json.loads, result.out.splitlines())}
    assert directions == {"c0": "outbound", "one": "inbound", "c2": "outbound"}


def test_a_manifest_can_be_named_by_option(run: Run, fake: FakeRecogniser, pack: Path, day: Path) -> None:
    (day / "list.jsonl").write_text('{"path": "c2.wav", "call_id": "two"}\n', encoding="utf-8")
    result = run("score", "--manifest", day / "list.jsonl", "--model", "x", "--pack", pack, "--format", "jsonl")
    assert [json.loads(line)["call_id"] for line in result.out.splitlines()] == ["two"]


def test_one_channel_can_be_scored_as_one_side(run: Run, fake: FakeRecogniser, pack: Path, day: Path) -> None:
    result = run(
        "score", day / "c0.wav", "--model", "x", "--pack", pack, "--channels", "customer,agent", "--format", "jsonl"
    )
    swapped = json.loads(result.out)["activity"]
    plain = json.loads(run("score", day / "c0.wav", "--model", "x", "--pack", pack, "--format", "jsonl").out)[
        "activity"
    ]
    assert (swapped["agent"], swapped["customer"]) == (plain["customer"], plain["agent"])
    assert run("score", day / "c0.wav", "--model", "x", "--pack", pack, "--mono", "agent").code == 3


# ---- faults and exit codes


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "no recordings named"),
        (["day", "--mono", "agent", "--channels", "agent,customer"], 2, "--channels, --mono and --pair exclude"),
        (["day", "--mono", "both"], 2, "choose agent, customer or mixed"),
        (["day", "--profile", "none"], 2, "none"),
        (["day", "--pack", "nowhere"], 2, "nowhere"),
        (["day", "--jobs", "0"], 2, "--jobs"),
        (["day", "--device", "tpu"], 2, "--device"),
        (["day", "--colour"], 2, "--colour"),
        (["missing.wav"], 3, "missing.wav: no such file"),
        (["day"], 4, "the bundled demo model understands only the synthetic voices of samples/"),
        (["day", "--model", "smal"], 4, "did you mean 'small'"),
        (["day", "--model", "empty"], 4, "model.bin"),
        (["day", "--model", "small", "--offline"], 4, "small"),
    ],
)
def test_a_fault_ends_with_its_code_and_one_line_that_says_what_to_do(  # noqa: PLR0917 - a table's columns
    run: Run,
    pack: Path,
    day: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.setenv("ANALYZER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "empty").mkdir()
    result = run("score", *([] if "--pack" in arguments else ["--pack", pack]), *arguments)
    assert result.code == code, result.err
    assert says in result.err
    assert "Traceback" not in result.err
    assert result.out == ""


def test_the_gravest_of_several_faults_decides(run: Run, pack: Path, day: Path) -> None:
    result = run("score", "day", "missing.wav", "--pack", pack)
    assert "missing.wav" in result.err
    assert result.code == 4


def test_a_run_folder_in_use_is_a_store_fault(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path, tmp_path: Path
) -> None:
    with RunFolder(tmp_path / "out", {}):
        result = run("score", "day", "--model", "x", "--pack", pack, "--run", "out")
    assert result.code == 5
    assert "another process is writing this run" in result.err


def test_a_fault_of_ours_costs_one_call_and_leaks_no_words(
    run: Run, fake: FakeRecogniser, pack: Path, day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pipeline.analyze

    def breaks(transcript: Any, rules: Any) -> Any:
        if transcript.call_id == "c1":
            raise KeyError(transcript.utterances[0].text)
        return real(transcript, rules)

    monkeypatch.setattr(pipeline, "analyze", breaks)
    result = run("score", "day", "--model", "x", "--pack", pack, "-q")
    assert result.code == 3
    assert re.search(r"error: c1: KeyError at test_cli\.py:\d+; this is a fault of the analyzer", result.err)
    assert not re.search("[一-鿿]", result.err)
    assert "共 3 通" in result.out


def test_the_demo_model_is_implied_for_the_samples_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analyzer.audio import find_recordings

    inside = write_call(tmp_path / "samples" / "a" / "call.wav", 1)
    outside = write_call(tmp_path / "other" / "samples" / "call.wav", 1)
    monkeypatch.setattr(model_options, "SAMPLES", tmp_path / "samples")
    assert model_options.model_for(None, find_recordings([inside]).recordings) == "demo"
    assert model_options.model_for("small", find_recordings([inside]).recordings) == "small"
    with pytest.raises(model_options.ModelError, match="--model demo to try it all the same"):
        model_options.model_for(None, find_recordings([inside, outside]).recordings)


# ---- model


def test_model_list_names_every_model_of_the_manifest(run: Run) -> None:
    result = run("model", "list")
    assert result.code == 0
    for name in models.manifest():
        assert name in result.out


def test_model_info_says_where_it_lies_and_which_windows_it_stands(run: Run, tmp_path: Path) -> None:
    random_whisper.build(tmp_path / "mine")
    result = run("model", "info", "mine", "--offline")
    assert result.code == 0, result.err
    assert "sha256:" in result.out
    assert "30 s" in result.out
    assert run("model", "info", "nowhere").code == 4


def test_model_pull_prints_the_folder_it_fetched(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random_whisper.build(tmp_path / "fetched")

    def pull(name: str, *, progress: models.Progress) -> models.ModelFolder:
        progress("model.bin", 10, 20)
        return models.open_folder(tmp_path / "fetched", name=name)

    monkeypatch.setattr(models, "pull", pull)
    result = run("model", "pull", "small")
    assert result.out == f"{tmp_path / 'fetched'}\n"
    assert "model.bin" in result.err


def test_calibrating_needs_recordings_and_enough_of_them(run: Run, tmp_path: Path, day: Path) -> None:
    random_whisper.build(tmp_path / "mine")
    assert run("model", "calibrate", "mine").code == 2
    result = run("model", "calibrate", "mine", "day")
    assert result.code == 2
    assert "calibration needs" in result.err


def test_calibrating_with_transcripts_counts_true_errors(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analyzer.asr.calibration.FEWEST_CHARACTERS", 5)
    random_whisper.build(tmp_path / "planted", "您好")
    sample = ROOT / "samples" / "bank-card-renewal" / "call.wav"
    command = ("model", "calibrate", "planted", sample, "--transcripts")
    (tmp_path / "texts").mkdir()
    transcript(tmp_path / "texts" / "other.json")
    result = run(*command, tmp_path / "texts")
    assert result.code == 2
    assert "no transcript of any of the recordings" in result.err
    transcript(tmp_path / "texts" / "call.json")
    result = run(*command, tmp_path / "texts")
    assert result.code == 0, result.err
    measured = json.loads((tmp_path / "planted" / "calibration.json").read_text(encoding="utf-8"))
    assert measured["labelled"] is True
    assert measured["characters"] == 6  # of the transcript, not of what the model said


def test_a_real_engine_scores_a_sample_offline(run: Run, pack: Path, tmp_path: Path) -> None:
    """Decode, VAD, Whisper, rules: with a model that spells one planted sentence whatever it hears."""
    random_whisper.build(tmp_path / "planted", "您好，这里是云岭银行。")
    sample = ROOT / "samples" / "bank-card-limit"
    result = run("score", sample, "--model", "planted", "--pack", pack, "--offline", "--format", "jsonl")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert {turn["text"] for turn in report["turns"]} == {"您好，这里是云岭银行。"}
    assert {turn["role"] for turn in report["turns"]} == {"agent", "customer"}
    assert all(len(turn["chars"]) == len(turn["text"]) for turn in report["turns"])
    assert report["recogniser"]["name"] == "planted"
