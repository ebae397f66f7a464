"""The overlay's picture, a pure function of the state, the size and the moment of the call.

    80x24 and more                                 from 120 columns on
    ┌ 提示: the better sentence first ───────┐     ┌ as on the left ──────┬ 对话: all that fits ┐
    ├ 应做: the checklist ┬ 语速与计时 ──────┤
    ├ 对话: the last sentences ──────────────┤
    └ status and keys ───────────────────────┘

Nothing is told by colour alone: every state has its sign or word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from analyzer.labels import DIRECTIONS, ROLES
from analyzer.live.messages import FindingEvent, InterimEvent, OwedEvent, Pace, Timer, UtteranceEvent
from analyzer.overlay.state import Hint, State
from analyzer.render import inert, marked_text

WIDE = 120
COACHING_WIDTH = 78  # of the left half when wide
HINT_ROWS = 7
SUGGESTION_ROWS = 2
COACHING_ROWS = 9
LOW = 20  # rows below which the sentences give way

_KINDS = {
    "forbidden": "服务禁语", "owed": "还没说", "respond": "该回应", "rate": "语速", "hold": "保持等候",
    "silence": "静音",
}  # fmt: skip
_PRIORITY_STYLES = {"critical": "bold red", "high": "bold yellow", "normal": "bold cyan"}
_ROLE_STYLES = {"agent": "cyan", "customer": "magenta"}
_ITEM_MARKS = {
    "done": ("✓", "green"), "missed": ("✗", "bold red"), "pending": ("○", "yellow"), "cleared": ("–", "dim"),
}  # fmt: skip
_URGENCY = ("pending", "missed", "done", "cleared")
_PHASES = {"ending": "正在结束，识别余下的语音…", "interrupted": "通话中断", "ended": "已结束"}
_SCALE = (60, 320)  # 字/分钟, from a dictation to faster than a news reader


def picture(state: State, width: int, height: int, at_ms: int, titles: Mapping[str, str]) -> RenderableType:
    """The whole screen.

    at_ms   the call's clock now, at or after ``state.at_ms``
    titles  of the rules, by id
    """
    screen = Layout(size=height)
    screen.split_column(
        Layout(_head(state, at_ms), size=1),
        Layout(name="body"),
        Layout(_status(state), size=1),
    )
    hints = Layout(_hints(state, at_ms), size=HINT_ROWS)
    coaching = Layout()
    coaching.split_row(
        Layout(_boxed("应做", _checklist(state, at_ms, titles))),
        Layout(_boxed("语速与计时", _gauges(state, at_ms)), size=40),
    )
    talk = Layout(_boxed("对话", _talk(state)))
    if width >= WIDE:
        left = Layout(size=COACHING_WIDTH)
        left.split_column(hints, coaching)
        screen["body"].split_row(left, talk)
    elif height < LOW:
        screen["body"].split_column(hints, coaching)
    else:
        coaching.size = COACHING_ROWS
        screen["body"].split_column(hints, coaching, talk)
    return screen


def _boxed(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=title, title_align="left", box=box.ROUNDED, border_style="dim")


def _split(left: Text, right: Text) -> Table:
    """One line; where it is too narrow the left gives way."""
    line = Table.grid(expand=True)
    line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    line.add_row(left, right)
    return line


# ---- head and status


def _head(state: State, at_ms: int) -> RenderableType:
    left = Text.assemble(("通话辅导", "bold"), f"  {DIRECTIONS[state.direction]}")
    if state.notice:
        left.append(f"  模型 {inert(state.notice)}", style="yellow")
    left.append(f"  {inert(state.call_id)}", style="dim")
    score = state.gauge.score if state.gauge else None
    right = Text(f"暂计 {score:g} 分  " if score is not None else "")
    right.append(_minutes(at_ms), style="bold")
    return _split(left, right)


def _status(state: State) -> RenderableType:
    parts = list(_troubles(state))
    if phase := _PHASES.get(state.phase):
        parts.append(Text(phase, style="bold"))
    left = Text("  ").join(parts) if parts else Text("正常", style="dim")
    return _split(left, Text("x 收起提示  q 结束", style="dim"))


def _troubles(state: State) -> Iterator[Text]:
    if state.is_cut:
        yield Text("✗ 断开，等待重连", style="bold red")
    for role in sorted(state.blind):
        yield Text(f"✗ 听不到{ROLES[role]}声道", style="bold red")
    if state.gauge and state.gauge.behind_ms >= 2_000:
        yield Text(f"! 落后 {state.gauge.behind_ms // 1000} 秒", style="bold yellow")
    if missing := sum(state.gaps_ms.values()):
        yield Text(f"! 缺失 {missing / 1000:.1f} 秒", style="yellow")
    if overflows := state.lost.get("overflows"):
        yield Text(f"! 声卡溢出 {overflows} 次", style="yellow")


# ---- hints


def _hints(state: State, at_ms: int) -> RenderableType:
    hints = state.visible_hints(at_ms)
    whisper = state.visible_whisper(at_ms)
    content: list[RenderableType] = []
    if whisper:
        content.append(_one_line(Text(f"班长 {inert(whisper.sender)}：{inert(whisper.text)}", style="bold magenta")))
    content += _main_hint(hints[0]) if hints else []
    content += [_brief_hint(hint) for hint in hints[1:3]]
    border = _PRIORITY_STYLES[hints[0].nudge.priority] if hints and hints[0].withdrawn_ms is None else "dim"
    shown = _Head(content) if content else Text("暂无提示", style="dim")
    return Panel(shown, title=_hint_title(hints), title_align="left", box=box.ROUNDED, border_style=border)


def _hint_title(hints: Sequence[Hint]) -> str:
    return f"提示 {len(hints)}" if len(hints) > 1 else "提示"


def _main_hint(hint: Hint) -> list[RenderableType]:
    """What to say comes first, why second: the agent reads while talking."""
    nudge = hint.nudge
    reason = Text.assemble(_badge(hint), f"{_KINDS[nudge.kind]}：{inert(nudge.message)}")
    if hint.withdrawn_ms is not None:
        reason.stylize("dim strike", len(_badge(hint)))
        return [reason]
    if not nudge.suggestion:
        reason.stylize(_PRIORITY_STYLES[nudge.priority])
        return [reason]
    return [
        _Folded(Text(f"请说：{inert(nudge.suggestion)}", style="bold green"), 6, SUGGESTION_ROWS),
        _one_line(reason),
    ]


def _brief_hint(hint: Hint) -> Text:
    line = Text.assemble("· ", _badge(hint), inert(hint.nudge.suggestion or hint.nudge.message))
    if hint.withdrawn_ms is not None:
        line.stylize("dim strike", 2 + len(_badge(hint)))
    return _one_line(line)


def _one_line(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


def _badge(hint: Hint) -> Text:
    if hint.withdrawn_ms is not None:
        return Text("[已撤回] ", style="yellow")
    return Text("[待确认] ", style="yellow") if hint.is_provisional else Text()


# ---- checklist


def _checklist(state: State, at_ms: int, titles: Mapping[str, str]) -> RenderableType:
    items = sorted(state.checklist.values(), key=lambda item: item.rule)
    groups = [(rule, list(own)) for rule, own in groupby(items, key=lambda item: item.rule)]
    groups.sort(key=lambda group: min(map(_urgency, group[1])))
    lines = [_checklist_line(titles.get(rule, rule), own, at_ms) for rule, own in groups]
    return _Head(lines) if lines else Text("暂无应做事项", style="dim")


def _urgency(item: OwedEvent) -> tuple[int, int]:
    due_ms = item.due_ms if item.due_ms is not None else 1 << 40
    return _URGENCY.index(item.state), due_ms


def _checklist_line(title: str, items: Iterable[OwedEvent], at_ms: int) -> Text:
    line = Text.assemble((inert(title), "bold"))
    for item in items:
        mark, style = _ITEM_MARKS[item.state]
        line.append(f" {mark}{inert(item.title)}", style=style)
        if item.state == "pending" and item.due_ms is not None:
            line.append(f"{max(0, item.due_ms - at_ms) // 1000}秒", style="bold yellow")
    line.overflow = "fold"
    return line


# ---- gauges


def _gauges(state: State, at_ms: int) -> RenderableType:
    gauge = state.gauge
    rates = gauge.rate if gauge else {}
    lines: list[RenderableType] = []
    for role in ("agent", "customer"):
        lines += [_pace(role, rates.get(role, Pace())), _Bar(rates.get(role, Pace()))]
    ratio = gauge.talk_ratio if gauge else None
    lines.append(Text(f"坐席说话占 {ratio:.0%}" if ratio is not None else "坐席说话占 ——"))
    lines.append(_timer("保持", gauge.hold if gauge else None, at_ms))
    lines.append(_timer("静音", gauge.silence if gauge else None, at_ms))
    return Group(*lines)


def _pace(role: str, pace: Pace) -> Text:
    line = Text.assemble((f"{ROLES[role]} ", _ROLE_STYLES[role]))
    if pace.now is None:
        return line.append("—— 字数不足", style="dim")
    word, style = _judged(pace)
    line.append(f"{pace.now} 字/分钟", style="bold").append(f" {word}", style=style)
    return line.append(f"  全程 {pace.call}", style="dim") if pace.call is not None else line


def _judged(pace: Pace) -> tuple[str, str]:
    assert pace.now is not None
    if pace.high is not None and pace.now > pace.high:
        return "偏快", "bold red"
    if pace.low is not None and pace.now < pace.low:
        return "偏慢", "bold red"
    return ("适中", "bold green") if pace.low is not None else ("", "")


@dataclass(frozen=True, slots=True)
class _Bar:
    """语速 on a scale: ``─`` the scale, ``━`` the band, ``●`` now."""

    pace: Pace

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pace, cells = self.pace, options.max_width
        low, high = _SCALE
        step = (high - low) / max(1, cells - 1)
        line = Text()
        for cell in range(cells):
            value = low + cell * step
            inside = pace.low is not None and pace.high is not None and pace.low <= value <= pace.high
            line.append("━" if inside else "─", style="green" if inside else "dim")
        if pace.now is not None:
            here = round((min(max(pace.now, low), high) - low) / step)
            line = Text.assemble(line[:here], ("●", _judged(pace)[1]), line[here + 1 :])
        yield line


def _timer(name: str, timer: Timer | None, at_ms: int) -> Text:
    if timer is None:
        return Text(f"{name} ——", style="dim")
    ran_ms = max(0, at_ms - timer.since_ms)
    line = Text(f"{name} {_minutes(ran_ms)}", style="bold")
    if timer.limit_ms is None:
        return line
    left_ms = timer.limit_ms - ran_ms
    line.append(f" / {_minutes(timer.limit_ms)}", style="dim")
    if left_ms < 0:
        return line.append(" 已超时", style="bold red")
    return line.append(" 将到时", style="bold yellow") if left_ms * 4 < timer.limit_ms else line


# ---- sentences


def _talk(state: State) -> RenderableType:
    hits = _hits(state.findings.values())
    said = sorted(state.sentences, key=lambda sentence: sentence.start_ms)
    lines = [_sentence(sentence, hits.get(sentence.turn, [])) for sentence in said]
    running = sorted(state.interim.values(), key=lambda one: one.start_ms)
    lines += [_running_sentence(one) for one in running]
    return _Tail(lines) if lines else Text("还没有人说话", style="dim")


def _hits(findings: Iterable[FindingEvent]) -> dict[int, list[tuple[int, int]]]:
    hits: dict[int, list[tuple[int, int]]] = {}
    for finding in findings:
        for span in finding.spans:
            hits.setdefault(span.turn, []).append((span.char_start, span.char_end))
    return hits


def _sentence(sentence: UtteranceEvent, hits: Sequence[tuple[int, int]]) -> RenderableType:
    speaker = _speaker(sentence.role, sentence.start_ms)
    return _Folded(speaker + marked_text(inert(sentence.text), hits, marked=True), speaker.cell_len)


def _running_sentence(one: InterimEvent) -> RenderableType:
    """What two passes agree on is firm, the rest may change."""
    text, speaker = inert(one.text), _speaker(one.role, one.start_ms)
    line = Text.assemble(speaker, text[: one.agreed], (f"{text[one.agreed :]}…", "dim italic"))
    return _Folded(line, speaker.cell_len)


def _speaker(role: str, start_ms: int) -> Text:
    line = Text(f"{_minutes(start_ms)} ")
    return line.append(f"{ROLES[role]} ", style=_ROLE_STYLES.get(role, ""))


def _minutes(ms: int) -> str:
    return f"{ms // 60_000:02d}:{ms // 1000 % 60:02d}"


# ---- what does not fit


@dataclass(frozen=True, slots=True)
class _Folded:
    """Text in lines that break anywhere: Chinese has no blanks to break at. From the second line on indented; ``…``
    where it needs more lines than ``most``."""

    text: Text
    indent: int = 0
    most: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        breaks, used = [], 0
        for place, character in enumerate(self.text.plain):
            used += (width := cell_len(character))
            if used > options.max_width:
                breaks.append(place)
                used = self.indent + width
        lines = list(self.text.divide(breaks))
        if self.most and len(lines) > self.most:
            lines = lines[: self.most]
            lines[-1].right_crop(1)
            lines[-1].append("…")
        for line in lines[1:]:
            line.pad_left(self.indent)
        for line in lines:
            line.no_wrap, line.overflow = True, "crop"
            yield line


@dataclass(frozen=True, slots=True)
class _Head:
    """The first lines that fit; the last one says if there are more."""

    parts: Sequence[RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = _lines(self.parts, console, options)
        room = options.height or len(lines)
        if len(lines) > room:
            more = console.render_lines(Text(f"… 还有 {len(lines) - room + 1} 行", style="dim"), options, pad=False)
            lines = [*lines[: room - 1], more[0]]
        yield from _joined(lines)


@dataclass(frozen=True, slots=True)
class _Tail:
    """The last lines that fit."""

    parts: Sequence[RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.height or len(self.parts)
        lines: list[list[Segment]] = []
        for part in reversed(self.parts):  # only what is seen is laid out
            if len(lines) >= room:
                break
            lines = [*_lines([part], console, options), *lines]
        yield from _joined(lines[-room:])


def _lines(parts: Sequence[RenderableType], console: Console, options: ConsoleOptions) -> list[list[Segment]]:
    free = options.update(height=None)
    return [line for part in parts for line in console.render_lines(part, free, pad=False)]


def _joined(lines: Iterable[list[Segment]]) -> Iterator[Segment]:
    for line in lines:
        yield from line
        yield Segment.line()
