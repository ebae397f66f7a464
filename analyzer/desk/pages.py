"""Pages: Jinja2 templates in ``analyzer/web/templates``, all within ``base.html``."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request

from analyzer.desk.access import Principal
from analyzer.desk.review_desk import ReviewDesk
from analyzer.web import FOLDER

_environment = Environment(
    loader=FileSystemLoader(FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_ROLE_NAMES = {"agent": "坐席", "reviewer": "质检员", "lead": "质检主管", "admin": "管理员", "service": "系统接口"}
_environment.globals["role_names"] = _ROLE_NAMES


def moment(at: datetime) -> str:
    """A moment of the clock where this machine stands, as 10-12 09:30; with its year if that is another one."""
    local = at.astimezone()
    return f"{local:%m-%d %H:%M}" if local.year == datetime.now().astimezone().year else f"{local:%Y-%m-%d %H:%M}"


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

    The templates know ``who`` (None: not logged in), ``navigation`` (title, path, whether it is here) and ``path``.
    """
    desk: ReviewDesk = request.app.state.review_desk
    path = request.url.path
    entries = [
        (title, where, path == where or path.startswith(f"{where}/"))
        for title, where, roles in desk.navigation
        if who is not None and who.role in roles
    ]
    html = _environment.get_template(f"{name}.html").render(who=who, navigation=entries, path=path, **context)
    return HTMLResponse(html, status)


_environment.filters |= {"moment": moment, "clock": length, "score": score}
