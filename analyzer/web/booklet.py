"""Figures as one file to hand on: HTML that needs nothing beside it, a workbook, a PDF, or rows of CSV.

Nothing in them was said by anybody: they hold sums, and the names of rules, teams and agents.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from analyzer.errors import ConfigError
from analyzer.review.trends import Figures
from analyzer.web import FOLDER, charts
from analyzer.web.group_sections import group_sections, movement_section, share_section, stand_out_section
from analyzer.web.sections import (
    Section,
    Value,
    estimate,
    headlines,
    kpi_section,
    scope_words,
    sections,
    worth_section,
)

TITLE = "质检报告"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_CHARTS = {  # of the workbook: kind, and which columns of the section's table are drawn
    "scores": ("line", (2,)), "verdicts": ("column", (2, 3, 4)), "pareto": ("column", (3,)), "teams": ("bar", (2,)),
    "agents": ("bar", (2,)), "funnel": ("bar", (3,)), "rates": ("column", (1,)), "appeals": ("column", (1, 2, 3)),
}  # fmt: skip
_STACKED = ("verdicts", "appeals")
_CATEGORY = 0
_MOST_CHARTED = 40

_environment = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


def parts_of(figures: Figures) -> list[Section]:
    """Everything there is, in the order in which it is read."""
    first = (stand_out_section(figures), movement_section(figures))
    last = (share_section(figures), worth_section(figures.worth), kpi_section(figures))
    made = (*first, *group_sections(figures), *sections(figures), *last)
    return [section for section in made if section is not None]


def as_html(figures: Figures, *, made: str) -> str:
    """One page with its styles and charts in it. ``made``: when and from what, for its foot."""
    styles = [(FOLDER / "static" / "desk" / name).read_text(encoding="utf-8") for name in ("booklet.css", "charts.css")]
    return _environment.get_template("booklet.html").render(
        title=TITLE, scope=scope_words(figures), made=made, headlines=headlines(figures), sections=parts_of(figures),
        styles=_markup("\n".join(styles)), svg=_markup, worth=figures.worth, interval=_interval, estimate=estimate,
        agreement=figures.agreement,
    )  # fmt: skip


def _interval(share: Any) -> Markup:
    if share.value is None or share.low is None or share.high is None:
        return Markup("")
    return _markup(charts.interval(share.value, share.low, share.high, estimate(share)))


def _markup(ours: str) -> Markup:
    """Our own style sheets and charts; what charts say is escaped in them."""
    return Markup(ours)  # noqa: S704 (not out of data)


def as_pdf(figures: Figures, *, made: str) -> bytes:
    """The same, printed; Chinese fonts of this machine are embedded.

    raises  ConfigError without WeasyPrint or the libraries it needs
    """
    try:
        from weasyprint import HTML  # noqa: PLC0415 (an extra, and slow to import)
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"PDF needs WeasyPrint ({error}); pip install '.[pdf]' in the checkout, and Pango and a Chinese font on "
            "the system (Debian: apt install libpango-1.0-0 libpangoft2-1.0-0 fonts-noto-cjk)"
        ) from None
    printed: bytes = HTML(string=as_html(figures, made=made), url_fetcher=_refused).write_pdf()
    return printed


def lacks(format_: str) -> str | None:
    """What this machine lacks to write this format, in Chinese; None if nothing."""
    if format_ == "pdf" and find_spec("weasyprint") is None:
        return "服务器没有安装 PDF 组件（pip install '.[pdf]'（在源码目录）），请选其他格式"
    return None


def _refused(url: str, *_: object, **__: object) -> Any:
    raise ValueError(f"nothing is loaded from outside: {url}")


def as_csv(figures: Figures) -> str:
    """Every table below each other, with a heading line each; begins with a byte order mark, as Excel needs it."""
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow([TITLE, scope_words(figures)])
    for section in parts_of(figures):
        rows.writerow([])
        rows.writerow([section.title])
        rows.writerow(section.head)
        rows.writerows([_inert(cell) for cell in row] for row in section.rows)
    return "\ufeff" + out.getvalue()


def _inert(cell: Value) -> Value:
    """A cell that no spreadsheet calculates.

    >>> _inert("=1+1"), _inert(-3)
    ("'=1+1", -3)
    """
    is_formula = isinstance(cell, str) and cell.lstrip().startswith(_FORMULA_STARTS)
    return f"'{cell}" if is_formula else cell


# ---- workbook


def as_xlsx(figures: Figures) -> bytes:
    """A sheet per section with its table and a chart of it; text stays text."""
    import xlsxwriter  # noqa: PLC0415 (slow to import)

    out = io.BytesIO()
    as_text = dict.fromkeys(("strings_to_formulas", "strings_to_urls", "strings_to_numbers"), False)
    book = xlsxwriter.Workbook(out, {"in_memory": True, **as_text})
    look = {
        "title": book.add_format({"bold": True, "font_size": 14}),
        "head": book.add_format({"bold": True, "bg_color": "#DDE7F3", "text_wrap": True, "valign": "top"}),
        "text": book.add_format({"quote_prefix": True, "num_format": "@"}),
        "percent": book.add_format({"num_format": "0.0%"}),
        "plain": book.add_format({}),
    }
    _write_summary(book.add_worksheet("概览"), figures, look)
    for section in parts_of(figures):
        _write_section(book, section, look)
    book.close()
    return out.getvalue()


def _write_summary(sheet: Any, figures: Figures, look: dict[str, Any]) -> None:
    sheet.set_column(0, 0, 16)
    sheet.set_column(1, 2, 30)
    sheet.write_string(0, 0, TITLE, look["title"])
    sheet.write_string(1, 0, scope_words(figures), look["plain"])
    for at, line in enumerate(headlines(figures), 3):
        for column, text in enumerate((line.label, line.value, line.note)):
            sheet.write_string(at, column, text, look["text"])


def _write_section(book: Any, section: Section, look: dict[str, Any]) -> None:
    sheet = book.add_worksheet(section.title)
    sheet.write_string(0, 0, section.says, look["plain"])
    for column, title in enumerate(section.head):
        sheet.write_string(2, column, title, look["head"])
        sheet.set_column(
            column, column, max(9, 2.2 * len(title), *(1.3 * len(str(row[column])) for row in section.rows))
        )
    for number, row in enumerate(section.rows, 3):
        for column, value in enumerate(row):
            _write(
                sheet, number, column, value, look["percent" if column in section.percent else "plain"], look["text"]
            )
    sheet.freeze_panes(3, 1)
    sheet.autofilter(2, 0, 2 + len(section.rows), len(section.head) - 1)
    if section.key in _CHARTS:
        sheet.insert_chart(2, len(section.head) + 1, _chart(book, section), {"x_scale": 1.4, "y_scale": 1.3})


def _write(sheet: Any, *place: Any) -> None:
    number, column, value, as_number, as_text = place
    if isinstance(value, str):
        sheet.write_string(number, column, value, as_text)
    elif value is not None:
        sheet.write_number(number, column, value, as_number)


def _chart(book: Any, section: Section) -> Any:
    kind, columns = _CHARTS[section.key]
    stacked = {"subtype": "percent_stacked"} if section.key in _STACKED else {}
    chart = book.add_chart({"type": kind, **stacked})
    last = 2 + min(len(section.rows), _MOST_CHARTED)
    for at, column in enumerate(columns):
        chart.add_series({
            "name": [section.title, 2, column],
            "categories": [section.title, 3, _CATEGORY, last, _CATEGORY],
            "values": [section.title, 3, column, last, column],
            "fill": {"color": _palette(section)[at]},
            "line": {"color": _palette(section)[at]},
        })  # fmt: skip
    chart.set_title({"name": section.title})
    if len(columns) == 1:
        chart.set_legend({"none": True})
    if kind == "bar":
        chart.set_y_axis({"reverse": True})
    return chart


def _palette(section: Section) -> Sequence[str]:
    if section.key == "appeals":
        return charts.ORANGE, charts.BLUE, charts.GREY
    return charts.BLUE, charts.ORANGE, charts.RED


WRITERS: dict[str, Callable[[Figures, str], bytes]] = {
    "html": lambda figures, made: as_html(figures, made=made).encode(),
    "csv": lambda figures, made: as_csv(figures).encode(),
    "xlsx": lambda figures, made: as_xlsx(figures),
    "pdf": lambda figures, made: as_pdf(figures, made=made),
}
