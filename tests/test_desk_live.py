"""Live calls for who is logged in at the desk: everybody what is theirs, and calls that end go into the store."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from httpx import Response
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from analyzer.live.hub import Hub
from analyzer.serve import gate
from analyzer.serve.app import create_app
from analyzer.serve.audit import AUDIT
from analyzer.serve.imports import Importer
from analyzer.store import users
from analyzer.store.tables import AuditEntry, Call
from tests.databases import NewDatabase
from tests.desk_stage import AGENT_ID, BASE, OTHER_AGENT_ID, TOKEN, Stage, open_stage
from tests.serving import HELLO, a_hub, drained, frames, speech, text, until, web_folder


@pytest.fixture
def stage(new_database: NewDatabase, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, new_database(tmp_path)) as stage:
        yield stage


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with a_hub(tmp_path) as hub:
        yield hub


@dataclass
class Live:
    """One client that runs the server, and the headers of everybody's browser."""

    client: TestClient
    stage: Stage

    def headers(self, name: str | None) -> dict[str, str]:
        if name is None:
            return {}
        theirs = self.stage.client(name)
        if name == "service":
            return {"authorization": theirs.headers["authorization"]}
        cookie = f"analyzer_session={theirs.cookies['analyzer_session']}"
        return {"cookie": cookie, "x-csrf-token": theirs.headers["x-csrf-token"]}

    def get(self, path: str, name: str | None) -> Response:
        return self.client.get(path, headers=self.headers(name), follow_redirects=False)

    def whisper(self, headers: dict[str, str], **sent: str) -> Response:
        return self.client.post("/api/calls/c1/whisper", json={"text": "慢一点说", **sent}, headers=headers)


@pytest.fixture
def live(stage: Stage, hub: Hub, tmp_path: Path) -> Iterator[Live]:
    app = create_app(hub, token=TOKEN, web=web_folder(tmp_path), review=stage.desk)
    with TestClient(app, base_url=BASE) as client:
        yield Live(client, stage)


@pytest.fixture
def call(live: Live) -> Iterator[None]:
    """A running call of the agent 3017, named c1."""
    with live.client.websocket_connect("/live/c1/audio") as socket:
        socket.send_text(text({**HELLO, "token": TOKEN, "metadata": {"agent_id": AGENT_ID}}))
        assert socket.receive_json()["type"] == "ready"
        yield


@pytest.mark.usefixtures("call")
@pytest.mark.parametrize("path", ["/api/calls/c1", "/api/calls/c1/events"])
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("agent", 200),
        ("other_agent", 404),
        ("reviewer", 200),
        ("lead", 200),
        ("admin", 200),
        ("service", 200),
        (None, 401),
    ],
)
def test_a_running_call_is_seen_by_its_agent_and_by_qa(live: Live, name: str | None, status: int, path: str) -> None:
    assert live.get(path, name).status_code == status


@pytest.mark.usefixtures("call")
@pytest.mark.parametrize(("name", "count"), [("agent", 1), ("other_agent", 0), ("lead", 1)])
def test_the_list_of_running_calls_holds_only_what_is_theirs(live: Live, name: str, count: int) -> None:
    assert len(live.get(f"/api/calls?agent_id={AGENT_ID}", name).json()["calls"]) == count


@pytest.mark.usefixtures("call")
@pytest.mark.parametrize(
    ("path", "name", "code"),
    [
        ("/live/c1/events", "agent", None), ("/live/c1/events", "other_agent", 4404), ("/live/c1/events", "lead", None),
        ("/live/calls", "agent", 4403), ("/live/calls", "reviewer", None), ("/live/calls", "service", None),
    ],
)  # fmt: skip
def test_streams_open_to_whom_they_are_for(live: Live, path: str, name: str, code: int | None) -> None:
    if code is None:
        with live.client.websocket_connect(path, headers=live.headers(name)) as socket:
            socket.receive_json()
        return
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        live.client.websocket_connect(path, headers=live.headers(name)) as socket,
    ):
        socket.receive_json()
    assert refused.value.code == code


def test_a_login_sends_no_audio(live: Live) -> None:
    with live.client.websocket_connect("/live/c2/audio", headers=live.headers("admin")) as socket:
        socket.send_text(text({**HELLO, "token": "wrong"}))
        assert socket.receive_json()["code"] == "unauthorised"


@pytest.mark.usefixtures("call")
def test_a_whisper_carries_the_name_of_who_is_logged_in(live: Live, hub: Hub) -> None:
    answer = live.whisper(live.headers("lead"), sender="总经理")
    assert answer.status_code == 201
    number = live.stage.users["lead"].id
    noted, sent = [json.loads(line) for line in (hub.run.path / AUDIT).read_text(encoding="utf-8").splitlines()]
    assert (noted["event"], noted["by"], noted["sender"]) == ("whisper_asked", f"user:{number}", "李主管")
    assert (sent["event"], sent["whisper"]) == ("whisper_sent", noted["whisper"])
    with live.stage.store.reading() as session:
        entry = session.scalars(select(AuditEntry)).one()
        told = (entry.actor, entry.action, entry.object, entry.details)
    assert told == (f"user:{number}", "whisper.asked", "live:c1", {"whisper": answer.json()["id"]})


@pytest.mark.usefixtures("call")
def test_a_whisper_that_the_desk_s_audit_cannot_hold_is_not_sent(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OperationalError("INSERT", {}, Exception("disk full"))

    lead = live.headers("lead")
    with monkeypatch.context() as patch:
        patch.setattr("analyzer.serve.whispers.audit.append", fails)
        answer = live.whisper(lead)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_stored")
    events = live.client.get("/api/calls/c1/events", headers=lead).json()["events"]
    assert not any(event["type"] == "whisper" for event in events)


@pytest.mark.usefixtures("call")
def test_only_supervisors_whisper_and_only_from_our_own_pages(live: Live) -> None:
    assert live.whisper(live.headers("agent")).status_code == 403
    answer = live.whisper({"cookie": live.headers("lead")["cookie"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf")


@pytest.mark.usefixtures("call")
def test_a_supervisor_s_stream_does_not_count_as_the_agent_s_screen(live: Live) -> None:
    lead = live.headers("lead")
    live.whisper(lead)
    with live.client.websocket_connect("/live/c1/events?viewer=overlay", headers=lead) as socket:
        while socket.receive_json()["type"] != "whisper":
            pass
    events = live.client.get("/api/calls/c1/events", headers=lead).json()["events"]
    assert [event["state"] for event in events if event["type"] == "whisper"] == ["sent"]


@pytest.mark.parametrize("path", ["/live/c1/events", "/live/calls"])
@pytest.mark.usefixtures("call")
def test_an_open_stream_ends_soon_after_its_login(live: Live, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "LOOK_S", 0.05)
    with live.client.websocket_connect(path, headers=live.headers("lead")) as socket:
        live.stage.clock.pass_(minutes=29)  # watching is use
        time.sleep(0.3)
        live.stage.clock.pass_(minutes=29)
        socket.receive_json()
        with live.stage.store.writing() as session:
            users.end_logins(session, live.stage.users["lead"].id)
        _, code = drained(socket)
    assert code == 4401


@pytest.mark.parametrize(
    ("path", "name", "status", "where"),
    [
        ("/overlay", "agent", 303, f"/overlay?agent={AGENT_ID}"),
        (f"/overlay?agent={OTHER_AGENT_ID}", "agent", 303, f"/overlay?agent={AGENT_ID}"),
        (f"/overlay?agent={AGENT_ID}", "agent", 200, None),
        ("/overlay", "lead", 403, None),
        ("/supervisor", "lead", 200, None),
        ("/supervisor", "agent", 403, None),
        ("/supervisor", None, 303, "/login?next=/supervisor"),
        ("/supervisor", "service", 200, None),
        ("/", "service", 303, "/supervisor"),
        ("/", "agent", 303, "/my"),
        ("/", "lead", 303, "/calls"),
        ("/", None, 303, "/login"),
    ],
)
def test_pages_open_to_whom_they_are_for(
    live: Live, path: str, name: str | None, status: int, where: str | None
) -> None:
    answer = live.get(path, name)
    assert (answer.status_code, answer.headers.get("location")) == (status, where)


def test_a_page_still_opens_with_the_token_in_its_address(live: Live) -> None:
    answer = live.get(f"/overlay?agent={AGENT_ID}&token={TOKEN}", None)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/overlay?agent={AGENT_ID}")
    assert "analyzer_token" in answer.headers["set-cookie"]


def test_who_logged_in_is_that_person_even_where_the_token_s_cookie_is_left(live: Live) -> None:
    both = live.headers("agent")
    both["cookie"] += f"; analyzer_token={TOKEN}"
    assert live.client.get("/supervisor", headers=both).status_code == 403
    assert live.client.get("/supervisor", headers={"cookie": f"analyzer_token={TOKEN}"}).status_code == 200


# ---- into the store


def _speak(hub: Hub, call_id: str) -> None:
    """A call of three seconds, sent to its end."""
    with (
        TestClient(create_app(hub, token=TOKEN)) as client,
        client.websocket_connect(f"/live/{call_id}/audio") as socket,
    ):
        socket.send_text(text({**HELLO, "token": TOKEN}))
        for frame in frames(speech(3)):
            socket.send_bytes(frame)
        socket.send_text(text({"type": "end"}))
        until(lambda: hub.report(call_id) is not None)


def _stored(stage: Stage) -> set[str]:
    with stage.store.reading() as session:
        return set(session.scalars(select(Call.call_id)))


def test_calls_go_into_the_store_when_they_end_and_what_was_left_before_at_the_start(
    stage: Stage, tmp_path: Path
) -> None:
    importer = Importer(stage.desk, tmp_path / "run")
    with a_hub(tmp_path, on_end=importer.wake) as hub:
        _speak(hub, "before")
        importer.start()
        until(lambda: _stored(stage) == {"before"})
        _speak(hub, "c1")
        until(lambda: _stored(stage) == {"before", "c1"})
        _speak(hub, "last")
        importer.stop(20)
    assert _stored(stage) == {"before", "c1", "last"}


def test_what_cannot_be_imported_is_logged(stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    importer = Importer(stage.desk, tmp_path / "nowhere")
    importer.start()
    importer.stop(20)
    assert "not imported into the review desk" in caplog.text
