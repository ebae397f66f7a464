"""Rules of other systems: what an import gives loads, finds what the original found, and says what it left out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from analyzer.catalog import load_pack, open_pack
from analyzer.errors import ConfigError
from analyzer.importers import Drafts, read_foreign
from analyzer.importers.keywords import Way, read_expression
from analyzer.importers.regex import RegexError, as_pattern
from analyzer.report import analyze, rule_entry
from analyzer.transcripts import read_case

PACK = 'name: mine\nversion: "1"\ntitle: 导入\n'
PROFILE = "name: standard\ntitle: 标准\n"


def published(drafts: Drafts, folder: Path) -> Path:
    """The drafts as a pack that runs: as if a person had read them and changed their status."""
    drafts.write(folder)
    (folder / "pack.yaml").write_text(PACK, encoding="utf-8")
    (folder / "profiles").mkdir()
    (folder / "profiles" / "standard.yaml").write_text(PROFILE, encoding="utf-8")
    assert open_pack(folder).pack.rules == (), "drafts do not run"
    for path in (folder / "rules").rglob("*.yaml"):
        path.write_text(path.read_text(encoding="utf-8").replace("status: draft", "status: stable"), encoding="utf-8")
    return folder


def outcomes(folder: Path, *lines: str) -> dict[str, str]:
    report = analyze(read_case("\n".join(lines)).transcript, load_pack(folder))
    return {entry["rule"]: entry["outcome"] for entry in report["rules"]}


def write_json(path: Path, fields: Any) -> Path:
    path.write_text(json.dumps(fields, ensure_ascii=False), encoding="utf-8")
    return path


# ---- keyword expressions


@pytest.mark.parametrize(
    ("expression", "ways"),
    [
        ("贷款", [Way(("贷款",))]),
        ("会议||例会", [Way(("会议",)), Way(("例会",))]),
        ("A&B|C", [Way(("A", "B")), Way(("C",))]),
        ("(会议||例会) && (缺货||退款)", [Way((a, b)) for a in ("会议", "例会") for b in ("缺货", "退款")]),
        ("未偿还&&!逾期", [Way(("未偿还",), ("逾期",))]),
        ("!(逾期|罚息)", [Way((), ("逾期", "罚息"))]),
        ("!（逾期&罚息）", [Way((), ("逾期",)), Way((), ("罚息",))]),
        ("!!逾期", [Way(("逾期",))]),
        ("退款#6不了", [Way(("退款…{0-6}不了",))]),
        ("退款&{2,6}(不了|不行)", [Way(("退款…{2-6}不了",)), Way(("退款…{2-6}不行",))]),
    ],
)  # fmt: skip
def test_an_expression_is_read_as_the_ways_it_is_met(expression: str, ways: list[Way]) -> None:
    assert read_expression(expression) == ways


@pytest.mark.parametrize(
    ("expression", "problem"),
    [("A&", "a word is missing"), ("(A|B", "without"), ("A B)", "operator"), ("A#500B", "100"), ("!A#3B", "words")],
)
def test_what_is_no_expression_is_left_with_the_reason(tmp_path: Path, expression: str, problem: str) -> None:
    path = tmp_path / "words.txt"
    path.write_text(f"不知道\n{expression}\n", encoding="utf-8")
    if expression.startswith("!A#"):
        path.write_text("(A|!B)#3C\n不知道\n", encoding="utf-8")
    drafts = read_foreign(path)
    assert [row["phrase"] for row in drafts.words["words"]] == ["不知道"]
    assert any(problem in left for left in drafts.unmapped)


def test_expressions_of_a_category_become_a_rule_that_finds_what_they_found(tmp_path: Path) -> None:
    rules = [
        {"category": "推诿", "contents": ["不归我管||不是我的事", "退款&&不了&&!暂时", "投诉#4没用"]},
        {"category": "开场", "contents": ["!您好"]},
    ]  # fmt: skip
    drafts = read_foreign(
        write_json(tmp_path / "baidu.json", {"error_code": 0, "results": {"total": 2, "rule": rules}})
    )
    folder = published(drafts, tmp_path / "pack")
    assert [rule["id"] for rule in drafts.rules] == ["tui_wei", "kai_chang_wei_shuo_nin_hao"]
    fine = {"tui_wei": "pass", "kai_chang_wei_shuo_nin_hao": "pass"}
    assert outcomes(folder, "坐席: 您好，这个归我管。") == fine
    assert outcomes(folder, "坐席: 您好，这个不归我管。")["tui_wei"] == "violation"
    assert outcomes(folder, "坐席: 您好，不了，这个没法给您退款。")["tui_wei"] == "violation", "and: in any order"
    assert outcomes(folder, "坐席: 您好，这个暂时退款不了。") == fine, "and not"
    assert outcomes(folder, "坐席: 您好，您投诉也没用。")["tui_wei"] == "violation"
    assert outcomes(folder, "坐席: 您好，您投诉以后如果一直没用的话告诉我。") == fine, "too far apart"
    assert outcomes(folder, "坐席: 这个归我管。")["kai_chang_wei_shuo_nin_hao"] == "violation"
    assert any("speaker agent is assumed" in left for left in drafts.unmapped)


def test_a_file_of_lines_has_categories_by_heading_and_by_tab(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("[禁语]\n不知道\n\n# 敏感词\n赔钱\n金额\t打款\n", encoding="gb18030")
    assert set(read_foreign(path).words) == {"jin_yu", "min_gan_ci", "jin_e"}


# ---- SCA


def operator(type_: str, **param: Any) -> dict[str, Any]:
    return {"oid": "1", "type": type_, "param": param}


def condition(cid: str, *operators: dict[str, Any], role: str = "客服", **check_range: Any) -> dict[str, Any]:
    return {"cid": cid, "check_range": {"role": role, **check_range}, "operators": list(operators), "lambda": "1"}


def sca(*rules: dict[str, Any], conditions: list[dict[str, Any]]) -> dict[str, Any]:
    return {"conditions": conditions, "rules": list(rules)}


def rule(name: str, lambda_: str) -> dict[str, Any]:
    return {"rid": "7", "name": name, "lambda": lambda_}


EXPORT = sca(
    rule("服务禁语", "a"),
    rule("开场问候", "!b"),
    rule("投诉致歉", "c&&!d"),
    rule("语速过快", "e"),
    rule("组合", "a&&(b||!c)"),
    rule("情绪", "f"),
    rule("两词", "g"),
    rule("承诺", "h"),
    conditions=[
        condition("a", operator("HIT_ANY_KEYWORDS", keywords=["不关我的事", "你问我，我问谁"])),
        condition("b", operator("HIT_ANY_KEYWORDS", keywords=["您好"]), range={"from": 1, "to": 2}),
        condition("c", operator("REGULAR_EXPRESSION", regex="我要.{0,4}投诉"), role="客户"),
        condition("d", operator("HIT_ANY_KEYWORDS", operKeyWords=["抱歉", "对不起"]),
                  anchor={"cid": "c", "location": "AFTER", "hit_time": 1}, range={"from": 1, "to": 1}),
        condition("e", operator("SPEECH_SPEED_CHECK", velocityInMint=280, average=True)),
        condition("f", operator("EMOTION_MODEL")),
        condition("g", operator("INCLUDE_KEYWORDS", keywords=["保证", "收益"], keywordMatchSize=-1)),
        condition("h", operator("REGULAR_EXPRESSION", regex="(肯定|一定)能(办|退).*", notRegex="不一定")),
    ],
)  # fmt: skip


@pytest.fixture
def imported(tmp_path: Path) -> tuple[Drafts, Path]:
    drafts = read_foreign(write_json(tmp_path / "export.json", EXPORT))
    return drafts, published(drafts, tmp_path / "pack")


def test_rules_over_conditions_become_rules_of_the_kind_that_says_the_same(imported: tuple[Drafts, Path]) -> None:
    drafts, folder = imported
    assert {rule["id"]: rule["kind"] for rule in drafts.rules} == {
        "fu_wu_jin_yu": "forbid", "kai_chang_wen_hou": "require", "tou_su_zhi_qian": "respond",
        "yu_su_guo_kuai": "rate", "liang_ci": "forbid", "cheng_nuo": "forbid",
    }  # fmt: skip
    broken = outcomes(folder, "坐席: 你问我我问谁。", "客户: 我要去投诉。", "坐席: 收益我们保证，肯定能退。")
    assert {rule_id for rule_id, outcome in broken.items() if outcome == "violation"} == {
        "fu_wu_jin_yu", "kai_chang_wen_hou", "tou_su_zhi_qian", "liang_ci", "cheng_nuo",
    }  # fmt: skip
    kept = outcomes(folder, "坐席: 您好，收益不好说。", "客户: 我要去投诉。", "坐席: 非常抱歉，不一定能退。")
    assert "violation" not in kept.values()


def test_what_has_no_counterpart_is_listed_with_its_place(imported: tuple[Drafts, Path]) -> None:
    left = "\n".join(imported[0].unmapped)
    assert re.search("“组合”: lambda 'a&&\\(b\\|\\|!c\\)' combines conditions", left)
    assert "“情绪”: condition f: operator EMOTION_MODEL has no counterpart" in left
    assert "sentences 1 to 2 become turns of talk" in left


def test_an_export_is_read_however_it_is_wrapped_and_its_keys_are_spelled(tmp_path: Path) -> None:
    words = {"Oid": "8", "Type": "HIT_ANY_KEYWORDS", "Param": {"OperKeyWords": ["不知道"]}}
    condition = {"ConditionInfoCid": "7", "OperLambda": "8", "CheckRange": {"Role": "客服"}, "Operators": [words]}
    inner = {
        "Conditions": [condition],
        "Rules": [{"Rid": "1", "Name": "禁语", "RuleLambda": "7"}],
    }  # fmt: skip
    for name, fields in (("a", {"Data": inner}), ("b", {"JsonStr": json.dumps(inner)}), ("c", inner)):
        drafts = read_foreign(write_json(tmp_path / f"{name}.json", fields))
        assert [row["phrase"] for row in drafts.words["jin_yu"]] == ["不知道"]


# ---- regular expressions


@pytest.mark.parametrize(
    ("regex", "pattern"),
    [
        (".*修改密码.*", "修改密码"),
        ("(?:你|您).{0,5}办不了", "(你|您)…{0-5}办不了"),
        ("^我?不知道$", "^^我?不知道$$"),
        ("[你您]的.{3}号", "[你您]的…{3-3}号"),
        (r"工号\d{4}", "工号{数字:4}"),
        ("钱,\\s*不退", "钱不退"),
    ],
)
def test_a_regular_expression_becomes_a_pattern_where_both_can_say_it(regex: str, pattern: str) -> None:
    assert as_pattern(regex) == pattern


@pytest.mark.parametrize("regex", ["(?!不)知道", "(哈)+", r"(.)\1", "[a-z0-9_-]{3,16}", ".*", "退.{0,300}款"])
def test_a_regular_expression_beyond_our_patterns_is_refused(regex: str) -> None:
    with pytest.raises(RegexError):
        as_pattern(regex)


# ---- Excel


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_a_sheet_becomes_a_word_list_and_a_rule_that_uses_it(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "禁语.xlsx",
        禁语=[
            ["服务禁语表 2026"], [],
            ["序号", "禁语", "类别", "级别", "建议用语", "例外"],
            [1, "不知道/不清楚?", "推诿", "严重", "我帮您核实", "您不知道"],
            [2, "喂（大声）", "直呼", "特急", None, None],
            [3, None, "推诿", "一般", None, None],
            [4, "不知道", "推诿", "一般", None, None],
        ],
        空=[],
        说明=[["如何填写"]],
    )  # fmt: skip
    drafts = read_foreign(path)
    rows = drafts.words["jin_yu"]
    assert [(row["phrase"], row["category"], row.get("severity")) for row in rows] == [
        ("不知道", "推诿", "critical"), ("不清楚", "推诿", "critical"), ("喂大声", "直呼", None),
    ]  # fmt: skip
    left = "\n".join(drafts.unmapped)
    for expected in ("'序号'", "'特急'", "row 6: no phrase", "不知道 stands there twice", "sheet “说明”"):
        assert expected in left
    folder = published(drafts, tmp_path / "pack")
    assert outcomes(folder, "坐席: 这个我不知道。") == {"jin_yu": "violation"}
    assert outcomes(folder, "坐席: 您不知道也没关系。") == {"jin_yu": "pass"}
    entry = rule_entry(analyze(read_case("坐席: 不清楚。").transcript, load_pack(folder)), "jin_yu")
    assert entry["findings"][0]["suggestion"] == "我帮您核实"


# ---- files


def test_files_that_hold_nothing_to_import_are_refused_with_a_cure(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "broken.xlsx").write_text("x", encoding="utf-8")
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    (tmp_path / "rules.doc").write_text("x", encoding="utf-8")
    workbook(tmp_path / "other.xlsx", Sheet1=[["甲", "乙"]])
    for name in ("broken.json", "broken.xlsx", "empty.txt", "rules.doc", "other.xlsx", "missing.json"):
        with pytest.raises(ConfigError, match=re.escape(name)):
            read_foreign(tmp_path / name)


def test_drafts_are_never_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("不知道\n", encoding="utf-8")
    drafts = read_foreign(path)
    drafts.write(tmp_path / "out")
    with pytest.raises(ConfigError, match="--force"):
        drafts.write(tmp_path / "out")
    drafts.write(tmp_path / "out", force=True)
