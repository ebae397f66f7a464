"""Figures as the parts of a page or a report: a chart, what it says in a sentence, and the table behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from analyzer.labels import SEVERITIES
from analyzer.review.outliers import LEAST, Count, funnel, score_of, spread_of
from analyzer.review.trends import (
    Figures,
    Sums,
    Unit,
    appeals_by_period,
    by_period,
    histogram,
    pareto,
    upheld,
)
from analyzer.review.worth import Estimate, RuleWorth
from analyzer.web import charts
from analyzer.web.charts import Bar, Cell, FunnelPoint, Series

Value = str | int | float | None

WEEKDAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")
STATUSES = {"draft": "草稿", "trial": "试用", "stable": "正式", "retired": "停用"}
_MOST_BARS, _MOST_COLUMNS, _MOST_NAMED = 15, 14, 5
_FEWEST_FUNNELLED = 10
_RARE = 3.09  # standard errors: 99.8 %
UNITS: dict[Unit, str] = {"day": "日", "week": "周", "month": "月"}


@dataclass(frozen=True, slots=True)
class Section:
    """``says``: the chart in words. ``rows`` hold plain numbers; ``percent`` names the columns that are shares 0..1."""

    key: str
    title: str
    says: str
    svg: str
    head: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    percent: tuple[int, ...] = ()

    def shown(self, row: Sequence[Value], column: int) -> str:
        """A cell as text."""
        value = row[column]
        if value is None:
            return "–"
        if column in self.percent and isinstance(value, int | float):
            return percent(value)
        return f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


@dataclass(frozen=True, slots=True)
class Headline:
    label: str
    value: str
    note: str = ""


def percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}%"


def estimate(of: Estimate) -> str:
    """
    >>> estimate(Estimate(0.9, 0.7, 0.97, 20))
    '90.0%（70.0%–97.0%，n=20）'
    """
    if of.value is None:
        return f"–（n={of.n}）"
    bounds = "" if of.low is None or of.high is None else f"{percent(of.low)}–{percent(of.high)}，"
    return f"{percent(of.value)}（{bounds}n={of.n}）"


def scope_words(figures: Figures) -> str:
    """Which calls the figures are of."""
    scope = figures.scope
    since = scope.since.isoformat() if scope.since else (figures.days[0].key if figures.days else "")
    until = scope.until.isoformat() if scope.until else (figures.days[-1].key if figures.days else "")
    parts = [f"{since} 至 {until}" if since or until else "全部通话"]
    parts += [f"班组 {scope.team}"] if scope.team else []
    parts += [f"坐席 {scope.agent}"] if scope.agent else []
    parts += [notice_words(*one) for one in figures.notices.items()]
    return " · ".join(parts)


def notice_words(notice: str, calls: int) -> str:
    """What a recogniser's notice says of the calls it was used for."""
    return f"{calls:,} 通的识别模型：{notice}"


def headlines(figures: Figures) -> list[Headline]:
    """The handful of numbers that come first."""
    total, appeals = figures.total, upheld(figures.appeals)
    score = "–" if total.mean_score is None else f"{total.mean_score:g}"
    found = [
        Headline("通话", f"{total.calls:,}", f"不合格 {total.failed:,}，待复核 {total.review:,}"),
        Headline("平均分", score, f"{total.scored:,} 通有得分"),
        Headline("合格率", percent(total.passed_share), f"{total.passed:,} 通合格"),
        Headline("每通违规", "–" if total.violations_per_call is None else f"{total.violations_per_call:g}",
                 f"严重 {total.criticals:,}，较重 {total.majors:,}，轻微 {total.minors:,}"),
    ]  # fmt: skip
    if figures.appeals:
        bounds = "" if appeals.low is None else f"{percent(appeals.low, 0)}–{percent(appeals.high, 0)}，"
        found.append(Headline("申诉成立率", percent(appeals.share), f"{bounds}已处理 {appeals.decided}"))
    return found


def sections(figures: Figures) -> list[Section]:
    """Every chart that the figures have something for."""
    made = [
        _scores(figures), _verdicts(figures), _pareto(figures), _groups("teams", "班组", figures.teams),
        _groups("agents", "坐席", figures.agents), _funnel(figures), _rates(figures), _hours(figures),
        _appeals(figures),
    ]  # fmt: skip
    return [section for section in made if section is not None]


# ---- over time


def _scores(figures: Figures) -> Section | None:
    periods = by_period(figures.days, figures.unit)
    known = [one.mean_score for one in periods if one.mean_score is not None]
    if not known:
        return None
    low = max(0, 10 * math.floor((min(known) - 5) / 10))
    says = f"按{UNITS[figures.unit]}平均分，最低 {min(known):g}，最高 {max(known):g}。"
    labels = [_label(one.key, figures.unit) for one in periods]
    series = [Series("平均分", [one.mean_score for one in periods])]
    return Section(
        "scores", "得分走势", says, charts.lines("得分走势", says, labels, series, low=low, high=100),
        ("日期", "通话", "平均分", "合格率", "每通违规"),
        tuple((one.key, one.calls, one.mean_score, one.passed_share, one.violations_per_call) for one in periods),
        percent=(3,),
    )  # fmt: skip


def _verdicts(figures: Figures) -> Section | None:
    periods = by_period(figures.days, figures.unit)
    if not periods:
        return None
    total = figures.total
    says = (
        f"合格 {percent(total.passed_share)}，待复核 {percent(total.review / total.calls)}，"
        f"不合格 {percent(total.failed / total.calls)}。"
    )
    series = [
        Series("合格", [one.passed for one in periods], "blue"),
        Series("待复核", [one.review for one in periods], "orange"),
        Series("不合格", [one.failed for one in periods], "red"),
    ]
    labels = [_label(one.key, figures.unit) for one in periods]
    return Section(
        "verdicts", "结论占比", says, charts.stacks("结论占比", says, labels, series),
        ("日期", "通话", "合格", "待复核", "不合格", "合格率"),
        tuple((one.key, one.calls, one.passed, one.review, one.failed, one.passed_share) for one in periods),
        percent=(5,),
    )  # fmt: skip


def _appeals(figures: Figures) -> Section | None:
    periods = appeals_by_period(figures.appeals, figures.unit)
    if not periods:
        return None
    share = upheld(periods)
    says = f"已处理 {share.decided} 件，成立 {percent(share.share)}；待处理 {sum(one.open for one in periods)} 件。"
    series = [
        Series("成立", [one.upheld for one in periods], "orange"),
        Series("驳回", [one.rejected for one in periods], "blue"),
        Series("待处理", [one.open for one in periods], "grey"),
    ]
    labels = [_label(one.key, figures.unit) for one in periods]
    return Section(
        "appeals", "申诉结果", says, charts.stacks("申诉结果", says, labels, series),
        ("通话日期", "成立", "驳回", "待处理", "成立率"),
        tuple((one.key, one.upheld, one.rejected, one.open, upheld([one]).share) for one in periods),
        percent=(4,),
    )  # fmt: skip


def _label(key: str, unit: Unit) -> str:
    return key if unit == "month" else key[5:]


# ---- by rule, team, agent


def _pareto(figures: Figures) -> Section | None:
    ordered = pareto(figures.rules)
    if not ordered:
        return None
    few = next((at for at, (_, share) in enumerate(ordered, 1) if share >= 0.8), len(ordered))
    says = f"违规最多的是“{ordered[0][0].title}”（{ordered[0][0].calls} 通）；前 {few} 条规则占全部违规的八成。"
    shown = [(rule.title, rule.calls, share) for rule, share in ordered[:_MOST_COLUMNS]]
    return Section(
        "pareto", "违规帕累托", says, charts.pareto("违规帕累托", says, shown),
        ("规则", "编号", "严重程度", "违规通话", "累计占比", "扣分合计"),
        tuple(
            (rule.title, rule.rule, SEVERITIES.get(rule.severity, rule.severity), rule.calls, share, rule.points)
            for rule, share in ordered
        ),
        percent=(4,),
    )  # fmt: skip


def _groups(key: str, of: str, groups: Sequence[Sums]) -> Section | None:
    ordered = sorted(groups, key=lambda one: (one.mean_score is None, one.mean_score, one.key))
    scored = [one for one in ordered if one.mean_score is not None]
    if not scored:
        return None
    lowest = scored[:_MOST_BARS]
    says = f"{len(groups)} 个{of}；平均分最低 {scored[0].title}（{scored[0].mean_score:g}）。"
    if len(scored) > len(lowest):
        says += f"图中为平均分最低的 {len(lowest)} 个，全部见表。"
    low = max(0, 10 * math.floor((min(one.mean_score or 0 for one in lowest) - 10) / 10))
    rows = [
        Bar(one.title, one.mean_score or 0, f"{one.mean_score:g} · {one.calls} 通",
            f"{one.title} 平均 {one.mean_score:g}，每通违规 {one.violations_per_call}")
        for one in lowest
    ]  # fmt: skip
    svg = charts.dots(f"{of}得分", says, rows, low=low, high=100)
    return Section(
        key, f"{of}得分", says, svg,
        (of, "通话", "平均分", "合格率", "不合格", "每通违规", "严重", "较重", "轻微"),
        tuple(
            (one.title, one.calls, one.mean_score, one.passed_share, one.failed, one.violations_per_call,
             one.criticals, one.majors, one.minors)
            for one in ordered
        ),
        percent=(3,),
    )  # fmt: skip


def _funnel(figures: Figures) -> Section | None:
    """Agents' shares of failed calls against how far chance (and how agents usually differ) would spread them."""
    known = [one for one in figures.agents if one.key and one.calls >= LEAST]
    n, hits = sum(one.calls for one in known), sum(one.failed for one in known)
    if len(known) < _FEWEST_FUNNELLED or not 0 < hits < n:
        return None
    spread = spread_of([score_of(Count(one.key, one.calls, one.failed), n, hits) for one in known])
    limits = {one.key: funnel(hits / n, one.calls, _RARE, spread) for one in known}
    points = [
        FunnelPoint(one.title, one.calls, one.failed / one.calls, not low <= one.failed / one.calls <= high)
        for one in known
        for low, high in [limits[one.key]]
    ]
    outside = sorted(one.label for one in points if one.is_outside)
    says = f"全体不合格率 {percent(hits / n)}；虚线之间是 99.8% 的偶然波动范围，通话越多越窄。" + (
        f"在外的坐席：{'、'.join(outside[:_MOST_NAMED])}{'等' if len(outside) > _MOST_NAMED else ''}。"
        if outside else "没有坐席在外。"
    )  # fmt: skip
    svg = charts.funnel("坐席不合格率", says, points, hits / n, lambda calls: funnel(hits / n, calls, _RARE, spread))
    rows = tuple(
        (one.title, one.calls, one.failed, one.failed / one.calls, *limits[one.key])
        for one in sorted(known, key=lambda one: -one.failed / one.calls)
    )
    head = ("坐席", "通话", "不合格", "不合格率", "偶然下限", "偶然上限")
    return Section("funnel", "坐席不合格率", says, svg, head, rows, percent=(3, 4, 5))


# ---- distributions


def _rates(figures: Figures) -> Section | None:
    bins = histogram(figures.rates)
    if not bins:
        return None
    middle = median(figures.rates)
    says = f"{len(figures.rates)} 通的坐席语速（含停顿），中位数 {middle:.0f} 字/分钟。"
    rows = [(f"{one.low}–{one.high}", one.calls) for one in bins]
    place = (middle - bins[0].low) / (bins[-1].high - bins[0].low)
    svg = charts.columns("语速分布", says, rows, marker=(place, f"中位数 {middle:.0f}"))
    return Section(
        "rates", "语速分布", says, svg, ("字/分钟", "通话", "占比"),
        tuple((label, n, n / len(figures.rates)) for label, n in rows), percent=(2,),
    )  # fmt: skip


def _hours(figures: Figures) -> Section | None:
    if not figures.hours:
        return None
    first, last = min(one.hour for one in figures.hours), max(one.hour for one in figures.hours)
    worst = max(figures.hours, key=lambda one: (one.per_call, one.calls))
    says = f"每通违规最多：{WEEKDAYS[worst.weekday]} {worst.hour} 点（{worst.per_call:.2f}，{worst.calls} 通）。"
    cells = [
        Cell(one.weekday, one.hour - first, one.per_call,
             f"{WEEKDAYS[one.weekday]} {one.hour} 点：每通违规 {one.per_call:.2f}（{one.calls} 通）")
        for one in figures.hours
    ]  # fmt: skip
    svg = charts.heat("时段热力图", says, WEEKDAYS, [str(hour) for hour in range(first, last + 1)], cells)
    return Section(
        "hours", "时段热力图", f"{says}颜色越深，每通违规越多。", svg, ("星期", "时段", "通话", "违规", "每通违规"),
        tuple(
            (WEEKDAYS[one.weekday], f"{one.hour}:00–{one.hour}:59", one.calls, one.violations, round(one.per_call, 2))
            for one in figures.hours
        ),
    )  # fmt: skip


# ---- rules


WORTH_HEAD = (
    "规则", "编号", "状态", "发现", "确认", "推翻", "存疑", "未复核", "准确率", "下限", "上限", "召回率（估计）",
    "下限", "上限", "审计句数", "建议",
)  # fmt: skip
WORTH_PERCENT = (8, 9, 10, 11, 12, 13)


def worth_row(rule: RuleWorth) -> tuple[Value, ...]:
    """A rule as a row of the table ``WORTH_HEAD``."""
    undecided = rule.flagged - rule.confirmed - rule.overturned - rule.unsure
    found, missed = rule.precision, rule.recall
    return (
        rule.title, rule.rule, STATUSES.get(rule.status, rule.status), rule.flagged, rule.confirmed, rule.overturned,
        rule.unsure, undecided, found.value, found.low, found.high, missed.value, missed.low, missed.high, missed.n,
        "建议转试用" if rule.proposal else "",
    )  # fmt: skip


def worth_section(rules: Sequence[RuleWorth]) -> Section | None:
    if not rules:
        return None
    proposed = [rule.title for rule in rules if rule.proposal]
    says = f"{len(rules)} 条规则" + (
        f"；建议转试用：{'、'.join(proposed)}。" if proposed else "；没有建议转试用的规则。"
    )
    return Section("worth", "规则效果", says, "", WORTH_HEAD, tuple(map(worth_row, rules)), percent=WORTH_PERCENT)


def kpi_section(figures: Figures) -> Section | None:
    """The standards' KPI, of run folders."""
    if not figures.kpis:
        return None
    rows = tuple(kpi_row(one) for one in figures.kpis.values() if one["value"] is not None)
    return Section("kpi", "标准指标", f"{len(rows)} 项指标有数据。", "", KPI_HEAD, rows) if rows else None


KPI_HEAD = ("指标", "数值", "单位", "样本数", "标准下限", "标准上限", "结论")


def kpi_row(kpi: Mapping[str, Any]) -> tuple[Value, ...]:
    """A KPI as a row of the table ``KPI_HEAD``."""
    kept = {True: "达标", False: "未达标", None: ""}[kpi["kept"]]
    return (str(kpi["title"]), kpi["value"], str(kpi["unit"]), kpi["n"], kpi["low"], kpi["high"], kept)
