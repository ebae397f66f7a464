"""Every route and every role, as the routes themselves say and as the server answers.

A route that somebody adds is tested without a word here, but not before its line stands in the table of docs/desk.md;
a new kind of object in an address has to be named in ``OBJECTS``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import select
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from analyzer.store.importing import import_run
from analyzer.store.tables import Appeal, Call, Finding
from tests.access_table import ROLES, Access, documented, routes_of, table, whole_server
from tests.desk_calls import sample_reports, write_run
from tests.desk_stage import AGENT_ID, Stage
from tests.sounds import chirps, write_sound

SECRET = "secret-call-of-3017"  # in no answer to anybody else's agent
NOT_SHARED = "call-not-shared"
OF_CALLS = ("call_pk", "finding_id", "appeal_id")  # what belongs to one agent's call
HTML = {"accept": "text/html,*/*"}


class Server:
    """The whole server with a call of the agent 3017 that was shared and appealed, and one that was not shared."""

    def __init__(self, stage: Stage, objects: dict[str, Any]) -> None:
        self.stage, self.objects = stage, objects
        self.routes = routes_of(stage.app)
        self._runs = TestClient(stage.app, base_url="http://127.0.0.1:8765")

    def filled(self, route: Access, **other: Any) -> str:
        objects = {**self.objects, **other}
        unknown = set(re.findall(r"{(\w+)", route.path)) - objects.keys()
        if "agent" not in route.roles:  # what is no agent's business needs no owner; rights come before objects
            objects |= dict.fromkeys(unknown, 999)
            unknown = set()
        assert not unknown, f"{route.path}: say in OBJECTS or OF_CALLS what {unknown} is"
        return re.sub(r"{(\w+)(?::\w+)?}", lambda found: str(objects[found[1]]), route.path)

    def ask(self, route: Access, name: str | None, body: Any = None, **other: Any) -> Response:
        client = self.stage.client(name, raise_server_exceptions=False)
        path = self.filled(route, **other)
        if route.method in ("POST", "PUT", "PATCH"):
            return client.request(route.method, path, json=body or {})
        return client.request(route.method, path)


# What an address that agents may use names, where it is not of one call.
OBJECTS = {"rule": "banned_phrase", "call_id": "c1", "name": "live", "verdict": "take"}

# What an agent may send about a call, well formed: to somebody else's it must not matter.
BODIES = {
    "/api/desk/calls/{call_pk}/actions": {"action": "acknowledge"},
    "/api/desk/calls/{call_pk}/comments": {"text": "请再听一遍"},
    "/api/desk/findings/{finding_id}/appeal": {"text": "客户听错了"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("matrix")
    with whole_server(folder) as stage:
        yield Server(stage, {**OBJECTS, **_call(stage, folder)})


def _call(stage: Stage, folder: Path) -> dict[str, Any]:
    with_findings = [dict(one) for one in sample_reports() if any(rule["findings"] for rule in one["rules"])]
    shared, other = with_findings[:2]
    for report, name in ((shared, SECRET), (other, NOT_SHARED)):
        report |= {"call_id": name, "metadata": {**report["metadata"], "agent_id": AGENT_ID}}
    sounds = {name: write_sound(folder / f"{name}.wav", chirps(12, [1.0]), chirps(12, [5.0])) for name in
              (SECRET, NOT_SHARED)}  # fmt: skip
    import_run(stage.store, write_run(folder / "run", [shared, other], sounds))
    with stage.store.writing() as session:
        call = session.scalars(select(Call).where(Call.call_id == SECRET)).one()
        call.shared_at = stage.clock()
        finding = session.scalars(select(Finding).where(Finding.call_pk == call.id)).first()
        assert finding is not None
        appeal = Appeal(call_pk=call.id, finding_id=finding.id, by_id=stage.users["agent"].id, text=SECRET,
                        at=stage.clock())  # fmt: skip
        session.add(appeal)
        session.flush()
        return {"call_pk": call.id, "finding_id": finding.id, "appeal_id": appeal.id}


def _problems(server: Server, name: str | None, expected: Any) -> list[tuple[str, str, int]]:
    """The routes that answer this person otherwise than ``expected(route, answer)``."""
    wrong = []
    for route in server.routes:
        if route.method == "WS":
            continue
        answer = server.ask(route, name)
        if answer.status_code >= 500 or not expected(route, answer):
            wrong.append((route.method, route.path, answer.status_code))
    return wrong


def test_the_table_of_the_documentation_is_that_of_the_routes(server: Server) -> None:
    assert documented() == table(server.stage.app), "look at the change, then: python -m tests.access_table"


def test_whoever_is_not_logged_in_gets_nothing_but_the_door(server: Server) -> None:
    def expected(route: Access, answer: Response) -> bool:
        if route.is_public:
            return answer.status_code != 401 or route.path == "/login"
        if route.path.startswith(("/api/", "/schemas/", "/asyncapi", "/metrics")):
            told = answer.status_code == 401 and answer.headers["content-type"] == "application/json"
            return told and (route.method == "HEAD" or answer.json()["code"] == "unauthorised")
        return answer.status_code == 303 and answer.headers["location"].startswith("/login")

    assert _problems(server, None, expected) == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_the_routes_say_and_nothing_else(server: Server, role: str) -> None:
    def expected(route: Access, answer: Response) -> bool:
        is_refused = answer.status_code in (401, 403) and route.path != "/login"
        return is_refused != (route.is_public or role in route.roles)

    assert _problems(server, role, expected) == []


@pytest.mark.parametrize("role", [None, *ROLES])
def test_streams_open_as_the_routes_say(server: Server, role: str | None) -> None:
    streams = [route for route in server.routes if route.method == "WS"]
    assert len(streams) >= 5
    for route in streams:
        client, code = server.stage.client(role), 0
        try:
            with client.websocket_connect(server.filled(route)):
                pass
        except WebSocketDisconnect as refused:
            code = refused.code
        if route.is_public:
            assert code not in (4401, 4403), route.path
        else:
            expected = 4401 if role is None else 0 if role in route.roles else 4403
            assert code in ((0, 4404) if expected == 0 else (expected,)), (route.path, code)


def _of_calls(server: Server) -> list[Access]:
    return [one for one in server.routes if "agent" in one.roles and any(f"{{{name}" in one.path for name in OF_CALLS)]


def test_an_agent_gets_their_own_call_and_nobody_else_s(server: Server) -> None:
    routes = [route for route in _of_calls(server) if route.method in ("GET", "HEAD")]
    assert len(routes) >= 5
    for route in routes:
        assert server.ask(route, "agent").status_code == 200, route
        assert server.ask(route, "other_agent").status_code == 404, route


def test_an_agent_changes_nothing_of_somebody_else_s_call(server: Server) -> None:
    routes = [route for route in _of_calls(server) if route.method not in ("GET", "HEAD")]
    assert len(routes) >= 3
    for route in routes:
        assert server.ask(route, "other_agent", BODIES[route.path]).status_code == 404, route
    for route in routes:  # so there was something to change, and it was well asked
        assert server.ask(route, "agent", BODIES[route.path]).status_code in (200, 201, 409), route


def test_an_agent_does_not_get_a_call_before_it_is_shared(server: Server) -> None:
    with server.stage.store.reading() as session:
        call = session.scalars(select(Call.id).where(Call.call_id == NOT_SHARED)).one()
        finding = session.scalars(select(Finding.id).where(Finding.call_pk == call)).first()
    for route in _of_calls(server):
        if route.method in ("GET", "HEAD") and "{appeal_id" not in route.path:
            assert server.ask(route, "agent", call_pk=call, finding_id=finding).status_code == 404, route


def test_no_list_shows_an_agent_what_is_of_others(server: Server) -> None:
    shown = 0
    for route in server.routes:
        if route.method != "GET" or "agent" not in route.roles or any(f"{{{name}" in route.path for name in OF_CALLS):
            continue
        shown += SECRET in server.ask(route, "agent").text
        assert SECRET not in server.ask(route, "other_agent").text, route
    assert shown >= 2  # so it is there to be seen


def test_what_is_not_there_and_what_is_not_theirs_look_alike(server: Server) -> None:
    for route in _of_calls(server):
        if route.method == "GET":
            nothing = server.ask(route, "other_agent", **dict.fromkeys(OF_CALLS, 2**31 - 1))
            theirs = server.ask(route, "other_agent")
            assert (theirs.status_code, theirs.content) == (nothing.status_code, nothing.content), route
