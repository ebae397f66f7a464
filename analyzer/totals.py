"""An ``analyzer.summary/1`` object on a terminal: what stands out first, then groups, rules and KPI. Chinese.

Fits 80 columns; where there is more room, tables have more columns. Without colour nothing is lost: what is high is
marked ▲, what is low ▼.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analyzer.render import inert, print_summary
from analyzer.review.overview import named, percent

Summary = Mapping[str, Any]
Titles = Mapping[str, str]

_WIDE, _VERY_WIDE = 100, 120
_MOST_NOTED, _MOST_GROUPS = 12, 60
_RULE_HEADINGS = ("违规", "违规率", "95% 区间", "无法判定", "扣分")
_KPI_WIDTH = 13  # of a column of a group's KPI


class _Column(NamedTuple):
    heading: str
    cell: Callable[[Mapping[str, Any]], str]
    from_width: int = 0


def print_totals(summary: Summary, titles: Titles, console: Console) -> None:
    """titles: of the rules, by id; what the reports themselves say stands in for a missing one."""
    summary = inert(summary)
    print_summary(summary["verdicts"], summary["mean_score"], 0, None, console)
    for part in _parts(summary, titles, console.width):
        console.print(part)


def _parts(summary: Summary, titles: Titles, width: int) -> Iterator[Text | Table]:
    yield from _scope(summary["scope"])
    yield from _notices(summary["notices"])
    yield from _noted("值得关注", summary["stand_outs"], "is_above")
    yield from _noted("走势", summary["movements"], "change")
    for table in summary["groups"]:
        yield from _groups(table, titles, width)
    yield from _rules(summary, titles, width)
    yield from _kpis(summary["kpis"])


def _scope(scope: Mapping[str, Any]) -> Iterator[Text]:
    since, until = (scope[end] for end in ("since", "until"))
    parts = [f"{since or '最早'} 至 {until or '最新'}"] if since or until else []
    parts += [f"班组 {scope['team']}"] if scope["team"] else []
    parts += [f"坐席 {scope['agent']}"] if scope["agent"] else []
    if parts:
        yield Text("范围：" + " · ".join(parts), style="dim")


def _notices(notices: Mapping[str, int]) -> Iterator[Text]:
    for notice, calls in notices.items():
        yield Text(f"{calls:,} 通的识别模型：{notice}", style="yellow")


def _noted(title: str, found: Sequence[Mapping[str, Any]], rising: str) -> Iterator[Text]:
    if not found:
        return
    yield _title(title)
    for one in found[:_MOST_NOTED]:
        is_up = one[rising] > 0
        yield Text.assemble(("▲ ", "bold red") if is_up else ("▼ ", "bold green"), one["says"])
        if one.get("listen"):
            yield Text(f"  抽听：{'、'.join(one['listen'])}", style="cyan")
    if len(found) > _MOST_NOTED:
        yield Text(f"另有 {len(found) - _MOST_NOTED} 项，见 --format json 或 html。", style="dim")


def _title(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


# ---- groups


def _groups(table: Mapping[str, Any], titles: Titles, width: int) -> Iterator[Text | Table]:
    by, groups = table["by"], table["groups"]
    name = named(by)
    yield _title(f"按{name}")
    if not groups:
        yield Text("没有通话。", style="dim")
        return
    shown = groups[:_MOST_GROUPS]
    if "rule" in by:
        yield _group_rules(name, shown, titles)
    else:
        yield _tabled(name, shown, [column for column in _columns(titles) if column.from_width <= width])
        yield from _group_kpis(name, shown, width)
    if len(groups) > len(shown):
        yield Text(f"另有 {len(groups) - len(shown)} 组，见 --format json、csv 或 xlsx。", style="dim")


def _columns(titles: Titles) -> list[_Column]:
    return [
        _Column("通话", lambda group: f"{group['calls']:,}"),
        _Column("小时", lambda group: f"{group['audio_hours']:,.1f}"),
        _Column("平均分", _score),
        _Column("合格", lambda group: _share(group["shares"]["pass"])),
        _Column("待复核", lambda group: _share(group["shares"]["review"])),
        _Column("不合格", lambda group: _share(group["shares"]["fail"])),
        _Column("严重", lambda group: f"{group['criticals']:,}"),
        _Column("语速", lambda group: _known(group["rate"], "{:.0f}")),
        _Column("出界", lambda group: _known(group["off_pace_share"], "{:.0%}"), _WIDE),
        _Column("静音", lambda group: _known(group["silence"], "{:.0%}"), _WIDE),
        _Column("等待秒", lambda group: _known(group["hold_s"], "{:.0f}"), _WIDE),
        _Column("最多违规", lambda group: _top(group, titles), _VERY_WIDE),
    ]


def _tabled(name: str, groups: Sequence[Mapping[str, Any]], columns: Sequence[_Column]) -> Table:
    table = _table(name, *(column.heading for column in columns))
    for group in groups:
        table.add_row(group["title"], *(column.cell(group) for column in columns))
    return table


def _score(group: Mapping[str, Any]) -> str:
    if group["mean_score"] is None:
        return "-"
    if group["score_low"] is None:
        return f"{group['mean_score']:.1f}"
    return f"{group['mean_score']:.1f}±{(group['score_high'] - group['score_low']) / 2:.1f}"


def _share(interval: Sequence[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.0%}"


def _known(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


def _top(group: Mapping[str, Any], titles: Titles) -> str:
    return " ".join(f"{_rule_title(one, titles)} {one['violations']}" for one in group["top"][:1])


def _group_rules(name: str, groups: Sequence[Mapping[str, Any]], titles: Titles) -> Table:
    table = _table(name.removesuffix("和规则"), "规则", *_RULE_HEADINGS)
    table.columns[1].justify = "left"
    for group in groups:
        for at, rule in enumerate(one for one in group["rules"] if one["violations"]):
            table.add_row("" if at else group["title"], _rule_title(rule, titles), *_rule_cells(rule))
    return table


def _group_kpis(name: str, groups: Sequence[Mapping[str, Any]], width: int) -> Iterator[Text | Table]:
    """Those with a bound first, as many as there is room for."""
    known = {name: kpi for group in groups for name, kpi in group["kpis"].items() if name != "call_count"}
    names = sorted(known, key=lambda name: known[name]["low"] is None and known[name]["high"] is None)
    shown = names[: max(1, (width - 16) // _KPI_WIDTH)]
    if not shown:
        return
    table = _table(name, *(f"{known[kpi]['title']} {known[kpi]['unit']}" for kpi in shown))
    for group in groups:
        table.add_row(group["title"], *(_kpi_cell(group["kpis"].get(kpi)) for kpi in shown))
    yield Text()
    yield table
    if len(names) > len(shown):
        yield Text(f"另有 {len(names) - len(shown)} 项指标，见 --format json、csv 或 xlsx。", style="dim")


def _kpi_cell(kpi: Mapping[str, Any] | None) -> Text:
    if kpi is None:
        return Text("-")
    text = Text(f"{kpi['value']:g}", style=_kept_style(kpi))
    return text.append("!" if kpi["kept"] is False else "")


def _kept_style(kpi: Mapping[str, Any]) -> str:
    return "red" if kpi["kept"] is False else "green" if kpi["kept"] else ""


# ---- rules, KPI


def _rules(summary: Summary, titles: Titles, width: int) -> Iterator[Text | Table]:
    rules = [one for one in summary["by_rule"] if one["violations"] or one["unsure"]]
    if not rules:
        return
    headings = ["违规", "违规率", "95% 区间", "无法判定", "扣分"] + (
        ["符合", "不适用", "发现"] if width >= _WIDE else []
    )
    table = _table("规则", *headings)
    for rule in rules:
        counts = summary["rules"][rule["rule"]]
        more = [f"{counts[name]:,}" for name in ("pass", "not_applicable", "findings")] if width >= _WIDE else []
        table.add_row(Text.assemble(_rule_title(rule, titles), " ", (rule["rule"], "dim")), *_rule_cells(rule), *more)
    yield _title("按规则")
    yield table


def _rule_title(rule: Mapping[str, Any], titles: Titles) -> str:
    return titles.get(rule["rule"]) or rule["title"] or rule["rule"]


def _rule_cells(rule: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Violations, their share and its interval, the share that could not be told, points lost."""
    share = "-" if rule["share"] is None else percent(rule["share"])
    interval = "-" if rule["low"] is None else f"{100 * rule['low']:.1f}–{100 * rule['high']:.1f}"
    unsure = "-" if rule["unsure_share"] is None else percent(rule["unsure_share"])
    return f"{rule['violations']:,}", share, interval, unsure, f"{rule['lost']:,.0f}"


def _kpis(kpis: Mapping[str, Mapping[str, Any]]) -> Iterator[Text | Table]:
    known = [kpi for kpi in kpis.values() if kpi["value"] is not None]
    if known:
        table = _table("指标", "数值", "标准", "依据数")
        for kpi in known:
            value = Text(f"{kpi['value']:g} {kpi['unit']}", style=_kept_style(kpi))
            table.add_row(kpi["title"], value, _bounds(kpi), str(kpi["n"]))
        yield _title("指标")
        yield table
    if len(kpis) > len(known):
        yield Text(f"另有 {len(kpis) - len(known)} 项指标缺少通话属性，无法计算。", style="dim")


def _bounds(kpi: Mapping[str, Any]) -> str:
    parts = [f"{sign}{kpi[key]:g}" for key, sign in (("low", "≥"), ("high", "≤")) if kpi[key] is not None]
    return " ".join(parts) or "-"


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table
