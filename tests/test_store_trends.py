"""Sums over many calls: trends, what rules are worth, second reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import pytest
from sqlalchemy import select, update

from analyzer.desk.access import Principal
from analyzer.review.trends import Scope
from analyzer.review.worth import Floor
from analyzer.store import Store, open_store
from analyzer.store.tables import Assignment, AuditedSegment, Call, Finding, RuleResult
from analyzer.store.trends import choices, conditions, figures, lately
from analyzer.store.worth import findings_behind, rules_worth, second_agreement
from tests.databases import NewDatabase
from tests.many_calls import NOW, RULES, add_calls, add_people

ZONE = timezone(timedelta(hours=8))
LEAD = Principal(2, "lead", "周主管", "lead")
AGENT = Principal(6, "agent", "赵坐席", "agent", "3001")


@pytest.fixture(scope="module")
def store(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(new_database(tmp_path_factory.mktemp("store")))
    with opened.writing() as session:
        add_people(session)
        add_calls(session, 400, days=40, decided=0.5)
    yield opened
    opened.close()


# ---- trends


def test_every_call_is_counted_once_however_they_are_grouped(store: Store) -> None:
    with store.reading() as session:
        found = figures(session, LEAD, Scope(), ZONE)
        calls = list(session.scalars(select(Call)))
        for group in (found.days, found.teams, found.agents):
            assert sum(one.calls for one in group) == found.total.calls == 400
            assert sum(one.violations for one in group) == sum(
                call.criticals + call.majors + call.minors for call in calls
            )
            assert sum(one.score_sum for one in group) == pytest.approx(sum(call.score or 0 for call in calls))
        assert Counter(call.verdict for call in calls) == {
            "pass": found.total.passed, "fail": found.total.failed, "review": found.total.review
        }  # fmt: skip
        assert sum(cell.calls for cell in found.hours) == 400
        assert len(found.rates) == 400


def test_days_and_hours_are_those_of_the_zone(store: Store) -> None:
    east = timezone(timedelta(hours=14))
    with store.reading() as session:
        found = figures(session, LEAD, Scope(), east)
        local = [call.started_at.astimezone(east) for call in session.scalars(select(Call)) if call.started_at]
    assert {one.key: one.calls for one in found.days} == Counter(at.date().isoformat() for at in local)
    assert {(one.weekday, one.hour): one.calls for one in found.hours} == Counter(
        (at.weekday(), at.hour) for at in local
    )


def test_a_scope_includes_both_of_its_days_and_nothing_else(store: Store) -> None:
    with store.reading() as session:
        days = figures(session, LEAD, Scope(date(2026, 11, 10), date(2026, 11, 12)), ZONE).days
        team = figures(session, LEAD, Scope(team="二组"), ZONE)
    assert [one.key for one in days] == ["2026-11-10", "2026-11-11", "2026-11-12"]
    assert ([one.key for one in team.teams], team.total.calls) == (["二组"], 100)


def test_lately_ends_with_the_newest_call(store: Store) -> None:
    with store.reading() as session:
        scope = lately(session, LEAD, ZONE, days=7)
        newest = session.scalars(select(Call.started_at).order_by(Call.started_at.desc())).first()
    assert isinstance(newest, datetime)
    assert scope.until == newest.astimezone(ZONE).date()
    assert scope.since == scope.until - timedelta(days=6)


def test_a_call_counts_with_its_final_score_and_verdict(store: Store) -> None:
    with store.writing() as session:
        before = figures(session, LEAD, Scope(), ZONE).total
        failed = session.scalars(select(Call).where(Call.verdict == "fail")).first()
        assert failed is not None
        session.execute(update(Call).where(Call.id == failed.id).values(final_score=100, final_verdict="pass"))
        after = figures(session, LEAD, Scope(), ZONE).total
        assert (after.failed, after.passed) == (before.failed - 1, before.passed + 1)
        assert after.score_sum == pytest.approx(before.score_sum + 100 - (failed.score or 0))
        session.rollback()


def test_rules_are_counted_by_the_calls_that_finally_violate_them(store: Store) -> None:
    with store.reading() as session:
        found = {rule.rule: rule.calls for rule in figures(session, LEAD, Scope(), ZONE).rules}
        violated = session.scalars(select(RuleResult.rule).where(RuleResult.final_outcome == "violation"))
        assert found == Counter(violated)


def test_appeals_are_counted_by_what_became_of_them(store: Store) -> None:
    with store.reading() as session:
        appeals = figures(session, LEAD, Scope(), ZONE).appeals
    assert sum(one.upheld for one in appeals) > 0
    assert sum(one.open for one in appeals) > 0


def test_an_agent_s_figures_are_of_their_own_shared_calls_alone(store: Store) -> None:
    with store.writing() as session:
        assert figures(session, AGENT, Scope(), ZONE).total.calls == 0
        own = session.scalars(select(Call.id).where(Call.agent_id == "3001").limit(3)).all()
        other = session.scalars(select(Call.id).where(Call.agent_id == "3002").limit(3)).all()
        session.execute(update(Call).where(Call.id.in_([*own, *other])).values(shared_at=NOW))
        found = figures(session, AGENT, Scope(), ZONE)
        assert (found.total.calls, [one.key for one in found.agents]) == (3, ["3001"])
        assert figures(session, AGENT, Scope(agent="3002"), ZONE).total.calls == 0
        assert choices(session, AGENT) == (["一组"], [("3001", "赵坐席 3001")])
        session.rollback()


# ---- what rules are worth


def test_precision_counts_decided_claims_and_lists_the_unsure_apart(store: Store) -> None:
    with store.reading() as session:
        measured = {rule.rule: rule for rule in rules_worth(session, [], Floor())}
        for rule in ("opening", "interruption"):
            decisions = Counter(session.scalars(select(Finding.decision).where(Finding.rule == rule)))
            found = measured[rule]
            assert found.flagged == decisions.total()
            assert (found.confirmed, found.overturned, found.unsure) == (
                decisions["confirmed"], decisions["overturned"], decisions["unsure"],
            )  # fmt: skip
            assert found.precision.n == decisions["confirmed"] + decisions["overturned"]


def test_only_the_rule_that_is_often_wrong_is_proposed_for_trial(store: Store) -> None:
    with store.reading() as session:
        assert [rule.rule for rule in rules_worth(session, [], Floor()) if rule.proposal] == ["interruption"]


def test_a_finding_whose_appeal_was_upheld_was_wrong(store: Store) -> None:
    with store.writing() as session:
        before = {rule.rule: rule for rule in rules_worth(session, [], Floor())}["opening"]
        one = session.scalars(select(Finding).where(Finding.rule == "opening", Finding.decision == "confirmed")).first()
        assert one is not None
        session.execute(update(Finding).where(Finding.id == one.id).values(state="upheld"))
        after = {rule.rule: rule for rule in rules_worth(session, [], Floor())}["opening"]
        assert (after.confirmed, after.overturned) == (before.confirmed - 1, before.overturned + 1)
        session.rollback()


def test_what_a_rule_was_unsure_of_says_nothing_of_its_precision(store: Store) -> None:
    with store.writing() as session:
        before = {rule.rule: rule for rule in rules_worth(session, [], Floor())}["opening"]
        decided = select(Finding.id).where(Finding.rule == "opening", Finding.decision == "confirmed").limit(4)
        session.execute(update(Finding).where(Finding.id.in_(list(session.scalars(decided)))).values(outcome="unsure"))
        after = {rule.rule: rule for rule in rules_worth(session, [], Floor())}["opening"]
        assert (after.precision.n, after.resolved) == (before.precision.n - 4, 4)
        session.rollback()


def test_recall_is_estimated_from_the_utterances_that_were_listened_to(store: Store) -> None:
    with store.writing() as session:
        calls = list(session.scalars(select(Call.id).limit(20)))
        for number, call in enumerate(calls):
            assignment = Assignment(call_pk=call, reviewer_id=3, round="audit", created_at=NOW)
            session.add(assignment)
            session.flush()
            session.add_all(
                AuditedSegment(assignment_id=assignment.id, call_pk=call, turn=turn, unflagged=6, call_weight=20,
                               missed=["opening"] if number == 0 and turn == 0 else [], at=NOW)
                for turn in range(3)
            )  # fmt: skip
        session.execute(
            update(Finding).where(Finding.call_pk.in_(calls), Finding.rule == "opening").values(decision="confirmed")
        )
        flagged = len(session.scalars(
            select(Finding.id).where(Finding.call_pk.in_(calls), Finding.rule == "opening")
        ).all())  # fmt: skip
        found = {rule.rule: rule.recall for rule in rules_worth(session, [], Floor())}
        assert found["opening"].value == pytest.approx(
            flagged / (flagged + 2)
        )  # one miss in half of what was unflagged
        assert found["opening"].n == 60
        assert (found["closing"].value, found["closing"].high) == (1, 1)
        session.rollback()


def test_second_reviews_are_compared_with_the_first(store: Store) -> None:
    with store.reading() as session:
        everything, rules = second_agreement(session, [])
    assert everything.n == sum(rule.n for rule in rules.values()) > 50
    assert everything.observed == pytest.approx(0.9, abs=0.1)
    assert everything.kappa is not None


def test_figures_of_rules_are_of_the_scope_s_calls(store: Store) -> None:
    with store.reading() as session:
        of = conditions(LEAD, Scope(team="一组"), ZONE)
        some = sum(rule.flagged for rule in rules_worth(session, of, Floor()))
        assert 0 < some < sum(rule.flagged for rule in rules_worth(session, [], Floor()))
        assert second_agreement(session, of)[0].n < second_agreement(session, [])[0].n


def test_the_findings_behind_a_figure_are_as_many_as_it_says(store: Store) -> None:
    with store.reading() as session:
        of = conditions(LEAD, Scope(), ZONE)
        measured = {rule.rule: rule for rule in rules_worth(session, of, Floor())}["closing"]
        for decision in ("confirmed", "overturned", "unsure", "undecided"):
            rows = findings_behind(session, of, "closing", decision, after=0, limit=1000)
            undecided = measured.flagged - measured.confirmed - measured.overturned - measured.unsure
            assert len(rows) == (undecided if decision == "undecided" else getattr(measured, decision))
        first, second = findings_behind(session, of, "closing", None, after=0, limit=2)
        assert findings_behind(session, of, "closing", None, after=first[0].id, limit=1)[0][0].id == second[0].id


def test_all_rules_of_the_calls_are_listed(store: Store) -> None:
    with store.reading() as session:
        assert {rule.rule for rule in rules_worth(session, [], Floor())} >= {rule[0] for rule in RULES[:10]}
