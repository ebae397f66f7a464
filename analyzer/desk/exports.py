"""Figures as a file to take away: ``GET /api/desk/export``. Only for leads and admins, and noted in the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from analyzer.desk.access import Principal, allow
from analyzer.desk.insight import WorthPeriod, collect_all, floor_of
from analyzer.desk.problems import Problem, errors
from analyzer.desk.review_desk import ReviewDesk
from analyzer.errors import ConfigError
from analyzer.store import audit
from analyzer.web.booklet import WRITERS

Format = Literal["csv", "xlsx", "html", "pdf"]
_TYPES = {
    "csv": "text/csv; charset=utf-8", "html": "text/html; charset=utf-8", "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}  # fmt: skip


class Asked(WorthPeriod):
    """``format`` of the file: csv, xlsx, html or pdf."""

    format_: Format = Field("xlsx", alias="format")


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get(
        "/api/desk/export",
        tags=["insight"],
        response_class=Response,
        responses={200: {"content": {kind.partition(";")[0]: {} for kind in _TYPES.values()}}, **errors(401, 403, 422)},
    )
    def export(
        who: Annotated[Principal, Depends(allow("lead", "admin"))],
        asked: Annotated[Asked, Query()],
    ) -> Response:
        """Trends and what the rules are worth, as a file. It holds sums, and nothing that was said."""
        at = desk.clock()
        found = collect_all(desk, who, asked, floor_of(desk, asked))
        try:
            body = WRITERS[asked.format_](found, f"{at.astimezone():%Y-%m-%d %H:%M} 由 {who.display_name} 导出")
        except ConfigError:
            raise Problem(422, "服务器没有安装 PDF 组件（pip install 'analyzer[pdf]'），请选其他格式") from None
        with desk.store.writing() as session:
            audit.append(
                session, f"user:{who.user_id}", "figures.exported", "figures:trends",
                {"format": asked.format_, "calls": found.total.calls}, at=at,
            )  # fmt: skip
        name = f"analyzer-{at.astimezone():%Y%m%d}.{asked.format_}"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(body, media_type=_TYPES[asked.format_], headers=headers)
