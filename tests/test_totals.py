"""The manager's morning on a terminal."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from analyzer.review.tally import read_axes
from analyzer.summary import summarise
from analyzer.totals import print_totals
from tests.test_review_tally import centre

TITLES = {"rude": "服务禁语"}


@cache
def summary(*by: str) -> dict[str, Any]:
    reports = []
    for report in centre():
        report["metadata"]["connected"] = True
        report["metadata"]["ring_ms"] = 4000
        reports.append(report)
    return summarise(reports, read_axes(by))


def printed(width: int, *by: str) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False, quiet=False)
    with console.capture() as capture:
        print_totals(summary(*by), TITLES, console)
    return capture.get()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(width: int) -> None:
    text = printed(width, "team", "agent", "team,rule", "team,day", "week", "hour", "direction")
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "…" not in text


def test_who_stands_out_comes_first_with_calls_to_listen_to() -> None:
    lines = printed(80, "team").splitlines()
    at = lines.index("值得关注")
    assert at < lines.index("按班组")
    assert any(line.startswith("▲ 坐席3007：") for line in lines[at:])
    assert lines[at + 2].startswith("  抽听：c")


def test_the_demo_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    told = {**summary("team"), "notices": {"demo (synthetic voices only)": 13}}
    print_totals(told, TITLES, Console(width=80))
    assert "13 通的识别模型：demo (synthetic voices only)" in capsys.readouterr().out


def test_a_wide_terminal_shows_more_columns_of_the_same_groups() -> None:
    narrow, wide = printed(80, "team"), printed(120, "team")
    assert "最多违规" not in narrow
    assert "最多违规" in wide
    assert "静音" in wide
    assert all(team in narrow and team in wide for team in "ABC")


def test_kpi_of_groups_stand_below_them() -> None:
    text = printed(80, "team")
    assert "系统接通率 %" in text
    assert text.index("系统接通率 %") < text.index("按规则")


def test_rules_show_their_share_with_its_interval_and_what_could_not_be_told() -> None:
    line = next(line for line in printed(80).splitlines() if line.startswith("服务禁语 rude"))
    rule = summary()["by_rule"][0]
    assert f"{100 * rule['share']:.1f}%" in line
    assert f"{100 * rule['low']:.1f}–{100 * rule['high']:.1f}" in line


def test_control_characters_in_names_do_not_reach_the_terminal() -> None:
    reports = [{**report, "metadata": {"team": "\x1b[2JA"}} for report in centre(30)]
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        print_totals(summarise(reports, read_axes(["team"])), {}, console)
    assert "\x1b" not in capture.get()
