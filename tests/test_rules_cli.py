"""``analyzer rules``: what each command prints, and what it ends with."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analyzer import cli, rules_cli
from analyzer.schemas import SCHEMAS, schema_text
from tests.clean_pack import spoil, write_clean_pack

ROOT = Path(__file__).parent.parent
COMMANDS = ("list", "show", "test", "lint", "coverage", "backtest", "import", "publish", "catalogue", "schema")


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run ``analyzer rules …`` in this process, in a folder that holds the clean pack."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    write_clean_pack(tmp_path / "pack")

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["analyzer", "rules", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return Result(int(ended.value.code or 0), output.out, output.err)

    return run


def calls(folder: Path, **texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


# ---- help and documents


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_its_options(run: Run, command: str) -> None:
    assert re.search("[A-Z][a-z]+( [a-z]+){2}|[一-鿿]{4}", run(command, "--help").out)


def test_every_command_and_option_stands_in_the_documents() -> None:
    documented = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"analyzer rules {command}" in documented
    for option in re.findall(r'"(--[a-z-]+)"', Path(rules_cli.__file__).read_text(encoding="utf-8")):
        assert re.search(rf"[` ]{option}[` ]", documented), option


def test_every_check_of_lint_stands_in_the_documents() -> None:
    from analyzer.lint import CHECKS

    documented = (ROOT / "docs" / "rules-tools.md").read_text(encoding="utf-8")
    assert [name for name in CHECKS if f"`{name}`" not in documented] == []


# ---- list, show


def test_list_shows_each_rule_with_its_points_in_the_profile(run: Run) -> None:
    result = run("list", "--pack", "pack")
    assert re.search(r"shirk +推诿 +stable +major +forbid +1 +30", result.out)
    assert result.out.splitlines()[-1] == "共 2 条规则，2 条在方案 standard 中运行"
    assert re.search("shirk.*一票否决", run("list", "--pack", "pack", "--profile", "strict").out)
    rows = json.loads(run("list", "--pack", "pack", "--format", "json").out)
    assert [(row["rule"], row["max_points"], row["clauses"]) for row in rows] == [
        ("thanks", 5, ["T2"]),
        ("shirk", 30, ["T1"]),
    ]


def test_list_shows_drafts_and_says_they_do_not_run(run: Run, tmp_path: Path) -> None:
    spoil(tmp_path / "pack", "rules/wording/shirk.yaml", "status: stable", "status: draft")
    assert run("list", "--pack", "pack").out.splitlines()[-1] == "共 2 条规则，1 条在方案 standard 中运行"


def test_show_tells_what_a_rule_means_and_what_it_leaves_alone(run: Run) -> None:
    shown = run("show", "shirk", "--pack", "pack").out
    for expected in (
        "推诿  shirk", "30 分", "不得推诿客户", "T1  不得推诿", "any_in shirk：不关我的?事  你(去)?问别人",
        "categories: ['推诿']", "坐席: 【不关我的事】。", "手机不关机就可以", "建议：我来帮您跟进",
    ):  # fmt: skip
        assert expected in shown
    assert shown.index("判违规的例子") < shown.index("坐席: 【不关我的事】。") < shown.index("不算违规的例子")
    sheet = json.loads(run("show", "shirk", "--pack", "pack", "--format", "json").out)
    assert sheet["clauses"] == [{"id": "T1", "norm": "不得推诿"}]
    assert [case["name"] for case in sheet["left_alone"]] == ["客户说的不算", "不关机不算"]


def test_show_says_which_share_of_calls_each_profile_would_fail(run: Run, tmp_path: Path) -> None:
    calls(tmp_path / "calls", a="坐席: 谢谢您。\n客户: 等等。\n坐席: 再见。", b="坐席: 谢谢您。")
    result = run("show", "thanks", "--pack", "pack", "--calls", "calls")
    assert "standard（标准）  违规 50.0%（1/2 通可判" in result.out
    assert "strict（从严）  违规 0.0%（0/2 通可判" in result.out
    assert run("show", "thanks", "--pack", "pack", "--calls", "none").code == 3


def test_an_unknown_rule_is_guessed(run: Run) -> None:
    result = run("show", "shrik", "--pack", "pack")
    assert (result.code, result.err) == (2, "error: no rule 'shrik'; did you mean 'shirk'?\n")
    assert run("test", "shrik", "--pack", "pack").code == 2


# ---- test, lint, coverage


def test_test_runs_every_case_and_names_what_was_wrong(run: Run, tmp_path: Path) -> None:
    sound = run("test", "--pack", "pack")
    assert (sound.code, sound.out) == (0, "2 条规则，8 个用例，0 个不符\n")
    spoil(tmp_path / "pack", "words/shirk.tsv", "不关我的?事", "不归我管")
    broken = run("test", "--pack", "pack")
    assert broken.code == 2
    assert "pack/rules/wording/shirk.yaml:13: shirk: 不关我的事: outcome is pass, not violation" in broken.out
    assert broken.out.splitlines()[-1] == "2 条规则，8 个用例，1 个不符"
    assert run("test", "thanks", "--pack", "pack").out == "1 条规则，4 个用例，0 个不符\n"


def test_test_also_runs_the_cases_of_rules_that_the_profile_leaves_out(run: Run, tmp_path: Path) -> None:
    spoil(tmp_path / "pack", "profiles/standard.yaml", "rules:\n", "rules:\n  thanks: {enabled: false}\n")
    assert run("test", "--pack", "pack").out == "2 条规则，8 个用例，0 个不符\n"
    assert run("test", "thanks", "--pack", "pack").out == "1 条规则，4 个用例，0 个不符\n"


def test_lint_ends_with_two_if_there_is_a_problem(run: Run, tmp_path: Path) -> None:
    assert run("lint", "--pack", "pack").code == 0
    spoil(tmp_path / "pack", "rules/closing/thanks.yaml", "message: 没有感谢客户", "message: no thanks")
    result = run("lint", "--pack", "pack")
    assert result.code == 2
    assert "pack/rules/closing/thanks.yaml:11: message 'no thanks' is not Chinese [not-chinese]" in result.out
    assert json.loads(run("lint", "--pack", "pack", "--format", "json").out)[0]["check"] == "not-chinese"
    assert run("lint", "--pack", "pack", "--skip", "not-chinese").code == 0
    assert "did you mean 'not-chinese'" in run("lint", "--pack", "pack", "--skip", "no-chinese").err


def test_coverage_counts_and_lists_what_is_not_enforced_and_why(run: Run, tmp_path: Path) -> None:
    result = run("coverage", "--pack", "pack")
    assert result.code == 0
    assert re.search(r"rule +2 +2", result.out)
    assert "T4  保持微笑  声音里听不出微笑" in result.out
    assert "T1" not in result.out
    assert "T1  不得推诿  rule shirk" in run("coverage", "--pack", "pack", "--all").out
    spoil(tmp_path / "pack", "clauses/all.tsv", "\tshirk\t", "\tshrik\t")
    broken = run("coverage", "--pack", "pack")
    assert broken.code == 2
    assert "T1  不得推诿  no rule 'shrik'; did you mean 'shirk'?" in broken.out
    covered = json.loads(run("coverage", "--pack", "pack", "--format", "json").out)
    assert (covered["items"], covered["automated"], covered["unproven"]) == (4, 1, 1)


# ---- backtest, import, catalogue, schema


def test_backtest_lists_the_calls_whose_verdict_changes(run: Run, tmp_path: Path) -> None:
    calls(tmp_path / "calls", a="坐席: 不关我的事，谢谢您。", b="坐席: 谢谢您。")
    result = run("backtest", "calls", "--pack", "pack", "--profile", "strict", "--baseline", "pack")
    assert result.out.splitlines() == ["a: 71.4→0", "共 2 通，1 通有变化，0 通无法处理"]
    assert run("backtest", "calls", "--pack", "pack").code == 3, "no verdicts to compare with"


def test_import_writes_drafts_and_lists_what_is_left(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("[禁语]\n不知道\n不(行\n", encoding="utf-8")
    result = run("import", "list.txt", "--out", "drafts")
    assert result.code == 0
    assert "未转换 list.txt line 3: 不(行" in result.out
    assert (tmp_path / "drafts" / "words" / "jin_yu.tsv").is_file()
    assert run("import", "list.txt", "--out", "drafts").code == 2
    assert run("import", "list.txt", "--out", "drafts", "--force").code == 0


class Page(HTMLParser):
    """Where links go, and what may be gone to; open tags left over."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.links: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.targets |= {value or "" for name, value in attrs if name == "id"}
        self.links |= {(value or "").removeprefix("#") for name, value in attrs if name == "href"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_catalogue_is_a_page_of_its_own_with_clauses_and_examples(run: Run, tmp_path: Path) -> None:
    spoil(tmp_path / "pack", "rules/closing/thanks.yaml", "why: 结束前要感谢客户", "why: 结束前要<感谢>客户")
    assert run("catalogue", "--pack", "pack", "--out", "rules.html").code == 0
    text = (tmp_path / "rules.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.links == page.targets == {"shirk", "thanks"}
    assert page.open == []
    for expected in (
        "<mark>不关我的事</mark>",
        "结束前要&lt;感谢&gt;客户",
        "手机不关机就可以",
        "声音里听不出微笑",
        "不算违规",
    ):
        assert expected in text
    assert not re.search(r"https?://|<script", text), "nothing from elsewhere"
    assert run("catalogue", "--pack", "pack", "--out", "no/such/folder.html").code == 2


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_prints_what_is_published(run: Run, name: str) -> None:
    published = (ROOT / "docs" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")
    assert run("schema", name).out == published == schema_text(name), "run `make schemas`"
