"""The scorecard of a call on a terminal: verdict, rules, speech rate, transcript. Chinese, 80 columns, colour optional.

Without colour (a pipe, a file, ``NO_COLOR``) a hit stands in 【】 instead of red, so nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule as Line
from rich.table import Table
from rich.text import Text

from analyzer.labels import DIRECTIONS, ELEMENTS, ROLES, SEVERITIES, VERDICTS, clock
from analyzer.rules import Pack
from analyzer.rules.require import element_titles as titles_of

Report = Mapping[str, Any]

WIDTH = 80
_MARKS = {"pass": ("✓", "green"), "violation": ("✗", "bold red"), "unsure": ("?", "yellow")}
_ORDER = ("violation", "unsure", "pass")
_MOST_NAMED = 12  # rules in a row; more are only counted, the report names them
_VERDICT_STYLES = {"pass": "bold green", "fail": "bold red", "review": "bold yellow"}
_SEVERITY_STYLES = {"critical": "bold red", "major": "red", "minor": "yellow", "info": "cyan"}
_ROLE_STYLES = {"agent": "cyan", "customer": "magenta"}
_GAUGE = range(60, 321, 5)  # 字/分钟 per cell: slower than a dictation to faster than a news reader


Titles = Mapping[tuple[str, str], str]
"""What the pack calls the elements of its rules: (rule id, element) -> title."""


def element_titles(pack: Pack) -> Titles:
    """What the elements of every rule are called, by the pack or, where a kind brings its own, by us."""
    return {
        (rule.id, name): title
        for rule in pack.rules
        for name, title in (ELEMENTS | dict(titles_of(rule.check))).items()
    }


def print_scorecard(report: Report, titles: Titles, console: Console) -> None:
    """Print one call. ``report`` is an ``analyzer.report/1`` object; without a title an element shows its id."""
    marked = console.no_color or not console.is_terminal
    console.print(Group(*_parts(inert(report), titles, marked=marked)), width=min(console.width, WIDTH))


_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\N{REPLACEMENT CHARACTER}")


def inert(value: Any) -> Any:
    """The value with control characters replaced one for one: a transcript must not steer the terminal."""
    if isinstance(value, str):
        return value.translate(_CONTROLS)
    if isinstance(value, Mapping):
        return {key: inert(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [inert(item) for item in value]
    return value


def _parts(report: Report, titles: Titles, *, marked: bool) -> Iterator[RenderableType]:
    yield Line(Text(f" {report['call_id']} ", style="bold"), align="left", characters="═")
    yield _verdict(report)
    yield from _notices(report)
    yield Text()
    yield from _rules(report, titles)
    yield Text()
    yield from _rates(report)
    yield Text()
    yield _transcript(report, marked=marked)
    yield Text()


def print_summary(
    verdicts: Mapping[str, int], mean_score: float | None, failed: int, folder: str | None, console: Console
) -> None:
    """A run in a line: calls, verdicts, mean score, and where reports and tables lie."""
    line = Text.assemble((f"共 {sum(verdicts.values()) + failed} 通", "bold"))
    for verdict, word in VERDICTS.items():
        if verdicts.get(verdict):
            line.append(f"  {word} {verdicts[verdict]}", style=_VERDICT_STYLES[verdict])
    if failed:
        line.append(f"  无法处理 {failed}", style="bold red")
    if mean_score is not None:
        line.append(f"  平均 {mean_score:.1f} 分")
    console.print(line, soft_wrap=True)
    if folder:
        console.print(Text(f"报告与表格：{folder}"), soft_wrap=True)


# ---- head


def _verdict(report: Report) -> Text:
    score = "无评分" if report["score"] is None else f"{report['score']:g} 分"
    verdict = report["verdict"]
    line = Text.assemble((f"{VERDICTS[verdict]}  {score}", _VERDICT_STYLES[verdict]))
    line.append(f"  {DIRECTIONS[report.get('direction') or 'unknown']}")
    silence = report.get("metrics", {}).get("silence_ms")
    ratio = report.get("metrics", {}).get("talk_ratio")
    if ratio is not None:
        line.append(f"  坐席说话占 {ratio:.0%}")
    if silence is not None:
        line.append(f"  静音 {silence / 1000:.1f} 秒")
    line.append(f"  规则包 {report['pack']['name']} {report['pack']['version']}", style="dim")
    return line


def _notices(report: Report) -> Iterator[Text]:
    notice = (report.get("recogniser") or {}).get("notice")
    if notice:
        yield Text(f"识别模型 {notice}", style="yellow")
    if report.get("truncated"):
        yield Text("录音不完整：缺失的部分无法判定", style="yellow")
    for warning in report.get("warnings") or ():
        yield Text(f"! {warning}", style="yellow")


# ---- rules


def _rules(report: Report, titles: Titles) -> Iterator[RenderableType]:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(ratio=1, overflow="fold")
    table.add_column(justify="right")
    shown = sorted(filter(_is_telling, report["rules"]), key=lambda rule: _ORDER.index(rule["outcome"]))
    for rule in shown:
        mark, style = _MARKS[rule["outcome"]]
        table.add_row(Text(mark, style=style), Group(*_rule_body(rule, titles)), _points(rule))
    if table.row_count:
        yield table
    for outcome, label in (("pass", "✓ 通过"), ("not_applicable", "· 不适用")):
        others = [_title(rule) for rule in report["rules"] if rule["outcome"] == outcome and not _is_telling(rule)]
        if others:
            names = "：" + "、".join(others) if len(others) <= _MOST_NAMED else ""
            yield Text(f"{label} {len(others)} 项{names}", style="dim")


def _is_telling(rule: Mapping[str, Any]) -> bool:
    """What went wrong or is open, and of what went right the parts people look for: elements, and a value in a band."""
    if rule["outcome"] == "pass":
        measured = rule.get("measured") or {}
        has_band = None not in (measured.get("low"), measured.get("high"))
        return has_band or bool(rule.get("level") or rule.get("elements"))
    return rule["outcome"] in _MARKS


def _title(rule: Mapping[str, Any]) -> str:
    title: str = rule.get("title") or rule["rule"]
    return title


def _rule_body(rule: Mapping[str, Any], titles: Titles) -> Iterator[RenderableType]:
    heading = Text(_title(rule))
    heading.append(f"  {rule['rule']}", style="dim")
    if rule.get("status") == "trial":
        heading.append("  试运行，不计分", style="dim")
    measured = _measured(rule.get("measured"))
    if measured:
        heading.append(f"  {measured}")
    yield heading
    if rule.get("elements"):
        yield _elements(rule, titles)
    for finding in rule.get("findings", ()):
        yield from _finding(finding)


def _points(rule: Mapping[str, Any]) -> Text:
    points = rule.get("points") or 0
    return Text(f"{points:+g} 分" if points else "", style="red" if points < 0 else "green")


def _measured(measured: Mapping[str, Any] | None) -> str:
    if not measured or measured.get("value") is None:
        return ""
    text = f"{measured['value']:g} {measured.get('unit', '')}".rstrip()
    low, high = measured.get("low"), measured.get("high")
    if low is not None and high is not None:
        return f"{text}（应为 {low:g}～{high:g}）"
    if low is not None:
        return f"{text}（至少 {low:g}）"
    if high is not None:
        return f"{text}（至多 {high:g}）"
    return text


def _elements(rule: Mapping[str, Any], titles: Titles) -> Text:
    line = Text()
    for name, element in rule["elements"].items():
        mark, style = _MARKS["pass" if element["present"] else "violation"]
        line.append(f"{mark}\u00a0{titles.get((rule['rule'], name), name)}", style=style)
        line.append("  ")
    line.rstrip()
    return line


def _finding(finding: Mapping[str, Any]) -> Iterator[RenderableType]:
    head = Text.assemble((clock(finding.get("start_ms")) or "整通", "bold"))
    severity = finding.get("severity")
    if severity:
        head.append(f" {SEVERITIES[severity]}", style=_SEVERITY_STYLES[severity])
    if finding.get("quote"):
        head.append(f" {finding['category']}" if finding.get("category") else "")
        head.append(f" “{finding['quote']}”", style="red")
    else:  # something that was not said: the message names it
        head.append(f" {finding.get('message') or ''}")
    if finding.get("match") == "homophone":
        head.append("（同音）", style="dim")
    yield head
    if finding.get("suggestion"):
        yield Padding(Text(f"建议：{finding['suggestion']}", style="green"), (0, 0, 0, 2))


# ---- speech rate


def _rates(report: Report) -> Iterator[Text]:
    rates = report.get("metrics", {}).get("rate", {})
    band = _band(report)
    for role in ("agent", "customer"):
        rate = rates.get(role, {}).get("turn")
        if rate is not None:
            yield _gauge(role, rate, band if role == "agent" else None)


def _band(report: Report) -> tuple[float, float] | None:
    """The band the pack's rate rules judged by, the narrowest of several; None if none did."""
    measured = [rule.get("measured") or {} for rule in report["rules"]]
    bands = [(m["low"], m["high"]) for m in measured if m.get("unit") == "字/分钟"]
    known = [(low, high) for low, high in bands if low is not None and high is not None]
    return min(known, key=lambda band: band[1] - band[0], default=None)


def _gauge(role: str, rate: float, band: tuple[float, float] | None) -> Text:
    """语速 on a scale of 60 to 320 字/分钟: ``─`` the scale, ``━`` the band, ``●`` the call."""
    line = Text(f"语速 {ROLES[role]} {rate:>4.0f} 字/分钟 ")
    here = min(max(round((rate - _GAUGE.start) / _GAUGE.step), 0), len(_GAUGE) - 1)
    for cell, value in enumerate(_GAUGE):
        inside = band is not None and band[0] <= value <= band[1]
        if cell == here:
            line.append("●", style="bold red" if band and not band[0] <= rate <= band[1] else "bold green")
        else:
            line.append("━" if inside else "─", style="green" if inside else "dim")
    return line


# ---- transcript


def _transcript(report: Report, *, marked: bool) -> Table:
    hits = _hits(report)
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for index, turn in enumerate(report["turns"]):
        role = turn.get("role", "unknown")
        table.add_row(
            Text(clock(turn["start_ms"]) or "", style="dim"),
            Text(ROLES[role], style=_ROLE_STYLES.get(role, "default")),
            marked_text(turn["text"], hits.get(index, ()), marked=marked),
        )
    return table


def _hits(report: Report) -> dict[int, list[tuple[int, int]]]:
    """Where findings lie: turn -> [start, end) in characters of its text."""
    hits: dict[int, list[tuple[int, int]]] = {}
    for rule in report["rules"]:
        for finding in rule.get("findings", ()):
            for span in finding.get("spans") or ():
                if span.get("char_start") is not None:
                    hits.setdefault(span["turn"], []).append((span["char_start"], span["char_end"]))
    return hits


def marked_text(text: str, hits: Sequence[tuple[int, int]], *, marked: bool) -> Text:
    """The turn with its hits in red, or in 【】. Overlapping hits become one."""
    line = Text()
    done = 0
    for start, end in _merged(hits):
        line.append(text[done:start])
        line.append(f"【{text[start:end]}】" if marked else text[start:end], style="bold red")
        done = end
    line.append(text[done:])
    return line


def _merged(hits: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(hits):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
