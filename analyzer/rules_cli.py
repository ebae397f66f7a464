"""``analyzer rules``: what a QA lead does with rules. Parses, calls and shows; nothing heavy is imported before it is
needed. Exit codes as of all commands; a failed case, a lint problem or an unproven clause is a configuration fault (2).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from analyzer.errors import ConfigError, InputError, worst_exit_code
from analyzer.rescore_options import JobsOption, ParquetOption, UnmaskedOption, cores, open_tables
from analyzer.store_options import PacksOption, packs_folder
from analyzer.terminal import PackOption, ProfileOption, complain, help_text, note

if TYPE_CHECKING:
    from rich.table import Table

    from analyzer.backtest import Backtest
    from analyzer.catalog import PackFiles
    from analyzer.coverage import Coverage

CONFIGURATION = ConfigError.exit_code

rules_app = typer.Typer(
    no_args_is_help=True,
    help=help_text(
        "Rules: list, show, test, lint, cover, back-test, import, print.",
        "规则：列出、查看、测试、检查、条款覆盖、回测、导入、生成手册。",
    ),
)


class Layout(StrEnum):
    """How a result is printed."""

    TEXT = "text"
    JSON = "json"


class Notation(StrEnum):
    """What ``import`` reads."""

    SCA = "sca"
    KEYWORDS = "keywords"
    EXCEL = "excel"


class Schema(StrEnum):
    RULE = "rule"
    WORDS = "words"
    PROFILE = "profile"


LayoutOption = Annotated[
    Layout,
    typer.Option("--format", help=help_text("A table for people, or JSON for programs.", "给人看的表格，或 JSON。")),
]
RuleIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RULE...", show_default=False, help=help_text("Rule ids; all if none.", "规则编号；不写即全部。")
    ),
]
RuleId = Annotated[
    str, typer.Argument(metavar="RULE", show_default=False, help=help_text("Id of a rule.", "规则编号。"))
]
Calls = Annotated[
    list[str],
    typer.Argument(
        metavar="CALLS...",
        show_default=False,
        help=help_text(
            "Run folders, reports or transcripts: files, folders or patterns.",
            "运行文件夹、报告或文字稿：文件、文件夹或通配符。",
        ),
    ),
]
CallsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--calls",
        metavar="CALLS",
        show_default=False,
        help=help_text(
            "Stored calls (run folder, reports, transcripts): which share of them each profile would fail.",
            "已有通话（运行文件夹、报告、文字稿）：各方案会判多少通违规。",
        ),
    ),
]


# ---- list, show


@rules_app.command("list", help=help_text("List the rules of a pack with their points.", "列出规则包的规则与分值。"))
def list_rules(
    pack: PackOption = "standard", profile: ProfileOption = "standard", format_: LayoutOption = Layout.TEXT
) -> None:
    from rich.table import Table

    from analyzer.rulebook import rule_rows

    rows = rule_rows(_opened(pack, profile))
    if format_ is Layout.JSON:
        _print_json(rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("规则", "名称", "状态", "严重程度", "算子", "条款", "分值"):
        table.add_column(column, no_wrap=column != "名称", justify="right" if column in ("条款", "分值") else "left")
    for row in rows:
        points = "一票否决" if row["veto"] else f"{row['max_points']:g}"
        cells = (row["status"], row["severity"], row["kind"], str(len(row["clauses"])), points if row["runs"] else "-")
        table.add_row(row["rule"], row["title"], *cells)
    _print(table)
    typer.echo(f"共 {len(rows)} 条规则，{sum(row['runs'] for row in rows)} 条在方案 {profile} 中运行")


@rules_app.command(
    "show",
    help=help_text(
        "Show a rule: meaning, clauses, words, options, examples, and what it does not flag. With --calls also which "
        "share of stored calls each profile would fail.",
        "查看规则：含义、条款、词语、选项、示例、不算违规的情形；加 --calls 显示各方案的违规比例。",
    ),
)
def show(
    rule: RuleId,
    calls: CallsOption = None,
    pack: PackOption = "standard",
    profile: ProfileOption = "standard",
    format_: LayoutOption = Layout.TEXT,
) -> None:
    from analyzer.backtest import shares_by_profile
    from analyzer.rulebook import sheet_lines, sheet_of

    sheet = sheet_of(_opened(pack, profile), rule)
    shares, faults = shares_by_profile(rule, calls, pack) if calls else ((), ())
    for fault in faults:
        complain(fault)
    if format_ is Layout.JSON:
        _print_json({**sheet.as_json(), **({"profiles": [share.as_json() for share in shares]} if calls else {})})
    else:
        for line in sheet_lines(sheet):
            typer.echo(line)
        if calls:
            typer.echo("\n各方案的违规比例")
        for share in shares:
            typer.echo(f"  {share}")
        if rule == "speech_rate" and not calls:
            typer.echo("\n各方案会判多少通违规：analyzer rules show speech_rate --calls 运行文件夹")
    raise typer.Exit(worst_exit_code(fault.exit_code for fault in faults))


# ---- test, lint, coverage


@rules_app.command(
    "test",
    help=help_text(
        "Run the cases of the rules. Prints what was wrong; exit 2 if anything was.",
        "运行规则自带的用例；有不符则列出并返回 2。",
    ),
)
def run_cases(rules: RuleIds = None, pack: PackOption = "standard", profile: ProfileOption = "standard") -> None:
    from analyzer.cases import alone, run_case

    opened = _opened(pack, profile)
    whole = opened.whole
    chosen = [_running(opened, rule_id) for rule_id in rules] if rules else list(whole.rules)
    ran = wrong = 0
    for rule in chosen:
        scope = alone(whole, rule)
        for index, case in enumerate(rule.cases):
            file = opened.files[rule.id]
            try:
                faults = run_case(scope, rule, case)
            except InputError as error:
                faults = [str(error)]
            ran, wrong = ran + 1, wrong + bool(faults)
            for fault in faults:
                typer.echo(f"{file.path}:{file.line(('cases', index))}: {rule.id}: {case.name}: {fault}")
    typer.echo(f"{len(chosen)} 条规则，{ran} 个用例，{wrong} 个不符")
    raise typer.Exit(CONFIGURATION if wrong else 0)


Skip = Annotated[
    list[str] | None,
    typer.Option(
        "--skip",
        metavar="CHECK",
        show_default=False,
        help=help_text("Leave a check out; may be repeated.", "略过某项检查；可重复。"),
    ),
]


@rules_app.command(
    "lint",
    help=help_text(
        "Find what is wrong with a pack although it loads: unreachable or contradictory rules, masked, doubled or "
        "colliding phrases, thin cases, unknown clauses. Exit 2 if anything is (docs/rules-tools.md).",
        "检查规则包：不可达或矛盾的规则、被遮盖、重复或同音冲突的词语、用例不足、未知条款；有问题返回 2。",
    ),
)
def lint_pack(pack: PackOption = "standard", skip: Skip = None, format_: LayoutOption = Layout.TEXT) -> None:
    from analyzer.lint import CHECKS, lint
    from analyzer.rules import did_you_mean

    for name in skip or ():
        if name not in CHECKS:
            raise ConfigError(
                f"--skip: no check {name!r}{did_you_mean(name, CHECKS) or '; there are ' + ', '.join(CHECKS)}"
            )
    problems = lint(pack, skip or ())
    if format_ is Layout.JSON:
        _print_json([{"place": p.place, "check": p.check, "message": p.message} for p in problems])
    else:
        for problem in problems:
            typer.echo(str(problem))
        typer.echo(f"{len(problems)} 个问题" if problems else "没有发现问题")
    raise typer.Exit(CONFIGURATION if problems else 0)


All = Annotated[
    bool, typer.Option("--all", help=help_text("List every clause, not only what needs a look.", "列出每一条款。"))
]


@rules_app.command(
    "coverage",
    help=help_text(
        "Account for every clause of the ledger: rule, metadata, aggregate, profile option or not enforced with the "
        "reason. A clause counts as automated only if its own id is on a firing and a silent case and switching the "
        "rule off breaks the firing one. Exit 2 if a clause is claimed and not proven.",
        "逐条核对服务规范：由规则、随录参数、汇总指标、方案选项覆盖，或说明不检查的理由；有声称而无用例证明的返回 2。",
    ),
)
def coverage(pack: PackOption = "standard", all_: All = False, format_: LayoutOption = Layout.TEXT) -> None:
    from analyzer.coverage import cover

    covered = cover(pack)
    if format_ is Layout.JSON:
        _print_json(covered.as_json())
    else:
        _print_coverage(covered, everything=all_)
    raise typer.Exit(CONFIGURATION if covered.faults or covered.unproven else 0)


def _print_coverage(covered: Coverage, *, everything: bool) -> None:
    from rich.table import Table

    for fault in covered.faults:
        complain(fault)
    counted = covered.by_how()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("方式", "条款数", "已证明"):
        table.add_column(column, justify="left" if column == "方式" else "right")
    for how, count in counted.items():
        shown = sum(not item.missing for item in covered.items if item.clause.how.value == how)
        table.add_row(how, str(count), str(shown))
    table.add_row("合计", str(len(covered.items)), str(len(covered.items) - len(covered.unproven)))
    _print(table)
    typer.echo(f"其中自动检查（有用例证明） {covered.automated} 条")
    _list("未证明", [(item.clause.id, item.clause.norm, "; ".join(item.missing)) for item in covered.unproven])
    reasons = [item.clause for item in covered.items if item.clause.how.value == "not enforced"]
    _list("不检查及理由", [(clause.id, clause.norm, clause.reason) for clause in reasons])
    if everything:
        proven = [item for item in covered.items if not item.missing and item.clause not in reasons]
        _list(
            "已核对", [(i.clause.id, i.clause.norm, f"{i.clause.how.value} {' '.join(i.clause.rules)}") for i in proven]
        )


def _list(title: str, rows: Sequence[tuple[str, ...]]) -> None:
    if rows:
        typer.echo(f"\n{title}（{len(rows)}）")
    for row in rows:
        typer.echo("  " + "  ".join(row))


# ---- backtest


Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="NAME|FOLDER",
        show_default=False,
        help=help_text(
            "Compare with this pack instead of the verdicts the reports hold; needed for bare transcripts.",
            "与此规则包比较，而不是与报告中的结论比较；纯文字稿必须指定。",
        ),
    ),
]
BaselineProfile = Annotated[
    str, typer.Option("--baseline-profile", metavar="NAME", help=help_text("Its profile.", "其质检方案。"))
]


@rules_app.command(
    "backtest",
    help=help_text(
        "Judge stored calls again with another pack or profile and list each call whose verdict, score or rule outcome "
        "changes. The calls' reports hold the verdicts compared with, unless --baseline names a pack.",
        "用另一规则包或方案重新评判已有通话，列出结论、分数或规则结果有变化的通话。",
    ),
)
def backtest(
    calls: Calls,
    pack: PackOption = "standard",
    profile: ProfileOption = "standard",
    baseline: Baseline = None,
    baseline_profile: BaselineProfile = "standard",
    jobs: JobsOption = None,
    parquet: ParquetOption = None,
    unmasked: UnmaskedOption = False,
    format_: LayoutOption = Layout.TEXT,
) -> None:
    from analyzer.backtest import replay
    from analyzer.rescore.workers import Rules

    before = Rules.of(baseline, baseline_profile) if baseline else None
    shown = (lambda change: typer.echo(str(change))) if format_ is Layout.TEXT else (lambda change: None)
    with ExitStack() as stack:
        tables = stack.enter_context(open_tables(parquet)) if parquet else None
        result = replay(
            calls,
            Rules.of(pack, profile),
            before,
            jobs=jobs or cores(),
            tables=tables,
            unmasked=unmasked,
            on_change=shown,
        )
        if tables is not None:
            tables.finish()
    for fault in result.faults:
        complain(fault)
    if format_ is Layout.JSON:
        _print_json(result.as_json())
    else:
        _print_backtest(result)
    raise typer.Exit(worst_exit_code(fault.exit_code for fault in result.faults))


def _print_backtest(result: Backtest) -> None:
    typer.echo(f"共 {result.calls} 通，{len(result.changes)} 通有变化，{len(result.faults)} 通无法处理")
    for rule, count in result.changed_rules().items():
        typer.echo(f"  {rule}  {count}")


# ---- import


Source = Annotated[
    Path, typer.Argument(metavar="FILE", show_default=False, help=help_text("What to read.", "要导入的文件。"))
]
From = Annotated[
    Notation | None,
    typer.Option(
        "--from",
        show_default=help_text("by extension", "按扩展名"),
        help=help_text(
            "sca: rule JSON of speech analytics clouds; keywords: expressions such as (A||B)&&!C; excel: a word list.",
            "sca：云端语音质检的规则 JSON；keywords：关键词表达式，如 (A||B)&&!C；excel：词表。",
        ),
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FOLDER",
        help=help_text(
            "Where the drafts go: words/*.tsv and rules/imported/*.yaml.",
            "草稿存放处：words/*.tsv 与 rules/imported/*.yaml。",
        ),
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help=help_text("Replace drafts that are there already.", "覆盖已有的草稿。"))
]


@rules_app.command(
    "import",
    help=help_text(
        "Turn rules of other systems into drafts of ours, and list what could not be mapped. Drafts do not run until "
        "their status is changed.",
        "把其他系统的规则转成草稿，并列出无法转换的部分；草稿改状态后才会运行。",
    ),
)
def import_rules(source: Source, notation: From = None, out: Out = Path("imported"), force: Force = False) -> None:
    from analyzer.importers import read_foreign

    drafts = read_foreign(source, notation.value if notation else None)
    for path in drafts.write(out, force=force):
        typer.echo(str(path))
    for left in drafts.unmapped:
        typer.echo(f"未转换 {left}")
    typer.echo(f"{len(drafts.rules)} 条规则草稿，{len(drafts.words)} 个词表，{len(drafts.unmapped)} 处未转换")


# ---- catalogue, schema


Page = Annotated[
    Path,
    typer.Option("--out", metavar="FILE", help=help_text("The page to write.", "要生成的网页文件。")),
]


@rules_app.command(
    "catalogue",
    help=help_text(
        "Write the rule catalogue as a page in Chinese: clause, meaning, examples, what is not flagged.",
        "生成中文规则手册网页：条款、含义、示例、不算违规的情形。",
    ),
)
def catalogue(
    out: Page = Path("rules.html"), pack: PackOption = "standard", profile: ProfileOption = "standard"
) -> None:
    from analyzer.rulebook import page_of

    try:
        out.write_text(page_of(_opened(pack, profile)), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})") from None
    note(str(out))


@rules_app.command(
    "schema",
    help=help_text(
        "Print the JSON Schema of rule files, word lists or profiles, for editors and other programs.",
        "输出规则文件、词表或方案的 JSON Schema。",
    ),
)
def schema(
    of: Annotated[Schema, typer.Argument(metavar="rule|words|profile", help=help_text("Of what.", "哪一种文件。"))],
) -> None:
    from analyzer.schemas import schema_text

    typer.echo(schema_text(of.value), nl=False)


# ---- shared


@rules_app.command(
    "publish",
    help=help_text(
        "Make a version of a pack under the folder of published packs, with edited files. Refused where a case fails.",
        "把改动后的规则包发布为新版本；有案例不通过则拒绝。",
    ),
)
def publish_pack(
    edits: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help=help_text("Edited files, laid out as in the pack.", "改动的文件（路径同规则包）。"),
        ),
    ],
    version: Annotated[str, typer.Option("--version", help=help_text("Its name, as 2026.12.", "版本号，如 2026.12。"))],
    author: Annotated[str, typer.Option("--author", help=help_text("Who made it.", "作者。"))],
    message: Annotated[str, typer.Option("--message", "-m", help=help_text("What changed and why.", "改动说明。"))],
    packs: PacksOption = None,
    pack: PackOption = "standard",
    profile: ProfileOption = "standard",
) -> None:
    from datetime import UTC, datetime

    from analyzer.catalog import pack_folder
    from analyzer.publishing import publish, read_edits

    made = publish(
        pack_folder(pack), read_edits(edits), packs_folder(packs),
        version=version, author=author, note=message, at=datetime.now(UTC), profile=profile,
    )  # fmt: skip
    typer.echo(f"{made.folder}  {made.digest}")


def _opened(pack: str, profile: str) -> PackFiles:
    """The pack with its files. Raises ConfigError with all its faults."""
    from analyzer.catalog import open_pack

    opened = open_pack(pack, profile)
    opened.check()
    return opened


def _running(opened: PackFiles, rule_id: str) -> Any:
    from analyzer.rules import did_you_mean

    for rule in opened.whole.rules:
        if rule.id == rule_id:
            return rule
    known = [rule.id for rule in opened.rules]
    if rule_id in known:
        raise ConfigError(f"rule {rule_id} does not run (draft or retired)")
    raise ConfigError(f"no rule {rule_id!r}{did_you_mean(rule_id, known) or '; see `analyzer rules list`'}")


def _print(table: Table) -> None:
    from rich.console import Console

    console = Console()
    console.print(table, soft_wrap=not console.is_terminal)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))
