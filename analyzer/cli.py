"""The commands. This module parses, calls and shows; nothing heavy is imported before a command needs it.

Exit codes: 0 done; 1 a score below ``--fail-below``; 2 configuration; 3 a recording or transcript; 4 a model; 5 the run
folder; 130 stopped by Ctrl-C. Of several the gravest: 2 > 4 > 5 > 3 > 1.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from analyzer import __version__
from analyzer.desk_cli import desk_app
from analyzer.errors import AnalyzerError, ConfigError, InputError, worst_exit_code
from analyzer.language import either
from analyzer.live_cli import live_app
from analyzer.model_options import (
    RUNNING_PANEL,
    Device,
    DeviceOption,
    Model,
    Offline,
    download_progress,
    load_recogniser,
    model_for,
    resolve_model,
)
from analyzer.remote import is_url
from analyzer.report_cli import report_app
from analyzer.rescore_cli import rescore_app
from analyzer.rules_cli import rules_app
from analyzer.store_options import desk_settings
from analyzer.terminal import RULES_PANEL, CallDirection, PackOption, ProfileOption, complain, help_text, note
from analyzer.types import Direction

if TYPE_CHECKING:
    from analyzer.asr import Recogniser
    from analyzer.audio import Recording
    from analyzer.pipeline import Scored
    from analyzer.rules import Pack
    from analyzer.runs import Failure, RunFolder
    from analyzer.stages import Stages
    from analyzer.types import Transcript

    Scoring = Callable[[Sequence[Recording], RunFolder, Callable[[int], None]], Generator[Scored | Failure, None, None]]

STOPPED = 130  # what shells give for Ctrl-C
BELOW_MARK = 1


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when numpy is imported; makes features 30 times cheaper
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks ✓ is no reason to stop
    try:
        app()
    except AnalyzerError as fault:
        complain(fault)
        sys.exit(fault.exit_code)
    raise AssertionError("typer ends the process")


app = typer.Typer(
    name="analyzer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they print local variables, and those hold what callers said
    context_settings={"help_option_names": ["-h", "--help"]},
    help=help_text(
        "Check recorded or transcribed Chinese service calls against the norms of spoken service: openings, closings, "
        "forbidden phrases, politeness, speech rate. Works offline.",
        "按服务规范质检中文客服通话：开场白、结束语、服务禁语、礼貌用语、语速。可完全离线运行。",
    ),
)
model_app = typer.Typer(
    no_args_is_help=True,
    help=help_text("Speech models: list, fetch, look at, calibrate.", "语音识别模型：列出、下载、查看、校准。"),
)
app.add_typer(model_app, name="model")
app.add_typer(rules_app, name="rules")
app.add_typer(report_app)
app.add_typer(rescore_app)
app.add_typer(live_app)
app.add_typer(desk_app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"analyzer {__version__}")
        raise typer.Exit


VersionOption = Annotated[
    bool,
    typer.Option(
        "--version", callback=_print_version, is_eager=True, help=help_text("Print the version.", "显示版本。")
    ),
]


@app.callback()
def _root(version: VersionOption = False) -> None:
    """Options of ``analyzer`` itself."""


# ---- options


class Engine(StrEnum):
    """Where calls are scored."""

    LOCAL = "local"
    RAY = "ray"


class Format(StrEnum):
    """What goes to standard output."""

    TEXT = "text"
    JSON = "json"
    JSONL = "jsonl"


_NAMED = 3  # calls named as examples
_LAYOUT = either("Recordings", "录音")
_CLUSTER = either("Many machines", "多机")

Recordings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECORDING...",
        show_default=False,
        help=help_text(
            "Files, folders, patterns or manifests. A folder's own manifest.csv or manifest.jsonl is read with it.",
            "录音文件、文件夹、通配符或清单；文件夹里的 manifest.csv 会一并读取。",
        ),
    ),
]
Manifests = Annotated[
    list[str] | None,
    typer.Option(
        "--manifest",
        metavar="FILE",
        show_default=False,
        rich_help_panel=_LAYOUT,
        help=help_text(
            "CSV or JSONL with path, call_id, direction, ring_ms, agent_id and more.",
            "通话清单（CSV 或 JSONL）：path、call_id、direction、ring_ms、agent_id 等。",
        ),
    ),
]
Channels = Annotated[
    str | None,
    typer.Option(
        "--channels",
        metavar="LEFT,RIGHT",
        show_default="agent,customer",
        rich_help_panel=_LAYOUT,
        help=help_text("Who is on which channel.", "左右声道各是谁。"),
    ),
]
Mono = Annotated[
    str | None,
    typer.Option(
        "--mono",
        metavar="WHO",
        show_default=False,
        rich_help_panel=_LAYOUT,
        help=help_text(
            "One channel: agent, customer, mixed (both; score infers who speaks) or unknown (both, left open).",
            "单声道里是谁：agent、customer；mixed 双方同在，由声音推断说话人；unknown 不作推断。",
        ),
    ),
]
Pair = Annotated[
    str | None,
    typer.Option(
        "--pair",
        metavar="AGENT,CUSTOMER",
        show_default=False,
        rich_help_panel=_LAYOUT,
        help=help_text(
            "Two files per call: how their names end, as in _agent,_customer.",
            "每通两个文件：坐席、客户的文件名结尾，如 _agent,_customer。",
        ),
    ),
]
DirectionOption = Annotated[
    CallDirection | None,
    typer.Option(
        "--direction",
        show_default=False,
        rich_help_panel=_LAYOUT,
        help=help_text("Of calls whose manifest does not say.", "清单未注明时的呼叫方向。"),
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        min=1,
        show_default=either("cores", "处理器核数"),
        rich_help_panel=RUNNING_PANEL,
        help=help_text("Calls worked on at once. Never changes a result.", "同时处理的通话数；不影响结果。"),
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="FOLDER",
        show_default="runs/…",
        rich_help_panel=RUNNING_PANEL,
        help=help_text(
            "Where reports, journal and tables go. The same inputs find the same folder again and go on there.",
            "报告、日志、表格的存放处；相同的输入，会找到同一文件夹并继续。",
        ),
    ),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh",
        rich_help_panel=RUNNING_PANEL,
        help=help_text("Score again what is finished.", "已完成的也重新打分。"),
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        rich_help_panel=_CLUSTER,
        help=help_text(
            "On this machine, or on every node of a Ray cluster.", "本机运行，或在 Ray 集群的所有节点上运行。"
        ),
    ),
]
Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        rich_help_panel=_CLUSTER,
        help=help_text("The Ray cluster: auto, HOST:PORT or ray://HOST.", "Ray 集群：auto、HOST:PORT 或 ray://HOST。"),
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        show_default=either("one per node or GPU", "每个节点或 GPU 一个"),
        rich_help_panel=_CLUSTER,
        help=help_text("At most so many nodes or GPUs.", "最多使用的节点或 GPU 数。"),
    ),
]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--format",
        rich_help_panel=RULES_PANEL,
        help=help_text(
            "On standard output: scorecards, an array of reports, or a report per line.",
            "标准输出的内容：评分卡、报告数组，或每行一份报告。",
        ),
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        rich_help_panel=RULES_PANEL,
        help=help_text("No scorecards, only the summary.", "不显示评分卡，只显示汇总。"),
    ),
]
Unmasked = Annotated[
    bool,
    typer.Option(
        "--unmasked",
        help=help_text(
            "Leave telephone numbers, ID cards and the like readable in the tables; reports always are.",
            "表格中不遮盖电话、证件等个人信息；报告始终为原文。",
        ),
    ),
]
FailBelow = Annotated[
    float | None,
    typer.Option(
        "--fail-below",
        metavar="SCORE",
        min=0,
        max=100,
        show_default=False,
        rich_help_panel=RULES_PANEL,
        help=help_text("Exit 1 if a call scores less.", "有通话低于此分则返回 1。"),
    ),
]
Transcripts = Annotated[
    list[str],
    typer.Argument(
        metavar="TRANSCRIPT...",
        show_default=False,
        help=help_text("Files, folders or patterns.", "文字稿文件、文件夹或通配符。"),
    ),
]
ModelName = Annotated[
    str, typer.Argument(metavar="NAME|FOLDER", show_default=False, help=help_text("The model.", "模型名称或文件夹。"))
]


# ---- score


@app.command(
    help=help_text(
        "Score recordings. An interrupted run goes on where it stopped when the same command is given again; "
        "one bad recording never stops the others.",
        "给录音打分。中断后重新执行同一命令即可从断点继续；个别录音有问题不影响其余。",
    )
)
def score(
    recordings: Recordings = None,
    manifest: Manifests = None,
    channels: Channels = None,
    mono: Mono = None,
    pair: Pair = None,
    direction: DirectionOption = None,
    model: Model = None,
    device: DeviceOption = Device.AUTO,
    jobs: Jobs = None,
    offline: Offline = False,
    run: RunOption = None,
    fresh: Fresh = False,
    pack: PackOption = "standard",
    profile: ProfileOption = "standard",
    format_: FormatOption = Format.TEXT,
    quiet: Quiet = False,
    fail_below: FailBelow = None,
    unmasked: Unmasked = False,
    engine: EngineOption = Engine.LOCAL,
    address: Address = "auto",
    workers: Workers = None,
) -> None:
    from analyzer.audio import MANIFEST_SUFFIXES, find_recordings, missing_files, parse_layout
    from analyzer.catalog import load_pack
    from analyzer.runs import RunFolder

    inputs = [*(manifest or ()), *(recordings or ())]
    if not inputs:
        raise ConfigError("no recordings named; give files, folders, patterns or --manifest FILE")
    for table in manifest or ():
        if Path(table).suffix.lower() not in MANIFEST_SUFFIXES:
            raise ConfigError(f"--manifest {table}: a manifest is a .csv or .jsonl file; save the table as CSV (UTF-8)")
    found = find_recordings(inputs, parse_layout(channels, mono, pair))
    calls = [_directed(recording, direction) for recording in found.recordings if not missing_files(recording)]
    faults = [*found.faults, *(fault for recording in found.recordings for fault in missing_files(recording))]
    codes = [fault.exit_code for fault in faults]
    for fault in faults:
        complain(fault)
    if not calls:
        if format_ is Format.JSON:
            typer.echo("[]")
        raise typer.Exit(worst_exit_code(codes))
    rules = load_pack(pack, profile)
    load = partial(load_recogniser, _anywhere(model_for(model, calls)), device, jobs, offline=offline, for_volume=True)
    output = _Output(format_, rules, quiet=quiet, fail_below=fail_below, unmasked=unmasked)
    try:
        with ExitStack() as stack:
            if engine is Engine.RAY:
                stages = None
                info, scoring = _on_ray(stack, load, rules, pack, profile, jobs, device, address, workers)
            else:
                info, scoring, stages = _on_this_machine(load(), rules, jobs or _cores())
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is a Ctrl-C
            settings = {"analyzer": __version__, "pack": rules.digest, "profile": profile, "model": dict(info)}
            folder = RunFolder(run or _run_folder(inputs), settings, inputs=_absolute(inputs), fresh=fresh)
            stack.enter_context(folder)
            unusable = [folder.record_fault(fault) for fault in faults]
            codes += _score_all(calls, scoring, rules, folder, output, unusable, stages)
            output.end(f"{folder.place}/")
    except KeyboardInterrupt:
        note(either("stopped; the same command goes on from here", "已停止；重新执行同一命令即可继续"))
        raise typer.Exit(STOPPED) from None
    raise typer.Exit(worst_exit_code([*codes, *output.codes]))


def _on_this_machine(recogniser: Recogniser, rules: Pack, jobs: int) -> tuple[Mapping[str, Any], Scoring, Stages]:
    from analyzer.pipeline import score_recordings
    from analyzer.progress import describe_plan
    from analyzer.stages import Stages

    note(describe_plan(recogniser.plan, recogniser.info, jobs))
    stages = Stages(recogniser)

    def scoring(
        calls: Sequence[Recording], run: RunFolder, on_audio: Callable[[int], None]
    ) -> Generator[Scored | Failure, None, None]:
        run.note(plan={**asdict(recogniser.plan), "jobs": jobs})
        return score_recordings(calls, recogniser, rules, run, jobs=jobs, on_audio=on_audio, stages=stages)

    return recogniser.info, scoring, stages


def _on_ray(
    stack: ExitStack,
    load: Callable[[], Recogniser],
    rules: Pack,
    pack: str,
    profile: str,
    jobs: int | None,
    device: Device,
    address: str,
    workers: int | None,
) -> tuple[Mapping[str, Any], Scoring]:
    from analyzer.catalog import pack_bytes
    from analyzer.cluster import Order, RayCluster

    order = Order(load, pack_bytes(pack), rules.digest, profile, jobs)
    cluster = stack.enter_context(RayCluster(address, order, device=device, workers=workers, tell=note))
    return cluster.info, cluster.score


def _score_all(
    calls: Sequence[Recording],
    scoring: Scoring,
    pack: Pack,
    run: RunFolder,
    output: _Output,
    unusable: Sequence[Failure],
    stages: Stages | None,
) -> list[int]:
    """Score, show each call in the order of the inputs, write the tables. Returns the exit codes met.

    unusable  inputs that are no call, for the table of failures
    stages    where the time goes, if the work is done in this process
    """
    from rich.console import Console

    from analyzer.export import write_tables
    from analyzer.progress import Meter, RunProgress, stage_table
    from analyzer.runs import Failure

    meter = Meter({call.call_id: _size(call) for call in calls})
    order = _InOrder(call.call_id for call in calls)
    failures: dict[str, Failure] = {}
    again: Counter[str] = Counter()
    console = Console(stderr=True)
    progress = RunProgress(meter, console)
    timed = stages.count if stages else nullcontext
    outcomes = scoring(calls, run, progress.listened)
    with closing(outcomes), progress:
        for outcome in outcomes:
            if isinstance(outcome, Failure):
                failures[outcome.call_id] = outcome
                meter.finished(outcome.call_id, failed=True)
                with progress.aside():
                    complain(_naming(outcome))
            else:
                meter.finished(outcome.call_id, outcome.duration_ms)
                again.update([outcome.why] if outcome.why not in (None, "new") else [])
            ready = [call_id for call_id in order.finished(outcome.call_id) if call_id not in failures]
            with timed("show"), progress.aside(bool(ready) and output.shows_calls):
                for call_id in ready:
                    output.add(run.report_text(call_id))
    for why, count in again.items():
        note(either(f"{count} calls scored again: {why}", f"{count} 通重新打分：{_in_chinese(why)}"))
    scored = [call.call_id for call in calls if call.call_id not in failures]
    reports = (json.loads(text) for text in run.report_texts(scored))
    titles = {rule.id: rule.title for rule in pack.rules}
    failed = [*unusable, *failures.values()]
    with timed("tables"), run.folder() as folder:
        write_tables(reports, titles, folder, failed, output.titles, unmasked=output.unmasked,
                     own_numbers=output.own_numbers)  # fmt: skip
    if stages:
        run.note(stages=stages.summary())
        if output.is_text and stages.audio_ms:
            console.print(stage_table(stages.seconds(), stages.audio_ms, on_gpu=stages.on_gpu))
    if others := run.besides(call.call_id for call in calls):
        named = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
        note(either(
            f"{run.place}/ also holds {len(others)} reports that are not of these inputs ({named}); report and db "
            "import count them: delete them, or score into a folder of its own (--run)",
            f"{run.place}/ 中另有 {len(others)} 份报告不属于本次输入（{named}），report 和 db import 会一并统计；"
            "不需要请删除，或用 --run 另存文件夹",
        ))  # fmt: skip
    output.failed = len(unusable) + len(failures)
    return [failure.exit_code for failure in failures.values()]


def _in_chinese(why: str) -> str:
    """``RunFolder.why_score`` for people."""
    told = {
        "asked for": "按要求（--fresh）",
        "the recording, its channels or its metadata changed": "录音、声道或通话属性有变化",
        "its report is missing or was edited": "报告缺失或被改动过",
    }
    names = {"analyzer": "程序版本", "pack": "规则包", "profile": "规则方案", "model": "识别模型", "settings": "设置"}
    changed = [names.get(name, name) for name in why.removesuffix(" changed").split(", ")]
    return told.get(why) or f"{'、'.join(changed)}已更换"


class _InOrder:
    """Which calls can be shown: those finished, once all before them are."""

    def __init__(self, order: Iterable[str]) -> None:
        self._waiting = deque(order)
        self._finished: set[str] = set()

    def finished(self, call_id: str) -> Iterator[str]:
        self._finished.add(call_id)
        while self._waiting and self._waiting[0] in self._finished:
            self._finished.remove(self._waiting[0])
            yield self._waiting.popleft()


class _Output:
    """Reports to standard output in the format asked for, and what they add up to."""

    def __init__(
        self,
        format_: Format,
        pack: Pack,
        *,
        quiet: bool = False,
        fail_below: float | None = None,
        unmasked: bool = False,
    ) -> None:
        self.unmasked = unmasked
        self.own_numbers = desk_settings().masking.own_numbers
        from analyzer.render import element_titles

        self.titles = element_titles(pack)
        self.failed = 0
        self.codes: list[int] = []
        self._format = format_
        self._quiet = quiet
        self._fail_below = fail_below
        self._verdicts: Counter[str] = Counter()
        self._scores: list[float] = []

    @property
    def is_text(self) -> bool:
        """For people, not for programs."""
        return self._format is Format.TEXT

    @property
    def shows_calls(self) -> bool:
        """Every call gives some output."""
        return not (self.is_text and self._quiet)

    def add(self, text: str) -> None:
        """Show one report, given as JSON text."""
        report = json.loads(text)
        score = report["score"]
        if score is not None:
            self._scores.append(score)
            if self._fail_below is not None and score < self._fail_below:
                self.codes.append(BELOW_MARK)
        if self._format is Format.JSONL:
            typer.echo(_utf8(text))
        elif self._format is Format.JSON:
            typer.echo("," if self._verdicts.total() else "[")
            typer.echo(_utf8(text), nl=False)
        elif not self._quiet:
            self._print_scorecard(report)
        self._verdicts[report["verdict"]] += 1

    def end(self, folder: str | None = None) -> None:
        """Close the array, or sum up. folder: where the rest lies."""
        if self._format is Format.JSON:
            typer.echo("\n]" if self._verdicts.total() else "[]")
        elif self._format is Format.TEXT:
            self._print_summary(folder)

    def _print_scorecard(self, report: dict[str, Any]) -> None:
        from rich.console import Console

        from analyzer.render import print_scorecard

        print_scorecard(report, self.titles, Console())

    def _print_summary(self, folder: str | None) -> None:
        from rich.console import Console

        from analyzer.render import print_summary

        mean = sum(self._scores) / len(self._scores) if self._scores else None
        print_summary(self._verdicts, mean, self.failed, folder, Console())


def _utf8(report: str) -> bytes:
    """A report's line, in UTF-8 whatever the locale; half a surrogate pair becomes its JSON escape."""
    return report.rstrip("\n").encode("utf-8", "backslashreplace")


def _directed(recording: Recording, direction: CallDirection | None) -> Recording:
    """The recording with the direction of ``--direction``, unless its manifest gives one."""
    if direction is None or recording.direction is not Direction.UNKNOWN:
        return recording
    return replace(recording, direction=Direction(direction))


def _naming(failure: Failure) -> str:
    """The failure's message, led by its call where it does not name the file itself."""
    return failure.message if failure.kind == InputError.__name__ else f"{failure.call_id}: {failure.message}"


def _run_folder(inputs: Sequence[str]) -> Path:
    """The same inputs give the same folder, so that the same command goes on with it."""
    name = Path(os.path.abspath(inputs[0])).stem or "run"
    same = hashlib.sha256("\0".join(_absolute(inputs)).encode("utf-8", "surrogateescape")).hexdigest()
    return Path("runs") / f"{name.replace('*', '_')}-{same[:6]}"


def _absolute(inputs: Sequence[str]) -> list[str]:
    return [text if is_url(text) else os.path.abspath(text) for text in inputs]


def _anywhere(model: str) -> str:
    """A model's folder by a path that means the same on every node; a name as it is."""
    from analyzer.models import manifest

    return os.path.abspath(model) if model not in manifest() and Path(model).is_dir() else model


def _size(call: Recording) -> int:
    """Bytes on disk; 0 for what cannot be read (scoring it says so); calls that lie elsewhere weigh the same."""
    if any(track.url for track in call.tracks):
        return 1
    return sum(track.path.stat().st_size if track.path.is_file() else 0 for track in call.tracks)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---- check


@app.command(
    help=help_text(
        "Check transcripts: JSON, JSONL, call.txt, SRT, VTT and what common recognisers write.",
        "质检文字稿：JSON、JSONL、call.txt、SRT、VTT 及常见识别引擎的输出。",
    )
)
def check(
    transcripts: Transcripts,
    pack: PackOption = "standard",
    profile: ProfileOption = "standard",
    format_: FormatOption = Format.TEXT,
    quiet: Quiet = False,
    fail_below: FailBelow = None,
) -> None:
    from analyzer.catalog import load_pack
    from analyzer.pipeline import check_transcripts

    rules = load_pack(pack, profile)
    output = _Output(format_, rules, quiet=quiet, fail_below=fail_below)
    codes = []
    for outcome in check_transcripts(transcripts, rules):
        if isinstance(outcome, AnalyzerError):
            complain(outcome)
            codes.append(outcome.exit_code)
            output.failed += 1
        else:
            output.add(outcome)
    output.end()
    raise typer.Exit(worst_exit_code([*codes, *output.codes]))


# ---- model


@model_app.command("list", help=help_text("The models that have a name.", "列出有名称的模型。"))
def model_list() -> None:
    from rich.console import Console
    from rich.table import Table

    from analyzer.models import manifest

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in (either("name", "名称"), either("MB", "大小(MB)"), either("licence", "许可"), either("for", "用途")):
        table.add_column(heading, overflow="fold")
    for entry in manifest().values():
        table.add_row(entry.name, str(entry.size_mb or "-"), entry.licence, entry.purpose)
    Console().print(table)


@model_app.command("pull", help=help_text("Download a model into the cache.", "下载模型到本机缓存。"))
def model_pull(name: ModelName) -> None:
    from analyzer.models import pull

    with download_progress() as progress:
        folder = pull(name, progress=progress)
    typer.echo(f"{folder.path}")


@model_app.command(
    "info", help=help_text("Where a model lies, its digest and windows.", "查看模型的位置、摘要与窗口。")
)
def model_info(name: ModelName, offline: Offline = False) -> None:
    from analyzer.asr.calibration import read_calibration

    folder = resolve_model(name, offline=offline)
    calibration = read_calibration(folder)
    tail = f"exact + {calibration.tail_ms} ms" if calibration.fit else "30 s (analyzer model calibrate)"
    facts = {"name": folder.name, "path": folder.path, "digest": folder.digest, "prompt": folder.prompt or "-"}
    for fact, value in {**facts, "notice": folder.notice or "-", "window": tail}.items():
        typer.echo(f"{fact:8}{value}")


CalibrationTranscripts = Annotated[
    Path | None,
    typer.Option(
        "--transcripts",
        metavar="FOLDER|FILE",
        show_default=False,
        help=help_text(
            "What is said in the recordings, in any form `analyzer check` reads, by call id: counts true errors.",
            "录音的人工转写（analyzer check 能读的任何格式，按 call_id 对应）；据此统计真实错误。",
        ),
    ),
]


def _with_transcripts(recordings: Sequence[Recording], place: Path) -> list[tuple[Recording, Transcript]]:
    """The recordings whose call id has a transcript; the others are named and left out."""
    from analyzer.transcripts import read_transcripts

    by_id: dict[str, Transcript] = {}
    for transcript in read_transcripts(place):
        if isinstance(transcript, AnalyzerError):
            complain(transcript)
        else:
            by_id[transcript.call_id] = transcript
    pairs = []
    for recording in recordings:
        if recording.call_id in by_id:
            pairs.append((recording, by_id[recording.call_id]))
        else:
            complain(InputError(f"{recording.call_id}: no transcript of this call in {place}; it is left out"))
    if not pairs:
        raise ConfigError(f"{place}: no transcript of any of the recordings; name each after its call id")
    return pairs


@model_app.command(
    "calibrate",
    help=help_text(
        "Measure on recordings of yours which window a model stands (up to ten times faster than 30 s), and write it "
        "beside the model.",
        "用自己的录音测量模型能承受多短的窗口（最多可快十倍）；结果写在模型旁边。",
    ),
)
def model_calibrate(
    name: ModelName,
    recordings: Recordings = None,
    channels: Channels = None,
    mono: Mono = None,
    pair: Pair = None,
    transcripts: CalibrationTranscripts = None,
    device: DeviceOption = Device.AUTO,
    offline: Offline = False,
) -> None:
    from analyzer.asr import Sample, WhisperRecogniser, calibrate, label
    from analyzer.asr.calibration import write_calibration
    from analyzer.audio import find_recordings, parse_layout
    from analyzer.pipeline import find_speech

    found = find_recordings(recordings or (), parse_layout(channels, mono, pair))
    for fault in found.faults:
        complain(fault)
    if not found.recordings:
        raise ConfigError("no recordings to calibrate on; name about ten minutes of typical calls")
    folder = resolve_model(name, offline=offline)
    recogniser = WhisperRecogniser(folder, device=device, window="safe")
    samples: list[Sample] = []
    if transcripts is None:
        samples += [Sample(segment) for recording in found.recordings for segment in find_speech(recording)]
    else:
        for recording, transcript in _with_transcripts(found.recordings, transcripts):
            samples += label(find_speech(recording), transcript)
    calibration = calibrate(recogniser, samples)
    write_calibration(folder, calibration)
    for row in calibration.table:
        typer.echo(f"{row.name:16} loss {row.loss:7.2%}  gated {row.gated:3}  {row.cpu_s_per_audio_s:.3f} CPU s per s")
    typer.echo(f"window: {f'exact + {calibration.tail_ms} ms' if calibration.fit else '30 s'} -> {folder.calibration}")
