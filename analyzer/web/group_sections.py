"""Figures of run folders as the parts of a report: what stands out, what moves, rules, and the groups asked for."""

from __future__ import annotations

from analyzer.labels import SEVERITIES
from analyzer.review.overview import named
from analyzer.review.trends import Figures, GroupTable, RuleShare
from analyzer.web.sections import KPI_HEAD, UNITS, Section, Value, kpi_row, percent


def stand_out_section(figures: Figures) -> Section | None:
    found = figures.stand_outs
    if not found:
        return None
    high = sum(one.is_above for one in found)
    says = (
        f"与其余通话的差别超出偶然的 {len(found)} 处：偏高 {high}，偏低 {len(found) - high}。最突出：{found[0].says}。"
    )
    rows = tuple(
        (one.title, one.what, "偏高" if one.is_above else "偏低", one.share,
         one.rest_share, one.hits, one.judged, one.low, one.high, "、".join(one.listen))
        for one in found
    )  # fmt: skip
    head = ("对象", "指标", "偏向", "该组", "其余", "次数", "通话", "下限", "上限", "抽听")
    return Section("stand_outs", "值得关注", says, "", head, rows, percent=(3, 4, 7, 8))


def movement_section(figures: Figures) -> Section | None:
    found = figures.movements
    if not found:
        return None
    rows = tuple(
        (one.says, "走势" if one.kind == "trend" else "突变", one.since, one.until, one.change, one.low, one.high)
        for one in found
    )
    head = ("变化", "类型", "自", "至", "变化幅度", "下限", "上限")
    unit = UNITS[found[0].unit]
    says = f"{len(found)} 项比率的变化超出偶然。走势的幅度按每{unit}计，突变的幅度为最近两{unit}之差。"
    return Section("movements", "走势", says, "", head, rows, percent=(4, 5, 6))


def share_section(figures: Figures) -> Section | None:
    if not figures.shares:
        return None
    unsure = max(figures.shares, key=lambda one: (one.unsure_share or 0, one.rule))
    says = f"{len(figures.shares)} 条规则有判定；无法判定最多的是“{unsure.title}”（{percent(unsure.unsure_share)}）。"
    rows = tuple(map(_share_row, figures.shares))
    return Section("shares", "规则违规率", says, "", _SHARE_HEAD, rows, percent=_SHARE_PERCENT)


_SHARE_HEAD = (
    "规则", "编号", "严重程度", "可判定", "违规", "违规率", "下限", "上限", "无法判定", "无法判定率", "扣分",
)  # fmt: skip
_SHARE_PERCENT = (5, 6, 7, 9)


def _share_row(one: RuleShare) -> tuple[Value, ...]:
    return (
        one.title, one.rule, SEVERITIES.get(one.severity, one.severity), one.judged, one.violations, one.share,
        one.low, one.high, one.unsure, one.unsure_share, round(one.lost, 1),
    )  # fmt: skip


def group_sections(figures: Figures) -> list[Section]:
    """The tables that were asked for, each with the KPI that are known of its groups."""
    made: list[Section | None] = []
    for table in figures.tables:
        made += [_rules_by_group(table)] if "rule" in table.by else [_group_table(table), _group_kpis(table)]
    return [section for section in made if section is not None]


_GROUP_HEAD = (
    "通话", "小时", "平均分", "下限", "上限", "合格率", "待复核率", "不合格率", "严重", "语速", "语速出界", "静音占比",
    "最长等待秒", "最多违规",
)  # fmt: skip


def _group_table(table: GroupTable) -> Section:
    name = named(table.by)
    rows = tuple(
        (one.title, one.calls, round(one.audio_hours, 2), one.mean_score, one.score_low, one.score_high,
         *(hits / one.calls if one.calls else None for hits in (one.passed, one.review, one.failed)), one.criticals,
         one.rate, one.off_pace / one.paced if one.paced else None, one.silence, one.hold_s,
         "，".join(f"{rule.title} {rule.violations}" for rule in one.top))
        for one in table.groups
    )  # fmt: skip
    says = (
        f"{len(rows)} 组。语速为坐席每分钟字数的中位数；出界为不在任何语速范围内的通话占比；上下限为平均分的 95% 区间。"
    )
    return Section(
        "by-" + "-".join(table.by), f"按{name}", says, "", (name, *_GROUP_HEAD), rows, percent=(6, 7, 8, 11, 12)
    )


def _group_kpis(table: GroupTable) -> Section | None:
    name = named(table.by)
    rows = tuple((one.title, *kpi_row(kpi)) for one in table.groups for kpi in one.kpis.values())
    says = "只列出由通话属性可以计算的指标；回电和首次解决归于作出承诺或首次受理的一方。"
    key = "kpi-" + "-".join(table.by)
    return Section(key, f"按{name}的指标", says, "", (name, *KPI_HEAD), rows) if rows else None


def _rules_by_group(table: GroupTable) -> Section:
    name = named([word for word in table.by if word != "rule"])
    rows = tuple((one.title, *_share_row(rule)) for one in table.groups for rule in one.rules or () if rule.violations)
    head = (
        name,
        "规则",
        "编号",
        "严重程度",
        "可判定",
        "违规",
        "违规率",
        "下限",
        "上限",
        "无法判定",
        "无法判定率",
        "扣分",
    )
    says = f"{len(table.groups)} 组，只列出有违规的规则。"
    percent_columns = tuple(column + 1 for column in _SHARE_PERCENT)
    return Section("by-" + "-".join(table.by), f"按{named(table.by)}", says, "", head, rows, percent=percent_columns)
