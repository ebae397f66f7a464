"""Logging in and out, and who one is."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, FastAPI
from pydantic import BaseModel

from analyzer.desk.access import Principal, allow
from analyzer.desk.problems import errors
from analyzer.desk.review_desk import ReviewDesk

Anybody = Annotated[Principal, Depends(allow("agent", "reviewer", "lead", "admin"))]


class Me(BaseModel):
    """``csrf``: the header ``X-CSRF-Token`` of requests that change something."""

    user_id: int | None
    name: str
    display_name: str
    role: str
    agent_id: str | None
    team: str | None
    may_unmask: bool
    csrf: str


def add_routes(app: FastAPI, desk: ReviewDesk) -> None:
    @app.get("/api/desk/me", tags=["desk"], responses=errors(401))
    async def me(who: Anybody) -> Me:
        """Who is logged in."""
        return Me(**{name: getattr(who, name) for name in Me.model_fields})
