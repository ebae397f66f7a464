"""A blind reviewer learns nothing of the other's decisions by filtering, sorting, paging or adding up."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from analyzer.review import workflow
from analyzer.review.trends import Scope
from analyzer.review.workflow import Decision, Round
from analyzer.review.worth import Floor
from analyzer.store import Store, reviews, trends
from analyzer.store.blindness import blind_calls
from analyzer.store.calls import Filter, list_calls
from analyzer.store.cursors import read_cursor
from analyzer.store.deeds import actor, read_call
from analyzer.store.reviews import Added
from analyzer.store.tables import Assignment, Call
from analyzer.store.users import Principal
from analyzer.store.work import queue
from analyzer.store.worth import rules_worth
from analyzer.types import Severity
from tests.desk_review import NOW, People, add_call, add_people, findings, peek


@pytest.fixture
def people(store: Store) -> People:
    return add_people(store)


@pytest.fixture
def pair(store: Store, people: People) -> tuple[int, int]:
    """Two like calls, each Anna's and Ben's; Anna overturned everything in the first and confirmed it in the second."""
    calls = add_call(store, name="one"), add_call(store, name="two")
    for call_pk, decision in zip(calls, (Decision.OVERTURNED, Decision.CONFIRMED), strict=True):
        with store.writing() as session:
            reviews.assign(session, people.lead, call_pk, people.anna.user_id, at=NOW)
            reviews.assign(session, people.lead, call_pk, people.ben.user_id, Round.SECOND, at=NOW)
        for finding in findings(store, call_pk):
            with store.writing() as session:
                reviews.decide(session, people.anna, finding.id, decision, reason="听录音", at=NOW)
    return calls


def listed(store: Store, who: Principal, *, sort: str = "-started_at", **wanted: Any) -> list[int]:
    with peek(store) as session:
        return [call.id for call in list_calls(session, who, Filter(**wanted), sort=sort, now=NOW).calls]


def test_the_database_means_by_blind_what_the_workflow_means(store: Store, people: People) -> None:
    call_pk = add_call(store)

    def compare() -> set[str]:
        with peek(store) as session:
            now = read_call(session.get_one(Call, call_pk))
            for who in people.by_name.values():
                assert bool(blind_calls(session, who, [call_pk])) is workflow.is_blind_to(now, actor(who)), who.name
            return {who.name for who in people.by_name.values() if blind_calls(session, who, [call_pk])}

    def finish(who: Principal) -> None:
        with store.writing() as session:
            mine = session.scalars(select(Assignment.id).where(Assignment.reviewer_id == who.user_id)).one()
            reviews.finish(session, who, mine, at=NOW)

    def give(who: Principal, round_: Round) -> None:
        with store.writing() as session:
            reviews.assign(session, people.lead, call_pk, who.user_id or 0, round_, at=NOW)

    seen = [compare()]
    give(people.anna, Round.FIRST)
    seen.append(compare())
    give(people.leader, Round.SECOND)
    seen.append(compare())
    for finding in findings(store, call_pk):
        for who in (people.anna, people.leader):
            with store.writing() as session:
                reviews.decide(session, who, finding.id, Decision.CONFIRMED, at=NOW)
    finish(people.anna)
    seen.append(compare())
    finish(people.leader)
    seen.append(compare())
    blind = {"anna", "ben", "cara", "leader"}
    assert seen == [set(), set(), blind, blind, set()]


@pytest.mark.parametrize("name", ["ben", "cara"])
def test_states_and_final_scores_cannot_be_filtered_out_of_a_blind_round(
    store: Store, people: People, pair: tuple[int, int], name: str
) -> None:
    first, second = pair
    blind, lead = people.by_name[name], people.lead
    assert listed(store, lead, state="overturned") == [first]
    assert listed(store, lead, min_score=90) == [first]
    for state in ("overturned", "confirmed"):
        assert listed(store, blind, state=state) == []
    assert sorted(listed(store, blind, state="assigned")) == [first, second]
    for score in ({"min_score": 90}, {"max_score": 79}):
        assert listed(store, blind, **score) == []
    assert sorted(listed(store, blind, min_score=80, max_score=80)) == [first, second]


def test_final_scores_cannot_be_sorted_or_read_off_a_cursor(
    store: Store, people: People, pair: tuple[int, int]
) -> None:
    first, second = pair
    assert listed(store, people.lead, sort="-final_score") == [first, second]
    assert listed(store, people.lead, sort="final_score") == [second, first]
    assert listed(store, people.ben, sort="-final_score") == listed(store, people.ben, sort="final_score")
    with peek(store) as session:
        page = list_calls(session, people.ben, Filter(), sort="-final_score", limit=1, now=NOW)
        rest = list_calls(session, people.ben, Filter(), sort="-final_score", cursor=page.next, limit=1, now=NOW)
    assert page.next is not None
    assert [call.id for call in (*page.calls, *rest.calls)] == [second, first]
    assert read_cursor(page.next, float, int) == (None, second)


def test_what_the_other_one_added_cannot_be_searched_for(store: Store, people: People, pair: tuple[int, int]) -> None:
    first, _ = pair
    with store.writing() as session:
        reviews.add_finding(
            session, people.anna, first, Added("closing", 6, 0, 2, Severity.MAJOR), reason="没有结束语", at=NOW
        )
    assert listed(store, people.lead, rule="closing") == [first]
    assert listed(store, people.anna, rule="closing") == [first]
    assert listed(store, people.ben, rule="closing") == []


def test_sums_leave_out_calls_that_the_viewer_reviews_blind(
    store: Store, people: People, pair: tuple[int, int]
) -> None:
    def sums(who: Principal) -> tuple[int, int]:
        with peek(store) as session:
            of = trends.conditions(who, Scope(), UTC)
            decided = sum(one.confirmed + one.overturned for one in rules_worth(session, of, Floor()))
            return trends.figures(session, who, Scope(), UTC).total.calls, decided

    assert sums(people.lead) == (2, 4)
    assert sums(people.ben) == (0, 0)


def test_a_queue_goes_on_from_a_row_and_leaves_none_out_when_others_are_done(store: Store, people: People) -> None:
    for number in range(6):
        call_pk = add_call(store, name=f"q{number}", hits=0)
        due_at = None if number == 5 else NOW + timedelta(days=number // 2)
        with store.writing() as session:
            reviews.assign(session, people.lead, call_pk, people.anna.user_id or 0, due_at=due_at, at=NOW)
    seen, cursor = [], None
    for _ in range(3):
        with store.writing() as session:
            page, cursor = queue(session, people.anna.user_id or 0, cursor=cursor, limit=2)
            seen += [call.call_id for _, call in page]
            page[0][0].state, page[0][0].done_at = "done", NOW + timedelta(hours=len(seen))
    assert (seen, cursor) == ([f"q{number}" for number in range(6)], None)
    with peek(store) as session:
        newest, further = queue(session, people.anna.user_id or 0, state="done", limit=2)
        rest, _ = queue(session, people.anna.user_id or 0, state="done", cursor=further, limit=2)
        with pytest.raises(ValueError, match="cursor"):
            queue(session, people.anna.user_id or 0, cursor="2")
    assert [call.call_id for _, call in (*newest, *rest)] == ["q4", "q2", "q0"]
