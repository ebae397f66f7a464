"""``analyzer rescore``: stored calls judged again by other rules, into a run folder of their own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, closing
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analyzer import __version__
from analyzer.errors import ConfigError, InputError, worst_exit_code
from analyzer.language import either
from analyzer.remote import is_url
from analyzer.rescore_options import JobsOption, ParquetOption, UnmaskedOption, cores, open_tables
from analyzer.terminal import PackOption, ProfileOption, complain, help_text, note

if TYPE_CHECKING:
    from analyzer.rescore.running import Rescored
    from analyzer.rescore.stored import Period
    from analyzer.rescore.workers import LeftOut, Rules
    from analyzer.runs import Failure

rescore_app = typer.Typer()

_STOPPED = 130
_TOLD_EVERY_S = 30.0


class ChangeFormat(StrEnum):
    """How changed calls are printed."""

    TEXT = "text"
    JSONL = "jsonl"


@rescore_app.command(
    "rescore",
    help=help_text(
        "Judge stored calls again with another pack or profile, without listening again. Writes a new run folder and "
        "never touches the old ones; lists each call that is judged differently. The same command goes on where it "
        "stopped.",
        "用另一规则包或方案重新评判已有通话，无需重听录音。结果写入新的运行文件夹，原有的不变；列出评判有变化的通话。"
        "中断后重新执行同一命令即可继续。",
    ),
)
def rescore(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            show_default=False,
            help=help_text(
                "Run folders, reports or transcripts: files, folders or patterns.",
                "运行文件夹、报告或文字稿：文件、文件夹或通配符。",
            ),
        ),
    ],
    pack: PackOption = "standard",
    profile: ProfileOption = "standard",
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="DATE",
            show_default=False,
            help=help_text("Calls of this day and later (2026-11-01).", "只评判这一天及以后的通话（2026-11-01）。"),
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="DATE",
            show_default=False,
            help=help_text("Calls of this day and earlier.", "只评判这一天及以前的通话。"),
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            metavar="FOLDER",
            show_default="runs/…",
            help=help_text("Where the new reports and the journal go.", "新报告与日志的存放处。"),
        ),
    ] = None,
    jobs: JobsOption = None,
    parquet: ParquetOption = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help=help_text("Judge again what is finished.", "已完成的也重新评判。")),
    ] = False,
    format_: Annotated[
        ChangeFormat,
        typer.Option(
            "--format",
            help=help_text("Changed calls as text, or one object per line.", "变化的通话：文字或每行一个 JSON。"),
        ),
    ] = ChangeFormat.TEXT,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help=help_text("Only the summary.", "只显示汇总。")),
    ] = False,
    unmasked: UnmaskedOption = False,
) -> None:
    from analyzer.rescore.running import rescore as judged_again
    from analyzer.rescore.workers import Rules
    from analyzer.runs import RunFolder

    period = _period(since, until)
    rules = Rules.of(pack, profile)
    settings = {"analyzer": __version__, "pack": rules.digest, "profile": profile}
    if run is not None and is_url(run):
        raise ConfigError(f"{run}: rescore writes to a folder, of this machine or NFS; name one with --run")
    place = Path(run) if run else _run_folder(sources, rules, period)
    telling = _Telling(format_, quiet=quiet)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is a Ctrl-C
    try:
        with ExitStack() as stack:
            tables = stack.enter_context(open_tables(parquet)) if parquet else None
            folder = stack.enter_context(RunFolder(place, settings, inputs=_absolute(sources), fresh=fresh))
            judging = judged_again(
                sources, rules, folder, jobs=jobs or cores(), period=period, tables=tables, unmasked=unmasked
            )
            for outcome in stack.enter_context(closing(judging)):
                telling.tell(outcome)
            if tables is not None:
                tables.finish()
    except KeyboardInterrupt:
        note(either("stopped; the same command goes on from here", "已停止；重新执行同一命令即可继续"))
        raise typer.Exit(_STOPPED) from None
    telling.end(place)
    raise typer.Exit(worst_exit_code(telling.codes))


def _period(since: str | None, until: str | None) -> Period:
    from analyzer.rescore.stored import Period

    period = Period(_day(since, "--since"), _day(until, "--until"))
    if period.since and period.until and period.since > period.until:
        raise ConfigError(f"--since {since} is after --until {until}; exchange them")
    return period


def _day(text: str | None, option: str) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: not a day; write it like 2026-11-01") from None


def _run_folder(sources: Iterable[str], rules: Rules, period: Period) -> Path:
    """The same sources, rules and days give the same folder, so that the same command goes on with it."""
    inputs = _absolute(sources)
    same = "\0".join([*inputs, rules.pack, rules.profile, str(period)])
    stem = (Path(inputs[0]).stem or "run").replace("*", "_")
    return (
        Path("runs")
        / f"{stem}-{rules.profile}-{hashlib.sha256(same.encode('utf-8', 'surrogateescape')).hexdigest()[:6]}"
    )


def _absolute(sources: Iterable[str]) -> list[str]:
    return [os.path.abspath(source) for source in sources]


class _Telling:
    """Changed calls to standard output as they come, and what all of them add up to."""

    def __init__(self, format_: ChangeFormat, *, quiet: bool) -> None:
        self.codes: list[int] = []
        self._format = format_
        self._quiet = quiet
        self._counts: Counter[str] = Counter()
        self._rules: Counter[str] = Counter()
        self._verdicts: Counter[tuple[str, str]] = Counter()
        self._started = self._told = time.monotonic()

    def tell(self, outcome: Rescored | Failure | LeftOut) -> None:
        from analyzer.rescore.running import Rescored
        from analyzer.rescore.workers import LeftOut
        from analyzer.runs import Failure

        match outcome:
            case Failure():
                self._fault(outcome.message, outcome.exit_code)
            case LeftOut(None):
                self._counts["other days"] += 1
            case LeftOut(InputError() as undated):
                self._fault(undated, undated.exit_code)
            case Rescored():
                self._call(outcome)
        self._progress()

    def _fault(self, fault: object, exit_code: int) -> None:
        self._counts["faults"] += 1
        self.codes.append(exit_code)
        complain(fault)

    def _call(self, call: Rescored) -> None:
        self._counts.update({"calls": 1, "new": call.is_new, "same": call.is_same, "bare": not call.is_compared})
        change = call.change
        if change is None:
            return
        self._counts["changed"] += 1
        self._rules.update(list(change.rules))
        self._verdicts[change.before.verdict, change.after.verdict] += 1
        if self._format is ChangeFormat.JSONL:
            typer.echo(json.dumps(change.as_json(), ensure_ascii=False).encode("utf-8", "backslashreplace"))
        elif not self._quiet:
            typer.echo(str(change))

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._told >= _TOLD_EVERY_S:
            self._told = now
            done = self._counts["calls"]
            rate = self._counts["new"] / (now - self._started)
            note(either(f"{done:,} calls, {rate:.1f} calls/s", f"已处理 {done:,} 通，{rate:.1f} 通/秒"))

    def end(self, place: Path) -> None:
        if self._format is not ChangeFormat.TEXT:
            return
        counts = self._counts
        parts = [
            f"共 {counts['calls']} 通",
            f"{counts['changed']} 通有变化",
            f"{counts['same']} 通报告逐字节相同",
        ]
        parts += [f"{counts['bare']} 通原无评分"] if counts["bare"] else []
        parts += [f"{counts['other days']} 通不在所选日期"] if counts["other days"] else []
        typer.echo("，".join([*parts, f"{counts['faults']} 通无法处理"]))
        for (was, becomes), count in sorted(self._verdicts.items()):
            if was != becomes:
                typer.echo(f"  {was}→{becomes}  {count}")
        for rule, count in self._rules.most_common():
            typer.echo(f"  {rule}  {count}")
        typer.echo(f"{place}/")
