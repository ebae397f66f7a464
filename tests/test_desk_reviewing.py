"""Reviewing over the API: what is answered, refused and kept from whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from analyzer.store.importing import import_run
from analyzer.store.tables import Call
from tests.databases import NewDatabase
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import AGENT_ID, Stage, open_stage

CALLS = 26  # every sample twice


@pytest.fixture(scope="module")
def stage(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("desk")
    reports = list(many_reports(CALLS))
    for report in reports:
        report["metadata"]["agent_id"] = AGENT_ID
    with open_stage(folder, new_database(folder)) as stage:
        import_run(stage.store, write_run(folder / "run", reports))
        yield stage


def worst(stage: Stage, skip: int) -> dict[str, Any]:
    """A call with violations that no other test uses."""
    with stage.store.reading() as session:
        wanted = select(Call.id).where(Call.majors > 0, Call.unsures == 0).order_by(Call.score, Call.id)
        number = session.scalars(wanted).all()[skip]
    return show(stage.client("reviewer"), number)


def show(client: TestClient, number: int) -> dict[str, Any]:
    answer = client.get(f"/api/desk/calls/{number}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def post(client: TestClient, path: str, wanted: int = 200, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/api/desk/{path}", json=body)
    assert answer.status_code == wanted, answer.text
    return dict(answer.json())


def to_decide(call: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in call["findings"] if one["outcome"] in ("violation", "unsure") and one["severity"] != "info"]


def decide_all(client: TestClient, call: dict[str, Any], decision: str) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    for finding in to_decide(call):
        answer = post(client, f"findings/{finding['id']}/decision", decision=decision, reason="听过录音")
    return answer


def test_the_worst_call_goes_from_review_to_final(stage: Stage) -> None:
    reviewer, agent, lead = stage.client("reviewer"), stage.client("agent"), stage.client("lead")
    call = worst(stage, 0)
    number = call["id"]
    assert (call["state"], call["final_score"]) == ("auto", None)
    assert {rule["final_outcome"] for rule in call["rules"]} >= {"violation", "pass"}
    first = to_decide(call)[0]
    assert {"confirm", "overturn", "mark_unsure"} <= set(first["actions"])

    decided = decide_all(reviewer, call, "confirmed")
    assert (decided["call"]["state"], decided["version"] > call["version"]) == ("confirmed", True)
    assert decided["actions"] == ["assign", "share"]
    assert agent.get(f"/api/desk/calls/{number}").status_code == 404
    shared = post(reviewer, f"calls/{number}/actions", action="share")
    assert {one["state"] for one in shared["findings"]} == {"shared"}

    mine = show(agent, number)
    assert mine["actions"] == ["acknowledge"]
    assert mine["appeal_until"] == "2026-03-09T09:00:00Z"
    appealed = post(agent, f"findings/{first['id']}/appeal", 201, text="我没有这么说")
    assert (appealed["finding"]["state"], appealed["call"]["open_appeals"]) == ("appealed", 1)
    assert post(reviewer, f"calls/{number}/actions", 403, action="finalise")["code"] == "forbidden"
    assert post(lead, f"calls/{number}/actions", 409, action="finalise")["code"] == "conflict"

    listed = lead.get("/api/desk/appeals", params={"state": "open"}).json()
    [row] = listed["appeals"]
    assert (row["finding_id"], row["text"], row["actions"]) == (first["id"], "我没有这么说", ["uphold", "reject"])
    before = show(lead, number)
    upheld = post(lead, f"appeals/{row['id']}/decision", state="upheld", reason="复听后确认没有")
    assert (upheld["finding"]["state"], upheld["finding"]["decision"]) == ("upheld", "overturned")
    assert upheld["call"]["final_score"] >= before["final_score"] == before["score"]
    post(agent, f"calls/{number}/actions", action="acknowledge")
    final = post(lead, f"calls/{number}/actions", action="finalise")
    assert (final["call"]["state"], final["actions"]) == ("final", ["reopen"])
    answer = post(lead, f"findings/{first['id']}/decision", 423, decision="confirmed")
    assert (answer["code"], "已经终审" in answer["message"]) == ("locked", True)
    assert post(lead, f"calls/{number}/actions", why="录音换了", action="reopen")["call"]["state"] != "final"
    history = show(lead, number)["history"]
    assert [one["action"] for one in history][-6:] == ["share", "appeal", "uphold", "acknowledge", "finalise", "reopen"]
    pack = show(lead, number)["pack"]
    assert {one["pack"] for one in history} == {f"{pack['name']} {pack['version']}"}


def test_overturning_everything_gives_full_marks_for_what_was_violated(stage: Stage) -> None:
    call = worst(stage, 1)
    decide_all(stage.client("lead"), call, "overturned")
    decided = show(stage.client("lead"), call["id"])
    rules = {rule["rule"]: rule for rule in decided["rules"]}
    violated = [rule["rule"] for rule in call["rules"] if rule["outcome"] == "violation"]
    assert violated
    assert {rules[rule]["final_outcome"] for rule in violated} == {"pass"}
    assert {rules[rule]["final_points"] for rule in violated} == {0}
    assert (decided["final_score"], decided["final_verdict"]) == (100, "pass")


def test_what_was_looked_at_before_somebody_changed_it_is_refused(stage: Stage) -> None:
    call = worst(stage, 2)
    finding = to_decide(call)[0]
    path, client = f"findings/{finding['id']}/decision", stage.client("lead")
    first = post(client, path, decision="confirmed", version=call["version"])
    again = post(client, path, decision="confirmed", version=call["version"])
    assert again["version"] == first["version"]
    assert post(client, path, 409, decision="overturned", reason="误判", version=call["version"])["code"] == "conflict"


def test_a_missed_violation_is_added_by_its_words(stage: Stage) -> None:
    call = worst(stage, 3)
    turn = next(turn for turn in call["turns"] if turn["role"] == "agent" and len(turn["text"]) > 3)
    body = {"rule": "gossip", "turn": turn["number"], "char_start": 0, "char_end": 3, "severity": "minor"}
    client = stage.client("lead")
    added = post(client, f"calls/{call['id']}/findings", 201, **body, reason="背后议论")
    assert (added["finding"]["source"], added["finding"]["quote"]) == ("added", turn["text"][:3])
    assert added["finding"]["start_ms"] == turn["start_ms"]
    assert next(rule for rule in added["rules"] if rule["rule"] == "gossip")["final_outcome"] == "violation"
    path = f"calls/{call['id']}/findings"
    assert post(client, path, 409, **{**body, "char_end": 2}, reason="背后议论")["code"] == "conflict"
    for wrong in ({"rule": "x"}, {"rule": "joking", "char_end": 10_000}, {"rule": "joking", "reason": " "}):
        assert post(client, path, 422, **{**body, "reason": "背后议论", **wrong})["code"] == "invalid"


def test_manual_items_and_comments_come_back_with_the_call(stage: Stage) -> None:
    call, client = worst(stage, 3), stage.client("reviewer")
    scored = post(client, f"calls/{call['id']}/manual", item="warmth", outcome="violation", points=-2, comment="生硬")
    warmth = next(item for item in scored["manual"] if item["id"] == "warmth")
    assert (warmth["outcome"], warmth["points"], warmth["by"]) == ("violation", -2, "王质检")
    said = post(client, f"calls/{call['id']}/comments", 201, text="打13800138000问过", is_internal=True)
    assert said["comments"][-1]["text"] == "打***********问过"


def test_while_a_second_review_runs_neither_reviewer_is_told_of_the_other(stage: Stage) -> None:
    call, lead = worst(stage, 4), stage.client("lead")
    number = call["id"]
    first, second = stage.client("reviewer"), stage.client("other_reviewer")
    ids = {name: stage.users[name].id for name in ("reviewer", "other_reviewer")}
    post(lead, f"calls/{number}/actions", action="assign", reviewer_id=ids["reviewer"])
    post(lead, f"calls/{number}/actions", action="assign", reviewer_id=ids["other_reviewer"], round="second")
    decide_all(first, call, "overturned")
    post(first, f"calls/{number}/comments", 201, text="我觉得是误判", is_internal=True)

    seen = show(second, number)
    assert {one["state"] for one in seen["findings"]} == {"assigned"}
    assert {one["decision"] for one in seen["findings"]} == {None}
    assert (seen["state"], seen["final_score"], seen["comments"]) == ("assigned", None, [])
    assert {one["action"] for one in seen["history"]} <= {"assign"}
    assert "听过录音" not in str(seen)
    assert [rule["final_outcome"] for rule in seen["rules"]] == [rule["outcome"] for rule in seen["rules"]]
    listed = second.get("/api/desk/calls", params={"limit": 200}).json()["calls"]
    assert [row["final_score"] for row in listed if row["id"] == number] == [None]
    answer = decide_all(second, call, "confirmed")
    assert answer["finding"]["state"] == "confirmed"
    assert [one["decision"] for one in answer["finding"]["reviews"]] == ["confirmed"]
    assert {one["state"] for one in to_decide(show(first, number))} == {"overturned"}
    assert show(lead, number)["final_score"] == 100


def test_an_agent_decides_nothing(stage: Stage) -> None:
    call = worst(stage, 2)
    finding = call["findings"][0]["id"]
    agent = stage.client("agent")
    for path in (f"findings/{finding}/decision", f"calls/{call['id']}/findings", f"calls/{call['id']}/manual"):
        assert post(agent, path, 403)["code"] == "forbidden"
    assert post(agent, f"calls/{call['id']}/actions", 404, action="share")["code"] == "not_found"
    assert post(agent, f"findings/{finding}/appeal", 404, text="…")["code"] == "not_found"


def test_a_reviewer_who_may_not_says_why_in_chinese(stage: Stage) -> None:
    call = worst(stage, 2)
    finding = to_decide(call)[-1]["id"]
    answer = post(stage.client("lead"), f"findings/{finding}/decision", 422, decision="overturned")
    assert answer == {"code": "invalid", "message": "请填写理由"}
    answer = post(stage.client("lead"), f"calls/{call['id']}/actions", 422, action="assign")
    assert answer["message"] == "请选择质检员"
