"""Who may do what when with a finding, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from analyzer.review import workflow
from analyzer.review.workflow import (
    LEADS,
    TABLE,
    Action,
    Actor,
    CallNow,
    Decision,
    FindingNow,
    RefusedError,
    Round,
    State,
    allowed_on_call,
    allowed_on_finding,
    is_blind_to,
    seen_alone,
)

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
WEEK = timedelta(days=7)
AGENT, OTHER_AGENT = Actor(1, "agent", "3017"), Actor(2, "agent", "4711")
ANNA, BEN, CARA = Actor(11, "reviewer"), Actor(12, "reviewer"), Actor(13, "reviewer")
LEAD, LEADER, ADMIN = Actor(21, "lead"), Actor(22, "lead"), Actor(31, "admin")
EVERYONE = (AGENT, OTHER_AGENT, ANNA, BEN, CARA, LEAD, LEADER, ADMIN)
CONFIRMED, OVERTURNED, UNSURE = Decision


def call(*findings: FindingNow, **fields: Any) -> CallNow:
    return CallNow(agent_id="3017", findings={one.id: one for one in findings}, **fields)


def one_finding() -> CallNow:
    return call(FindingNow(1))


def decided(now: CallNow, *decisions: Decision, by: Actor = ANNA) -> CallNow:
    for number, decision in enumerate(decisions, 1):
        now = workflow.decide(now, number, decision, by, "听过录音")
    return now


def shared(*decisions: Decision) -> CallNow:
    now = call(*(FindingNow(number) for number in range(1, len(decisions) + 1)))
    return workflow.share(decided(now, *decisions), ANNA, NOW, WEEK)


def appealed() -> CallNow:
    return workflow.appeal(shared(CONFIRMED), 1, AGENT, NOW, "我没有说")


def refused(kind: str, act: Callable[..., Any], *given: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        act(*given)
    assert caught.value.kind == kind, caught.value


# ---- the way of a finding


def test_a_finding_goes_all_the_way() -> None:
    now = workflow.assign(one_finding(), ANNA, Round.FIRST, LEAD)
    assert now.state is State.ASSIGNED
    now = workflow.decide(now, 1, CONFIRMED, ANNA, "")
    assert (now.state, now.all[1].decided_by) == (State.CONFIRMED, ANNA.user_id)
    now = workflow.share(now, ANNA, NOW, WEEK)
    now = workflow.appeal(now, 1, AGENT, NOW, "我没有说")
    assert now.state is State.APPEALED
    now = workflow.decide_appeal(now, 1, True, LEAD, "复听确实没有")
    assert (now.state, now.all[1].decision) == (State.UPHELD, OVERTURNED)
    assert workflow.finalise(now, LEAD, NOW).state is State.FINAL


def test_a_rejected_appeal_leaves_the_decision() -> None:
    now = workflow.decide_appeal(appealed(), 1, False, BEN, "录音里很清楚")
    assert (now.state, now.all[1].decision, now.all[1].decided_by) == (State.REJECTED, CONFIRMED, ANNA.user_id)


def test_a_call_is_as_far_as_its_least_advanced_finding() -> None:
    now = call(FindingNow(1), FindingNow(2))
    assert workflow.decide(now, 1, CONFIRMED, ANNA, "").state is State.AUTO
    assert decided(now, OVERTURNED, CONFIRMED).state is State.CONFIRMED


def test_remarks_and_trial_rules_hold_nothing_up() -> None:
    now = call(FindingNow(1), FindingNow(2, needs_decision=False))
    now = workflow.share(workflow.decide(now, 1, CONFIRMED, ANNA, ""), ANNA, NOW, WEEK)
    assert {one.state for one in now.all.values()} == {State.SHARED}


@pytest.mark.parametrize("findings", [[], [FindingNow(1, needs_decision=False)]])
def test_a_call_with_nothing_to_decide_moves_as_a_whole(findings: list[FindingNow]) -> None:
    now = workflow.share(call(*findings), ANNA, NOW, WEEK)
    now = workflow.acknowledge(now, AGENT)
    assert workflow.finalise(now, LEAD, NOW).state is State.FINAL


# ---- sharing and the agent


def test_sharing_needs_every_finding_decided() -> None:
    now = workflow.decide(call(FindingNow(1), FindingNow(2)), 1, CONFIRMED, ANNA, "")
    refused("conflict", workflow.share, now, ANNA, NOW, WEEK)
    assert workflow.share(decided(now, CONFIRMED, UNSURE), ANNA, NOW, WEEK).state is State.SHARED


def test_only_the_agent_of_the_call_appeals_and_only_in_time_and_once() -> None:
    now = shared(CONFIRMED)
    refused("forbidden", workflow.appeal, now, 1, OTHER_AGENT, NOW, "不是我")
    refused("forbidden", workflow.appeal, now, 1, LEAD, NOW, "…")
    refused("conflict", workflow.appeal, now, 1, AGENT, NOW + WEEK, "晚了")
    refused("invalid", workflow.appeal, now, 1, AGENT, NOW, " ")
    again = workflow.decide_appeal(workflow.appeal(now, 1, AGENT, NOW, "没说"), 1, False, LEAD, "说了")
    reshared = workflow.share(workflow.reopen(again, LEAD, "重听"), LEAD, NOW, WEEK)
    refused("conflict", workflow.appeal, reshared, 1, AGENT, NOW, "还是没说")


def test_what_was_overturned_or_left_unsure_needs_no_appeal() -> None:
    for decision in (OVERTURNED, UNSURE):
        refused("conflict", workflow.appeal, shared(decision), 1, AGENT, NOW, "…")


def test_an_appeal_is_decided_by_somebody_new() -> None:
    refused("forbidden", workflow.decide_appeal, appealed(), 1, True, ANNA, "…")
    refused("forbidden", workflow.decide_appeal, appealed(), 1, True, AGENT, "…")
    own = Actor(AGENT.user_id, "lead", "3017")  # was made a lead since
    refused("forbidden", workflow.decide_appeal, appealed(), 1, True, own, "…")
    assert workflow.decide_appeal(appealed(), 1, True, BEN, "…").state is State.UPHELD


def test_acknowledging_leaves_what_is_appealed() -> None:
    now = workflow.appeal(shared(CONFIRMED, CONFIRMED), 1, AGENT, NOW, "没说")
    now = workflow.acknowledge(now, AGENT)
    assert [one.state for one in now.all.values()] == [State.APPEALED, State.ACKNOWLEDGED]
    refused("conflict", workflow.acknowledge, now, AGENT)
    refused("conflict", workflow.finalise, now, LEAD, NOW + WEEK)


def test_final_needs_the_agents_word_or_the_end_of_the_time_to_appeal() -> None:
    refused("conflict", workflow.finalise, shared(CONFIRMED), LEAD, NOW)
    assert workflow.finalise(shared(CONFIRMED), LEAD, NOW + WEEK).state is State.FINAL
    assert workflow.finalise(workflow.acknowledge(shared(CONFIRMED), AGENT), LEAD, NOW).state is State.FINAL


def test_after_final_only_a_lead_with_a_reason_changes_anything() -> None:
    now = workflow.finalise(shared(CONFIRMED), LEAD, NOW + WEEK)
    refused("locked", workflow.decide, now, 1, OVERTURNED, ADMIN, "…")
    refused("locked", workflow.add, now, 2, ADMIN, "…")
    refused("locked", workflow.share, now, ADMIN, NOW, WEEK)
    refused("locked", workflow.appeal, now, 1, AGENT, NOW, "…")
    refused("invalid", workflow.reopen, now, LEAD, "")
    refused("forbidden", workflow.reopen, now, ANNA, "想改")
    refused("forbidden", workflow.decide, now, 1, OVERTURNED, AGENT, "…")
    assert workflow.reopen(now, LEAD, "录音换了").state is State.CONFIRMED


# ---- reviewers


def test_nobody_reviews_their_own_call() -> None:
    refused("forbidden", workflow.decide, one_finding(), 1, CONFIRMED, Actor(14, "reviewer", "3017"), "")


def test_overturning_needs_a_reason_and_confirming_does_not() -> None:
    refused("invalid", workflow.decide, one_finding(), 1, OVERTURNED, ANNA, "  ")
    assert workflow.decide(one_finding(), 1, CONFIRMED, ANNA, "").state is State.CONFIRMED


def test_what_was_assigned_to_one_reviewer_is_not_decided_by_another() -> None:
    now = workflow.assign(one_finding(), ANNA, Round.FIRST, LEAD)
    refused("forbidden", workflow.decide, now, 1, CONFIRMED, BEN, "")
    assert workflow.decide(now, 1, CONFIRMED, LEAD, "").state is State.CONFIRMED


def test_a_reviewer_takes_work_only_for_themselves() -> None:
    refused("forbidden", workflow.assign, one_finding(), BEN, Round.FIRST, ANNA)
    assert workflow.assign(one_finding(), ANNA, Round.FIRST, ANNA).state is State.ASSIGNED


def test_an_assignment_withdrawn_frees_the_call() -> None:
    now = workflow.withdraw(workflow.assign(one_finding(), ANNA, Round.FIRST, LEAD), LEAD)
    assert (now.state, now.assignments) == (State.AUTO, ())
    refused("conflict", workflow.withdraw, now, LEAD)


def test_a_round_is_done_when_everything_in_it_is_decided() -> None:
    now = workflow.assign(call(FindingNow(1), FindingNow(2, needs_decision=False)), ANNA, Round.FIRST, LEAD)
    refused("conflict", workflow.finish, now, ANNA)
    now = workflow.finish(workflow.decide(now, 1, CONFIRMED, ANNA, ""), ANNA)
    assert not now.assignments[0].is_open


# ---- two reviewers, blind


def paired(n: int = 1) -> CallNow:
    now = call(*(FindingNow(number) for number in range(1, n + 1)))
    now = workflow.assign(now, ANNA, Round.FIRST, LEAD)
    return workflow.assign(now, BEN, Round.SECOND, LEAD)


def both(first: Decision, second: Decision) -> CallNow:
    now = workflow.finish(decided(paired(), first), ANNA)
    return workflow.finish(decided(now, second, by=BEN), BEN)


def test_the_second_reviewer_is_not_the_first() -> None:
    refused("conflict", workflow.assign, decided(one_finding(), CONFIRMED), ANNA, Round.SECOND, LEAD)
    now = workflow.assign(one_finding(), ANNA, Round.FIRST, LEAD)
    refused("conflict", workflow.assign, now, ANNA, Round.SECOND, LEAD)


def test_a_second_decision_moves_nothing_while_the_other_is_not_done() -> None:
    now = decided(decided(paired(), CONFIRMED), OVERTURNED, by=BEN)
    assert (now.state, now.all[1].decision) == (State.CONFIRMED, CONFIRMED)


def test_neither_of_two_reviewers_sees_the_other_before_both_are_done() -> None:
    now = workflow.finish(decided(paired(), CONFIRMED), ANNA)
    assert is_blind_to(now, ANNA)
    assert is_blind_to(now, BEN)
    assert is_blind_to(now, CARA)
    assert not is_blind_to(now, LEAD)
    alone = seen_alone(now.all[1], BEN)
    assert alone is not None
    assert (alone.state, alone.decision, alone.reviews) == (State.ASSIGNED, None, ())
    done = workflow.finish(decided(now, CONFIRMED, by=BEN), BEN)
    assert not is_blind_to(done, ANNA)
    assert not is_blind_to(done, BEN)


def test_a_lead_of_the_pair_is_blind_too() -> None:
    now = workflow.assign(one_finding(), ANNA, Round.FIRST, LEAD)
    now = workflow.assign(now, LEADER, Round.SECOND, LEAD)
    assert is_blind_to(now, LEADER)
    assert not is_blind_to(now, LEAD)


def test_a_violation_that_one_added_is_hidden_from_the_other() -> None:
    now = workflow.add(paired(), 9, ANNA, "漏了")
    assert seen_alone(now.all[9], BEN) is None
    assert seen_alone(now.all[9], ANNA) is not None


def test_where_both_agree_it_stands_and_where_they_differ_a_lead_decides() -> None:
    assert both(OVERTURNED, OVERTURNED).state is State.OVERTURNED
    now = both(CONFIRMED, OVERTURNED)
    assert (now.state, now.all[1].decision) == (State.DISPUTED, None)
    refused("conflict", workflow.share, now, LEAD, NOW, WEEK)
    refused("forbidden", workflow.decide, now, 1, CONFIRMED, ANNA, "…")
    refused("invalid", workflow.decide, now, 1, CONFIRMED, LEAD, "")
    now = workflow.decide(now, 1, CONFIRMED, LEAD, "听得清楚")
    assert (now.state, now.all[1].reviews[-1].round) == (State.CONFIRMED, Round.ARBITRATION)


def test_a_lead_of_the_pair_does_not_arbitrate() -> None:
    now = workflow.assign(one_finding(), ANNA, Round.FIRST, LEAD)
    now = workflow.assign(now, LEADER, Round.SECOND, LEAD)
    now = workflow.finish(decided(now, CONFIRMED), ANNA)
    now = workflow.finish(decided(now, OVERTURNED, by=LEADER), LEADER)
    refused("forbidden", workflow.decide, now, 1, CONFIRMED, LEADER, "…")


def test_what_only_one_of_two_added_is_disputed() -> None:
    now = workflow.add(decided(paired(), CONFIRMED), 9, ANNA, "漏了")
    now = workflow.finish(workflow.finish(decided(now, CONFIRMED, by=BEN), ANNA), BEN)
    assert [one.state for one in now.all.values()] == [State.CONFIRMED, State.DISPUTED]


def test_a_call_is_not_shared_while_a_second_review_runs() -> None:
    refused("conflict", workflow.share, decided(paired(), CONFIRMED), ANNA, NOW, WEEK)


def test_a_second_review_withdrawn_leaves_the_first() -> None:
    now = workflow.withdraw(workflow.finish(decided(paired(), CONFIRMED), ANNA), LEAD)
    assert now.state is State.CONFIRMED
    assert workflow.share(now, ANNA, NOW, WEEK).state is State.SHARED


# ---- the table itself


def test_nothing_leads_out_of_final_but_reopening() -> None:
    assert [action for state, action in TABLE if state is State.FINAL] == [Action.REOPEN]
    assert TABLE[State.FINAL, Action.REOPEN].roles == LEADS


def test_every_state_can_be_reached_and_left() -> None:
    assert {state for state, _ in TABLE} == set(State)
    assert {step.to for step in TABLE.values()} - {None} == set(State)


class Life(RuleBasedStateMachine):
    """Whoever does whatever in whichever order."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.at, self.added = call(), NOW, 100

    @initialize(needing=st.integers(0, 3), remarks=st.integers(0, 1), stages=st.integers(0, 6), pair=st.booleans())
    def begin_somewhere(self, needing: int, remarks: int, stages: int, pair: bool) -> None:
        """Chance alone hardly ever gets far."""
        findings = [FindingNow(number, needs_decision=number < needing) for number in range(needing + remarks)]
        self.now = call(*findings)
        if pair:
            self.assign(LEAD, ANNA, Round.FIRST)
            self.assign(LEAD, BEN, Round.SECOND)
        for stage in (self.decide_all, self.arbitrate_all, self.share_it, self.appeal_first, self.reject_first,
                      self.finalise_it)[:stages]:  # fmt: skip
            stage()

    def decide_all(self) -> None:
        for number in self.now.all:
            self.do(workflow.decide, ANNA, number, CONFIRMED, ANNA, "")
            self.do(workflow.decide, BEN, number, CONFIRMED if number % 2 else OVERTURNED, BEN, "没有")
        self.finish(ANNA)
        self.finish(BEN)

    def arbitrate_all(self) -> None:
        for number in self.now.all:
            self.do(workflow.decide, LEAD, number, CONFIRMED, LEAD, "有")

    def share_it(self) -> None:
        self.share(LEAD)

    def appeal_first(self) -> None:
        for number in list(self.now.all)[:1]:
            self.do(workflow.appeal, AGENT, number, AGENT, self.at, "没说")

    def reject_first(self) -> None:
        for number in list(self.now.all)[:1]:
            self.decide_appeal_of(number, LEADER, upheld=False)

    def finalise_it(self) -> None:
        self.time_passes(8)
        self.finalise(LEAD)

    def do(self, act: Callable[..., CallNow], actor: Actor, *given: Any) -> None:
        before = self.now
        try:
            self.now = act(before, *given)
        except RefusedError:
            return
        self.check_step(before, self.now, actor)

    def check_step(self, before: CallNow, after: CallNow, actor: Actor) -> None:
        if before.state is State.FINAL:
            assert actor.role in LEADS
            assert State.FINAL not in {one.state for one in after.needing}
        for number, finding in after.all.items():
            old = before.all.get(number)
            if old is not None and finding.appeal and not old.appeal:
                assert actor == AGENT
                assert before.appeal_until is not None
                assert self.at < before.appeal_until
            if old is not None and old.appeal and old.appeal.is_open and not (finding.appeal or old.appeal).is_open:
                assert actor.user_id not in old.deciders
                assert actor.user_id != old.appeal.by
            if old is not None and old.state is State.DISPUTED and finding.decision is not None:
                assert actor.role in LEADS
                assert actor.user_id not in old.deciders
            if old is not None and old.appeal:
                assert finding.appeal is not None  # remembered, so that there is never a second
            if old is not None and len(finding.reviews) > len(old.reviews):
                assert actor.role not in ("agent",)
                if finding.reviews[-1].round is Round.SECOND:
                    assert (finding.state, finding.decision) == (old.state, old.decision)

    def finding(self, data: st.DataObject) -> int | None:
        return data.draw(st.sampled_from(sorted(self.now.all))) if self.now.all else None

    @rule(actor=st.sampled_from(EVERYONE), decision=st.sampled_from(list(Decision)), data=st.data())
    def decide(self, actor: Actor, decision: Decision, data: st.DataObject) -> None:
        if (number := self.finding(data)) is not None:
            self.do(workflow.decide, actor, number, decision, actor, "理由")

    @rule(actor=st.sampled_from([ANNA, BEN, LEAD]), data=st.data())
    def decide_everything(self, actor: Actor, data: st.DataObject) -> None:
        for number in sorted(self.now.all):
            decision = data.draw(st.sampled_from(list(Decision)))
            self.do(workflow.decide, actor, number, decision, actor, "理由")

    @rule(actor=st.sampled_from(EVERYONE))
    def add(self, actor: Actor) -> None:
        self.added += 1
        self.do(workflow.add, actor, self.added, actor, "漏了")

    @rule(
        actor=st.sampled_from(EVERYONE),
        reviewer=st.sampled_from(EVERYONE),
        round_=st.sampled_from([Round.FIRST, Round.SECOND]),
    )
    def assign(self, actor: Actor, reviewer: Actor, round_: Round) -> None:
        self.do(workflow.assign, actor, reviewer, round_, actor)

    @rule(actor=st.sampled_from(EVERYONE))
    def withdraw(self, actor: Actor) -> None:
        self.do(workflow.withdraw, actor, actor)

    @rule(actor=st.sampled_from(EVERYONE))
    def finish(self, actor: Actor) -> None:
        self.do(workflow.finish, actor, actor)

    @rule(actor=st.sampled_from(EVERYONE))
    def share(self, actor: Actor) -> None:
        self.do(workflow.share, actor, actor, self.at, WEEK)

    @rule(actor=st.sampled_from([AGENT, OTHER_AGENT, LEAD]), data=st.data())
    def appeal(self, actor: Actor, data: st.DataObject) -> None:
        if (number := self.finding(data)) is not None:
            self.do(workflow.appeal, actor, number, actor, self.at, "没说")

    @rule(actor=st.sampled_from(EVERYONE), upheld=st.booleans(), data=st.data())
    def decide_appeal(self, actor: Actor, upheld: bool, data: st.DataObject) -> None:
        if (number := self.finding(data)) is not None:
            self.decide_appeal_of(number, actor, upheld=upheld)

    def decide_appeal_of(self, number: int, actor: Actor, *, upheld: bool) -> None:
        self.do(workflow.decide_appeal, actor, number, upheld, actor, "意见")

    @rule(actor=st.sampled_from([AGENT, OTHER_AGENT, ANNA]))
    def acknowledge(self, actor: Actor) -> None:
        self.do(workflow.acknowledge, actor, actor)

    @rule(actor=st.sampled_from(EVERYONE))
    def finalise(self, actor: Actor) -> None:
        self.do(workflow.finalise, actor, actor, self.at)

    @rule(actor=st.sampled_from(EVERYONE), why=st.sampled_from(["", "录音换了"]))
    def reopen(self, actor: Actor, why: str) -> None:
        self.do(workflow.reopen, actor, actor, why)

    @rule(days=st.integers(1, 8))
    def time_passes(self, days: int) -> None:
        self.at += timedelta(days=days)

    @invariant()
    def the_call_is_as_far_as_its_least_advanced_finding(self) -> None:
        assert workflow.state_of(self.now) is self.now.state

    @invariant()
    def state_and_decision_fit(self) -> None:
        for one in self.now.all.values():
            if one.state in (State.CONFIRMED, State.OVERTURNED, State.UNSURE):
                assert one.decision == one.state
            if one.state in (State.UPHELD, State.APPEALED, State.REJECTED):
                assert one.decision is (OVERTURNED if one.state is State.UPHELD else CONFIRMED)
            if one.state in (State.AUTO, State.DISPUTED):
                assert one.decision is None
            assert (one.decision is None) == (one.decided_by is None)

    @invariant()
    def what_was_shared_was_decided(self) -> None:
        is_out = (State.SHARED, State.ACKNOWLEDGED, State.APPEALED, State.REJECTED, State.UPHELD, State.FINAL)
        if self.now.state in is_out:
            assert all(one.decision for one in self.now.needing)
            assert not self.now.is_blind
            assert self.now.appeal_until is not None

    @invariant()
    def two_rounds_have_two_reviewers(self) -> None:
        firsts = {one.reviewer for one in self.now.of(Round.FIRST)}
        assert not firsts & {one.reviewer for one in self.now.of(Round.SECOND)}

    @invariant()
    def what_is_offered_is_allowed_and_nothing_else(self) -> None:
        """The buttons agree with the actions."""
        acts: dict[Action, Callable[[Actor], CallNow]] = {
            Action.SHARE: lambda who: workflow.share(self.now, who, self.at, WEEK),
            Action.ACKNOWLEDGE: lambda who: workflow.acknowledge(self.now, who),
            Action.FINALISE: lambda who: workflow.finalise(self.now, who, self.at),
            Action.REOPEN: lambda who: workflow.reopen(self.now, who, "原因"),
            Action.WITHDRAW: lambda who: workflow.withdraw(self.now, who),
        }
        for who in (AGENT, ANNA, LEAD):
            offered = allowed_on_call(self.now, who, self.at)
            for action, act in acts.items():
                assert (action in offered) == _works(act, who), (action, who)
            for one in self.now.all.values():
                offered = allowed_on_finding(self.now, one, who, self.at)
                works = _works(lambda who, one=one: workflow.decide(self.now, one.id, OVERTURNED, who, "理由"), who)
                assert (Action.OVERTURN in offered) == works


def _works(act: Callable[[Actor], CallNow], who: Actor) -> bool:
    try:
        act(who)
    except RefusedError:
        return False
    return True


Life.TestCase.settings = settings(max_examples=100, stateful_step_count=15, deadline=None)
test_no_order_of_actions_breaks_the_rules = Life.TestCase


def test_a_finding_without_a_decision_goes_back_to_the_start() -> None:
    remark = replace(FindingNow(1, needs_decision=False))
    now = workflow.reopen(workflow.share(call(remark), ANNA, NOW, WEEK), LEAD, "重听")
    assert now.all[1].state is State.AUTO
