"""Webhooks: every event that was asked for comes, signed, again until it was taken, and holds no words."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from analyzer.desk.deliveries import SIGNATURE, Deliverer
from analyzer.errors import UnavailableError
from analyzer.store import webhooks
from analyzer.store.tables import Delivery, Webhook
from tests.databases import NewDatabase
from tests.desk_stage import Stage, open_stage


@pytest.fixture
def stage(new_database: NewDatabase, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, new_database(tmp_path)) as stage:
        yield stage


def add(stage: Stage, *events: str) -> dict[str, Any]:
    send = {"url": "https://qa.example/hook", "events": list(events)}
    answer = stage.client("admin").post("/api/desk/webhooks", json=send)
    assert answer.status_code == 201
    return dict(answer.json())


def emit(stage: Stage, event: str = "finding.decided", **payload: Any) -> int:
    with stage.store.writing() as session:
        return webhooks.emit(session, event, payload, at=stage.clock())


def receiver(requests: list[httpx.Request], *statuses: int) -> httpx.Client:
    answers = iter(statuses)

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        status = next(answers, 200)
        if status == 0:
            raise httpx.ConnectError("refused")
        return httpx.Response(status)

    return httpx.Client(transport=httpx.MockTransport(answer))


def states(stage: Stage) -> list[str]:
    with stage.store.reading() as session:
        return list(session.scalars(select(Delivery.state).order_by(Delivery.id)))


def test_an_event_comes_signed_with_the_secret_that_was_shown_once(stage: Stage) -> None:
    hook, requests = add(stage, "finding.decided"), list[httpx.Request]()
    emit(stage, finding=7, decision="confirmed")
    assert Deliverer(stage.store, stage.clock).deliver_due(receiver(requests)) == 1
    [request] = requests
    told = json.loads(request.content)
    assert (told["event"], told["data"]) == ("finding.decided", {"finding": 7, "decision": "confirmed"})
    seconds, made = (part.partition("=")[2] for part in request.headers[SIGNATURE].split(","))
    expected = hmac.new(hook["secret"].encode(), f"{seconds}.".encode() + request.content, hashlib.sha256)
    assert made == expected.hexdigest()
    assert states(stage) == ["delivered"]
    assert "secret" not in stage.client("admin").get("/api/desk/webhooks").text


def test_only_events_that_were_asked_for_come(stage: Stage) -> None:
    add(stage, "appeal.made")
    assert emit(stage, "finding.decided") == 0
    assert emit(stage, "appeal.made") == 1


@pytest.mark.parametrize("status", [500, 302, 404, 0], ids=["error", "redirect", "not found", "unreachable"])
def test_what_was_not_taken_comes_again_later_with_the_same_id(stage: Stage, status: int) -> None:
    add(stage, "call.shared")
    emit(stage, "call.shared")
    deliverer, requests = Deliverer(stage.store, stage.clock), list[httpx.Request]()
    client = receiver(requests, status, 200)
    assert deliverer.deliver_due(client) == 1
    assert deliverer.deliver_due(client) == 0
    stage.clock.pass_(seconds=11)
    assert deliverer.deliver_due(client) == 1
    assert len({json.loads(request.content)["id"] for request in requests}) == 1
    assert states(stage) == ["delivered"]


def test_while_the_database_is_away_a_line_says_so_and_afterwards_all_is_delivered(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = iter([True])

    def due(*given: Any) -> list[tuple[Delivery, Webhook]]:
        if next(away, False):
            raise UnavailableError("the database cannot be used now: refused")
        stopping.set()
        return webhooks_due(*given)

    webhooks_due, deliverer = webhooks.due, Deliverer(stage.store, stage.clock)
    stopping = deliverer._stopping
    monkeypatch.setattr(webhooks, "due", due)
    monkeypatch.setattr("analyzer.desk.deliveries.LOOK_EVERY_S", 0.01)
    add(stage, "call.shared")
    emit(stage, "call.shared")
    monkeypatch.setattr(deliverer, "_try", lambda *_: None)
    deliverer._work()
    assert [(record.message, record.exc_info) for record in caplog.records if record.name.endswith("deliveries")] == [
        ("webhooks: the outbox waits: the database cannot be used now: refused", None)
    ]
    assert states(stage) == ["delivered"]


def test_after_twelve_tries_it_is_given_up_and_shown(stage: Stage) -> None:
    hook = add(stage, "call.shared")
    emit(stage, "call.shared")
    deliverer, requests = Deliverer(stage.store, stage.clock), list[httpx.Request]()
    client = receiver(requests, *[503] * 50)
    for _ in range(20):
        deliverer.deliver_due(client)
        stage.clock.pass_(hours=2)
    assert len(requests) == webhooks.MOST_TRIES
    assert states(stage) == ["given_up"]
    [delivery] = stage.client("admin").get(f"/api/desk/webhooks/{hook['id']}/deliveries").json()["deliveries"]
    assert (delivery["state"], delivery["last_error"]) == ("given_up", "HTTP 503")


def test_what_waits_for_a_removed_address_is_dropped(stage: Stage) -> None:
    hook = add(stage, "call.shared")
    emit(stage, "call.shared")
    assert stage.client("admin").delete(f"/api/desk/webhooks/{hook['id']}").status_code == 200
    assert states(stage) == []


@pytest.mark.parametrize("url", ["ftp://x/y", "javascript:alert(1)", "x", ""])
def test_an_address_that_is_no_web_address_is_refused(stage: Stage, url: str) -> None:
    answer = stage.client("admin").post("/api/desk/webhooks", json={"url": url, "events": ["call.shared"]})
    assert answer.status_code == 422


def test_an_event_that_does_not_exist_is_refused(stage: Stage) -> None:
    answer = stage.client("admin").post("/api/desk/webhooks", json={"url": "https://x.example", "events": ["x"]})
    assert answer.status_code == 422
