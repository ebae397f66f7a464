"""Plans, queues, audits and calibrations in the store."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import func, select, update

from analyzer.desk.access import Principal
from analyzer.review.sampling import Options, Quota
from analyzer.review.workflow import RefusedError
from analyzer.store import Store
from analyzer.store.calibrations import (
    calibration,
    close_calibration,
    decide_in_calibration,
    list_calibrations,
    make_calibration,
)
from analyzer.store.plans import draw_plan, make_plan, preview, progress
from analyzer.store.tables import Assignment, AuditedSegment, Call, Finding, Review, Transition, Turn
from analyzer.store.work import audit_of, finish, hear, next_item, queue, queue_length, withdraw
from tests.many_calls import NOW, add_calls, add_people

ZONE = timezone(timedelta(hours=8))
LEAD = Principal(2, "lead", "周主管", "lead")
REV1, REV2, REV3 = (Principal(number, f"rev{number - 2}", "", "reviewer") for number in (3, 4, 5))


@pytest.fixture
def store(store: Store) -> Store:
    with store.writing() as session:
        add_people(session)
        add_calls(session, 120, days=12, decided=0)
    return store


def options(**fields: Any) -> Options:
    return Options(**{"reviewers": [Quota(reviewer_id=3), Quota(reviewer_id=4)], **fields})


def drawn(store: Store, kind: Any = "random", **fields: Any) -> int:
    """The id of a plan that was drawn."""
    with store.writing() as session:
        plan = make_plan(session, "周抽检", kind, options(**fields), by=2, now=NOW)
        draw_plan(session, LEAD, plan.id, by=2, zone=ZONE, now=NOW)
        return plan.id


def count(store: Store, *conditions: Any) -> int:
    with store.reading() as session:
        return session.scalar(select(func.count()).select_from(Assignment).where(*conditions)) or 0


# ---- plans


def test_a_preview_says_what_the_draw_then_does(store: Store) -> None:
    plan = options(share=0.25, second_share=0.5)
    with store.reading() as session:
        foreseen = preview(session, LEAD, "random", plan, ZONE)
    with store.writing() as session:
        made = make_plan(session, "p", "random", plan, by=2, now=NOW)
        done = draw_plan(session, LEAD, made.id, by=2, zone=ZONE, now=NOW)
    assert foreseen == done
    assert (done.frame, done.calls) == (120, 30)
    assert sum(counts.get("second", 0) for counts in done.by.values()) == 15


def test_a_preview_changes_nothing(store: Store) -> None:
    with store.reading() as session:
        preview(session, LEAD, "random", options(count=9), ZONE)
    assert count(store) == 0


def test_a_plan_drawn_twice_assigns_once(store: Store) -> None:
    plan = drawn(store, count=10)
    with store.writing() as session:
        again = draw_plan(session, LEAD, plan, by=2, zone=ZONE, now=NOW + timedelta(days=1))
    assert count(store, Assignment.plan_id == plan) == 10
    assert (again.calls, sum(sum(counts.values()) for counts in again.by.values())) == (10, 10)


def test_calls_that_were_assigned_are_not_drawn_again_unless_asked(store: Store) -> None:
    drawn(store, count=100)
    again = options(share=1.0, frame={"never_assigned": False})
    with store.writing() as session:
        assert preview(session, LEAD, "random", options(share=1.0), ZONE).calls == 20
        assert preview(session, LEAD, "random", again, ZONE).calls == 20  # the others are still being reviewed
        session.execute(update(Assignment).values(state="done"))
        assert preview(session, LEAD, "random", options(share=1.0), ZONE).calls == 20
        assert preview(session, LEAD, "random", again, ZONE).calls == 120


def test_drawn_calls_and_their_findings_are_assigned_and_their_history_says_so(store: Store) -> None:
    plan = drawn(store, count=10)
    with store.reading() as session:
        calls = list(session.scalars(select(Call).join(Assignment).where(Assignment.plan_id == plan)))
        assert {call.state for call in calls} == {"assigned"}
        assert {finding.state for call in calls for finding in call.findings} == {"assigned"}
        steps = session.execute(select(Transition.call_pk, Transition.action, Transition.by_id)).all()
        assert {tuple(step) for step in steps} == {(call.id, "assign", 2) for call in calls}


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"teams": ["一组"]}, 30),
        ({"direction": "outbound"}, 24),
        ({"agents": ["3001", "3002"]}, 4),
        ({"first_day": "2026-11-19", "last_day": "2026-11-19"}, 10),
        ({"last_day": "2026-11-07"}, 0),
    ],
)
def test_a_frame_narrows_what_is_drawn_from(store: Store, frame: dict[str, Any], expected: int) -> None:
    with store.reading() as session:
        assert preview(session, LEAD, "random", options(share=1, frame=frame), ZONE).frame == expected


def test_a_plan_by_rule_draws_calls_with_a_finding_of_the_rule(store: Store) -> None:
    plan = drawn(store, "by_rule", count=5, rules=["opening"])
    with store.reading() as session:
        calls = set(session.scalars(select(Assignment.call_pk).where(Assignment.plan_id == plan)))
        with_rule = set(session.scalars(select(Finding.call_pk).where(Finding.rule == "opening")))
    assert len(calls) == 5
    assert calls <= with_rule


def test_nobody_is_given_their_own_calls(store: Store) -> None:
    drawn(store, share=1.0, reviewers=[Quota(reviewer_id=5), Quota(reviewer_id=3, most=1)])
    with store.reading() as session:
        own = select(Call.id).where(Call.agent_id == "3003")
        given = set(session.scalars(select(Assignment.reviewer_id).where(Assignment.call_pk.in_(own))))
    assert given <= {3}


def test_a_plan_for_people_who_do_not_review_is_refused(store: Store) -> None:
    with store.reading() as session, pytest.raises(RefusedError, match="不是可用的质检员"):
        preview(session, LEAD, "random", options(count=1, reviewers=[Quota(reviewer_id=6)]), ZONE)


def test_progress_is_counted_per_reviewer(store: Store) -> None:
    plan = drawn(store, count=10, second_share=0.2, due_days=1)
    with store.writing() as session:
        assignment, _ = queue(session, 3)[0][0]
        assignment.state = "done"
        withdraw(session, LEAD, next(one.id for one, _ in queue(session, 4)[0] if one.round == "first"), NOW)
    with store.reading() as session:
        parts = {part.reviewer_id: part for part in progress(session, [plan], NOW + timedelta(days=2))[plan]}
    assert (parts[3].done, parts[3].withdrawn, parts[4].withdrawn) == (1, 0, 1)
    assert sum(part.open for part in parts.values()) == 10
    assert all(part.overdue == part.open for part in parts.values())


# ---- queues


def test_the_queue_is_in_the_order_in_which_it_is_due(store: Store) -> None:
    drawn(store, count=4, due_days=9)
    drawn(store, count=4, due_days=2)
    with store.reading() as session:
        dues = [assignment.due_at for assignment, _ in queue(session, 3)[0]]
        assert dues == sorted(dues)
        assert queue_length(session, 3, NOW + timedelta(days=3)) == (4, 2)


def test_next_walks_through_the_findings_of_a_call_and_then_to_the_next_call(store: Store) -> None:
    drawn(store, "by_rule", count=3, rules=["opening"], reviewers=[Quota(reviewer_id=3)])
    with store.writing() as session:
        order = [call.id for _, call in queue(session, 3)[0]]
        waiting = [finding.id for finding in session.get_one(Call, order[0]).findings]
        at = next_item(session, 3, after_call=None, after_finding=None)
        assert at == (order[0], waiting[0])
        for finding in session.get_one(Call, order[0]).findings:
            finding.decision = "confirmed"
        session.flush()
        assert (next_item(session, 3, after_call=order[0], after_finding=waiting[-1]) or (0,))[0] == order[1]
        assert (next_item(session, 3, after_call=order[-1], after_finding=2**31 - 1) or (0,))[0] == order[-1]
        assert next_item(session, 4, after_call=None, after_finding=None) is None


def test_in_a_blind_round_what_another_decided_still_waits(store: Store) -> None:
    drawn(store, "by_rule", count=1, rules=["opening"], second_share=1.0)
    with store.writing() as session:
        second = session.scalars(select(Assignment).where(Assignment.round == "second")).one()
        findings = session.get_one(Call, second.call_pk).findings
        for finding in findings:
            finding.decision = "confirmed"
        session.flush()
        assert next_item(session, second.reviewer_id, after_call=None, after_finding=None) == (
            second.call_pk,
            findings[0].id,
        )
        with pytest.raises(RefusedError, match="没有判定"):
            finish(session, REV1 if second.reviewer_id == 3 else REV2, second.id, NOW)


def test_an_assignment_is_done_once_everything_of_it_is_decided(store: Store) -> None:
    drawn(store, "by_rule", count=1, rules=["opening"], reviewers=[Quota(reviewer_id=3)])
    with store.writing() as session:
        assignment, call = queue(session, 3)[0][0]
        with pytest.raises(RefusedError, match="没有"):
            finish(session, REV2, assignment.id, NOW)
        for finding in call.findings:
            finding.decision = "overturned"
        session.flush()
        finish(session, REV1, assignment.id, NOW)
        finish(session, REV1, assignment.id, NOW + timedelta(hours=1))  # sent again
        with pytest.raises(RefusedError, match="结束"):
            withdraw(session, LEAD, assignment.id, NOW)
    assert count(store, Assignment.state == "done", Assignment.done_at == NOW) == 1


# ---- audits


def test_an_audit_draws_agent_utterances_that_no_finding_touches(store: Store) -> None:
    drawn(store, "audit", count=30, per_call=2)
    with store.reading() as session:
        for segment in session.scalars(select(AuditedSegment)):
            turn = session.scalars(
                select(Turn).where(Turn.call_pk == segment.call_pk, Turn.number == segment.turn)
            ).one()
            flagged = session.scalars(select(Finding.turn).where(Finding.call_pk == segment.call_pk))
            assert turn.role == "agent"
            assert segment.turn not in set(flagged)
            assert segment.call_weight == pytest.approx(120 / 30)


def test_an_audit_is_heard_by_its_reviewer_alone_and_ends_when_all_is_heard(store: Store) -> None:
    drawn(store, "audit", count=2, per_call=2, reviewers=[Quota(reviewer_id=3)])
    with store.writing() as session:
        assignment, _ = queue(session, 3)[0][0]
        _, _, segments = audit_of(session, 3, assignment.id)
        with pytest.raises(RefusedError, match="没有"):
            audit_of(session, 4, assignment.id)
        with pytest.raises(RefusedError, match="没有"):
            hear(session, 4, segments[0].segment.id, [], NOW)
        with pytest.raises(RefusedError, match="没有判定"):
            finish(session, REV1, assignment.id, NOW)
        for heard in segments:
            hear(session, 3, heard.segment.id, ["opening", "opening"], NOW)
        finish(session, REV1, assignment.id, NOW)
        assert segments[0].segment.missed == ["opening"]
        with pytest.raises(RefusedError, match="结束"):
            hear(session, 3, segments[0].segment.id, [], NOW)


# ---- calibrations


@pytest.fixture
def meeting(store: Store) -> int:
    with store.writing() as session:
        call = session.scalars(
            select(Finding.call_pk).group_by(Finding.call_pk).order_by(func.count().desc()).limit(1)
        ).one()
        made = make_calibration(session, LEAD, call, "十一月校准", [3, 4], by=2, due_at=None, now=NOW)
        return made.id


def say(store: Store, who: int, meeting: int, *decisions: str) -> None:
    with store.writing() as session:
        findings = calibration(session, LEAD, meeting).findings
        for finding, decision in zip(findings, decisions, strict=False):
            decide_in_calibration(session, who, meeting, finding.id, decision=decision, reason="", now=NOW)


def test_nobody_sees_what_others_say_before_a_calibration_is_closed(store: Store, meeting: int) -> None:
    say(store, 3, meeting, "confirmed")
    with store.reading() as session:
        for viewer, expected in ((REV1, {3}), (REV2, set()), (LEAD, set())):
            seen = calibration(session, viewer, meeting)
            assert {who for said in seen.said.values() for who in said} == expected
            assert seen.agreement is None
            assert [person.decided for person in seen.participants] == [0, 1]  # by name: 李, 王


def test_who_takes_no_part_sees_no_calibration(store: Store, meeting: int) -> None:
    with store.reading() as session:
        with pytest.raises(RefusedError, match="没有"):
            calibration(session, REV3, meeting)
        assert list_calibrations(session, REV3, before=None, limit=9) == []
        assert len(list_calibrations(session, REV1, before=None, limit=9)) == 1
    with pytest.raises(RefusedError, match="没有"):
        say(store, 5, meeting, "confirmed")


def test_a_closed_calibration_shows_who_said_what_and_how_far_they_agree(store: Store, meeting: int) -> None:
    say(store, 3, meeting, "confirmed", "overturned")
    say(store, 4, meeting, "unsure", "overturned")
    say(store, 4, meeting, "confirmed")  # thought again: the newest counts
    with store.writing() as session:
        close_calibration(session, meeting, NOW)
    with store.reading() as session:
        seen = calibration(session, REV2, meeting)
        assert seen.agreement is not None
        assert (seen.agreement.method, seen.agreement.n, seen.agreement.kappa) == ("fleiss", 2, 1.0)
        assert [one.decision for one in seen.said[seen.findings[0].id].values()] == ["confirmed", "confirmed"]
    with pytest.raises(RefusedError, match="结束"):
        say(store, 3, meeting, "unsure")


def test_a_calibration_changes_no_call(store: Store, meeting: int) -> None:
    say(store, 3, meeting, "overturned", "overturned")
    with store.reading() as session:
        after = calibration(session, LEAD, meeting)
        assert {review.round for review in session.scalars(select(Review))} == {"calibration"}
        assert {(one.state, one.decision) for one in after.findings} == {("auto", None)}
        assert (after.call.version, after.call.state) == (1, "auto")


def test_a_calibration_needs_two_reviewers_none_of_them_on_the_phone(store: Store) -> None:
    with store.writing() as session:
        own = session.scalars(select(Call.id).where(Call.agent_id == "3003")).first() or 0
        for reviewers, why in (([3], "两名"), ([3, 5], "自己的通话"), ([3, 6], "不是可用的质检员")):
            with pytest.raises(RefusedError, match=why):
                make_calibration(session, LEAD, own, "x", reviewers, by=2, due_at=None, now=NOW)
        with pytest.raises(RefusedError, match="没有"):
            make_calibration(session, LEAD, 10**6, "x", [3, 4], by=2, due_at=None, now=NOW)
