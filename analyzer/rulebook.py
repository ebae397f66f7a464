"""What a rule means, for people: one sheet per rule, and the whole catalogue as a page. Chinese, without a script."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from analyzer.cases import fires, is_silent
from analyzer.catalog import PackFiles
from analyzer.clauses import Clause, How, Ledger, read_ledger
from analyzer.errors import ConfigError
from analyzer.labels import SEVERITIES
from analyzer.rules import Rule, Weight, did_you_mean
from analyzer.rules.spec import CaseSpec

_STATUS = {"draft": "草稿", "trial": "试用（显示，不计分）", "stable": "正式", "retired": "停用"}
_KIND = {
    "forbid": "不得说", "require": "应说", "script": "相似话术", "respond": "应答", "quota": "次数", "ratio": "比例",
    "repeat": "重复", "entity": "信息", "echo": "复述", "silence": "静音", "hold": "等待", "overlap": "抢话",
    "rate": "语速", "loudness": "音量", "talk_ratio": "说话占比", "duration": "时长", "response_time": "应答时间",
    "monologue": "独白", "metadata": "随录参数", "silent_call": "无声电话", "address": "称呼", "turn": "话轮",
    "all": "全部满足", "any": "任一满足", "not": "不得出现",
}  # fmt: skip
_HOW = {
    How.RULE: "规则", How.METADATA: "规则（随录参数）", How.AGGREGATE: "汇总指标", How.PROFILE_OPTION: "方案选项",
    How.NOT_ENFORCED: "不检查",
}  # fmt: skip
_ABOUT = ("id", "title", "status", "severity", "clauses", "why", "message", "suggestion", "cases", "kind")
_MARK = re.compile(r"\[\[(.*?)\]\]")


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything an author or an agent wants to know of a rule.

    clauses   (id, norm) of the clauses it answers to; the norm is empty where the ledger has none
    words     what it looks for and what it lets pass, as written, by where in the file that stands
    options   the other keys of the file, as written
    flagged   cases in which it is broken; ``left_alone`` those in which it is not
    """

    rule: Rule
    topic: str
    weight: Weight
    message: str
    suggestion: str
    clauses: tuple[tuple[str, str], ...]
    words: Mapping[str, tuple[str, ...]]
    options: Mapping[str, Any]
    flagged: tuple[CaseSpec, ...]
    left_alone: tuple[CaseSpec, ...]

    @property
    def points(self) -> str:
        return "一票否决" if self.weight.veto else f"{self.weight.max_points:g} 分"

    def as_json(self) -> dict[str, Any]:
        rule = self.rule
        return {
            "rule": rule.id,
            "title": rule.title,
            "topic": self.topic,
            "status": rule.status.value,
            "severity": rule.severity.value,
            "kind": rule.kind,
            "max_points": self.weight.max_points,
            "veto": self.weight.veto,
            "meaning": rule.why,
            "message": self.message,
            "suggestion": self.suggestion or None,
            "clauses": [{"id": clause, "norm": norm} for clause, norm in self.clauses],
            "words": {place: list(phrases) for place, phrases in self.words.items()},
            "options": dict(self.options),
            "flagged": [{"name": case.name, "call": case.call} for case in self.flagged],
            "left_alone": [{"name": case.name, "call": case.call} for case in self.left_alone],
        }


TOPICS = {
    "body": "通话中", "closing": "结束语", "conduct": "服务行为", "hold": "等待与转接", "metadata": "通话属性",
    "opening": "开场白", "scenario": "特殊场景", "speech": "语速与音量", "timing": "时长与应答", "wording": "用语",
}  # fmt: skip


def rule_rows(opened: PackFiles) -> list[dict[str, Any]]:
    """A row per rule of the pack, drafts and retired ones too. ``runs``: it is judged in the profile."""
    running = {rule.id for rule in opened.pack.rules}
    return [
        {
            "rule": rule.id,
            "title": rule.title,
            "status": rule.status.value,
            "severity": rule.severity.value,
            "kind": rule.kind,
            "clauses": list(rule.clauses),
            "max_points": opened.pack.profile.weight(rule).max_points,
            "veto": opened.pack.profile.weight(rule).veto,
            "runs": rule.id in running,
        }
        for rule in opened.rules
    ]


def sheet_of(opened: PackFiles, rule_id: str) -> Sheet:
    """The sheet of one rule. Raises ConfigError if there is none of that id."""
    rule = next((rule for rule in opened.rules if rule.id == rule_id), None)
    if rule is None:
        guess = did_you_mean(rule_id, [rule.id for rule in opened.rules]) or "; see `analyzer rules list`"
        raise ConfigError(f"no rule {rule_id!r}{guess}")
    return _sheet(opened, rule, read_ledger(opened.folder))


def _sheet(opened: PackFiles, rule: Rule, ledger: Ledger) -> Sheet:
    file = opened.files[rule.id]
    own = dict.fromkeys(rule.clauses)
    answered = {clause.id: clause.norm for clause in ledger.clauses.values() if rule.id in clause.rules}
    options = opened.profile.rules[rule.id].options if rule.id in opened.profile.rules else {}
    fields = {**file.fields, **options}
    norms = {clause: ledger.clauses[clause].norm if clause in ledger.clauses else "" for clause in own}
    return Sheet(
        rule=rule,
        topic=Path(file.path).parent.name,
        weight=opened.pack.profile.weight(rule),
        message=str(fields.get("message", "")),
        suggestion=str(fields.get("suggestion") or ""),
        clauses=tuple({**norms, **answered}.items()),
        words=dict(_words(fields, opened)),
        options={key: value for key, value in fields.items() if key not in _ABOUT and not _is_words(key)},
        flagged=tuple(case for case in rule.cases if fires(rule, case)),
        left_alone=tuple(case for case in rule.cases if is_silent(case)),
    )


def _is_words(key: str) -> bool:
    return key.endswith(("_of", "_in")) or key in ("allow", "elements", "members")


def _words(node: Any, opened: PackFiles, place: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Phrases by where they stand: ``any_in banned_shirk`` and so on, with the phrases that are let pass."""
    if isinstance(node, dict):
        for key, value in node.items():
            if not (key == "cases" and not place):
                yield from _words(value, opened, (*place, str(key)))
    elif isinstance(node, list) and all(isinstance(value, str) for value in node) and node and place:
        key, where = place[-1], " ".join(place)
        if key.endswith("_in"):
            for name in node:
                yield from _listed(name, where, opened)
        elif key.endswith("_of") or key in ("allow", "before", "before_not", "after", "after_not", "utterance"):
            yield where, tuple(node)
    elif isinstance(node, list):
        for value in node:
            yield from _words(value, opened, place)


def _listed(name: str, where: str, opened: PackFiles) -> Iterator[tuple[str, tuple[str, ...]]]:
    if name not in opened.words.lists:
        return
    phrases = opened.words.lists[name].phrases
    yield f"{where} {name}", tuple(phrase.pattern.source for phrase in phrases)
    if allowed := tuple(dict.fromkeys(pattern.source for phrase in phrases for pattern in phrase.allow)):
        yield f"{where} {name}（放行）", allowed


# --- on a terminal ---


def sheet_lines(sheet: Sheet) -> Iterator[str]:
    """The sheet as lines of text."""
    rule = sheet.rule
    yield f"{rule.title}  {rule.id}"
    yield f"{_STATUS[rule.status]}  {SEVERITIES[rule.severity]}  {_KIND.get(rule.kind, rule.kind)}  {sheet.points}"
    if rule.why:
        yield f"\n含义\n  {rule.why}"
    yield f"\n提示\n  {sheet.message}"
    if sheet.suggestion:
        yield f"  建议：{sheet.suggestion}"
    yield from _section("条款", [f"{clause}  {norm}".rstrip() for clause, norm in sheet.clauses])
    yield from _section("词语", [f"{place}：{'  '.join(phrases)}" for place, phrases in sheet.words.items()])
    yield from _section("选项", [f"{key}: {value}" for key, value in sheet.options.items()])
    yield from _section("判违规的例子", list(_example_lines(sheet.flagged)))
    yield from _section("不算违规的例子", list(_example_lines(sheet.left_alone)))


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"\n{title}"
        yield from (f"  {line}" for line in lines)


def _example_lines(cases: Sequence[CaseSpec]) -> Iterator[str]:
    for case in cases:
        yield case.name
        call = _MARK.sub(r"【\1】", case.call)
        yield from (f"  {line.strip()}" for line in call.splitlines() if line.strip())


# --- as a page ---

_STYLE = """
body{font:16px/1.7 "PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif;max-width:60rem;margin:0 auto;
padding:1rem;color:#222;background:#fff}
h1{font-size:1.7rem}h2{margin-top:3rem;border-bottom:2px solid #2563eb}h3{margin:2rem 0 .2rem}
h4{margin:1rem 0 .2rem;font-size:1rem}code{color:#555}.facts{color:#555;margin:0}
ul{margin:.2rem 0;padding-left:1.4rem}mark{background:#fecaca;color:inherit;padding:0 .1em}
pre{font:inherit;white-space:pre-wrap;background:#f6f7f9;border-left:4px solid #ddd;margin:.3rem 0;padding:.4rem .8rem}
pre.flagged{border-color:#dc2626}pre.fine{border-color:#16a34a}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .5rem;
border-bottom:1px solid #e5e7eb}nav{columns:3;font-size:.95rem}
@media(max-width:40rem){nav{columns:1}}
"""


def page_of(opened: PackFiles) -> str:
    """The catalogue of a pack as one HTML page: rules by topic, then every clause with what answers for it."""
    ledger = read_ledger(opened.folder)
    topics: dict[str, list[Sheet]] = {}
    for rule in opened.pack.rules:
        sheet = _sheet(opened, rule, ledger)
        topics.setdefault(sheet.topic, []).append(sheet)
    title = str(opened.head.fields.get("title") or opened.pack.name)
    pack = opened.pack
    parts = [
        "<!doctype html>",
        f'<html lang="zh-CN"><head><meta charset="utf-8"><title>{escape(title)} 规则手册</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
        f"<h1>{escape(title)} 规则手册</h1>",
        f'<p class="facts">规则包 {escape(pack.name)} {escape(pack.version)}，方案 {escape(pack.profile.name)}，'
        f"{len(pack.rules)} 条规则，{len(ledger.clauses)} 条条款，合格线 {pack.profile.pass_mark:g} 分</p>",
        f"<nav><ul>{''.join(_link(sheet) for sheets in topics.values() for sheet in sheets)}</ul></nav>",
    ]
    for topic, sheets in topics.items():
        parts.append(f"<h2>{escape(TOPICS.get(topic, topic))}</h2>")
        parts += map(_sheet_html, sheets)
    if ledger:
        parts.append(_ledger_html(ledger, {rule.id for rule in pack.rules}))
    return "\n".join([*parts, "</body></html>", ""])


def _link(sheet: Sheet) -> str:
    return f'<li><a href="#{sheet.rule.id}">{escape(sheet.rule.title)}</a></li>'


def _sheet_html(sheet: Sheet) -> str:
    rule = sheet.rule
    kind = _KIND.get(rule.kind, rule.kind)
    parts = [
        f'<section id="{rule.id}"><h3>{escape(rule.title)} <code>{rule.id}</code></h3>',
        f'<p class="facts">{SEVERITIES[rule.severity]}，{kind}，{sheet.points}，{_STATUS[rule.status]}</p>',
    ]
    if rule.why:
        parts.append(f"<p>{escape(rule.why)}</p>")
    if sheet.suggestion:
        parts.append(f"<p>建议：{escape(sheet.suggestion)}</p>")
    if sheet.clauses:
        items = "".join(f"<li><code>{escape(clause)}</code> {escape(norm)}</li>" for clause, norm in sheet.clauses)
        parts.append(f"<h4>条款</h4><ul>{items}</ul>")
    parts += _examples_html("判违规", sheet.flagged, "flagged")
    parts += _examples_html("不算违规", sheet.left_alone, "fine")
    return "\n".join([*parts, "</section>"])


def _examples_html(title: str, cases: Sequence[CaseSpec], style: str) -> Iterator[str]:
    if cases:
        yield f"<h4>{title}</h4>"
    for case in cases:
        call = _MARK.sub(r"<mark>\1</mark>", escape(case.call.strip()))
        yield f'<p class="facts">{escape(case.name)}</p><pre class="{style}">{call}</pre>'


def _ledger_html(ledger: Ledger, rules: set[str]) -> str:
    rows = "\n".join(_clause_html(clause, rules) for clause in ledger.clauses.values())
    head = "<tr><th>条款</th><th>要求</th><th>方式</th><th>规则或指标</th><th>说明</th></tr>"
    return f"<h2>条款索引</h2>\n<table>{head}\n{rows}</table>"


def _clause_html(clause: Clause, rules: set[str]) -> str:
    answers = " ".join(f'<a href="#{rule}">{rule}</a>' if rule in rules else escape(rule) for rule in clause.rules)
    cells = (escape(clause.norm), _HOW[clause.how], answers, escape(clause.reason))
    return f"<tr><td><code>{escape(clause.id)}</code></td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
