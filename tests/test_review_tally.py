"""Reports added up: groups, rules, what a manager reads of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from random import Random
from statistics import mean, median, stdev
from typing import Any

import pytest

from analyzer.errors import ConfigError
from analyzer.review.overview import families, figures_of, measure_title, movements, rule_shares, stand_outs, table
from analyzer.review.tally import Tally, read_axes, tally
from analyzer.review.trends import Scope


def entry(rule: str, outcome: str, severity: str = "major", **more: Any) -> dict[str, Any]:
    findings = [{"severity": severity, "category": None}] if outcome == "violation" else []
    points = -5 if findings else 0
    return {"rule": rule, "title": rule.title(), "outcome": outcome, "severity": severity, "points": points,
            "findings": findings, **more}  # fmt: skip


def call(call_id: str, *rules: dict[str, Any], score: float | None = 90, verdict: str = "pass", **metadata: Any) -> Any:
    return {
        "call_id": call_id, "direction": "inbound", "duration_ms": 60_000, "score": score, "verdict": verdict,
        "metadata": metadata, "truncated": False, "rules": list(rules),
        "metrics": {"silence_ms": 6_000, "rate": {"agent": {"turn": 180}, "customer": {}}},
    }  # fmt: skip


def centre(n: int = 600, seed: int = 3) -> Iterator[Any]:
    """Agents 0 to 11 in three teams over ten days; agent 7 breaks ``rude`` much more often than others."""
    rng = Random(seed)
    for at in range(n):
        agent = at % 12
        is_rude = rng.random() < (0.5 if agent == 7 else 0.04)
        yield call(
            f"c{at:04d}",
            entry("rude", "violation" if is_rude else "pass", "critical"),
            entry("opening", rng.choice(["pass", "unsure", "not_applicable"])),
            score=20 if is_rude else 95,
            verdict="fail" if is_rude else "pass",
            agent_id=f"30{agent:02d}",
            team="ABC"[agent % 3],
            started_at=f"2026-11-{1 + at // 60:02d}T{8 + at % 10:02d}:00:00+08:00",
        )


@pytest.fixture(scope="module")
def total() -> Tally:
    return tally(centre(), read_axes(["team,day", "week", "hour", "direction"]))


# ---- what is asked for


def test_words_are_read_in_any_order_and_the_rule_comes_last() -> None:
    assert read_axes(["rule,team", "day", "team,rule", "day,day"]) == (("team", "rule"), ("day",))


@pytest.mark.parametrize("text", ["teams", "", "team,", "agent;day"])
def test_an_unknown_word_names_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigError, match="none of agent, team"):
        read_axes([text])


# ---- adding up


def test_every_call_is_in_one_group_of_each_axis(total: Tally) -> None:
    for axis in total.axes:
        assert sum(group.calls for group in total.groups(axis)) == 600
        assert sum(sum(group.violated) for group in total.groups(axis)) == sum(total.total.violated)


def test_days_weeks_and_hours_are_the_call_centre_s_own(total: Tally) -> None:
    assert [group.key[0] for group in total.groups(("week",))] == ["2026-10-26", "2026-11-02", "2026-11-09"]
    assert [group.key[0] for group in total.groups(("hour",))] == [f"{hour:02d}" for hour in range(8, 18)]
    assert len(total.groups(("team", "day"))) == 30


def test_what_is_not_known_of_a_call_is_a_group_of_its_own_and_stands_last() -> None:
    known = tally([call("b", agent_id="3001", team="A"), call("a")])
    figures = table(known, ("team",)).groups
    assert [(group.key["team"], group.title, group.calls) for group in figures] == [("A", "A", 1), ("", "未分组", 1)]


def test_the_mean_score_has_student_s_interval() -> None:
    scores = [60.0, 70.0, 75.0, 80.0, 95.0, 88.0, 91.5]
    group = tally(call(str(at), score=score) for at, score in enumerate(scores)).total
    half = 2.4469 * stdev(scores) / len(scores) ** 0.5  # the 97.5 % point for six degrees of freedom
    assert group.score_interval == pytest.approx((mean(scores) - half, mean(scores) + half), abs=0.01)
    assert tally([call("a"), call("b")]).total.score_interval is None


def test_a_rule_s_shares_are_of_the_calls_in_which_it_could_be_told(total: Tally) -> None:
    rude, opening = rule_shares(total)
    assert (rude.rule, rude.judged, rude.unsure) == ("rude", 600, 0)
    assert None not in (rude.low, rude.share, rude.high)
    assert (rude.low or 1) < (rude.share or 0) < (rude.high or 0)
    assert rude.lost == 5 * rude.violations
    assert 0.4 < (opening.unsure_share or 0) < 0.6
    assert opening.judged + opening.unsure < 600


def test_pace_silence_and_waits_are_those_that_were_measured() -> None:
    def paced(value: float, inside: bool, wait: float | None) -> Any:
        bands = [{"name": "absolute", "low": 96, "high": 144, "inside": False}, {"low": 160, "high": 200}]
        pace = {"value": value, "unit": "字/分钟", "low": 96, "high": 144, "bands": bands}
        hold = {"value": wait, "unit": "秒", "low": None, "high": 300}
        return call(
            str(value), entry("speech_rate", "pass" if inside else "violation", "minor", measured=pace),
            entry("hold_duration", "not_applicable" if wait is None else "pass", measured=hold), team="A",
        )  # fmt: skip

    (group,) = table(tally([paced(180, True, 10), paced(230, False, 20), paced(100, True, None)]), ("team",)).groups
    assert (group.paced, group.off_pace, group.held, group.hold_s) == (3, 1, 2, 15)
    assert group.silence == pytest.approx(0.1)
    assert group.rate == median([180, 180, 180])


def test_a_trial_rule_is_counted_and_never_marks_a_call() -> None:
    trial = call("a", entry("new", "unsure", status="trial"), entry("old", "violation", "critical"))
    known = tally([trial] * 30)
    assert {rule.rule: rule.is_stable for rule in known.rules.values()} == {"new": False, "old": True}
    assert [family.label[1] for family in families(known) if family.label[0] == ("day",)] == ["fail", "critical", "old"]


def test_a_rule_that_appears_later_keeps_its_own_column() -> None:
    known = tally([call("a", entry("x", "pass"), team="A"), call("b", entry("y", "violation"), team="B")], [("team",)])
    a, b = known.groups(("team",))
    assert (a.count("y", known.rules), b.count("y", known.rules)) == ((0, 0), (1, 1))


# ---- which calls


def test_a_scope_leaves_other_calls_out_and_counts_those_without_a_day() -> None:
    scope = Scope(since=date(2026, 11, 2), until=date(2026, 11, 3), team="A")
    known = tally([*centre(), call("undated", team="A"), call("other", team="B")], (), scope)
    assert {group.key[0] for group in known.groups(("day",))} == {"2026-11-02", "2026-11-03"}
    assert (known.total.calls, known.undated) == (40, 1)
    assert tally(centre(), (), Scope(agent="3007")).total.calls == 50


def test_attempts_nobody_answered_are_in_the_figures_of_their_team() -> None:
    attempt = {"direction": "inbound", "metadata": {"connected": False, "team": "A"}}
    known = tally([call("a", team="A", connected=True), attempt])
    (group,) = table(known, ("team",)).groups
    assert (group.calls, group.kpis["connection_rate"]["value"], known.attempts) == (1, 50, 1)
    assert [one.key for one in figures_of(known).teams] == ["A"]


# ---- what is read in the morning


def test_an_agent_who_differs_is_named_with_the_worst_calls_to_listen_to(total: Tally) -> None:
    found = {(one.by, one.of): one for one in stand_outs(total) if one.is_above}
    rude = found[("agent",), "rude"]
    assert rude.key == {"agent": "3007"}
    assert rude.says.startswith("坐席3007：Rude违规率 ")
    assert len(rude.listen) == 5
    assert all(int(call_id[1:]) % 12 == 7 for call_id in rude.listen)
    assert {one.key["agent"] for (by, _), one in found.items() if by == ("agent",)} == {"3007"}
    assert (("agent",), "fail") in found


def test_the_calls_to_listen_to_do_not_depend_on_the_order_of_reports(total: Tally) -> None:
    shuffled = list(centre())
    Random(1).shuffle(shuffled)
    again = tally(shuffled, total.axes[3:])
    assert stand_outs(again) == stand_outs(total)
    assert movements(again) == movements(total)


def test_a_measure_has_a_chinese_name(total: Tally) -> None:
    assert [measure_title(total, of) for of in ("fail", "critical", "rude")] == [
        "不合格率",
        "有严重违规的通话",
        "Rude违规率",
    ]


def test_a_rise_over_days_is_told_with_its_slope() -> None:
    reports = [
        call(f"{day}-{at}", entry("slow", "violation" if at < 4 + 5 * day else "pass"), score=80,
             started_at=f"2026-11-{1 + day:02d}T09:00")
        for day in range(10)
        for at in range(100)
    ]  # fmt: skip
    known = tally(reports)
    trend = next(one for one in movements(known) if one.kind == "trend")
    assert trend.change == pytest.approx(0.05)
    assert trend.says == "Slow违规率：2026-11-01 至 2026-11-10 持续上升，每日 +5.00 个百分点（4.0%→49.0%）"


def test_rules_by_group_stand_in_the_table_that_asks_for_them(total: Tally) -> None:
    plain, crossed = table(total, ("team",)), table(total, ("team", "rule"))
    assert all(group.rules is None for group in plain.groups)
    assert all([rule.rule for rule in group.rules or ()] == ["rude", "opening"] for group in crossed.groups)
    assert plain.groups[0].top[0].rule == "rude"
