"""What a manager reads in the morning, out of a tally: tables by group, what stands out, what moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from heapq import nsmallest
from typing import Any

from analyzer.review.movement import Course, Step, Trend, moving
from analyzer.review.outliers import Count, Family, Outlier, stand_out
from analyzer.review.tally import CRITICAL, FAIL, RULE, Axis, Group, RuleTotal, Tally, measures, tally, title_of
from analyzer.review.trends import (
    NO_AGENT,
    NO_TEAM,
    Figures,
    GroupFigures,
    GroupTable,
    HourSum,
    Movement,
    RuleShare,
    RuleSum,
    StandOut,
    Unit,
    axis_unit,
    period,
)
from analyzer.review.worth import wilson

WORDS = {
    "agent": "坐席",
    "team": "班组",
    "day": "日期",
    "week": "周",
    "hour": "时段",
    "direction": "方向",
    RULE: "规则",
}
_MEASURES = {FAIL: "不合格率", CRITICAL: "有严重违规的通话"}
_UNITS: dict[Unit, str] = {"day": "日", "week": "周", "month": "月"}
_DAYS: dict[Unit, float] = {"day": 1, "week": 7, "month": 365.25 / 12}
_TOP = 3
_LISTEN = 5
_MS_PER_HOUR = 3_600_000


def of_reports(reports: Iterable[Mapping[str, Any]], axes: Sequence[Axis] = ()) -> Figures:
    """The figures of ``analyzer.report/1`` objects, as of a run folder. Nobody has reviewed anything there."""
    return figures_of(tally(reports, axes), axes)


def figures_of(total: Tally, axes: Sequence[Axis] = ()) -> Figures:
    """Everything that the pages and files show. ``axes``: the tables wanted besides."""
    agents, teams, days = (total.groups((word,)) for word in ("agent", "team", "day"))
    return Figures(
        scope=total.scope,
        total=total.total.sums(title="合计"),
        days=tuple(group.sums(group.key[0], group.key[0]) for group in _judged(days) if group.key[0]),
        teams=tuple(group.sums(group.key[0], group.key[0] or NO_TEAM) for group in _judged(teams)),
        agents=tuple(group.sums(group.key[0], group.key[0] or NO_AGENT) for group in _judged(agents)),
        rules=tuple(
            RuleSum(rule.rule, rule.title, rule.severity, rule.outcomes["violation"], rule.lost)
            for rule in total.rules.values()
            if rule.is_stable and rule.outcomes["violation"]
        ),
        rates=tuple(total.total.rates),
        hours=tuple(HourSum(*at, *counts) for at, counts in sorted(total.hours.items())),
        kpis=total.kpis.figures(),
        shares=tuple(rule_shares(total)),
        tables=tuple(table(total, axis) for axis in axes if axis != (RULE,)),
        stand_outs=tuple(stand_outs(total)),
        movements=tuple(movements(total)),
        notices=total.notices,
    )


def _judged(groups: Iterable[Group]) -> Iterator[Group]:
    return (group for group in groups if group.calls)


# ---- tables


def rule_shares(total: Tally) -> list[RuleShare]:
    """Every rule that was judged or unsure in any call, those violated most often first."""
    return _told(total.total, total)


def _told(group: Group, total: Tally) -> list[RuleShare]:
    return [one for one in _shares(group, total.rules.values()) if one.judged or one.unsure]


def _most_violated(total: Tally, group: Group) -> list[RuleTotal]:
    """Few of many, before shares are worked out: there may be as many groups as agents times days."""
    columns = group.violated
    known = [rule for rule in total.rules.values() if rule.number < len(columns) and columns[rule.number]]
    return nsmallest(_TOP, known, key=lambda rule: (-columns[rule.number], -group.unsure[rule.number], rule.rule))


def _shares(group: Group, rules: Iterable[RuleTotal]) -> list[RuleShare]:
    known = (_share(group, rule) for rule in rules if rule.number < len(group.judged))
    return sorted(known, key=lambda one: (-one.violations, -one.unsure, one.rule))


def _share(group: Group, rule: RuleTotal) -> RuleShare:
    column = rule.number
    judged, violated = group.judged[column], group.violated[column]
    low, high = wilson(violated, judged) if judged else (None, None)
    return RuleShare(
        rule.rule, rule.title, rule.severity, judged, violated, low, high, group.unsure[column], group.lost[column]
    )


def table(total: Tally, axis: Axis) -> GroupTable:
    """All groups of an axis that is not the rules alone."""
    plain = tuple(word for word in axis if word != RULE)
    return GroupTable(axis, tuple(_figures(total, plain, group, axis) for group in total.groups(plain)))


def _figures(total: Tally, plain: Axis, group: Group, axis: Axis) -> GroupFigures:
    interval = group.score_interval or (None, None)
    mean = group.mean_score
    return GroupFigures(
        key=dict(zip(plain, group.key, strict=True)),
        title=title_of(plain, group.key),
        calls=group.calls,
        audio_hours=round(group.duration_ms / _MS_PER_HOUR, 3),
        mean_score=None if mean is None else round(mean, 2),
        score_low=None if interval[0] is None else round(interval[0], 2),
        score_high=None if interval[1] is None else round(interval[1], 2),
        passed=group.passed,
        review=group.review,
        failed=group.failed,
        criticals=group.critical_calls,
        rate=group.median_rate,
        paced=group.paced,
        off_pace=group.off_pace,
        silence=group.silence_share,
        held=group.held,
        hold_s=round(group.held_s / group.held, 1) if group.held else None,
        top=tuple(_shares(group, _most_violated(total, group))),
        rules=tuple(_told(group, total)) if RULE in axis else None,
        kpis=total.kpis.known_of(group),
    )


# ---- what stands out


def stand_outs(total: Tally) -> list[StandOut]:
    """Groups whose share differs from everybody else's by more than chance, with calls to listen to."""
    found = stand_out(families(total))
    wanted: dict[Axis, dict[tuple[str, ...], set[str]]] = {}
    for one in found:
        axis, of = one.label
        if one.is_above:
            wanted.setdefault(axis, {}).setdefault(one.count.key, set()).add(of)
    listen = {axis: total.examples(axis, keys, _LISTEN) for axis, keys in wanted.items()}
    return [_stand_out(total, one, listen) for one in found]


def families(total: Tally) -> Iterator[Family]:
    """Every share that groups of one axis are compared by. Calls whose key is not known are no group of their own."""
    of = list(measures(total))
    for axis in total.axes:
        groups = [group for group in total.groups(axis) if all(group.key) and group.calls]
        for measure in of:
            counts = [Count(group.key, *group.count(measure, total.rules)) for group in groups]
            yield Family((axis, measure), [count for count in counts if count.n])


def _stand_out(total: Tally, one: Outlier, listen: Mapping[Axis, Mapping[Any, list[str]]]) -> StandOut:
    (axis, of), key = one.label, one.count.key
    calls = tuple(listen[axis][key, of]) if one.is_above else ()
    return StandOut(
        by=axis,
        key=dict(zip(axis, key, strict=True)),
        title=title_of(axis, key),
        of=of,
        what=measure_title(total, of),
        judged=one.count.n,
        hits=one.count.hits,
        share=one.count.share,
        low=(interval := wilson(one.count.hits, one.count.n))[0],
        high=interval[1],
        rest_judged=one.rest.n,
        rest_hits=one.rest.hits,
        rest_share=one.rest.share,
        is_above=one.is_above,
        p=one.p,
        listen=calls,
        says=_says(total, one),
    )


def _says(total: Tally, one: Outlier) -> str:
    axis, of = one.label
    head = "".join(WORDS[word] for word in axis if word in ("agent", "team")) if len(axis) == 1 else ""
    what, share, rest = measure_title(total, of), percent(one.count.share), percent(one.rest.share)
    said = f"{head}{title_of(axis, one.count.key)}：{what} {share}（{one.count.hits}/{one.count.n}），"
    return f"{said}{'高于' if one.is_above else '低于'}其余的 {rest}"


def measure_title(total: Tally, of: str) -> str:
    """
    >>> measure_title(Tally(), "fail")
    '不合格率'
    """
    return _MEASURES.get(of) or f"{total.rules[of].title or of}违规率"


def named(axis: Sequence[str]) -> str:
    """
    >>> named(("team", "day"))
    '班组和日期'
    """
    return "和".join(WORDS[word] for word in axis)


def percent(share: float) -> str:
    """
    >>> percent(0.1234), percent(0.004)
    ('12.3%', '0.4%')
    """
    return f"{100 * share:.1f}%"


# ---- what moves


def movements(total: Tally) -> list[Movement]:
    """Trends and steps by day; by week or month where there are too many days for a chart."""
    days = [group for group in total.groups(("day",)) if group.key[0] and group.calls]
    unit = axis_unit([group.key[0] for group in days])
    found = moving(_course(total, measure, days, unit) for measure in measures(total))
    return [_movement(total, one, unit) for one in found]


def _course(total: Tally, measure: str, days: Sequence[Group], unit: Unit) -> Course:
    sums: dict[str, tuple[int, int]] = {}
    for day in days:
        at = period(day.key[0], unit)
        n, hits = sums.get(at, (0, 0))
        more_n, more_hits = day.count(measure, total.rules)
        sums[at] = (n + more_n, hits + more_hits)
    when = [date.fromisoformat(f"{key}-01" if unit == "month" else key).toordinal() / _DAYS[unit] for key in sums]
    return Course(measure, when, [Count(key, *both) for key, both in sums.items()])


def _movement(total: Tally, one: Trend | Step, unit: Unit) -> Movement:
    title = measure_title(total, one.label)
    if isinstance(one, Trend):
        since, until = str(one.first.key), str(one.last.key)
        says = (
            f"{title}：{since} 至 {until} {'持续上升' if one.slope > 0 else '持续下降'}，每{_UNITS[unit]} "
            f"{100 * one.slope:+.2f} 个百分点（{percent(one.first.share)}→{percent(one.last.share)}）"
        )
        return Movement("trend", one.label, unit, since, until, one.slope, None, None, one.p, says)
    before, after, change = one.before, one.after, one.change
    word = "升高" if change > 0 else "降低"
    says = (
        f"{title}：{after.key} 比 {before.key} {word} {100 * abs(change):.1f} 个百分点"
        f"（{percent(before.share)}→{percent(after.share)}，{after.hits}/{after.n}）"
    )
    since, until = str(before.key), str(after.key)
    return Movement("step", one.label, unit, since, until, change, one.low, one.high, one.p, says)
