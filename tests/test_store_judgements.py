"""Calls that were judged again: each counts once on the desk, by a clear rule, and no judgement is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from analyzer.catalog import load_pack
from analyzer.desk.rulework import Replays
from analyzer.media import MediaFolder
from analyzer.report import analyze, dump
from analyzer.rescore.running import rescore
from analyzer.rescore.workers import Rules
from analyzer.review.sampling import Options, Quota
from analyzer.review.trends import Scope
from analyzer.review.workflow import Decision, Round
from analyzer.review.worth import Floor
from analyzer.runs import RunFolder
from analyzer.store import Store, retention
from analyzer.store.calls import Filter, list_calls
from analyzer.store.importing import import_run
from analyzer.store.plans import preview
from analyzer.store.reviews import assign, decide
from analyzer.store.tables import Call, Delivery, Finding, Webhook
from analyzer.store.trends import conditions, figures
from analyzer.store.users import Principal
from analyzer.store.worth import rules_worth
from analyzer.transcripts import read_call_text
from tests.clean_pack import write_clean_pack
from tests.databases import NewDatabase
from tests.desk_stage import AGENT_ID, OTHER_AGENT_ID, Stage, open_stage

SHIRKS, THANKS_EARLY = "坐席: 不关我的事，谢谢您。", "坐席: 谢谢您。\n客户: 好的。\n坐席: 再见。"
ZONE = timezone(timedelta(hours=8))
NOW = datetime(2026, 11, 20, tzinfo=UTC)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_clean_pack(tmp_path / "pack")


def scored(folder: Path, pack: Path, *calls: str, agent: str = AGENT_ID) -> Path:
    """A run of ``score``; its calls are named c0, c1, …"""
    rules = load_pack(pack)
    about = f"# metadata.agent_id: {agent}\n# metadata.started_at: 2026-11-02T09:00:00+08:00\n"
    with RunFolder(folder, {"pack": rules.digest}) as run:
        for number, text in enumerate(calls or (SHIRKS, THANKS_EARLY)):
            report = analyze(read_call_text(about + text, f"c{number}").transcript, rules)
            run.record(f"c{number}", "sha256:0", dump(report) + "\n")
    return folder


def judged_again(source: Path, pack: Path, folder: Path, profile: str = "strict") -> Path:
    rules = Rules.of(pack, profile)
    with RunFolder(folder, {"pack": rules.digest, "profile": profile}) as run:
        assert all(type(one).__name__ == "Rescored" for one in rescore([source], rules, run, jobs=1))
    return folder


@pytest.fixture
def runs(tmp_path: Path, pack: Path) -> tuple[Path, Path]:
    """A run, and the same calls by stricter rules: c0 falls from 71.4 to 0, c1 rises to 100."""
    old = scored(tmp_path / "old", pack)
    return old, judged_again(old, pack, tmp_path / "new")


@pytest.fixture
def stage(new_database: NewDatabase, tmp_path: Path) -> Iterator[Stage]:
    with open_stage(tmp_path, new_database(tmp_path)) as stage:
        yield stage


def bring(store: Store, *folders: Path) -> None:
    for folder in folders:
        assert import_run(store, folder).faults == []


def listed(store: Store, judgement: str = "", **wanted: Any) -> list[tuple[str, str]]:
    """Call id and profile of the list, in order; its total is held against it."""
    with store.reading() as session:
        given = Filter(judgement=judgement, **wanted)
        page = list_calls(session, LEAD, given, sort="started_at", now=NOW)
        assert page.total == len(page.calls)
        return sorted((call.call_id, call.pack.profile) for call in page.calls)


class _Lead:
    user_id, role, agent_id = 5, "lead", None


LEAD = _Lead()


def call(store: Store, call_id: str, profile: str) -> Call:
    with store.reading() as session:
        return next(
            one for one in session.scalars(select(Call).where(Call.call_id == call_id)) if one.pack.profile == profile
        )


def finding(store: Store, of: Call) -> int:
    with store.reading() as session:
        return session.scalars(select(Finding.id).where(Finding.call_pk == of.id)).first() or 0


def decided(stage: Stage, of: Call, decision: Decision = Decision.CONFIRMED) -> None:
    with stage.store.writing() as session:
        who, at = principal(stage, "reviewer"), stage.clock()
        decide(session, who, finding(stage.store, of), decision, reason="听过", at=at)


def shared(stage: Stage, of: Call) -> None:
    answer = stage.client("lead").post(
        f"/api/desk/calls/{of.id}/actions", json={"action": "share", "why": "", "version": version(stage, of)}
    )
    assert answer.status_code == 200, answer.text


def version(stage: Stage, of: Call) -> int:
    with stage.store.reading() as session:
        return session.get_one(Call, of.id).version


def principal(stage: Stage, name: str) -> Principal:
    user = stage.users[name]
    return Principal(user.id, user.name, user.display_name, user.role, user.agent_id)


# ---- once


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["old first", "new first"])
def test_a_call_that_was_judged_again_counts_once_by_its_newest_judgement(
    store: Store, runs: tuple[Path, Path], order: tuple[int, int], tmp_path: Path
) -> None:
    bring(store, *(runs[place] for place in order))
    assert listed(store) == [("c0", "strict"), ("c1", "strict")]
    with store.reading() as session:
        found = figures(session, LEAD, Scope(), ZONE)
        assert (found.total.calls, found.total.score_sum) == (2, 100)
        assert [one.calls for one in (*found.days, *found.teams, *found.agents)] == [2, 2, 2]
        assert (len(found.rates), sum(cell.calls for cell in found.hours)) == (2, 2)
        assert [(one.rule, one.calls) for one in found.rules] == [("shirk", 1)]
        worth = rules_worth(session, conditions(LEAD, Scope(), ZONE), Floor(0.9, 1))
        assert [(one.rule, one.flagged) for one in worth] == [("shirk", 1)], "thanks was violated by the old rules only"
        plan = Options(share=1.0, reviewers=[Quota(reviewer_id=1)], frame={"first_day": date(2026, 11, 1)})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("analyzer.store.plans.people_who_review", lambda *_: [])
            assert preview(session, LEAD, "random", plan, ZONE).frame == 2
    assert len(Replays(store, tmp_path)._chosen(100, None)) == 2


def test_the_other_judgements_are_listed_when_asked_for(store: Store, runs: tuple[Path, Path]) -> None:
    bring(store, *runs)
    assert listed(store, "other") == [("c0", "standard"), ("c1", "standard")]
    assert len(listed(store, "all")) == 4
    assert listed(store, "all", verdict="fail", max_score=0) == [("c0", "strict")]


def test_importing_both_again_changes_nothing(store: Store, runs: tuple[Path, Path]) -> None:
    bring(store, *runs)
    before = listed(store), listed(store, "other")
    again = [import_run(store, run) for run in (*runs, *runs)]
    assert [(one.new, one.replaced, one.unchanged) for one in again] == [(0, 0, 2)] * 4
    assert (listed(store), listed(store, "other")) == before


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (0, 2)], ids=["in order", "backwards", "without the second"])
def test_a_call_judged_a_third_time_from_the_second_is_still_the_same_call(
    store: Store, runs: tuple[Path, Path], pack: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    three = (*runs, judged_again(runs[1], pack, tmp_path / "third", "standard"))
    bring(store, *(three[place] for place in order))
    with store.reading() as session:
        assert len(set(session.scalars(select(Call.origin)))) == 2
        page = list_calls(session, LEAD, Filter(), now=NOW)
        newest = {one.id for one in session.scalars(select(Call)) if one.run_id == page.calls[0].run_id}
        assert {one.id for one in page.calls} == newest
        assert page.total == 2
        assert {one.pack.profile for one in page.calls} == {"standard"}


def test_the_same_ids_in_two_runs_that_have_nothing_to_do_with_each_other_are_two_calls(
    store: Store, pack: Path, tmp_path: Path
) -> None:
    bring(store, scored(tmp_path / "monday", pack), scored(tmp_path / "tuesday", pack))
    assert len(listed(store)) == 4, "though their reports are the same to the byte"
    bring(store, judged_again(tmp_path / "tuesday", pack, tmp_path / "again"))
    assert listed(store) == [("c0", "standard"), ("c0", "strict"), ("c1", "standard"), ("c1", "strict")]
    with store.reading() as session:
        aside = list_calls(session, LEAD, Filter(judgement="other"), now=NOW).calls
        kept = select(Call.run_id).order_by(Call.id)
        assert {one.run_id for one in aside} == {session.scalars(kept).all()[2]}, "of tuesday"


def test_a_run_folder_that_was_moved_is_the_same_run(store: Store, runs: tuple[Path, Path], tmp_path: Path) -> None:
    bring(store, runs[0])
    moved = tmp_path / "archive" / "old"
    shutil.copytree(runs[0], moved)
    bring(store, runs[1], moved)
    assert listed(store) == [("c0", "strict"), ("c1", "strict")]


def test_a_report_named_by_itself_knows_its_run_and_a_copy_outside_of_it_stands_alone(
    store: Store, runs: tuple[Path, Path], pack: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "loose" / "c1.json"
    copy.parent.mkdir()
    shutil.copy(runs[0] / "reports" / "c1.json", copy)
    one = judged_again(runs[0] / "reports" / "c0.json", pack, tmp_path / "one")
    bring(store, runs[0], one, judged_again(copy, pack, tmp_path / "other"))
    assert listed(store) == [("c0", "strict"), ("c1", "standard"), ("c1", "strict")]


def test_a_call_scored_anew_in_its_own_run_stays_the_call_it_was(
    store: Store, runs: tuple[Path, Path], pack: Path
) -> None:
    bring(store, *runs)
    scored(runs[0], pack, SHIRKS + "再见，谢谢您。")
    assert import_run(store, runs[0]).replaced == 1
    assert listed(store) == [("c0", "standard"), ("c1", "strict")], "the newest judgement counts"


# ---- what people did


def test_what_people_took_furthest_counts_and_of_equals_the_newest(stage: Stage, runs: tuple[Path, Path]) -> None:
    store = stage.store
    bring(store, *runs)
    old, new = call(store, "c0", "standard"), call(store, "c0", "strict")

    def counts() -> str:
        return next(profile for name, profile in listed(store) if name == "c0")

    assert counts() == "strict"
    with store.writing() as session:
        assign(session, principal(stage, "lead"), old.id, stage.users["reviewer"].id, at=stage.clock())
    assert counts() == "standard", "somebody is to review it"
    decided(stage, old)
    decided(stage, new)
    assert counts() == "strict", "both were decided, this one is newer"
    assert stage.client("reviewer").post("/api/desk/assignments/1/done").status_code == 200
    shared(stage, old)
    assert counts() == "standard", "its agent was told"
    shared(stage, new)
    assert counts() == "strict"
    assert next(profile for name, profile in listed(store) if name == "c1") == "strict", "nobody touched that one"


def test_a_decision_counts_for_good_whichever_run_comes_later(stage: Stage, runs: tuple[Path, Path]) -> None:
    store = stage.store
    bring(store, runs[0])
    decided(stage, call(store, "c0", "standard"))
    bring(store, runs[1])
    assert listed(store) == [("c0", "standard"), ("c1", "strict")]
    with store.reading() as session:
        found = {one.rule: one for one in rules_worth(session, conditions(LEAD, Scope(), ZONE), Floor(0.9, 1))}
        assert (found["shirk"].flagged, found["shirk"].confirmed) == (1, 1)


def test_open_work_is_listed_whether_its_judgement_counts_or_not(stage: Stage, runs: tuple[Path, Path]) -> None:
    store = stage.store
    bring(store, *runs)
    with store.writing() as session:
        old = call(store, "c0", "standard")
        assign(session, principal(stage, "lead"), old.id, stage.users["reviewer"].id, at=stage.clock(),
               due_at=stage.clock() - timedelta(days=1))  # fmt: skip
    decided(stage, call(store, "c0", "strict"))
    assert listed(store) == [("c0", "strict"), ("c1", "strict")]
    assert listed(store, flag="overdue") == [("c0", "standard")]


def test_when_the_judgement_that_counts_is_purged_the_other_counts(
    store: Store, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    bring(store, *runs)
    with store.writing() as session:
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        gone = [one.id for one in session.scalars(select(Call)) if one.pack.profile == "strict"]
        session.execute(update(Call).where(Call.id.in_(gone)).values(started_at=long_ago))
    wanted = retention.Retention(datetime(2021, 1, 1, tzinfo=UTC))
    assert retention.purge(store, MediaFolder(tmp_path / "media"), wanted, actor="cli", now=NOW).calls == 2
    assert listed(store) == [("c0", "standard"), ("c1", "standard")]


def test_webhooks_hear_that_a_call_was_judged_before(stage: Stage, runs: tuple[Path, Path]) -> None:
    with stage.store.writing() as session:
        session.add(Webhook(url="https://example.org", secret="s", events=["call.imported"], is_active=True,
                            created_by=stage.users["admin"].id, created_at=NOW))  # fmt: skip
    bring(stage.store, runs[1], runs[0])
    with stage.store.reading() as session:
        told = [one.payload for one in session.scalars(select(Delivery).order_by(Delivery.id))]
    assert [(one["counts"], len(one["other_judgements"])) for one in told] == [
        (True, 0), (True, 0), (False, 1), (False, 1),
    ]  # fmt: skip
    assert [one["other_judgements"] for one in told[2:]] == [[told[0]["call"]], [told[1]["call"]]]


# ---- over HTTP


def test_old_and_new_stand_side_by_side_with_a_link_either_way(stage: Stage, runs: tuple[Path, Path]) -> None:
    bring(stage.store, *runs)
    old, new = call(stage.store, "c0", "standard"), call(stage.store, "c0", "strict")
    client = stage.client("reviewer")
    for this, other in ((old, new), (new, old)):
        detail = client.get(f"/api/desk/calls/{this.id}").json()
        shown = [(one["id"], one["profile"], one["score"], one["counts"]) for one in detail["all_judgements"]]
        assert shown == [(new.id, "strict", 0, True), (old.id, "standard", 71.4, False)]
        assert (detail["judgements"], detail["counts"]) == (2, this is new)
        assert {one["id"] for one in detail["all_judgements"]} == {this.id, other.id}
    thanks = client.get(f"/api/desk/calls/{call(stage.store, 'c1', 'strict').id}").json()["all_judgements"]
    assert [one["differences"] for one in thanks] == [
        [], [{"rule": "thanks", "title": "感谢", "outcome": "violation", "here": "pass"}],
    ]  # fmt: skip


def test_a_call_that_was_judged_once_has_nothing_beside_it(stage: Stage, runs: tuple[Path, Path]) -> None:
    bring(stage.store, runs[0])
    only = call(stage.store, "c0", "standard")
    detail = stage.client("reviewer").get(f"/api/desk/calls/{only.id}").json()
    assert [(one["id"], one["counts"], one["differences"]) for one in detail["all_judgements"]] == [(only.id, True, [])]


def test_a_decision_says_at_once_which_judgement_counts_now(stage: Stage, runs: tuple[Path, Path]) -> None:
    bring(stage.store, *runs)
    old = call(stage.store, "c0", "standard")
    answer = stage.client("reviewer").post(
        f"/api/desk/findings/{finding(stage.store, old)}/decision", json={"decision": "confirmed", "reason": ""}
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["call"]["counts"] is True
    assert [one["counts"] for one in answer.json()["all_judgements"]] == [False, True]


def test_the_list_marks_calls_that_were_judged_again(stage: Stage, runs: tuple[Path, Path]) -> None:
    bring(stage.store, *runs)
    client = stage.client("reviewer")
    assert client.get("/calls/rows").text.count("评过 2 次</span>") == 2
    assert client.get("/calls/rows?judgement=other").text.count("不计入统计</span>") == 2
    assert client.get("/api/desk/calls?judgement=nonsense").status_code == 422


def test_an_agent_sees_of_the_judgements_only_those_that_were_shared_with_them(
    stage: Stage, runs: tuple[Path, Path]
) -> None:
    store = stage.store
    bring(store, *runs)
    old, new = call(store, "c0", "standard"), call(store, "c0", "strict")
    decided(stage, old)
    shared(stage, old)
    agent = stage.client("agent")
    detail = agent.get(f"/api/desk/calls/{old.id}").json()
    assert (detail["judgements"], [one["id"] for one in detail["all_judgements"]]) == (1, [old.id])
    assert agent.get(f"/api/desk/calls/{new.id}").status_code == 404
    assert [one["id"] for one in agent.get("/api/desk/calls?judgement=all").json()["calls"]] == [old.id]
    assert agent.get("/api/desk/calls?judgement=other").json()["total"] == 0
    assert stage.client("other_agent").get(f"/api/desk/calls/{old.id}").status_code == 404
    decided(stage, new)
    shared(stage, new)
    detail = agent.get(f"/api/desk/calls/{old.id}").json()
    assert [(one["id"], one["counts"]) for one in detail["all_judgements"]] == [(new.id, True), (old.id, False)]


def test_a_judgement_of_somebody_else_s_is_not_linked_to_an_agent(stage: Stage, runs: tuple[Path, Path]) -> None:
    """Whose call it was may have been put right between the two."""
    store = stage.store
    bring(store, *runs)
    old, new = call(store, "c0", "standard"), call(store, "c0", "strict")
    for one in (old, new):
        decided(stage, one)
        shared(stage, one)
    with store.writing() as session:
        session.execute(update(Call).where(Call.id == old.id).values(agent_id=OTHER_AGENT_ID))
    detail = stage.client("agent").get(f"/api/desk/calls/{new.id}").json()
    assert [one["id"] for one in detail["all_judgements"]] == [new.id]


def test_a_blind_reviewer_learns_nothing_of_the_other_s_decisions_from_the_link(
    stage: Stage, runs: tuple[Path, Path]
) -> None:
    store = stage.store
    bring(store, *runs)
    old, new = call(store, "c0", "standard"), call(store, "c0", "strict")
    lead = principal(stage, "lead")
    with store.writing() as session:
        assign(session, lead, old.id, stage.users["reviewer"].id, at=stage.clock())
    with store.writing() as session:
        assign(session, lead, old.id, stage.users["other_reviewer"].id, Round.SECOND, at=stage.clock())
    decided(stage, old, Decision.OVERTURNED)
    path = f"/api/desk/calls/{new.id}"
    seen = {name: stage.client(name).get(path).json()["all_judgements"][1] for name in ("lead", "other_reviewer")}
    assert seen["lead"]["state"] == "overturned"
    assert (seen["other_reviewer"]["final_score"], seen["other_reviewer"]["state"]) == (None, "assigned")
    assert {**seen["lead"], "final_score": None, "final_verdict": None, "state": "assigned"} == seen["other_reviewer"]
