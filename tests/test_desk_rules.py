"""Rules in the browser: read, tried, edited, back-tested, published."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from analyzer.catalog import load_pack, profiles
from analyzer.store.importing import import_run
from analyzer.store.tables import AuditEntry, CaseDraft
from tests.databases import NewDatabase
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import Stage, open_stage

RULE = "hold_duration"
DIALOGUE = "坐席: 您好，云岭银行。\n客户: 我的卡被锁了。\n坐席: 这不归我管，您问别人吧。\n"


@pytest.fixture(scope="module")
def stage(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("desk")
    with open_stage(folder, new_database(folder)) as stage:
        import_run(stage.store, write_run(folder / "run", many_reports(13)))
        yield stage


def begin(client: TestClient, rule: str = RULE) -> dict[str, Any]:
    answer = client.post("/api/desk/rules/drafts", json={"rule": rule})
    assert answer.status_code == 201
    return dict(answer.json())


def write(client: TestClient, draft: dict[str, Any], text: str) -> dict[str, Any]:
    send = {"text": text, "version": draft["version"]}
    answer = client.put(f"/api/desk/rules/drafts/{draft['id']}", json=send)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def finished(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + 120
    while job["state"] in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.05)
        job = client.get(f"/api/desk/rules/backtest/{job['id']}").json()
    return job


def test_everyone_can_read_what_a_rule_means(stage: Stage) -> None:
    sheet = stage.client("agent").get(f"/api/desk/rules/{RULE}").json()
    assert sheet["rule"] == RULE
    assert sheet["flagged"]
    assert sheet["left_alone"]


def test_rules_are_read_and_tried_in_the_scheme_that_is_chosen(stage: Stage) -> None:
    client = stage.client("reviewer")
    standard, strict = (client.get(f"/api/desk/rules?profile={name}").json() for name in ("standard", "strict"))
    assert next(iter(standard["profiles"])) == "standard"
    assert set(standard["profiles"]) == set(profiles())
    assert standard["rules"] != strict["rules"]
    tried = [
        client.post("/api/desk/rules/try", json={"dialogue": DIALOGUE, "profile": name}).json()
        for name in ("standard", "strict")
    ]
    assert tried[0]["profile"] != tried[1]["profile"]
    page = client.get("/rules?profile=strict").text
    assert '<option value="strict" selected>' in page
    for answer in (
        client.get("/api/desk/rules?profile=moon"),
        client.get("/rules?profile=moon"),
        client.post("/api/desk/rules/try", json={"dialogue": DIALOGUE, "profile": "moon"}),
        stage.client("lead").post("/api/desk/rules/backtest", json={"drafts": [1], "profile": "moon"}),
    ):
        assert answer.status_code == 422
        assert "moon" in answer.text


def test_a_pasted_dialogue_is_judged_with_quotes(stage: Stage) -> None:
    report = stage.client("reviewer").post("/api/desk/rules/try", json={"dialogue": DIALOGUE}).json()
    banned = next(entry for entry in report["rules"] if entry["rule"] == "banned_phrase")
    assert banned["outcome"] == "violation"
    assert banned["findings"][0]["quote"] in DIALOGUE


def test_a_dialogue_that_cannot_be_read_is_refused_with_its_line(stage: Stage) -> None:
    answer = stage.client("reviewer").post("/api/desk/rules/try", json={"dialogue": "您好"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert "1" in answer.json()["message"]


def test_two_leads_cannot_overwrite_each_other(stage: Stage) -> None:
    client = stage.client("lead")
    draft = begin(client)
    assert begin(stage.client("admin"))["id"] == draft["id"]
    write(client, draft, draft["text"] + "\n")
    answer = stage.client("admin").put(
        f"/api/desk/rules/drafts/{draft['id']}", json={"text": "x", "version": draft["version"]}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    client.delete(f"/api/desk/rules/drafts/{draft['id']}")


def test_an_edit_that_breaks_a_case_is_shown_and_cannot_be_published(stage: Stage) -> None:
    client = stage.client("lead")
    draft = begin(client)
    draft = write(client, draft, draft["text"].replace("limit_ms: 300000", "limit_ms: 900000"))
    examined = client.post(f"/api/desk/rules/drafts/{draft['id']}/examine").json()
    assert not examined["is_publishable"]
    assert {one["file"] for one in examined["failing"]} == {draft["file"]}
    answer = client.post("/api/desk/packs", json={"drafts": [draft["id"]], "version": "9", "note": "试"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    client.delete(f"/api/desk/rules/drafts/{draft['id']}")


def test_a_backtest_names_exactly_the_calls_that_flip(stage: Stage) -> None:
    client = stage.client("lead")
    draft = begin(client, "polite_quota")
    same = finished(client, client.post("/api/desk/rules/backtest", json={"drafts": [draft["id"]]}).json())
    assert (same["state"], same["done"], same["flips"]) == ("done", 13, [])
    draft = write(client, draft, draft["text"].replace("status: stable", "status: retired"))
    flipped = finished(client, client.post("/api/desk/rules/backtest", json={"drafts": [draft["id"]]}).json())
    judged = {
        call["id"]
        for call in client.get("/api/desk/calls", params={"limit": 200}).json()["calls"]
        for rule in client.get(f"/api/desk/calls/{call['id']}").json()["rules"]
        if rule["rule"] == "polite_quota"
    }
    assert {flip["id"] for flip in flipped["flips"]} == judged
    assert all(flip["rules"]["polite_quota"][1] is None for flip in flipped["flips"])
    client.delete(f"/api/desk/rules/drafts/{draft['id']}")


def test_a_published_edit_is_in_force_and_old_scores_keep_their_pack(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        import_run(stage.store, write_run(tmp_path / "run", many_reports(2)))
        told: list[Path] = []
        stage.desk.on_published = told.append
        client = stage.client("lead")
        before = client.get("/api/desk/calls").json()["calls"]
        draft = begin(client)
        draft = write(client, draft, draft["text"].replace("title: 等待不超过五分钟", "title: 等待最长五分钟"))
        sent = {"drafts": [draft["id"]], "version": "2026.12", "note": "改了标题"}
        made = client.post("/api/desk/packs", json=sent).json()
        assert made["in_force"]
        assert load_pack(told[0]).digest == made["digest"]
        assert client.get(f"/api/desk/rules/{RULE}").json()["title"] == "等待最长五分钟"
        assert client.get("/api/desk/rules/drafts").json()["drafts"] == []
        after = client.get("/api/desk/calls").json()["calls"]
        assert [call["score"] for call in after] == [call["score"] for call in before]
        assert client.get(f"/api/desk/calls/{after[0]['id']}").json()["pack"]["digest"] != made["digest"]
        with stage.store.reading() as session:
            actions = session.scalars(select(AuditEntry.action)).all()
        assert actions.count("pack.published") == 1


def test_an_example_left_by_a_decision_is_taken_once(stage: Stage) -> None:
    with stage.store.writing() as session:
        case = CaseDraft(
            rule=RULE, yaml="- name: x\n", created_by=stage.users["lead"].id, created_at=stage.clock(), state="open"
        )
        session.add(case)
    client = stage.client("lead")
    draft = begin(client)
    assert case.id in [one["id"] for one in draft["cases"]]
    assert client.post(f"/api/desk/case-drafts/{case.id}/taken").status_code == 200
    assert client.post(f"/api/desk/case-drafts/{case.id}/taken").status_code == 404
    client.delete(f"/api/desk/rules/drafts/{draft['id']}")


@pytest.mark.parametrize("path", ["/rules", f"/rules/{RULE}", f"/rules/{RULE}/edit", "/rules/try", "/packs"])
def test_every_page_about_rules_opens_for_a_lead(stage: Stage, path: str) -> None:
    answer = stage.client("lead").get(path)
    assert answer.status_code == 200
    assert "规则" in answer.text
