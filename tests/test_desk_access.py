"""Who gets in, as whom, and to what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI

from analyzer.desk.access import allow, check_routes
from tests.databases import NewDatabase
from tests.desk_stage import Stage, open_stage


@pytest.fixture
def stage(new_database: NewDatabase, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, new_database(tmp_path)) as stage:
        yield stage


def test_who_is_logged_in_is_who_they_are(stage: Stage) -> None:
    me = stage.client("lead").get("/api/desk/me")
    assert (me.status_code, me.json()["role"], me.json()["display_name"]) == (200, "lead", "李主管")


def test_who_is_not_logged_in_gets_401_or_the_login_page(stage: Stage) -> None:
    answer = stage.client().get("/api/desk/me")
    assert (answer.status_code, answer.json()) == (401, {"code": "unauthorised", "message": "请先登录"})
    page = stage.client().get("/calls?agent=3017&state=auto")
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/calls%3Fagent%3D3017%26state%3Dauto")


def test_the_server_s_token_is_no_person(stage: Stage) -> None:
    answer = stage.client("service").get("/api/desk/me")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_login_ends_when_it_is_not_used_or_too_old(stage: Stage) -> None:
    client = stage.client("agent")
    for _ in range(24):
        stage.clock.pass_(minutes=29)
        assert client.get("/api/desk/me").status_code == 200
    stage.clock.pass_(minutes=25)  # 12 h 1 min after the login
    assert client.get("/api/desk/me").status_code == 401
    idle = stage.client("agent")
    stage.clock.pass_(minutes=30)
    assert idle.get("/api/desk/me").status_code == 401


def test_a_server_with_a_route_for_nobody_in_particular_does_not_start() -> None:
    app = FastAPI(openapi_url=None)

    @app.get("/fine")
    def fine(who: Annotated[object, Depends(allow("lead"))]) -> None: ...

    check_routes(app.routes)

    @app.get("/forgotten")
    def forgotten() -> None: ...

    with pytest.raises(RuntimeError, match="/forgotten"):
        check_routes(app.routes)
    with pytest.raises(ValueError, match="boss"):
        allow("boss")
