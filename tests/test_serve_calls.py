"""A call through the server: audio in, events out, its report in the run folder, a whisper on the way."""

from __future__ import annotations

import json
import re
import struct
import uuid
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from analyzer.live.hub import Hub, Session
from analyzer.serve.app import create_app
from analyzer.serve.asyncapi import asyncapi_document
from analyzer.serve.audit import AUDIT, Audit
from analyzer.serve.metrics import Metrics
from tests.serving import BEARER, HELLO, TOKEN, a_hub, drained, frames, speech, text, until, web_folder


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def hub(tmp_path: Path, metrics: Metrics) -> Iterator[Hub]:
    with a_hub(tmp_path, most_calls=2, metrics=metrics) as hub:
        yield hub


@pytest.fixture
def client(hub: Hub, metrics: Metrics, tmp_path: Path) -> Iterator[TestClient]:
    app = create_app(hub, token=TOKEN, metrics=metrics, web=web_folder(tmp_path))
    with TestClient(app, headers=BEARER) as client:
        yield client


def begin(socket: Any, **changes: Any) -> dict[str, Any]:
    socket.send_text(text({**HELLO, **changes}))
    answer: dict[str, Any] = socket.receive_json()
    return answer


def play(client: TestClient, call_id: str, seconds: float = 8.0) -> list[int]:
    """The whole call; returns how far it was acknowledged, each time."""
    with client.websocket_connect(f"/live/{call_id}/audio") as socket:
        assert begin(socket) == {"type": "ready", "resume_from_ms": 0}
        for frame in frames(speech(seconds)):
            socket.send_bytes(frame)
        return end(socket, metadata={"hung_up_by": "customer"})


def end(socket: Any, **fields: Any) -> list[int]:
    """The call; returns what was acknowledged since. Who leaves a test client before the server does cancels it."""
    socket.send_text(text({"type": "end", **fields}))
    acks, code = drained(socket)
    assert code == 1000
    return [ack["ms"] for ack in acks if ack["type"] == "ack"]


def follow(client: TestClient, call_id: str, query: str = "") -> list[dict[str, Any]]:
    """All events to the end."""
    with client.websocket_connect(f"/live/{call_id}/events{query}", headers=dict(BEARER)) as socket:
        events, code = drained(socket)
    assert code == 1000
    return events


def test_a_call_ends_in_a_scorecard_and_the_same_report_in_the_run_folder(client: TestClient, hub: Hub) -> None:
    acks = play(client, "c1")
    events = follow(client, "c1")
    report = json.loads((hub.run.path / "reports" / "c1.json").read_text(encoding="utf-8"))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["type"] for event in events]
    assert kinds[0] == "call"
    assert "utterance" in kinds
    assert events[-1]["state"] == "ended"
    assert events[-2]["report"] == report
    assert report["metadata"] == {"agent_id": "3017", "hung_up_by": "customer"}
    assert acks[-1] == 8000
    assert all(later - earlier >= 500 for earlier, later in pairwise(acks[:-1]))
    assert 10 <= len(acks) <= 17


def test_a_client_that_comes_back_gets_what_follows_its_last_event(client: TestClient) -> None:
    play(client, "c1")
    events = follow(client, "c1")
    assert follow(client, "c1", "?after=3") == events[3:]
    assert follow(client, "c1", f"?after={len(events)}") == []
    page = client.get("/api/calls/c1/events", params={"after": 2, "limit": 2}).json()
    assert page == {"events": events[2:4], "next": 4}
    assert client.get("/api/calls/c1/events", params={"after": len(events)}).json() == {"events": [], "next": None}


def test_the_call_stands_on_the_board_while_it_runs_and_with_its_report_when_it_is_over(client: TestClient) -> None:
    with client.websocket_connect("/live/c1/audio") as socket:
        begin(socket)
        for frame in frames(speech(2)):
            socket.send_bytes(frame)
        (call,) = client.get("/api/calls", params={"state": "live", "agent_id": "3017"}).json()["calls"]
        assert (call["call_id"], call["state"], call["direction"]) == ("c1", "live", "inbound")
        assert client.get("/api/calls", params={"agent_id": "1"}).json()["calls"] == []
        assert client.get("/api/calls", params={"state": "ended"}).json() == {"calls": [], "next": None}
        with client.websocket_connect("/live/calls", headers=dict(BEARER)) as board:
            assert board.receive_json()["calls"][0]["call_id"] == "c1"
        end(socket)
    follow(client, "c1")
    over = client.get("/api/calls/c1").json()
    assert over["state"] == "ended"
    assert over["report"]["call_id"] == "c1"
    assert over["duration_ms"] == over["report"]["duration_ms"] == 2000
    assert over["score"] == over["report"]["score"]


def test_a_call_of_an_earlier_process_is_found_with_its_report(client: TestClient, hub: Hub) -> None:
    play(client, "c1", seconds=1)
    follow(client, "c1")
    client.get("/api/calls")
    hub._sessions.clear()  # as if started anew
    over = client.get("/api/calls/c1").json()
    assert (over["state"], over["report"]["call_id"]) == ("ended", "c1")


def test_what_is_refused_and_how(client: TestClient, hub: Hub) -> None:
    with client.websocket_connect("/live/c1/audio") as first:
        begin(first)
        assert _refusal(client, "c1")["code"] == "call_busy"
        with client.websocket_connect("/live/c2/audio") as second:
            begin(second)
            assert _refusal(client, "c3")["code"] == "overloaded"
        end(first)
    follow(client, "c1")
    assert _refusal(client, "c1")["code"] == "call_ended"
    assert _refusal(client, "c4", sample_rate=11025)["code"] == "unsupported_rate"
    assert _refusal(client, "c4", encoding="opus")["code"] == "unsupported_encoding"
    assert _refusal(client, "c4", channels=["agent", "agent"])["code"] == "bad_channels"
    assert _refusal(client, "c4", metadata={"ring_ms": "long"})["code"] == "bad_message"
    assert _refusal(client, "x" * 201)["code"] == "bad_message"
    refused = client.get("/metrics").text
    assert 'analyzer_refused_total{code="overloaded"} 1.0' in refused


def _refusal(client: TestClient, call_id: str, **changes: Any) -> dict[str, Any]:
    with client.websocket_connect(f"/live/{call_id}/audio") as socket:
        answer = begin(socket, **changes)
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()
    assert answer["type"] == "refused"
    return answer


def test_a_bad_frame_ends_the_connection_and_the_call_can_go_on(client: TestClient) -> None:
    with client.websocket_connect("/live/c1/audio") as socket:
        begin(socket)
        socket.send_bytes(next(frames(speech(1))))
        socket.send_bytes(b"odd")
        assert socket.receive_json()["code"] == "bad_frame"
    with client.websocket_connect("/live/c1/audio") as socket:
        assert begin(socket) == {"type": "ready", "resume_from_ms": 20}


def test_an_id_with_a_slash_is_one_call(client: TestClient, hub: Hub) -> None:
    play(client, "0312%2F王-7", seconds=1)
    assert follow(client, "0312%2F王-7")[-1]["state"] == "ended"
    assert client.get("/api/calls/0312%2F王-7").json()["call_id"] == "0312/王-7"


def test_a_call_nobody_knows_is_closed_with_4404(client: TestClient) -> None:
    with client.websocket_connect("/live/nobody/events", headers=dict(BEARER)) as socket:
        assert drained(socket) == ([], 4404)
    assert client.get("/api/calls/nobody").json() == {"code": "not_found", "message": "没有这通电话"}
    assert client.get("/api/calls/nobody/events").status_code == 404


# ---- whispers


def test_a_whisper_is_sent_delivered_and_seen_once_each_and_audited_without_its_text(
    client: TestClient, hub: Hub
) -> None:
    with client.websocket_connect("/live/c1/audio") as sender:
        begin(sender)
        name = client.post("/api/calls/c1/whisper", json={"text": "请先安抚客户", "sender": "李主管"}).json()["id"]
        with client.websocket_connect("/live/c1/events?viewer=supervisor", headers=dict(BEARER)) as supervisor:
            assert _next_whisper(supervisor)["state"] == "sent"
        with client.websocket_connect("/live/c1/events?viewer=overlay", headers=dict(BEARER)) as overlay:
            sent = _next_whisper(overlay)
            assert (sent["state"], sent["text"], sent["sender"], sent["id"]) == ("sent", "请先安抚客户", "李主管", name)
            assert _next_whisper(overlay)["state"] == "delivered"
            for _ in range(2):
                overlay.send_text(text({"type": "seen", "whisper": name}))
            assert _next_whisper(overlay)["state"] == "seen"
        end(sender)
    whispers = [event["state"] for event in follow(client, "c1", "?viewer=overlay") if event["type"] == "whisper"]
    assert whispers == ["sent", "delivered", "seen"]
    entries = [json.loads(line) for line in (hub.run.path / AUDIT).read_text(encoding="utf-8").splitlines()]
    assert [entry["event"] for entry in entries] == [
        "whisper_asked", "whisper_sent", "whisper_delivered", "whisper_seen",
    ]  # fmt: skip
    assert {(entry["call_id"], entry["whisper"]) for entry in entries} == {("c1", name)}
    assert entries[0]["sender"] == "李主管"
    assert "安抚" not in (hub.run.path / AUDIT).read_text(encoding="utf-8")


def test_a_whisper_that_the_audit_cannot_hold_is_not_sent(
    client: TestClient, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Audit, event: str, **fields: str) -> None:
        raise OSError("no space left")

    with client.websocket_connect("/live/c1/audio") as sender:
        begin(sender)
        with monkeypatch.context() as patch:
            patch.setattr(Audit, "note", fails)
            answer = client.post("/api/calls/c1/whisper", json={"text": "好"})
        end(sender)
    assert (answer.status_code, answer.json()["code"]) == (503, "not_stored")
    assert "没有发出" in answer.json()["message"]
    assert not any(event["type"] == "whisper" for event in follow(client, "c1"))


def test_the_audit_tells_of_a_whisper_before_anybody_hears_it(
    client: TestClient, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    whispered, noted = Session.whisper, []

    def spied(session: Session, name: str, text: str, sender: str) -> None:
        noted.extend(json.loads(line) for line in (hub.run.path / AUDIT).read_text(encoding="utf-8").splitlines())
        session.is_ending = True  # the call ends at this very moment
        whispered(session, name, text, sender)

    with client.websocket_connect("/live/c1/audio") as sender:
        begin(sender)
        monkeypatch.setattr(Session, "whisper", spied)
        answer = client.post("/api/calls/c1/whisper", json={"text": "好", "sender": "李主管"})
        hub.live[0].is_ending = False
    assert answer.status_code == 409
    assert [(entry["event"], entry["sender"]) for entry in noted] == [("whisper_asked", "李主管")]
    entries = [json.loads(line) for line in (hub.run.path / AUDIT).read_text(encoding="utf-8").splitlines()]
    assert [entry["event"] for entry in entries] == ["whisper_asked", "whisper_refused"]


def _next_whisper(socket: Any) -> dict[str, Any]:
    while (event := socket.receive_json())["type"] != "whisper":
        pass
    result: dict[str, Any] = event
    return result


@pytest.mark.parametrize("line", ["", "  ", "好" * 61, "一行\n两行", "一行\u2028两行", "铃\x07"])
def test_a_whisper_is_one_short_line(client: TestClient, line: str) -> None:
    with client.websocket_connect("/live/c1/audio") as socket:
        begin(socket)
        answer = client.post("/api/calls/c1/whisper", json={"text": line})
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid"
    assert "1 至 60 字" in answer.json()["message"]


def test_a_call_that_is_over_takes_no_whisper(client: TestClient) -> None:
    play(client, "c1", seconds=1)
    answer = client.post("/api/calls/c1/whisper", json={"text": "好"})
    assert (answer.status_code, answer.json()["code"]) == (409, "call_ended")


def test_an_overlay_that_talks_nonsense_or_too_much_is_closed(client: TestClient) -> None:
    with client.websocket_connect("/live/c1/audio") as sender:
        begin(sender)
        many = [text({"type": "dismiss", "nudge": "n"})] * 600  # too many however slow the machine
        for messages, code in (["{"], 4400), (many, 4429):
            with client.websocket_connect("/live/c1/events?viewer=overlay", headers=dict(BEARER)) as overlay:
                for message in messages:
                    overlay.send_text(message)
                assert drained(overlay)[1] == code


# ---- other senders


def test_twilio_s_stream_becomes_a_call(client: TestClient) -> None:
    parameters = {"token": TOKEN, "call_id": "t1", "direction": "inbound", "agent_id": "3017"}
    start = {"event": "start", "start": {"callSid": "CA1", "tracks": ["inbound", "outbound"],
             "customParameters": parameters,
             "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}}}  # fmt: skip
    with client.websocket_connect("/live/twilio") as socket:
        socket.send_text(text({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        socket.send_text(text(start))
        for at_ms in range(0, 400, 20):
            for track in ("inbound", "outbound"):
                media = {"track": track, "timestamp": str(at_ms), "payload": "/" * 211 + "w=="}
                socket.send_text(text({"event": "media", "media": media}))
        socket.send_text(text({"event": "stop"}))
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()
    assert follow(client, "t1")[-1]["state"] == "ended"
    assert client.get("/api/calls/t1").json()["metadata"]["agent_id"] == "3017"


@pytest.mark.parametrize("code", [1000, 1005])  # 1005: a close frame that holds no code
def test_freeswitch_s_stream_becomes_a_call_that_ends_with_its_connection(client: TestClient, code: int) -> None:
    path = f"/live/freeswitch/f1?token={TOKEN}&channels=agent,customer&direction=outbound"
    with client.websocket_connect(path) as socket:
        socket.send_text(text({"agent_id": "3018"}))
        for frame in frames(speech(1)):
            socket.send_bytes(frame)
        socket.close(code)
        until(lambda: client.get("/api/calls/f1").json()["state"] != "live")
    events = follow(client, "f1")
    assert (events[0]["direction"], events[-1]["state"]) == ("outbound", "ended")


def test_an_audiosocket_leg_is_announced_first(client: TestClient) -> None:
    leg = {"uuid": str(uuid.uuid4()), "call_id": "a1", "role": "agent", "direction": "inbound"}
    assert client.post("/api/legs", json=leg).status_code == 201
    assert client.post("/api/legs", json={**leg, "uuid": "no"}).json()["code"] == "invalid"
    assert client.post("/api/legs", json={**leg, "role": "boss"}).status_code == 422
    half = json.dumps({**leg, "metadata": {"customer_surname": "\ud83d"}})
    refused = client.post("/api/legs", content=half, headers={"content-type": "application/json"})
    assert (refused.status_code, "half of a character pair" in refused.json()["message"]) == (422, True)
    assert client.get("/api/calls").status_code == 200


# ---- descriptions


def test_the_openapi_document_lists_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    served = {
        (re.sub(r":path", "", route.path), method.lower())
        for route in client.app.routes  # type: ignore[attr-defined]
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    listed = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert served == listed
    assert document["security"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation.get("description") or path == "/", path


def test_the_asyncapi_document_says_what_is_sent_and_points_nowhere_else(client: TestClient) -> None:
    document = client.get("/asyncapi.json").json()
    assert document == asyncapi_document()
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        assert _resolved(document, reference.removeprefix("#/").split("/")) is not None
    play(client, "c1")
    for event in follow(client, "c1"):
        _check(document, document["channels"]["events"], event)
    with client.websocket_connect("/live/calls", headers=dict(BEARER)) as board:
        _check(document, document["channels"]["calls"], board.receive_json())
    with client.websocket_connect("/live/c1/audio") as socket:
        _check(document, document["channels"]["audio"], begin(socket))


def test_a_message_of_no_kind_would_not_pass(client: TestClient) -> None:
    document = asyncapi_document()
    with pytest.raises(AssertionError):
        _check(document, document["channels"]["events"], {"type": "news"})


def _resolved(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document[part]
    return document


def _check(document: dict[str, Any], channel: dict[str, Any], message: dict[str, Any]) -> None:
    """Exactly one of the channel's messages is this."""
    fits = 0
    for name in channel["messages"]:
        payload = document["components"]["messages"][name]["payload"]
        schema = {**payload, "components": document["components"]}
        fits += bool(payload) and Draft202012Validator(schema).is_valid(message)
    assert fits == 1, message.get("type")


def test_the_schemas_are_served(client: TestClient) -> None:
    for name in ("live", "rule", "words", "profile"):
        assert client.get(f"/schemas/{name}.schema.json").json()["$schema"].endswith("2020-12/schema")
    assert client.get("/schemas/none.schema.json").status_code == 404


def test_the_metrics_tell_of_every_stage(client: TestClient) -> None:
    play(client, "c1")
    follow(client, "c1")
    until(lambda: 'analyzer_calls_ended_total{state="ended"} 1.0' in client.get("/metrics").text)
    text_ = client.get("/metrics").text
    for stage in ("ear_queue", "ear", "judge_queue", "judge"):
        assert f'analyzer_stage_seconds_count{{stage="{stage}"}}' in text_
    for name in ("queue_wait_seconds", "batch_seconds", "batch_size"):
        assert f'analyzer_{name}_count{{kind="final"}}' in text_
    assert "analyzer_partials_shed_total" in text_
    assert "analyzer_calls_live 0.0" in text_


def test_pages_are_served_as_they_are(client: TestClient) -> None:
    for path, title in ("/overlay/c1", "overlay"), ("/overlay?agent=1", "overlay"), ("/supervisor", "supervisor"):
        assert f"<title>{title}</title>" in client.get(path).text
    assert "<title>call</title>" in client.get("/supervisor/c1").text
    assert client.get("/static/overlay.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/", follow_redirects=False).headers["location"] == "/supervisor"


def test_a_timed_frame_has_its_place(client: TestClient) -> None:
    with client.websocket_connect("/live/c1/audio") as socket:
        begin(socket, framing="timed")
        for number, frame in enumerate(frames(speech(1))):
            socket.send_bytes(struct.pack("<Q", number * 160) + frame)
        end(socket)
    assert follow(client, "c1")[-2]["report"]["duration_ms"] == 1000
