"""Pages: Jinja2 templates in ``analyzer/web/templates``, all within ``base.html``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request

from analyzer.desk.access import Principal
from analyzer.desk.review_desk import Entry, ReviewDesk
from analyzer.desk.words import DESK_WORDS
from analyzer.web import FOLDER

_environment = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_BELONGS = {"/packs": "/rules", "/audits": "/queue", "/admin": "/admin/users"}  # page: entry of the navigation
ROLE_NAMES = {"agent": "坐席", "reviewer": "质检员", "lead": "质检主管", "admin": "管理员", "service": "系统接口"}
_environment.globals |= {"role_names": ROLE_NAMES, "desk_words": DESK_WORDS}


def moment(at: datetime) -> str:
    """A moment of the clock where this machine stands, as 10-12 09:30; with its year if that is another one."""
    local = at.astimezone()
    return f"{local:%m-%d %H:%M}" if local.year == datetime.now().astimezone().year else f"{local:%Y-%m-%d %H:%M}"


def second(at: str) -> str:
    """A moment of the audit log (ISO 8601) where this machine stands, to the second.

    >>> len(second("2026-03-02T09:00:00.000000Z"))
    19
    """
    return f"{datetime.fromisoformat(at).astimezone():%Y-%m-%d %H:%M:%S}"


def length(ms: int) -> str:
    """
    >>> length(62_349), length(7_200_000)
    ('01:02', '2:00:00')
    """
    seconds = ms // 1000
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes:02d}:{seconds % 60:02d}"


def score(value: float | None) -> str:
    """
    >>> score(86.0), score(74.8), score(None)
    ('86', '74.8', '无')
    """
    return "无" if value is None else f"{value:g}"


def page(request: Request, name: str, who: Principal | None, *, status: int = 200, **context: Any) -> HTMLResponse:
    """The page ``templates/NAME.html`` for this person.

    The templates know ``who`` (None: not logged in), ``path``, and ``navigation`` and ``administration``: title, path
    and whether it is here.
    """
    desk: ReviewDesk = request.app.state.review_desk
    path = request.url.path
    html = _environment.get_template(f"{name}.html").render(
        who=who,
        path=path,
        navigation=_shown(desk.navigation, who, path),
        administration=_shown(desk.administration, who, path) if path.startswith("/admin/") else [],
        **context,
    )
    return HTMLResponse(html, status)


def _shown(entries: Sequence[Entry], who: Principal | None, path: str) -> list[tuple[str, str, bool]]:
    role = who.role if who is not None else ""
    return [(one.title, one.path, _is_here(one.path, path, role)) for one in entries if role in one.roles]


def _is_here(entry: str, path: str, role: str) -> bool:
    """Whether the page at ``path`` is the entry's, or below it."""
    top = f"/{path.split('/')[1]}"
    if role == "agent" and top == "/calls":
        return entry == "/my"
    return entry == _BELONGS.get(top, top)


_environment.filters |= {"moment": moment, "second": second, "clock": length, "score": score}
