"""The terminal scorecard: complete, readable without colour, never wider than the terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from analyzer import render
from analyzer.cases import alone
from analyzer.catalog import load_pack
from analyzer.render import element_titles, print_scorecard, print_summary
from analyzer.report import analyze, rule_entry
from analyzer.transcripts import read_case

TITLES = {("opening", "greeting"): "问候", ("opening", "company"): "单位名称"}


def a_report(**changes: Any) -> dict[str, Any]:
    report: dict[str, Any] = {
        "call_id": "bank-fee",
        "direction": "inbound",
        "pack": {"name": "standard", "version": "2026.11", "digest": "sha256:0"},
        "score": 62.5,
        "verdict": "fail",
        "recogniser": {"name": "demo", "notice": "demo (synthetic voices only)"},
        "warnings": ["两个声道可能接反"],
        "truncated": True,
        "rules": [
            {
                "rule": "opening",
                "title": "开场白",
                "outcome": "pass",
                "severity": "major",
                "points": 0,
                "elements": {
                    "greeting": {"present": True, "at_ms": 900, "quote": "您好"},
                    "company": {"present": False, "at_ms": None, "quote": None},
                },
            },
            {
                "rule": "banned_phrase",
                "title": "服务禁语",
                "outcome": "violation",
                "severity": "major",
                "points": -30,
                "findings": [
                    {
                        "category": "责问训斥反问",
                        "severity": "major",
                        "role": "agent",
                        "turn": 1,
                        "spans": [{"turn": 1, "char_start": 9, "char_end": 18}],
                        "start_ms": 40_210,
                        "end_ms": 41_000,
                        "quote": "我不是跟您讲清楚了",
                        "match": "homophone",
                        "message": "坐席使用了服务禁语",
                        "suggestion": "我再给您说明一下",
                    }
                ],
            },
            {
                "rule": "speech_rate",
                "title": "语速",
                "outcome": "unsure",
                "severity": "minor",
                "points": 0,
                "measured": {"value": 201, "unit": "字/分钟", "low": 96, "high": 144},
            },
            {"rule": "closing", "title": "结束语", "outcome": "not_applicable", "severity": "major", "points": 0},
        ],
        "metrics": {
            "rate": {"agent": {"turn": 201}, "customer": {"turn": 150}},
            "talk_ratio": 0.58,
            "silence_ms": 9100,
        },
        "turns": [
            {"role": "agent", "start_ms": 800, "end_ms": 9300, "text": "您好，云岭银行，很高兴为您服务。" * 3},
            {"role": "agent", "start_ms": 40_000, "end_ms": 42_000, "text": "这是分期手续费，我我不是跟您讲清楚了吗？"},
            {"role": "customer", "start_ms": 43_000, "end_ms": 44_000, "text": "没有[/red]啊"},
        ],
    }
    return {**report, **changes}


def printed(report: dict[str, Any], *, width: int = 80, colour: bool = False) -> str:
    system = "truecolor" if colour else None
    console = Console(file=io.StringIO(), width=width, force_terminal=colour, color_system=system)
    print_scorecard(report, TITLES, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_scorecard_says_verdict_score_and_what_made_it() -> None:
    lines = [line.strip() for line in printed(a_report()).splitlines()]
    assert lines[0].startswith("bank-fee")
    assert lines[1].startswith("不合格  62.5 分  呼入")
    assert "识别模型 demo (synthetic voices only)" in lines
    assert "录音不完整：缺失的部分无法判定" in lines
    assert "! 两个声道可能接反" in lines


def test_each_rule_has_its_mark() -> None:
    text = printed(a_report())
    assert "✓ 开场白" in text
    assert "✗ 服务禁语" in text
    assert "? 语速" in text
    assert "不适用 1 项：结束语" in text
    assert "✓\u00a0问候  ✗\u00a0单位名称" in text
    assert "-30 分" in text
    assert "00:40.2 较重 责问训斥反问 “我不是跟您讲清楚了”（同音）" in text
    assert "建议：我再给您说明一下" in text
    assert "201 字/分钟（应为 96～144）" in text


def test_no_element_of_the_shipped_rules_is_shown_by_its_key() -> None:
    pack = load_pack()
    titles = element_titles(pack)
    judged = {
        (rule.id, name)
        for rule in pack.rules
        for case in rule.cases
        for call in [read_case(case.call, direction=case.direction).transcript]
        for name in rule_entry(analyze(call, alone(pack, rule)), rule.id).get("elements") or ()
    }
    assert {("new_file_apology", "apology"), ("hold_consent", "assent"), ("silent_call", "repeat")} <= judged
    assert judged <= titles.keys()


def test_something_missing_is_named_by_its_message_on_one_line() -> None:
    finding = {
        "category": "thanks",
        "severity": "major",
        "start_ms": 58_500,
        "quote": None,
        "message": "结束语缺少感谢",
    }
    rule = {"rule": "closing", "title": "结束语", "outcome": "violation", "points": -20, "findings": [finding]}
    assert "00:58.5 较重 结束语缺少感谢" in printed(a_report(rules=[rule]))


def test_without_colour_a_hit_stands_in_brackets_in_the_transcript() -> None:
    assert "我【我不是跟您讲清楚了】吗？" in printed(a_report())


def test_with_colour_a_hit_is_red_and_the_words_are_unchanged() -> None:
    assert "\x1b[1;31m我不是跟您讲清楚了\x1b[0m吗" in printed(a_report(), colour=True)


def test_spoken_words_are_never_taken_for_markup() -> None:
    assert "没有[/red]啊" in printed(a_report())


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal_or_eighty_columns(width: int) -> None:
    assert max(cell_len(line.rstrip()) for line in printed(a_report(), width=width).splitlines()) <= min(width, 80)


@pytest.mark.parametrize(("rate", "cell"), [(0, 0), (60, 0), (120, 12), (320, 52), (900, 52)])
def test_the_gauge_points_at_the_rate_and_stops_at_its_ends(rate: int, cell: int) -> None:
    scale = render._gauge("agent", rate, (96, 144)).plain.split("字/分钟 ")[1]
    assert len(scale) == 53
    assert scale.index("●") == cell
    assert scale[8:17].replace("●", "━") == "━" * 9, "96 to 144, the cells from 100 to 140"


def test_a_call_that_nothing_could_be_judged_of_has_no_score() -> None:
    assert "待复核  无评分" in printed(a_report(score=None, verdict="review"))


def test_a_missing_optional_field_is_no_reason_to_fail() -> None:
    bare = {
        "call_id": "x",
        "pack": {"name": "p", "version": "1"},
        "score": 100,
        "verdict": "pass",
        "rules": [],
        "turns": [],
    }
    assert "合格  100 分  方向未知" in printed(bare)


def test_the_summary_counts_every_call_once() -> None:
    console = Console(file=io.StringIO(), width=80)
    print_summary({"pass": 6, "fail": 2, "review": 1}, 88.46, 1, "runs/day/", console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "共 10 通  合格 6  不合格 2  待复核 1  无法处理 1  平均 88.5 分",
        "报告与表格：runs/day/",
    ]


def test_control_characters_in_a_transcript_do_not_reach_the_terminal() -> None:
    turn = {"role": "agent", "start_ms": 0, "end_ms": 100, "text": "好\x1b[2J\x9b31m的"}
    text = printed(a_report(turns=[turn], rules=[]))
    assert not {"\x1b", "\x9b"} & set(text)
    assert "好\ufffd[2J\ufffd31m的" in text


LETTERS = st.characters(exclude_categories=["C"], exclude_characters="【】")


PLACES = st.integers(0, 30)


@given(st.text(LETTERS, min_size=1, max_size=30), st.lists(st.tuples(PLACES, PLACES), max_size=5))
def test_marking_hits_adds_brackets_and_changes_no_word(text: str, ends: list[tuple[int, int]]) -> None:
    hits = [(min(pair), min(max(pair), len(text))) for pair in ends if min(pair) < min(max(pair), len(text))]
    marked = render.marked_text(text, hits, marked=True).plain
    assert marked.replace("【", "").replace("】", "") == text
    assert marked.count("【") == marked.count("】") <= len(hits)
    assert "【】" not in marked
