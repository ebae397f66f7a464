"""Charts as SVG text: drawn by the server, read by people and screen readers, printed as well.

Every chart has a title, what it shows in words (``<desc>``) and each value as a tooltip; the page puts a table of the
same values beside it. Colours are those of Okabe & Ito, which differ for colour-blind eyes too, and never say anything
alone. They stand as attributes, so that a saved file or a PDF has them, and as classes, so that a style sheet can
change them for a dark ground (static/desk/charts.css).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 640
# No blanks: WeasyPrint splits at commas and keeps them.
FONT = "PingFang SC,Microsoft YaHei,Noto Sans CJK SC,Noto Sans SC,system-ui,sans-serif"
BLUE, ORANGE, RED, GREEN, GREY = "#0072b2", "#e69f00", "#d55e00", "#009e73", "#7a8a90"
_COLOURS = {"blue": BLUE, "orange": ORANGE, "red": RED, "green": GREEN, "grey": GREY}
_INK, _SOFT, _LINE = "#182226", "#536168", "#d5dcdc"
_HEAT = ("#eef3f6", "#cfe0ea", "#9fc4da", "#5f9fc4", "#2273a5", "#0b4670")  # light to dark: one hue, so order is seen
_ROW, _TEXT = 26, 12
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 16, 14, 30


@dataclass(frozen=True, slots=True)
class Series:
    """Values over an axis of labels; None leaves a gap. ``colour``: blue | orange | red | green | grey."""

    title: str
    values: Sequence[float | None]
    colour: str = "blue"


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a chart. ``note`` stands behind its mark; ``title`` is its tooltip."""

    label: str
    value: float
    note: str
    title: str
    colour: str = "blue"


@dataclass(frozen=True, slots=True)
class Cell:
    """Of a heat map. ``value`` None: nothing known, drawn as an outline."""

    row: int
    column: int
    value: float | None
    title: str


@dataclass(frozen=True, slots=True)
class FunnelPoint:
    """A group of ``n`` calls with its share 0..1; one that is outside of the limits is drawn so, with its label."""

    label: str
    n: int
    share: float
    is_outside: bool


# ---- charts


def lines(title: str, says: str, labels: Sequence[str], series: Sequence[Series], *, low: float, high: float) -> str:
    """Values over time. Each line has marks of its own shape."""
    height = 240
    x, y = _spread(len(labels)), _scale(low, high, height)
    parts = [*_axis(low, high, height), *_labels(labels, x, height)]
    for number, one in enumerate(series):
        points = [(x(at), y(value), value) for at, value in enumerate(one.values) if value is not None]
        path = " ".join(f"{'ML'[bool(at)]}{px:.1f} {py:.1f}" for at, (px, py, _) in enumerate(points))
        parts.append(f'<path d="{path}" class="c-{one.colour} line" fill="none" stroke="{_colour(one)}" '
                     'stroke-width="2"/>')  # fmt: skip
        shown = iter(at for at, value in enumerate(one.values) if value is not None)
        parts += [
            _mark(number, px, py, one.colour, f"{labels[next(shown)]} {one.title} {_short(value)}")
            for px, py, value in points
        ]
    return _svg(title, says, height, [*parts, *_legend(series, shapes=True)])


def stacks(title: str, says: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    """Shares of a whole over time, in per cent. Parts are apart by a gap and named in the legend."""
    height = 240
    x, y = _spread(len(labels)), _scale(0, 100, height)
    width = max(2.0, min(36.0, (WIDTH - _LEFT - _RIGHT) / max(1, len(labels)) * 0.72))
    parts = [*_axis(0, 100, height, unit="%"), *_labels(labels, x, height)]
    for at, label in enumerate(labels):
        values = [one.values[at] or 0 for one in series]
        whole, base = sum(values), 0.0
        for one, value in zip(series, values, strict=True):
            if not whole or not value:
                continue
            share = 100 * value / whole
            top, bottom = y(base + share), y(base)
            parts.append(
                _rect(x(at) - width / 2, top, width, max(0.5, bottom - top - 0.8), one.colour,
                      f"{label} {one.title} {_short(value)}（{share:.1f}%）")
            )  # fmt: skip
            base += share
    return _svg(title, says, height, [*parts, *_legend(series)])


def dots(title: str, says: str, rows: Sequence[Bar], *, low: float, high: float) -> str:
    """A dot for each row on a scale that need not begin at 0, with its value written behind it."""
    label_width, note_width, head = 150, 130, 18
    height = head + len(rows) * _ROW + 4
    room = WIDTH - label_width - note_width
    parts = []
    for tick in range(5):
        value, at = low + (high - low) * tick / 4, label_width + room * tick / 4
        parts += [
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{head}" y2="{height}" class="grid" stroke="{_LINE}"/>',
            _text(at, head - 6, _short(value), anchor="middle", soft=True),
        ]
    for number, row in enumerate(rows):
        middle = head + number * _ROW + _ROW / 2
        at = label_width + room * max(0.0, min(1.0, (row.value - low) / ((high - low) or 1)))
        parts += [
            _text(label_width - 8, middle + 4, _cut(row.label, 11), anchor="end"),
            f'<line x1="{label_width}" x2="{at:.1f}" y1="{middle}" y2="{middle}" class="grid" stroke="{_LINE}" '
            'stroke-width="3"/>',
            f'<circle cx="{at:.1f}" cy="{middle}" r="5" class="c-{row.colour}" fill="{_COLOURS[row.colour]}">'
            f"<title>{escape(row.title)}</title></circle>",
            _text(at + 11, middle + 4, row.note, soft=True),
        ]
    return _svg(title, says, height, parts)


def funnel(
    title: str, says: str, points: Sequence[FunnelPoint], middle: float, limits: Callable[[float], tuple[float, float]]
) -> str:
    """Shares over the number of calls, between the limits of chance for so many."""
    height, most = 280, 1.05 * max(point.n for point in points)
    least = 0.9 * min(point.n for point in points)
    top = 100 * max(limits(least)[1], *(point.share for point in points))
    high = _nice(top) if top > 3 else 4
    y = _scale(0, high, height)
    room = WIDTH - _LEFT - _RIGHT

    def x(n: float) -> float:
        return _LEFT + room * (n - least) / (most - least)

    parts = _axis(0, high, height, unit="%")
    parts += [
        _text(x(n), height - _BOTTOM + 18, f"{n:,.0f} 通", anchor="middle", soft=True)
        for n in (least + (most - least) * part / 4 for part in (0.5, 1.5, 2.5, 3.5))
    ]
    steps = [least + (most - least) * part / 60 for part in range(61)]
    for side in (0, 1):
        path = " ".join(f"{x(n):.1f},{y(min(high, 100 * limits(n)[side])):.1f}" for n in steps)
        parts.append(f'<polyline points="{path}" class="c-grey line" fill="none" stroke="{GREY}" stroke-width="1.5" '
                     'stroke-dasharray="5 3"/>')  # fmt: skip
    parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(100 * middle):.1f}" y2="{y(100 * middle):.1f}" '
                 f'class="c-blue line" stroke="{BLUE}"/>')  # fmt: skip
    for point in sorted(points, key=lambda point: point.is_outside):
        said = f"{point.label} {100 * point.share:.1f}%（{point.n} 通）"
        at = x(point.n), y(100 * point.share)
        parts.append(_mark(2 if point.is_outside else 0, *at, "red" if point.is_outside else "blue", said))
        if point.is_outside:
            is_far = at[0] > WIDTH - 120
            parts.append(
                _text(at[0] + (-8 if is_far else 8), at[1] + 4, point.label, anchor="end" if is_far else "start")
            )
    return _svg(title, says, height, parts)


def pareto(title: str, says: str, rows: Sequence[tuple[str, int, float]]) -> str:
    """Columns by size (label, count, share of all so far 0..1) and the line of the shares."""
    height, deep = 280, 74
    x = _spread(len(rows))
    high = _nice(max((count for _, count, _ in rows), default=1))
    y, share_y = _scale(0, high, height, deep=deep), _scale(0, 1, height, deep=deep)
    width = min(40.0, (WIDTH - _LEFT - _RIGHT) / max(1, len(rows)) * 0.7)
    parts = _axis(0, high, height, deep=deep)
    points = []
    for at, (label, count, share) in enumerate(rows):
        said = f"{label} {count} 通，累计 {100 * share:.0f}%"
        parts += [
            _rect(x(at) - width / 2, y(count), width, y(0) - y(count), "blue", said),
            _slanted(x(at), height - deep + 14, _cut(label, 7)),
        ]
        points.append(f"{x(at):.1f},{share_y(share):.1f}")
    parts.append(f'<polyline points="{" ".join(points)}" class="c-red line" fill="none" stroke="{RED}" '
                 'stroke-width="2"/>')  # fmt: skip
    parts += [
        _mark(0, x(at), share_y(share), "red", f"累计 {100 * share:.0f}%") for at, (_, _, share) in enumerate(rows)
    ]
    legend = [Series("违规通话数", (), "blue"), Series("累计占比（到 100%）", (), "red")]
    return _svg(title, says, height, [*parts, *_legend(legend)])


def columns(
    title: str, says: str, rows: Sequence[tuple[str, int]], *, unit: str = "通", marker: tuple[float, str] | None = None
) -> str:
    """A histogram: columns that touch. ``marker``: where on the axis (0..1) a line stands, and what it says."""
    height = 240
    high = _nice(max((count for _, count in rows), default=1))
    y = _scale(0, high, height)
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(rows))
    everything = sum(count for _, count in rows) or 1
    parts = _axis(0, high, height)
    for at, (label, count) in enumerate(rows):
        said = f"{label}：{count} {unit}（{100 * count / everything:.1f}%）"
        parts.append(_rect(_LEFT + at * step + 0.5, y(count), step - 1, y(0) - y(count), "blue", said))
    parts += _labels([label.partition("–")[0] for label, _ in rows], lambda at: _LEFT + at * step, height)
    if marker is not None:
        place = _LEFT + marker[0] * (WIDTH - _LEFT - _RIGHT)
        parts += [
            f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{_TOP}" y2="{height - _BOTTOM}" class="c-red line" '
            f'stroke="{RED}" stroke-width="2" stroke-dasharray="5 3"/>',
            _text(place + 5, _TOP + 10, marker[1]),
        ]
    return _svg(title, says, height, parts)


def heat(title: str, says: str, rows: Sequence[str], heads: Sequence[str], cells: Iterable[Cell]) -> str:
    """A field of cells in six steps, the lightest for the least and the darkest for the most."""
    known = list(cells)
    left, top, size = 44, 22, (WIDTH - 60) / max(1, len(heads))
    tall = 28
    height = top + len(rows) * tall + 34
    values = [cell.value for cell in known if cell.value is not None] or [0]
    least, most = min(values), max(values)
    parts = [_text(left - 6, top + at * tall + 18, row, anchor="end", soft=True) for at, row in enumerate(rows)]
    parts += [
        _text(left + at * size + size / 2, top - 6, head, anchor="middle", soft=True) for at, head in enumerate(heads)
    ]
    for cell in known:
        step = None if cell.value is None else _step(cell.value, least, most)
        fill = "none" if step is None else _HEAT[step]
        named = "h-none" if step is None else f"h-{step}"
        parts.append(
            f'<rect x="{left + cell.column * size + 1:.1f}" y="{top + cell.row * tall + 1}" width="{size - 2:.1f}" '
            f'height="{tall - 2}" rx="3" class="{named}" fill="{fill}" stroke="{_LINE}" stroke-width="0.5">'
            f"<title>{escape(cell.title)}</title></rect>"
        )
    parts += _heat_scale(left, height - 20, least, most)
    return _svg(title, says, height, parts)


def _step(value: float, least: float, most: float) -> int:
    return min(len(_HEAT) - 1, int(len(_HEAT) * (value - least) / ((most - least) or 1)))


def _heat_scale(left: float, top: float, least: float, most: float) -> list[str]:
    swatches = [
        f'<rect x="{left + 34 + step * 24}" y="{top}" width="22" height="12" rx="2" class="h-{step}" fill="{fill}" '
        f'stroke="{_LINE}" stroke-width="0.5"/>'
        for step, fill in enumerate(_HEAT)
    ]
    return [
        _text(left + 28, top + 11, _short(least), anchor="end", soft=True),
        *swatches,
        _text(left + 42 + len(_HEAT) * 24, top + 11, _short(most), soft=True),
    ]


def interval(value: float, low: float, high: float, says: str, *, floor: float | None = None) -> str:
    """A share 0..1 with its interval as a small bar for a table's cell; ``floor`` is a line across it."""
    width, height, middle = 160, 18, 9

    def at(share: float) -> float:
        return 4 + (width - 8) * share

    parts = [f'<line x1="{at(0)}" x2="{at(1)}" y1="{middle}" y2="{middle}" class="grid" stroke="{_LINE}"/>']
    if floor is not None:
        parts.append(f'<line x1="{at(floor):.1f}" x2="{at(floor):.1f}" y1="1" y2="{height - 1}" class="c-red line" '
                     f'stroke="{RED}" stroke-dasharray="2 2"/>')  # fmt: skip
    parts += [
        _rect(at(low), middle - 3, max(1.0, at(high) - at(low)), 6, "blue", says, opacity=0.35),
        f'<circle cx="{at(value):.1f}" cy="{middle}" r="3.5" class="c-blue" fill="{BLUE}"/>',
    ]
    return (
        f'<svg class="interval" role="img" aria-label="{escape(says)}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" xmlns="http://www.w3.org/2000/svg"><title>{escape(says)}</title>{"".join(parts)}</svg>'
    )


# ---- parts


def _svg(title: str, says: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height:.0f}" font-family="{escape(FONT)}" '
        f'font-size="{_TEXT}" xmlns="http://www.w3.org/2000/svg"><title>{escape(title)}</title>'
        f"<desc>{escape(says)}</desc>{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", soft: bool = False) -> str:
    fill, named = (_SOFT, "soft") if soft else (_INK, "ink")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{named}" fill="{fill}">{escape(text)}</text>'


def _slanted(x: float, y: float, text: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="end" class="ink" fill="{_INK}" '
        f'transform="rotate(-40 {x:.1f} {y:.1f})">{escape(text)}</text>'
    )


def _rect(  # noqa: PLR0917 (x, y, width, height: the order that SVG has)
    x: float, y: float, width: float, height: float, colour: str, said: str, *, opacity: float = 1.0
) -> str:
    pale = f' fill-opacity="{opacity}"' if opacity < 1 else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{max(0.0, height):.1f}" rx="1.5" '
        f'class="c-{colour}" fill="{_COLOURS[colour]}"{pale}><title>{escape(said)}</title></rect>'
    )


def _mark(number: int, x: float, y: float, colour: str, said: str) -> str:
    """A point; of the second series a square, of the third a triangle."""
    fill = f'class="c-{colour}" fill="{_COLOURS[colour]}"'
    shape = (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" {fill}>',
        f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" {fill}>',
        f'<path d="M{x:.1f} {y - 4:.1f} l4 7 h-8 z" {fill}>',
    )[number % 3]
    end = ("</circle>", "</rect>", "</path>")[number % 3]
    return f"{shape}<title>{escape(said)}</title>{end}"


def _axis(low: float, high: float, height: float, *, unit: str = "", deep: float = _BOTTOM) -> list[str]:
    y = _scale(low, high, height, deep=deep)
    parts = []
    for tick in range(5):
        value = low + (high - low) * tick / 4
        parts += [
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" class="grid" '
            f'stroke="{_LINE}" stroke-width="1"/>',
            _text(_LEFT - 6, y(value) + 4, f"{_short(value)}{unit}", anchor="end", soft=True),
        ]
    return parts


def _labels(labels: Sequence[str], x: Callable[[int], float], height: float) -> list[str]:
    """As many as fit beside each other."""
    widest = max((_width(label) for label in labels), default=1)
    fit = max(1, int((WIDTH - _LEFT - _RIGHT) / (widest + 14)))
    every = max(1, math.ceil(len(labels) / fit))
    return [
        _text(x(at), height - _BOTTOM + 18, label, anchor="middle", soft=True)
        for at, label in enumerate(labels)
        if at % every == 0
    ]


def _legend(series: Sequence[Series], *, shapes: bool = False) -> list[str]:
    parts, at = [], float(_LEFT)
    for number, one in enumerate(series):
        swatch = (
            _mark(number, at + 5, 6, one.colour, one.title) if shapes else _rect(at, 1, 10, 10, one.colour, one.title)
        )
        parts += [swatch, _text(at + 15, 10, one.title, soft=True)]
        at += _width(one.title) + 34
    return parts


def _colour(series: Series) -> str:
    return _COLOURS[series.colour]


def _spread(n: int) -> Callable[[int], float]:
    """Where the n places of an axis are."""
    room = WIDTH - _LEFT - _RIGHT
    return lambda at: _LEFT + room * (at + 0.5) / max(1, n)


def _scale(low: float, high: float, height: float, *, deep: float = _BOTTOM) -> Callable[[float], float]:
    top, bottom = _TOP + 6, height - deep
    return lambda value: bottom - (bottom - top) * (value - low) / (high - low or 1)


def _nice(most: float) -> float:
    """A round number from which on an axis of four steps has whole ticks.

    >>> [_nice(most) for most in (3, 17, 260, 1900)]
    [4, 20, 320, 2000]
    """
    size: float = 10 ** math.floor(math.log10(max(1, most)))
    steps = (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10)
    return next((step * size for step in steps if step * size >= most and step * size % 4 == 0), 4)


def _short(value: float) -> str:
    """
    >>> _short(85.0), _short(12.345), _short(0.456)
    ('85', '12.3', '0.46')
    """
    if float(value).is_integer():
        return str(int(value))
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _width(text: str) -> float:
    """About how wide a text is drawn: Han characters as wide as high, others half."""
    return sum(_TEXT if ord(character) > 0x2E7F else _TEXT * 0.58 for character in text)


def _cut(text: str, most: int) -> str:
    return text if _width(text) <= most * _TEXT else text[: most - 1] + "…"
