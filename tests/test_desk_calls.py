"""The list of calls and one call, as the desk's API gives them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from analyzer.store.calls import choices
from analyzer.store.importing import import_run
from analyzer.store.tables import AuditEntry, Call, Finding
from tests.databases import NewDatabase
from tests.desk_calls import many_reports, write_run
from tests.desk_stage import AGENT_ID, Stage, open_stage

PHONE = "13800138000"


@pytest.fixture(scope="module")
def stage(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("desk")
    reports = list(many_reports(30))
    reports[0]["metadata"]["agent_id"] = AGENT_ID
    reports[0]["turns"] = [{**reports[0]["turns"][0], "text": f"我的手机号是{PHONE}"}, *reports[0]["turns"][1:]]
    with open_stage(folder, new_database(folder)) as stage:
        import_run(stage.store, write_run(folder / "run", reports))
        yield stage


def first_id(stage: Stage) -> int:
    with stage.store.reading() as session:
        return session.scalars(select(Call.id).where(Call.agent_id == AGENT_ID)).one()


def test_the_list_pages_through_every_call(stage: Stage) -> None:
    client, seen, cursor = stage.client("reviewer"), [], None
    while True:
        answer = client.get("/api/desk/calls", params={"limit": 8, **({"cursor": cursor} if cursor else {})}).json()
        seen += [call["id"] for call in answer["calls"]]
        assert answer["total"] == 30
        if (cursor := answer["next"]) is None:
            break
    assert len(set(seen)) == len(seen) == 30


def test_what_can_be_chosen_is_what_occurs(stage: Stage) -> None:
    with stage.store.reading() as session:
        offered = choices(session)
        assert offered.teams == sorted({call.team for call in session.scalars(select(Call)) if call.team})
        found = list(session.scalars(select(Finding)))
    assert list(offered.rules) == sorted({(finding.rule, finding.title) for finding in found})
    banned = {finding.category for finding in found if finding.rule == "banned_phrase"}
    assert offered.categories == sorted(category for category in banned if category)
    assert (len(offered.rules) > 5, len(offered.teams) > 1, len(offered.categories) > 0) == (True, True, True)


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "nonsense"},
        {"cursor": "nonsense"},
        {"q": "，"},
        {"limit": "0"},
        {"from": "yesterday"},
        {"nonsense": "1"},
    ],
    ids=str,
)
def test_a_query_that_means_nothing_is_refused_with_its_place(stage: Stage, query: dict[str, str]) -> None:
    answer = stage.client("reviewer").get("/api/desk/calls", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert next(iter(query)) in answer.json()["message"] or "search" in answer.json()["message"]


def test_a_call_comes_with_every_rule_finding_and_turn(stage: Stage) -> None:
    call = stage.client("reviewer").get(f"/api/desk/calls/{first_id(stage)}").json()
    report = next(iter(many_reports(1)))
    assert [entry["rule"] for entry in call["rules"]] == [entry["rule"] for entry in report["rules"]]
    assert len(call["turns"]) == len(report["turns"])
    assert call["score"] == report["score"]
    assert {finding["rule"] for finding in call["findings"]} >= {
        entry["rule"] for entry in report["rules"] if entry["outcome"] == "violation"
    }


def test_a_phone_number_is_masked_except_for_who_may_read_it(stage: Stage) -> None:
    path = f"/api/desk/calls/{first_id(stage)}"
    masked, plain = stage.client("reviewer").get(path).json(), stage.client("admin").get(path).json()
    assert PHONE not in str(masked)
    assert masked["turns"][0]["text"] == "我的手机号是" + "*" * len(PHONE)
    assert plain["turns"][0]["text"].endswith(PHONE)


def test_looking_at_a_call_is_in_the_audit_log(stage: Stage) -> None:
    call_pk = first_id(stage)
    stage.client("lead").get(f"/api/desk/calls/{call_pk}")
    with stage.store.reading() as session:
        newest = session.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(1)).one()
    assert (newest.action, newest.object) == ("call.viewed", f"call:{call_pk}")
    assert newest.actor == f"user:{stage.users['lead'].id}"


def test_an_agent_finds_a_call_only_once_it_was_shared_and_without_internals(stage: Stage) -> None:
    call_pk, agent, other = first_id(stage), stage.client("agent"), stage.client("other_agent")
    assert agent.get(f"/api/desk/calls/{call_pk}").status_code == 404
    with stage.store.writing() as session:
        session.get_one(Call, call_pk).shared_at = stage.clock()
    assert [call["id"] for call in agent.get("/api/desk/calls").json()["calls"]] == [call_pk]
    shown = agent.get(f"/api/desk/calls/{call_pk}").json()
    assert shown["history"] == []
    assert not any(shown["may"][right] for right in ("decide", "add", "score_manual", "unmask"))
    assert other.get(f"/api/desk/calls/{call_pk}").status_code == 404
    assert other.get("/api/desk/calls").json()["calls"] == []
