"""Decisions in the store: one transaction each, remembered, counted, told."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from analyzer.review.workflow import Decision, RefusedError, Round, state_of
from analyzer.rules.spec import CaseSpec
from analyzer.store import Store, appeals, audit, comments, manual, reviews, work
from analyzer.store.blindness import blind_calls
from analyzer.store.deeds import read_call
from analyzer.store.finals import card_of
from analyzer.store.reviews import Added
from analyzer.store.tables import (
    Appeal,
    Assignment,
    AuditEntry,
    Call,
    CaseDraft,
    Delivery,
    Finding,
    ManualScore,
    Review,
    RuleResult,
    Transition,
    Webhook,
)
from analyzer.store.users import Principal
from analyzer.transcripts import read_case
from analyzer.types import Outcome, Severity
from tests.desk_review import NOW, People, add_call, add_people, call_of, findings, peek

CONFIRMED, OVERTURNED, UNSURE = Decision
WEEK = timedelta(days=7)


@pytest.fixture
def people(store: Store) -> People:
    return add_people(store)


def do(store: Store, act: Callable[..., Any], who: Principal, *given: Any, **fields: Any) -> Any:
    with store.writing() as session:
        return act(session, who, *given, **{"at": NOW, **fields})


def refused(kind: str, store: Store, act: Callable[..., Any], who: Principal, *given: Any, **fields: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        do(store, act, who, *given, **fields)
    assert caught.value.kind == kind, caught.value


def count(store: Store, table: Any, *where: Any) -> int:
    with peek(store) as session:
        return session.scalar(select(func.count()).select_from(table).where(*where)) or 0


def decide_all(store: Store, who: Principal, call_pk: int, decision: Decision) -> None:
    for finding in findings(store, call_pk):
        do(store, reviews.decide, who, finding.id, decision, reason="听过录音")


def shared_call(store: Store, people: People, **fields: Any) -> int:
    call_pk = add_call(store, **fields)
    decide_all(store, people.anna, call_pk, CONFIRMED)
    do(store, reviews.share, people.anna, call_pk, appeal_within=WEEK)
    return call_pk


# ---- decisions and the final score


def test_a_decision_is_remembered_with_who_when_why_and_pack(store: Store, people: People) -> None:
    call_pk = add_call(store)
    finding = findings(store, call_pk)[0]
    do(store, reviews.decide, people.anna, finding.id, OVERTURNED, reason="客户说的")
    with peek(store) as session:
        review = session.scalars(select(Review)).one()
        step = session.scalars(select(Transition)).one()
        entry = session.scalars(select(AuditEntry)).one()
    assert (review.decision, review.reason, review.reviewer_id, review.round) == (
        "overturned", "客户说的", people.anna.user_id, "first",
    )  # fmt: skip
    assert (step.action, step.state_before, step.state_after, step.by_id, step.why, step.at) == (
        "overturn", "auto", "overturned", people.anna.user_id, "客户说的", NOW,
    )  # fmt: skip
    assert step.pack_digest == review.pack_digest == "sha256:c1"
    assert (entry.actor, entry.action, entry.object) == (people.anna.actor, "finding.decided", f"finding:{finding.id}")
    assert "客户说的" not in str(entry.details)


def test_the_final_score_follows_every_decision(store: Store, people: People) -> None:
    call_pk = add_call(store, hits=2, unsure=True)
    first, second, closing = findings(store, call_pk)
    do(store, reviews.decide, people.anna, first.id, OVERTURNED, reason="客户说的")
    assert call_of(store, call_pk).final_score == 87.5  # 70 of 80: the closing is still unsure
    do(store, reviews.decide, people.anna, second.id, CONFIRMED)
    assert call_of(store, call_pk).final_score == 87.5
    do(store, reviews.decide, people.anna, closing.id, CONFIRMED)
    call = call_of(store, call_pk)
    assert (call.final_score, call.final_verdict) == (70, "fail")  # 70 of 100
    do(store, reviews.decide, people.anna, closing.id, OVERTURNED, reason="说了再见")
    call = call_of(store, call_pk)
    assert (call.final_score, call.final_verdict, call.score) == (90, "pass", 80)
    with peek(store) as session:
        outcomes = {one.rule: one.final_outcome for one in session.scalars(select(RuleResult))}
    assert outcomes == {"banned_phrase": "violation", "closing": "pass", "polite_quota": "pass"}


def test_without_the_packs_weights_there_is_no_final_score(store: Store, people: People) -> None:
    call_pk = add_call(store, weights=None)
    decide_all(store, people.anna, call_pk, OVERTURNED)
    with peek(store) as session:
        outcome = session.scalar(select(RuleResult.final_outcome).where(RuleResult.rule == "banned_phrase"))
    assert (call_of(store, call_pk).final_score, outcome) == (None, "pass")


def test_the_same_decision_sent_twice_is_one_review(store: Store, people: People) -> None:
    call_pk = add_call(store)
    finding = findings(store, call_pk)[0]
    for _ in range(2):
        do(store, reviews.decide, people.anna, finding.id, CONFIRMED, version=1)
    assert (count(store, Review), count(store, Transition), count(store, AuditEntry)) == (1, 1, 1)


def test_a_decision_on_what_somebody_changed_meanwhile_is_refused(store: Store, people: People) -> None:
    call_pk = add_call(store)
    first, second = findings(store, call_pk)
    do(store, reviews.decide, people.anna, first.id, CONFIRMED, version=1)
    refused("conflict", store, reviews.decide, people.anna, second.id, CONFIRMED, version=1)
    assert count(store, Review) == 1
    do(store, reviews.decide, people.anna, second.id, CONFIRMED, version=call_of(store, call_pk).version)


def test_what_may_not_be_seen_does_not_exist(store: Store, people: People) -> None:
    call_pk = add_call(store)
    refused("not_found", store, reviews.decide, people.agent, findings(store, call_pk)[0].id, CONFIRMED)
    refused("not_found", store, reviews.decide, people.anna, 4711, CONFIRMED)
    refused("not_found", store, reviews.acknowledge, people.other_agent, call_pk)


def test_a_refused_action_leaves_nothing_behind(store: Store, people: People) -> None:
    call_pk = add_call(store)
    refused("conflict", store, reviews.share, people.anna, call_pk, appeal_within=WEEK)
    assert (count(store, Transition), count(store, AuditEntry)) == (0, 0)
    assert call_of(store, call_pk).version == 1


# ---- violations that were missed

MISSED = Added("banned_phrase", 4, 3, 6, Severity.MINOR, "推诿")


def test_an_added_violation_counts_and_becomes_a_firing_case(store: Store, people: People) -> None:
    call_pk = add_call(store, hits=0)
    done = do(store, reviews.add_finding, people.anna, call_pk, MISSED, reason="漏了")
    assert (done.finding.quote, done.finding.start_ms, done.finding.source) == ("不知道", 17500, "added")
    assert (call_of(store, call_pk).final_score, call_of(store, call_pk).state) == (96, "confirmed")
    with peek(store) as session:
        draft = session.scalars(select(CaseDraft)).one()
    assert draft.rule == "banned_phrase"
    assert "[[不知道]]" in draft.yaml
    assert "13800138000" not in draft.yaml
    marked = read_case(_case(draft.yaml).call)
    [(turn, start, end)] = marked.marks
    assert marked.transcript.utterances[turn].text[start:end] == "不知道"


def _case(yaml: str) -> CaseSpec:
    from ruamel.yaml import YAML

    [fields] = YAML(typ="safe").load(yaml)
    return CaseSpec.model_validate(fields)


def test_an_added_violation_sent_twice_is_one(store: Store, people: People) -> None:
    call_pk = add_call(store, hits=0)
    for _ in range(2):
        do(store, reviews.add_finding, people.anna, call_pk, MISSED, reason="漏了", version=1)
    assert (count(store, Finding), count(store, CaseDraft)) == (1, 1)


def test_a_violation_is_not_added_where_its_rule_has_one_already(store: Store, people: People) -> None:
    call_pk = add_call(store, hits=1)
    again = Added("banned_phrase", 2, 1, 4, Severity.MINOR)
    refused("conflict", store, reviews.add_finding, people.anna, call_pk, again, reason="漏了")


@pytest.mark.parametrize(
    "added",
    [
        Added("banned_phrase", 99, 0, 1, Severity.MINOR),
        Added("banned_phrase", 4, 3, 300, Severity.MINOR),
        Added("banned_phrase", 4, 3, 3, Severity.MINOR),
        Added("no_such_rule", 4, 3, 6, Severity.MINOR),
    ],
)
def test_an_added_violation_names_words_of_the_call_and_a_rule_of_its_pack(
    store: Store, people: People, added: Added
) -> None:
    call_pk = add_call(store)
    refused("invalid", store, reviews.add_finding, people.anna, call_pk, added, reason="漏了")
    assert count(store, Finding, Finding.source == "added") == 0


def test_a_rule_that_did_not_apply_gets_a_result_when_a_violation_of_it_is_added(store: Store, people: People) -> None:
    call_pk = add_call(store, hits=0)
    with store.writing() as session:
        session.delete(session.get_one(RuleResult, (call_pk, "banned_phrase")))
    do(store, reviews.add_finding, people.anna, call_pk, MISSED, reason="漏了")
    with peek(store) as session:
        result = session.get_one(RuleResult, (call_pk, "banned_phrase"))
    assert (result.outcome, result.final_outcome, result.title) == ("not_applicable", "violation", "服务禁语")


# ---- sharing, appeals


def test_an_agent_sees_a_call_once_it_is_shared(store: Store, people: People) -> None:
    call_pk = add_call(store)
    refused("not_found", store, reviews.acknowledge, people.agent, call_pk)
    decide_all(store, people.anna, call_pk, CONFIRMED)
    do(store, reviews.share, people.anna, call_pk, appeal_within=WEEK)
    call = call_of(store, call_pk)
    assert (call.state, call.shared_at, call.appeal_until) == ("shared", NOW, NOW + WEEK)
    do(store, reviews.acknowledge, people.agent, call_pk)
    do(store, reviews.finalise, people.lead, call_pk)
    assert (call_of(store, call_pk).state, call_of(store, call_pk).locked_at) == ("final", NOW)


def test_an_upheld_appeal_overturns_rescores_and_drafts_a_silent_case(store: Store, people: People) -> None:
    call_pk = shared_call(store, people, hits=2)
    finding = findings(store, call_pk)[0]
    do(store, appeals.appeal, people.agent, finding.id, text="我没有说")
    with peek(store) as session:
        made = session.scalars(select(Appeal)).one()
    refused("forbidden", store, appeals.decide_appeal, people.anna, made.id, upheld=True, reason="听错了")
    do(store, appeals.decide_appeal, people.lead, made.id, upheld=True, reason="是客户说的")
    after = findings(store, call_pk)[0]
    assert (after.state, after.decision, after.decided_by) == ("upheld", "overturned", people.lead.user_id)
    assert call_of(store, call_pk).final_score == 90
    with peek(store) as session:
        draft = session.scalars(select(CaseDraft)).one()
    case = _case(draft.yaml)
    assert read_case(case.call).marks == ()
    assert "这不归我管" in case.call
    assert case.direction == "inbound"


def test_an_appeal_sent_twice_is_one_and_another_is_refused(store: Store, people: People) -> None:
    call_pk = shared_call(store, people)
    finding = findings(store, call_pk)[0]
    for _ in range(2):
        do(store, appeals.appeal, people.agent, finding.id, text="我没有说")
    refused("conflict", store, appeals.appeal, people.agent, finding.id, text="再说一次")
    assert count(store, Appeal) == 1


def test_an_appeal_after_the_deadline_is_refused(store: Store, people: People) -> None:
    finding = findings(store, shared_call(store, people))[0]
    refused("conflict", store, appeals.appeal, people.agent, finding.id, text="晚了", at=NOW + WEEK)


def test_appeals_are_listed_for_those_who_may_see_their_calls(store: Store, people: People) -> None:
    finding = findings(store, shared_call(store, people))[0]
    do(store, appeals.appeal, people.agent, finding.id, text="我没有说")
    with peek(store) as session:
        assert [made.finding_id for made, _, _ in appeals.list_appeals(session, people.lead)] == [finding.id]
        assert len(appeals.list_appeals(session, people.agent, state="open")) == 1
        assert appeals.list_appeals(session, people.other_agent) == []
        assert appeals.list_appeals(session, people.lead, state="upheld") == []


def test_after_final_only_reopening_changes_anything(store: Store, people: People) -> None:
    call_pk = shared_call(store, people)
    do(store, reviews.finalise, people.lead, call_pk, at=NOW + WEEK)
    finding = findings(store, call_pk)[0]
    refused("locked", store, reviews.decide, people.lead, finding.id, OVERTURNED, reason="改")
    refused("locked", store, reviews.add_finding, people.lead, call_pk, MISSED, reason="漏")
    refused("locked", store, manual.score_item, people.lead, call_pk, "warmth", Outcome.PASS)
    refused("locked", store, comments.add_comment, people.lead, call_pk, text="…")
    do(store, reviews.reopen, people.lead, call_pk, why="录音换了")
    call = call_of(store, call_pk)
    assert (call.state, call.locked_at, call.shared_at, call.appeal_until) == ("confirmed", None, None, None)
    do(store, reviews.decide, people.lead, finding.id, OVERTURNED, reason="改")


# ---- by hand


def test_a_manual_item_joins_the_final_score_and_the_newest_counts(store: Store, people: People) -> None:
    call_pk = add_call(store, hits=0)
    for _ in range(2):
        do(store, manual.score_item, people.anna, call_pk, "warmth", Outcome.VIOLATION, points=-5, comment="生硬")
    assert call_of(store, call_pk).final_score == 95.5  # 105 of 110
    do(store, manual.score_item, people.anna, call_pk, "warmth", Outcome.PASS)
    assert (call_of(store, call_pk).final_score, count(store, ManualScore)) == (100, 2)


def test_a_manual_item_is_the_schemes_and_within_its_points(store: Store, people: People) -> None:
    call_pk = add_call(store)
    refused("not_found", store, manual.score_item, people.anna, call_pk, "charm", Outcome.PASS)
    refused("invalid", store, manual.score_item, people.anna, call_pk, "warmth", Outcome.VIOLATION, points=-11)
    refused("invalid", store, manual.score_item, people.anna, call_pk, "warmth", Outcome.PASS, points=-1)
    refused("invalid", store, manual.score_item, people.anna, call_pk, "warmth", Outcome.UNSURE)


# ---- two reviewers


def paired(store: Store, people: People, **fields: Any) -> int:
    call_pk = add_call(store, **fields)
    do(store, reviews.assign, people.lead, call_pk, people.anna.user_id)
    do(store, reviews.assign, people.lead, call_pk, people.ben.user_id, Round.SECOND)
    return call_pk


def finish(store: Store, who: Principal) -> None:
    with peek(store) as session:
        mine = session.scalars(select(Assignment.id).where(Assignment.reviewer_id == who.user_id)).one()
    do(store, reviews.finish, who, mine)


def test_two_who_differ_leave_it_to_a_lead(store: Store, people: People) -> None:
    call_pk = paired(store, people)
    decide_all(store, people.anna, call_pk, CONFIRMED)
    before = call_of(store, call_pk).final_score
    first, second = findings(store, call_pk)
    do(store, reviews.decide, people.ben, first.id, OVERTURNED, reason="客户说的")
    do(store, reviews.decide, people.ben, second.id, CONFIRMED)
    assert call_of(store, call_pk).final_score == before
    finish(store, people.anna)
    assert call_of(store, call_pk).state == "confirmed"
    finish(store, people.ben)
    assert [one.state for one in findings(store, call_pk)] == ["disputed", "confirmed"]
    refused("forbidden", store, reviews.decide, people.ben, first.id, OVERTURNED, reason="就是")
    do(store, reviews.decide, people.lead, first.id, OVERTURNED, reason="听得清楚")
    assert call_of(store, call_pk).final_score == 90
    with peek(store) as session:
        steps = session.scalars(select(Transition).where(Transition.action == "dispute")).all()
        rounds = Counter(session.scalars(select(Review.round)))
    assert [step.by_id for step in steps] == [None]
    assert rounds == {"first": 2, "second": 2, "arbitration": 1}


def test_a_round_ended_from_the_queue_or_withdrawn_there_settles_it_too(store: Store, people: People) -> None:
    call_pk = paired(store, people, hits=1)
    decide_all(store, people.anna, call_pk, CONFIRMED)
    decide_all(store, people.ben, call_pk, OVERTURNED)
    with store.writing() as session:
        first, second = session.scalars(select(Assignment).order_by(Assignment.id))
        work.finish(session, people.ben, second.id, NOW)
        assert session.get_one(Call, call_pk).state == "confirmed"
        work.withdraw(session, people.lead, first.id, NOW)
    assert call_of(store, call_pk).state == "disputed"


def test_each_of_two_is_blind_until_both_are_done(store: Store, people: People) -> None:
    call_pk = paired(store, people)
    decide_all(store, people.anna, call_pk, CONFIRMED)
    with peek(store) as session:
        assert blind_calls(session, people.ben, [call_pk]) == {call_pk}
        assert blind_calls(session, people.lead, [call_pk]) == set()
    decide_all(store, people.ben, call_pk, CONFIRMED)
    finish(store, people.anna)
    finish(store, people.ben)
    with peek(store) as session:
        assert blind_calls(session, people.ben, [call_pk]) == set()


def test_what_one_of_two_adds_is_unknown_to_the_other(store: Store, people: People) -> None:
    call_pk = paired(store, people, hits=0)
    done = do(store, reviews.add_finding, people.ben, call_pk, MISSED, reason="漏了")
    assert call_of(store, call_pk).final_score == 100
    refused("not_found", store, reviews.decide, people.anna, done.finding.id, CONFIRMED)
    refused("not_found", store, comments.add_comment, people.anna, call_pk, text="?", finding_id=done.finding.id)


def test_two_who_add_the_same_agree(store: Store, people: People) -> None:
    call_pk = paired(store, people, hits=0)
    do(store, reviews.add_finding, people.anna, call_pk, MISSED, reason="漏了")
    do(store, reviews.add_finding, people.ben, call_pk, MISSED, reason="也听到了")
    finish(store, people.anna)
    finish(store, people.ben)
    assert [one.state for one in findings(store, call_pk)] == ["confirmed"]


def test_a_round_withdrawn_is_no_round(store: Store, people: People) -> None:
    call_pk = paired(store, people)
    decide_all(store, people.anna, call_pk, CONFIRMED)
    do(store, reviews.withdraw, people.lead, call_pk)
    with peek(store) as session:
        assert read_call(session.get_one(Call, call_pk)).assignments == ()
    do(store, reviews.share, people.anna, call_pk, appeal_within=WEEK)


# ---- told outside


def test_webhooks_are_told_with_ids_only(store: Store, people: People) -> None:
    call_pk = add_call(store)
    with store.writing() as session:
        for events, active in ((["finding.decided"], True), (["call.shared"], True), (["finding.decided"], False)):
            session.add(Webhook(url="https://x", secret="s", events=events, is_active=active,
                                created_by=people.admin.user_id, created_at=NOW))  # fmt: skip
    finding = findings(store, call_pk)[0]
    do(store, reviews.decide, people.anna, finding.id, OVERTURNED, reason="客户说的")
    with peek(store) as session:
        delivery = session.scalars(select(Delivery)).one()
    assert (delivery.event, delivery.state, delivery.next_at) == ("finding.decided", "waiting", NOW)
    assert delivery.payload == {
        "call": call_pk, "finding": finding.id, "decision": "overturned", "by": people.anna.user_id,
    }  # fmt: skip


def test_comments_are_internal_only_by_reviewers(store: Store, people: People) -> None:
    call_pk = shared_call(store, people)
    do(store, comments.add_comment, people.agent, call_pk, text="请再听一遍", at_ms=8000)
    refused("forbidden", store, comments.add_comment, people.agent, call_pk, text="…", is_internal=True)
    refused("invalid", store, comments.add_comment, people.anna, call_pk, text="…", at_ms=60_001)
    refused("not_found", store, comments.add_comment, people.anna, call_pk, text="…", finding_id=4711)


# ---- all at once

THREADS = 20


def test_twenty_deciding_one_call_at_once_lose_nothing(store: Store, people: People) -> None:
    """Each retries what came too late."""
    call_pk = add_call(store, hits=THREADS)
    ids = [one.id for one in findings(store, call_pk)]
    reviewers = [people.anna, people.ben, people.cara, people.lead]
    faults: list[BaseException] = []
    start = threading.Barrier(THREADS)

    def work(number: int) -> None:
        who = reviewers[number % len(reviewers)]
        try:
            start.wait()
            for finding in (ids[number], ids[(number + 1) % THREADS]):
                while not decided(who, finding, OVERTURNED if number % 2 else CONFIRMED):
                    pass
        except BaseException as fault:
            faults.append(fault)

    def decided(who: Principal, finding: int, decision: Decision) -> bool:
        version = call_of(store, call_pk).version
        try:
            do(store, reviews.decide, who, finding, decision, reason="听过录音", version=version)
        except RefusedError as refusal:
            return refusal.kind != "conflict"
        return True

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with peek(store) as session:
        made = session.scalars(select(Review).order_by(Review.id)).all()
        steps = session.scalars(select(Transition).order_by(Transition.id)).all()
        rows = {one.id: one for one in session.scalars(select(Finding))}
        verified = audit.verify(session)
        card = card_of(session.get_one(Call, call_pk))
        state = state_of(read_call(session.get_one(Call, call_pk)))
    assert len(made) == len(steps) == verified.entries
    assert verified.broken is None
    assert {one.finding_id for one in made} == set(ids)
    for finding, row in rows.items():
        own = [step for step in steps if step.finding_id == finding]
        assert [step.state_before for step in own] == ["auto", *(step.state_after for step in own[:-1])]
        newest = [one for one in made if one.finding_id == finding][-1]
        assert (row.state, row.decision, row.decided_by) == (newest.decision, newest.decision, newest.reviewer_id)
    call = call_of(store, call_pk)
    assert (call.final_score, call.state) == (card.score, state.value)
