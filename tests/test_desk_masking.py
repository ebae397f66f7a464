"""What the desk shows of identifiers: the same on the call's page, in lists, in answers; the company's own numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from analyzer.desk.masking import Veil, contexts_around
from analyzer.export import write_tables
from analyzer.media import Said, bleep_spans
from analyzer.privacy import mask_report
from analyzer.store import open_store, reviews
from analyzer.store.recordings import bleeps_of
from analyzer.store.reviews import Added
from analyzer.store.tables import CaseDraft, Finding, Turn
from analyzer.types import Severity
from tests.desk_calls import sample_reports
from tests.desk_review import NOW, add_call, add_people, findings, peek
from tests.desk_stage import Stage, open_stage

SAID = "我的手机号是13800138000，身份证你们有"
HALF = SAID[10:14]  # 8001: no identifier by itself


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path) as stage:
        yield stage


def with_half_a_number(stage: Stage) -> int:
    """A call one of whose findings quotes half of a telephone number; its number."""
    call_pk = add_call(stage.store, hits=1)
    [finding] = findings(stage.store, call_pk)
    with stage.store.writing() as session:
        session.execute(
            update(Finding.__table__)  # type: ignore[arg-type]
            .where(Finding.__table__.c.id == finding.id)
            .values(quote=HALF, turn=3, role="customer", char_start=10, char_end=14, message=f"说了“{HALF}”",
                    suggestion=f"不要说“{HALF}”", spans=[{"turn": 3, "char_start": 10, "char_end": 14}])
        )  # fmt: skip
    return call_pk


def test_half_an_identifier_in_a_quote_is_masked_on_every_page(stage: Stage) -> None:
    call_pk = with_half_a_number(stage)
    reviewer, lead = stage.client("reviewer"), stage.client("lead")
    [shown] = reviewer.get(f"/api/desk/calls/{call_pk}").json()["findings"]
    assert (shown["quote"], shown["message"], shown["suggestion"]) == ("****", "说了“****”", "不要说“****”")
    decided = reviewer.post(f"/api/desk/findings/{shown['id']}/decision", json={"decision": "confirmed"}).json()
    assert decided["finding"]["quote"] == "****"
    assert HALF not in reviewer.get("/worth/banned_phrase?all=true").text
    people = [stage.users[name].id for name in ("reviewer", "other_reviewer")]
    made = lead.post("/api/desk/calibrations", json={"name": "校准", "call_id": call_pk, "reviewers": people}).json()
    [item] = reviewer.get(f"/api/desk/calibrations/{made['id']}").json()["items"]
    assert (item["quote"], item["message"]) == ("****", "说了“****”")
    assert reviewer.post(f"/api/desk/calls/{call_pk}/actions", json={"action": "share"}).status_code == 200
    agent = stage.client("agent")
    assert agent.post(f"/api/desk/findings/{shown['id']}/appeal", json={"text": "没有"}).status_code == 201
    for who in (agent, stage.client("other_reviewer")):
        [appeal] = who.get("/api/desk/appeals").json()["appeals"]
        assert appeal["quote"] == "****"
    [unmasked] = stage.client("admin").get("/api/desk/appeals").json()["appeals"]
    assert unmasked["quote"] == HALF


def test_lists_mask_as_the_whole_call_does(stage: Stage) -> None:
    """The turns around a quote tell as much as the whole call."""
    call_pk = add_call(stage.store, hits=0)
    lines = ["手机号多少", "一三八", "嗯", "零零幺三", "好的", "八零零零", "一三八零零幺三八零零零对吗"]
    with stage.store.writing() as session:
        session.execute(Turn.__table__.delete())  # type: ignore[attr-defined]
        for number, text in enumerate(["您好"] * 20 + lines + ["再见"] * 20):
            role = "agent" if number % 2 == 0 else "customer"
            session.add(Turn(call_pk=call_pk, number=number, role=role, start_ms=number, end_ms=number + 1, text=text))
    with peek(stage.store) as session:
        finding = Finding(id=1, call_pk=call_pk, quote="零幺", turn=23, spans=[{"turn": 23, "char_start": 1,
                                                                             "char_end": 3}])  # fmt: skip
        [context] = contexts_around(session, Veil(False), [finding]).values()
        assert context.quote(finding) == "**"


# ---- the company's own numbers


def test_the_company_s_own_number_stays_readable_and_audible_everywhere(tmp_path: Path) -> None:
    number = "13912345678"  # a hotline that looks like anybody's mobile
    store = open_store(str(tmp_path / "desk.db"), own_numbers=[number])
    people, call_pk = add_people(store), add_call(store)
    with store.writing() as session:
        session.execute(update(Turn.__table__).values(text=f"请拨打{number}"))  # type: ignore[arg-type]
        assert bleeps_of(session, call_pk) == ()
    with store.writing() as session:
        added = Added("closing", 4, 0, 2, Severity.MINOR)
        reviews.add_finding(session, people.anna, call_pk, added, reason="漏检", at=NOW)
        [case] = session.scalars(select(CaseDraft))
        assert number in case.yaml
    store.close()
    strange = open_store(str(tmp_path / "desk.db"))
    with peek(strange) as session:
        assert len(bleeps_of(session, call_pk)) == 1
    strange.close()


def test_the_desk_and_the_tables_leave_the_company_s_own_number(tmp_path: Path) -> None:
    report = {**sample_reports()[0]}
    report["metadata"] = {**report["metadata"], "hotline": "13912345678"}
    assert mask_report(report)["metadata"]["hotline"] == "***********"
    calls, _, _ = write_tables([report], {}, tmp_path, own_numbers=["13912345678"])
    assert calls.exists()
    assert mask_report(report, ["13912345678"])["metadata"]["hotline"] == "13912345678"


def test_a_number_of_one_s_own_is_not_bleeped() -> None:
    said = [Said("agent", "请拨打13912345678", 0, 5000, None)]
    assert len(bleep_spans(said)) == 1
    assert bleep_spans(said, {"13912345678"}) == ()
