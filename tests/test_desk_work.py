"""Saved views, queues, plans, audits and calibrations over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import Response
from sqlalchemy import select, update

from analyzer.store.tables import Assignment, AuditEntry, Call, Finding, Turn
from tests.databases import NewDatabase
from tests.desk_stage import Stage, open_stage
from tests.many_calls import NOW, add_calls

REVIEWER, OTHER = 3, 4  # ids of the stage's reviewers


@pytest.fixture
def stage(new_database: NewDatabase, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, new_database(tmp_path)) as stage:
        stage.clock.now = NOW
        with stage.store.writing() as session:
            add_calls(session, 60, days=12, decided=0)
        yield stage


def plan(**options: Any) -> dict[str, Any]:
    given = {"count": 10, "reviewers": [{"reviewer_id": REVIEWER}, {"reviewer_id": OTHER}], **options}
    return {"name": "周抽检", "kind": "random", "options": given}


def drawn(stage: Stage, **plan: Any) -> Response:
    lead = stage.client("lead")
    made = lead.post("/api/desk/plans", json=plan)
    assert made.status_code == 201, made.text
    return lead.post(f"/api/desk/plans/{made.json()['id']}/draw")


def actions(stage: Stage) -> list[str]:
    with stage.store.reading() as session:
        return list(session.scalars(select(AuditEntry.action).order_by(AuditEntry.seq)))


# ---- saved views


def test_a_view_is_one_s_own_until_it_is_shared(stage: Stage) -> None:
    one, other = stage.client("reviewer"), stage.client("other_reviewer")
    mine = one.post("/api/desk/views", json={"name": "最差", "query": "?sort=score"}).json()
    assert (mine["query"], mine["is_mine"]) == ("sort=score", True)
    assert other.get("/api/desk/views").json()["views"] == []
    one.post("/api/desk/views", json={"name": "最差", "query": "sort=score", "is_shared": True})
    [seen] = other.get("/api/desk/views").json()["views"]
    assert (seen["id"], seen["is_mine"], seen["by"]) == (mine["id"], False, "王质检")
    assert other.delete(f"/api/desk/views/{mine['id']}").status_code == 404
    assert one.delete(f"/api/desk/views/{mine['id']}").status_code == 204
    assert one.get("/api/desk/views").json()["views"] == []


# ---- plans


def test_a_plan_is_previewed_made_and_drawn_once(stage: Stage) -> None:
    lead = stage.client("lead")
    foreseen = lead.post("/api/desk/plans/preview", json=plan(second_share=0.2)).json()
    first = drawn(stage, **plan(second_share=0.2)).json()
    assert foreseen == first
    [listed] = lead.get("/api/desk/plans").json()["plans"]
    again = lead.post(f"/api/desk/plans/{listed['id']}/draw").json()
    assert again == first
    assert sum(part["open"] for part in listed["progress"]) == 12
    assert actions(stage) == ["plan.made", "plan.drawn", "plan.drawn"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": None},
        {"share": 0.5},
        {"reviewers": []},
        {"reviewers": [{"reviewer_id": 1}]},
        {"frame": {"first_day": "yesterday"}},
        {"frame": {"first_day": "2026-13-45"}},
        {"frame": {"last_day": "9999-12-31"}},
        {"reviewers": [{"reviewer_id": 2**70}]},
        {"unknown": 1},
    ],
)
def test_a_plan_that_means_nothing_is_refused(stage: Stage, wrong: dict[str, Any]) -> None:
    for path in ("/api/desk/plans", "/api/desk/plans/preview"):
        answer = stage.client("lead").post(path, json=plan(**wrong))
        assert answer.status_code == 422
        assert answer.json()["code"] == "invalid"


def test_plans_are_for_leads(stage: Stage) -> None:
    reviewer = stage.client("reviewer")
    assert reviewer.get("/plans").status_code == 403
    assert reviewer.post("/api/desk/plans", json=plan()).status_code == 403
    assert "周抽检" not in stage.client("lead").get("/plans").text
    drawn(stage, **plan())
    assert "周抽检" in stage.client("lead").get("/plans").text


def test_an_unknown_plan_is_not_drawn(stage: Stage) -> None:
    assert stage.client("lead").post("/api/desk/plans/99/draw").status_code == 404


# ---- queues


def test_a_queue_is_one_s_own_and_goes_on_page_by_page(stage: Stage) -> None:
    drawn(stage, **plan())
    client = stage.client("reviewer")
    queue = client.get("/api/desk/queue?limit=3").json()
    assert (len(queue["assignments"]), queue["open"], queue["overdue"]) == (3, 5, 0)
    rest = client.get(f"/api/desk/queue?limit=3&cursor={queue['next']}").json()
    ids = [one["id"] for one in (*queue["assignments"], *rest["assignments"])]
    assert len(set(ids)) == 5
    assert rest["next"] is None
    others = stage.client("other_reviewer").get("/api/desk/queue").json()["assignments"]
    assert not {one["id"] for one in others} & set(ids)


def test_overdue_work_is_counted(stage: Stage) -> None:
    drawn(stage, **plan(due_days=1))
    stage.clock.pass_(days=2)
    queue = stage.client("reviewer").get("/api/desk/queue").json()
    assert queue["overdue"] == 5
    assert all(one["is_overdue"] for one in queue["assignments"])


def test_next_leads_from_call_to_call_until_all_is_done(stage: Stage) -> None:
    drawn(stage, **plan(count=2, reviewers=[{"reviewer_id": REVIEWER}]))
    client = stage.client("reviewer")
    seen = []
    for _ in range(2):
        item = client.get("/api/desk/queue/next").json()
        seen.append(item["call_id"])
        with stage.store.writing() as session:
            for finding in session.get_one(Call, item["call_id"]).findings:
                finding.decision, finding.state = "confirmed", "confirmed"
        [mine] = [
            one for one in client.get("/api/desk/queue").json()["assignments"] if one["call"]["id"] == item["call_id"]
        ]
        assert client.post(f"/api/desk/assignments/{mine['id']}/done").json() == {"id": mine["id"], "state": "done"}
    assert len(set(seen)) == 2
    assert client.get("/api/desk/queue/next").json() is None


def test_work_with_something_left_is_not_done_and_others_work_is_not_there(stage: Stage) -> None:
    with_rule = {**plan(count=1, rules=["opening"], reviewers=[{"reviewer_id": REVIEWER}]), "kind": "by_rule"}
    drawn(stage, **with_rule)
    [mine] = stage.client("reviewer").get("/api/desk/queue").json()["assignments"]
    assert stage.client("reviewer").post(f"/api/desk/assignments/{mine['id']}/done").status_code == 409
    assert stage.client("other_reviewer").post(f"/api/desk/assignments/{mine['id']}/done").status_code == 404
    assert stage.client("reviewer").post(f"/api/desk/assignments/{mine['id']}/withdraw").status_code == 403
    assert stage.client("lead").post(f"/api/desk/assignments/{mine['id']}/withdraw").json()["state"] == "withdrawn"
    with stage.store.reading() as session:
        assert session.get_one(Call, mine["call"]["id"]).state == "auto"


# ---- audits


@pytest.fixture
def audit_id(stage: Stage) -> int:
    drawn(stage, **{**plan(count=1, per_call=2, reviewers=[{"reviewer_id": REVIEWER}]), "kind": "audit"})
    [mine] = stage.client("reviewer").get("/api/desk/queue").json()["assignments"]
    assert mine["round"] == "audit"
    return int(mine["id"])


def test_an_audit_is_heard_and_then_counts_for_recall(stage: Stage, audit_id: int) -> None:
    client = stage.client("reviewer")
    audit = client.get(f"/api/desk/audits/{audit_id}").json()
    assert client.post(f"/api/desk/assignments/{audit_id}/done").status_code == 409
    for segment in audit["segments"]:
        assert segment["missed"] is None
        assert segment["turn"] in [turn["number"] for turn in segment["context"]]
        sent = client.post(f"/api/desk/segments/{segment['id']}", json={"missed": ["rule_19"]})
        assert sent.json() == {"missed": ["rule_19"]}
    assert client.post(f"/api/desk/assignments/{audit_id}/done").status_code == 200
    worth = {rule["rule"]: rule for rule in client.get("/api/desk/worth?all=true").json()["rules"]}
    assert worth["rule_19"]["recall"]["n"] == len(audit["segments"])
    assert "漏检审计" in client.get(f"/audits/{audit_id}").text


def test_an_audit_is_nobody_else_s(stage: Stage, audit_id: int) -> None:
    segment = stage.client("reviewer").get(f"/api/desk/audits/{audit_id}").json()["segments"][0]["id"]
    other = stage.client("other_reviewer")
    assert other.get(f"/api/desk/audits/{audit_id}").status_code == 404
    assert other.get(f"/audits/{audit_id}").status_code == 404
    assert other.post(f"/api/desk/segments/{segment}", json={"missed": []}).status_code == 404
    assert stage.client("lead").get(f"/api/desk/audits/{audit_id}").status_code == 200


def test_what_is_said_in_an_audit_is_masked(stage: Stage, audit_id: int) -> None:
    with stage.store.writing() as session:
        call = session.get_one(Assignment, audit_id).call_pk
        session.execute(update(Turn).where(Turn.call_pk == call).values(text="我的手机号是13800138000"))
    for path in (f"/api/desk/audits/{audit_id}", f"/audits/{audit_id}"):
        assert "13800138000" not in stage.client("reviewer").get(path).text
        assert "13800138000" in stage.client("admin").get(path).text


# ---- calibrations


@pytest.fixture
def meeting(stage: Stage) -> str:
    with stage.store.reading() as session:
        call = session.scalars(select(Finding.call_pk).limit(1)).one()
    sent = {"name": "十一月", "call_id": call, "reviewers": [REVIEWER, OTHER], "due_day": "2026-11-30"}
    made = stage.client("lead").post("/api/desk/calibrations", json=sent)
    assert made.status_code == 201
    return f"/api/desk/calibrations/{made.json()['id']}"


def test_a_calibration_is_judged_alone_and_compared_once_closed(stage: Stage, meeting: str) -> None:
    one, other, lead = (stage.client(name) for name in ("reviewer", "other_reviewer", "lead"))
    for item in one.get(meeting).json()["items"]:
        one.post(f"{meeting}/decisions", json={"finding_id": item["id"], "decision": "confirmed"})
    assert all(item["said"] == {} for item in other.get(meeting).json()["items"])
    assert all(item["said"] == {} for item in lead.get(meeting).json()["items"])
    assert one.post(f"{meeting}/close").status_code == 403
    closed = lead.post(f"{meeting}/close").json()
    assert closed["items"][0]["said"] == {str(REVIEWER): {"decision": "confirmed", "reason": ""}}
    assert {one["name"] for one in closed["participants"]} == {"王质检", "刘质检"}
    assert closed["agreement"]["why"] == "没有两人都评过的项"
    sent = {"finding_id": closed["items"][0]["id"], "decision": "unsure"}
    assert other.post(f"{meeting}/decisions", json=sent).status_code == 409


def test_the_page_of_a_calibration_shows_what_its_api_does(stage: Stage, meeting: str) -> None:
    page = meeting.removeprefix("/api/desk")
    assert "请独立判定" in stage.client("reviewer").get(page).text
    stage.client("lead").post(f"{meeting}/close")
    assert "各人的判定" in stage.client("reviewer").get(page).text
    assert "十一月" in stage.client("other_reviewer").get("/calibrations").text


def test_a_calibration_is_for_those_who_take_part(stage: Stage, meeting: str) -> None:
    stage.add_user("third", "reviewer", display_name="第三")
    third = stage.client("third")
    assert third.get(meeting).status_code == 404
    assert third.get("/api/desk/calibrations").json()["calibrations"] == []
    assert stage.client("agent").get(meeting).status_code == 403


def test_a_calibration_needs_two_people_who_review(stage: Stage, meeting: str) -> None:
    for reviewers in ([REVIEWER], [REVIEWER, REVIEWER], [REVIEWER, 1]):
        sent = {"name": "x", "call_id": 1, "reviewers": reviewers}
        assert stage.client("lead").post("/api/desk/calibrations", json=sent).status_code == 422
    sent = {"name": "x", "call_id": 10**6, "reviewers": [REVIEWER, OTHER]}
    assert stage.client("lead").post("/api/desk/calibrations", json=sent).status_code == 404
