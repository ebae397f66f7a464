"""What one person sees of a call's review, and what they may do with it now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from analyzer.review import workflow
from analyzer.review.final import FinalCard
from analyzer.review.workflow import Actor, CallNow, FindingNow, Round, State
from analyzer.store.deeds import actor, read_call
from analyzer.store.finals import card_of
from analyzer.store.tables import Call
from analyzer.store.users import Principal


@dataclass(frozen=True, slots=True)
class Sight:
    """``is_blind``: another reviewer's decisions, words and the final score are kept from this person."""

    now: CallNow
    me: Actor
    at: datetime
    is_blind: bool
    card: FinalCard

    def finding(self, finding_id: int) -> FindingNow | None:
        """The finding as this person sees it; None where they may not know of it."""
        found = self.now.all[finding_id]
        return workflow.seen_alone(found, self.me) if self.is_blind else found

    @property
    def state(self) -> State:
        return State.ASSIGNED if self.is_blind else self.now.state

    def actions(self) -> list[str]:
        """What may be done with the call."""
        return [action.value for action in workflow.allowed_on_call(self.now, self.me, self.at)]

    def actions_on(self, finding_id: int) -> list[str]:
        """What may be done with one of its findings."""
        found = self.now.all[finding_id]
        return [action.value for action in workflow.allowed_on_finding(self.now, found, self.me, self.at)]

    @property
    def may_add(self) -> bool:
        """Violations that were missed, scores of manual items."""
        return workflow.may_add(self.now, self.me)

    def shows_review_by(self, user_id: int | None, round_: str = "") -> bool:
        """Whether what somebody decided or wrote is shown. What is said in a calibration is shown there alone."""
        return round_ != Round.CALIBRATION and not (self.is_blind and user_id != self.me.user_id)


def look(who: Principal, call: Call, at: datetime) -> Sight:
    """raises RefusedError for who is no person"""
    now, me = read_call(call), actor(who)
    return Sight(now, me, at, workflow.is_blind_to(now, me), card_of(call))
