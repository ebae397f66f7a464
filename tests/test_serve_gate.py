"""Nothing answers without the token, and pages of other sites get nothing at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.serving import BEARER, HELLO, TOKEN, a_hub, text, web_folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    from analyzer.serve.app import create_app

    folder = tmp_path_factory.mktemp("gate")
    with a_hub(folder) as hub:
        app = create_app(hub, token=TOKEN, web=web_folder(folder))
        with TestClient(app, base_url="http://127.0.0.1:8765", follow_redirects=False) as client:
            yield client


def _filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "c1", path)


def _routes(client: TestClient, kind: type) -> list[tuple[str, str]]:
    return [
        (method, _filled(route.path))
        for route in client.app.routes  # type: ignore[attr-defined]
        if isinstance(route, kind)
        for method in getattr(route, "methods", ["WS"])
    ]


WRONG = {
    "none": {},
    "wrong bearer": {"headers": {"Authorization": "Bearer wrong"}},
    "wrong cookie": {"headers": {"Cookie": "analyzer_token=wrong"}},
    "wrong query": {"params": {"token": "wrong"}},
    "empty": {"headers": {"Authorization": "Bearer "}},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_every_route_refuses_who_has_no_token(client: TestClient, wrong: dict[str, dict[str, str]]) -> None:
    routes = [*_routes(client, APIRoute), ("GET", "/openapi.json"), ("GET", "/not/a/route"), ("POST", "/api/calls/c1")]
    assert len(routes) > 14
    for method, path in routes:
        answer = client.request(method, path, **wrong)
        if path == "/healthz":
            assert answer.status_code == 200
        else:
            assert answer.status_code == 401, (method, path)
        if path.startswith("/api"):
            assert answer.json()["code"] == "unauthorised"


@pytest.mark.parametrize("wrong", list(WRONG.values())[1:], ids=list(WRONG)[1:])
def test_every_stream_refuses_a_wrong_token(client: TestClient, wrong: dict[str, dict[str, str]]) -> None:
    for _, path in _routes(client, APIWebSocketRoute):
        query = f"?token={wrong['params']['token']}" if "params" in wrong else ""
        with (
            pytest.raises(WebSocketDisconnect) as refused,
            client.websocket_connect(path + query, headers=dict(wrong.get("headers", {}))),
        ):
            pass
        assert refused.value.code == 4401, path


@pytest.mark.parametrize("path", ["/live/calls", "/live/c1/events", "/live/freeswitch/c1"])
def test_streams_refuse_who_has_no_token(client: TestClient, path: str) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect(path):
        pass
    assert refused.value.code in (4401, 1008)


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x", "口令"])
def test_a_hello_with_a_wrong_token_is_refused_in_the_protocol_s_own_form(client: TestClient, token: str) -> None:
    with client.websocket_connect("/live/c1/audio") as socket:
        socket.send_text(text({**HELLO, "token": token}))
        answer = socket.receive_json()
        assert (answer["type"], answer["code"]) == ("refused", "unauthorised")
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def test_twilio_s_start_needs_the_token_too(client: TestClient) -> None:
    start = {"event": "start", "start": {"callSid": "CA1", "tracks": ["inbound"], "customParameters": {"token": "no"},
             "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}}}  # fmt: skip
    with client.websocket_connect("/live/twilio") as socket:
        socket.send_text(text(start))
        with pytest.raises(WebSocketDisconnect) as refused:
            socket.receive_text()
    assert "unauthorised" in refused.value.reason


@pytest.mark.parametrize(
    "given", [{"headers": BEARER}, {"params": {"token": TOKEN}}, {"headers": {"Cookie": f"analyzer_token={TOKEN}"}}]
)
def test_the_token_opens_as_header_query_or_cookie(client: TestClient, given: dict[str, dict[str, str]]) -> None:
    assert client.get("/api/calls", **given).status_code == 200


def test_a_page_opened_with_the_token_keeps_it_in_a_cookie_and_shows_an_address_without_it(client: TestClient) -> None:
    answer = client.get("/overlay", params={"agent": "3017", "token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/overlay?agent=3017")
    cookie = answer.headers["set-cookie"]
    assert f"analyzer_token={TOKEN}" in cookie
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    client.cookies.clear()


def test_a_page_without_the_token_asks_for_it(client: TestClient) -> None:
    asked = client.get("/supervisor")
    assert asked.status_code == 401
    assert "请输入令牌" in asked.text
    assert client.post("/token", data={"token": "wrong"}).status_code == 401
    right = client.post("/token", data={"token": TOKEN})
    assert (right.status_code, right.headers["location"]) == (303, "/")
    assert "analyzer_token=" in right.headers["set-cookie"]
    client.cookies.clear()


def test_the_address_after_the_token_cannot_name_another_host(client: TestClient) -> None:
    answer = client.get("/overlay//evil.example/x", params={"token": TOKEN})
    assert answer.headers["location"].startswith("/overlay/")
    client.cookies.clear()


def test_pages_of_other_sites_may_neither_post_nor_listen(client: TestClient) -> None:
    foreign = {**BEARER, "Origin": "https://evil.example"}
    assert client.post("/api/calls/c1/whisper", json={"text": "好"}, headers=foreign).status_code == 403
    assert client.post("/token", data={"token": TOKEN}, headers={"Origin": "null"}).status_code == 403
    for path in ("/live/calls", "/live/c1/audio"):
        with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect(path, headers=dict(foreign)):
            pass
        assert refused.value.code == 4403
    own = {**BEARER, "Origin": "http://127.0.0.1:8765"}
    assert client.post("/api/calls/c1/whisper", json={"text": "好"}, headers=own).status_code == 404


def test_every_answer_tells_the_browser_to_load_nothing_from_outside(client: TestClient) -> None:
    for path in ("/supervisor", "/api/calls", "/healthz"):
        headers = client.get(path, headers=BEARER).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["referrer-policy"] == "same-origin"  # so that the token's form is known to be ours
        assert headers["x-content-type-options"] == "nosniff"


def test_a_long_request_is_not_read(client: TestClient) -> None:
    answer = client.post("/api/legs", content=b"x" * 70_000, headers=BEARER)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_metrics_may_be_opened(tmp_path: Path) -> None:
    from analyzer.serve.app import create_app

    with a_hub(tmp_path) as hub, TestClient(create_app(hub, token=TOKEN, metrics_open=True)) as client:
        assert "analyzer_calls_live 0.0" in client.get("/metrics").text
        assert client.get("/api/calls").status_code == 401
