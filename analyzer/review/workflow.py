"""The life of a finding, and with it of a call: who may do what when, and what comes of it. One table says it all.

    auto ─► assigned ─► confirmed │ overturned │ unsure ─► shared ─► acknowledged ────────────────────────► final
                           │                                 └─────► appealed ─► upheld │ rejected ─────────►  │
                           └─► disputed (two reviewers differ) ─► a lead decides          reopen, by a lead ◄──┘

Theory of operation. ``CallNow`` is all that the rules look at: the findings with their reviews and appeals, the
assignments, the deadline. Every action is a function from one ``CallNow`` to the next; it raises ``RefusedError`` where
the table or a rule forbids it. The store loads a call, acts, and writes down what differs; it decides nothing itself.

Actions on a call move all of its findings; the call's state is then the least advanced of those that need a decision.
A call with none of those moves as a whole. Remarks, trial rules and findings of weight ``info`` may be decided, need
not be, and go along.

Second review is double blind. While it runs, the second reviewer's decisions are kept as reviews and move nothing, and
``is_blind_to`` says from whom the others' are kept. Once both reviewers are done (``finish``), findings on which they
agree stand, and those on which they differ are ``disputed``: a lead who was neither of the two decides (仲裁).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial


class State(StrEnum):
    """Of a finding and of a call, least advanced first."""

    AUTO = "auto"
    ASSIGNED = "assigned"
    DISPUTED = "disputed"
    UNSURE = "unsure"
    CONFIRMED = "confirmed"
    OVERTURNED = "overturned"
    SHARED = "shared"
    APPEALED = "appealed"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"
    UPHELD = "upheld"
    FINAL = "final"


class Action(StrEnum):
    ASSIGN = "assign"
    WITHDRAW = "withdraw"
    CONFIRM = "confirm"
    OVERTURN = "overturn"
    MARK_UNSURE = "mark_unsure"
    DISPUTE = "dispute"
    ADD = "add"
    SHARE = "share"
    ACKNOWLEDGE = "acknowledge"
    APPEAL = "appeal"
    UPHOLD = "uphold"
    REJECT = "reject"
    FINALISE = "finalise"
    REOPEN = "reopen"


class Decision(StrEnum):
    CONFIRMED = "confirmed"
    OVERTURNED = "overturned"
    UNSURE = "unsure"


class Round(StrEnum):
    """Of an assignment or a review. Only first, second and arbitration decide; ``audit`` has no reviews."""

    FIRST = "first"
    SECOND = "second"
    ARBITRATION = "arbitration"
    APPEAL = "appeal"
    CALIBRATION = "calibration"
    AUDIT = "audit"


DECIDING = {
    Decision.CONFIRMED: Action.CONFIRM,
    Decision.OVERTURNED: Action.OVERTURN,
    Decision.UNSURE: Action.MARK_UNSURE,
}
CALL_ACTIONS = (Action.ASSIGN, Action.WITHDRAW, Action.SHARE, Action.ACKNOWLEDGE, Action.FINALISE, Action.REOPEN)
FINDING_ACTIONS = (*DECIDING.values(), Action.APPEAL, Action.UPHOLD, Action.REJECT)

REVIEWERS = frozenset({"reviewer", "lead", "admin"})
LEADS = frozenset({"lead", "admin"})
AGENTS = frozenset({"agent"})
NOBODY: frozenset[str] = frozenset()  # what the rules themselves do


# ---- the table


@dataclass(frozen=True, slots=True)
class Step:
    """``to`` None: back to the state of its decision."""

    to: State | None
    roles: frozenset[str]


_DECIDED = (State.UNSURE, State.CONFIRMED, State.OVERTURNED)
_UNDECIDED = (State.AUTO, State.ASSIGNED)
_ANSWERED = (State.ACKNOWLEDGED, State.REJECTED, State.UPHELD)


def _table() -> Mapping[tuple[State, Action], Step]:
    steps: dict[tuple[State, Action], Step] = {}

    def allow(states: Iterable[State], action: Action, to: State | None, roles: frozenset[str]) -> None:
        steps.update({(state, action): Step(to, roles) for state in states})

    def keep(states: Iterable[State], action: Action, roles: frozenset[str]) -> None:
        steps.update({(state, action): Step(state, roles) for state in states})

    allow(_UNDECIDED, Action.ASSIGN, State.ASSIGNED, REVIEWERS)
    keep((State.DISPUTED, *_DECIDED), Action.ASSIGN, REVIEWERS)
    allow(_UNDECIDED, Action.WITHDRAW, State.AUTO, LEADS)
    keep((State.DISPUTED, *_DECIDED), Action.WITHDRAW, LEADS)
    for decision, action in DECIDING.items():
        allow((*_UNDECIDED, *_DECIDED), action, State(decision), REVIEWERS)
        allow((State.DISPUTED,), action, State(decision), LEADS)
    allow((*_UNDECIDED, *_DECIDED), Action.DISPUTE, State.DISPUTED, NOBODY)
    keep((*_UNDECIDED, State.DISPUTED, *_DECIDED), Action.ADD, REVIEWERS)
    allow((*_UNDECIDED, *_DECIDED), Action.SHARE, State.SHARED, REVIEWERS)
    allow((State.SHARED,), Action.ACKNOWLEDGE, State.ACKNOWLEDGED, AGENTS)
    keep((State.APPEALED, State.REJECTED, State.UPHELD), Action.ACKNOWLEDGE, AGENTS)
    allow((State.SHARED,), Action.APPEAL, State.APPEALED, AGENTS)
    allow((State.APPEALED,), Action.UPHOLD, State.UPHELD, REVIEWERS)
    allow((State.APPEALED,), Action.REJECT, State.REJECTED, REVIEWERS)
    allow((State.SHARED, *_ANSWERED), Action.FINALISE, State.FINAL, LEADS)
    allow((State.SHARED, *_ANSWERED, State.FINAL), Action.REOPEN, None, LEADS)
    return steps


TABLE = _table()
_EVER = {
    action: {role for (_, own), step in TABLE.items() if own is action for role in step.roles} for action in Action
}


# ---- what the rules look at


@dataclass(frozen=True, slots=True)
class Actor:
    """``agent_id``: whose calls are this person's own."""

    user_id: int
    role: str
    agent_id: str | None = None


@dataclass(frozen=True, slots=True)
class ReviewNow:
    by: int
    round: Round
    decision: Decision


@dataclass(frozen=True, slots=True)
class AppealNow:
    by: int
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class FindingNow:
    """``reviews``: oldest first, without those of calibrations."""

    id: int
    state: State = State.AUTO
    needs_decision: bool = True
    is_added: bool = False
    decision: Decision | None = None
    decided_by: int | None = None
    reviews: tuple[ReviewNow, ...] = ()
    appeal: AppealNow | None = None

    @property
    def deciders(self) -> set[int]:
        return {review.by for review in self.reviews}

    def newest_by(self, user_id: int) -> ReviewNow | None:
        return next((review for review in reversed(self.reviews) if review.by == user_id), None)

    def newest_in(self, round_: Round) -> ReviewNow | None:
        return next((review for review in reversed(self.reviews) if review.round is round_), None)


@dataclass(frozen=True, slots=True)
class AssignmentNow:
    """Neither withdrawn nor of a calibration or audit."""

    reviewer: int
    round: Round
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class CallNow:
    """``findings`` by id."""

    state: State = State.AUTO
    agent_id: str | None = None
    findings: Mapping[int, FindingNow] | None = None
    assignments: tuple[AssignmentNow, ...] = ()
    appeal_until: datetime | None = None

    @property
    def all(self) -> Mapping[int, FindingNow]:
        return self.findings or {}

    @property
    def needing(self) -> list[FindingNow]:
        return [finding for finding in self.all.values() if finding.needs_decision]

    @property
    def states(self) -> set[State]:
        """Those that an action on the whole call moves on from."""
        return {finding.state for finding in self.all.values()} | (set() if self.needing else {self.state})

    def of(self, round_: Round) -> list[AssignmentNow]:
        return [assignment for assignment in self.assignments if assignment.round is round_]

    @property
    def is_blind(self) -> bool:
        """A second review runs."""
        pair = [*self.of(Round.FIRST), *self.of(Round.SECOND)]
        return bool(self.of(Round.SECOND)) and any(assignment.is_open for assignment in pair)

    @property
    def is_settled(self) -> bool:
        """Two reviewers judged it, and it is known on what they differ."""
        return bool(self.of(Round.SECOND)) and not self.is_blind


class RefusedError(Exception):
    """``kind``: forbidden (this person may not), conflict (not now), locked (final), invalid (something is missing).
    The message is for the person."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


NAMES = {
    State.AUTO: "待复核", State.ASSIGNED: "已分配", State.DISPUTED: "待仲裁", State.UNSURE: "存疑",
    State.CONFIRMED: "已确认", State.OVERTURNED: "已推翻", State.SHARED: "已下发", State.APPEALED: "申诉中",
    State.ACKNOWLEDGED: "坐席已确认", State.REJECTED: "申诉驳回", State.UPHELD: "申诉成立", State.FINAL: "已终审",
}  # fmt: skip


# ---- checks


def _step(state: State, action: Action, actor: Actor) -> Step:
    if actor.role not in _EVER[action]:
        raise RefusedError("forbidden", "您的角色没有这项权限")
    step = TABLE.get((state, action))
    if step is None:
        if state is State.FINAL:
            raise RefusedError("locked", "已经终审，不能再修改；需要修改请由主管重新开启")
        raise RefusedError("conflict", f"当前状态为“{NAMES[state]}”，不能进行这项操作")
    if actor.role not in step.roles:
        raise RefusedError("forbidden", f"状态为“{NAMES[state]}”时，您的角色没有这项权限")
    return step


def _require_own(call: CallNow, actor: Actor) -> None:
    if call.agent_id is None or actor.agent_id != call.agent_id:
        raise RefusedError("forbidden", "只有这通电话的坐席本人可以这样做")


def _require_other(call: CallNow, actor: Actor) -> None:
    if call.agent_id is not None and actor.agent_id == call.agent_id:
        raise RefusedError("forbidden", "不能复核自己的通话")


def _require_reason(why: str, what: str) -> None:
    if not why.strip():
        raise RefusedError("invalid", f"请填写{what}")


def _check_call(call: CallNow, action: Action, actor: Actor) -> None:
    """The table, for every finding that the action moves."""
    for state in sorted(call.states, key=list(State).index, reverse=True):
        _step(state, action, actor)
    if action in (Action.ASSIGN, Action.WITHDRAW, Action.SHARE, Action.FINALISE, Action.ADD):
        _require_other(call, actor)


def _check_share(call: CallNow) -> None:
    if call.is_blind:
        raise RefusedError("conflict", "双人复核还没有完成，不能下发")
    left = sum(finding.state not in _DECIDED for finding in call.needing)
    if left:
        raise RefusedError("conflict", f"还有 {left} 条没有判定，不能下发")


def _check_acknowledge(call: CallNow, actor: Actor) -> None:
    _require_own(call, actor)
    if State.SHARED not in call.states:
        raise RefusedError("conflict", "没有需要确认的结果")


def _check_finalise(call: CallNow, at: datetime) -> None:
    if State.SHARED in call.states and call.appeal_until is not None and at < call.appeal_until:
        raise RefusedError("conflict", "坐席还没有确认，申诉期也没有结束，不能终审")


def _check_decide(call: CallNow, finding: FindingNow, action: Action, actor: Actor) -> None:
    _step(finding.state, action, actor)
    _require_other(call, actor)
    if finding.state is State.DISPUTED and actor.user_id in finding.deciders:
        raise RefusedError("forbidden", "仲裁须由没有参与复核的主管进行")
    if actor.role in LEADS:
        return
    if call.is_settled:
        raise RefusedError("forbidden", "双人复核已完成，只有主管可以改判")
    others = [one for one in call.assignments if one.reviewer != actor.user_id]
    if others and len(others) == len(call.assignments):
        raise RefusedError("forbidden", "这通电话分配给了其他质检员")


def _check_appeal(call: CallNow, finding: FindingNow, actor: Actor, at: datetime) -> None:
    _step(finding.state, Action.APPEAL, actor)
    _require_own(call, actor)
    if finding.appeal is not None:
        raise RefusedError("conflict", "这一条已经申诉过，每条只能申诉一次")
    if finding.decision is not Decision.CONFIRMED:
        raise RefusedError("conflict", "这一条没有判为违规，不需要申诉")
    if call.appeal_until is None or at >= call.appeal_until:
        raise RefusedError("conflict", "申诉期已过")


def _check_verdict(call: CallNow, finding: FindingNow, action: Action, actor: Actor) -> None:
    """Of an appeal."""
    _step(finding.state, action, actor)
    _require_other(call, actor)
    if actor.user_id in finding.deciders or (finding.appeal and finding.appeal.by == actor.user_id):
        raise RefusedError("forbidden", "申诉须由没有参与原判的人处理")


def _check_assign(call: CallNow, reviewer: Actor, round_: Round, actor: Actor) -> None:
    _check_call(call, Action.ASSIGN, actor)
    if actor.role not in LEADS and reviewer.user_id != actor.user_id:
        raise RefusedError("forbidden", "只有主管可以分配给别人")
    if reviewer.role not in REVIEWERS:
        raise RefusedError("invalid", "只能分配给质检员或主管")
    _require_other(call, reviewer)
    if call.is_settled:
        raise RefusedError("conflict", "双人复核已完成，不能再分配")
    theirs = [one for one in call.assignments if one.reviewer == reviewer.user_id]
    if any(one.is_open or one.round is not round_ for one in theirs):
        raise RefusedError("conflict", "已经分配给这位质检员；初审和复审须由不同的人进行")
    if any(one.round is round_ and one.is_open for one in call.assignments):
        raise RefusedError("conflict", "这一轮已经分配给别人，请先撤回")
    if round_ is Round.SECOND and any(reviewer.user_id in finding.deciders for finding in call.all.values()):
        raise RefusedError("conflict", "复审人不能是初审人")


def allowed_on_call(call: CallNow, actor: Actor, at: datetime) -> list[Action]:
    """What this person may do with the call now. Assigning still depends on to whom."""
    checks: dict[Action, Callable[[], None]] = {
        Action.SHARE: lambda: _check_share(call),
        Action.ACKNOWLEDGE: lambda: _check_acknowledge(call, actor),
        Action.FINALISE: lambda: _check_finalise(call, at),
        Action.WITHDRAW: lambda: _check_withdraw(call),
        Action.ASSIGN: lambda: _check_assign(call, actor, Round.FIRST, actor) if actor.role not in LEADS else None,
    }
    return [
        action
        for action in CALL_ACTIONS
        if _holds(partial(_check_call, call, action, actor)) and _holds(checks.get(action, _always))
    ]


def allowed_on_finding(call: CallNow, finding: FindingNow, actor: Actor, at: datetime) -> list[Action]:
    """What this person may do with one of its findings now."""

    def check(action: Action) -> None:
        if action is Action.APPEAL:
            _check_appeal(call, finding, actor, at)
        elif action in (Action.UPHOLD, Action.REJECT):
            _check_verdict(call, finding, action, actor)
        else:
            _check_decide(call, finding, action, actor)

    return [action for action in FINDING_ACTIONS if _holds(partial(check, action))]


def may_add(call: CallNow, actor: Actor) -> bool:
    """Whether this person may add a violation now, or score a manual item."""
    return _holds(lambda: check_add(call, actor))


def _always() -> None:
    return


def _holds(check: Callable[[], None]) -> bool:
    try:
        check()
    except RefusedError:
        return False
    return True


# ---- what is kept from whom


def is_blind_to(call: CallNow, actor: Actor) -> bool:
    """Whether the others' decisions, their reasons and the final score are kept from this person."""
    if not call.is_blind or actor.role in AGENTS:
        return False
    is_of_the_pair = any(assignment.reviewer == actor.user_id for assignment in call.assignments)
    return is_of_the_pair or actor.role not in LEADS


def seen_alone(finding: FindingNow, actor: Actor) -> FindingNow | None:
    """A finding as somebody sees it who is blind to the others; None for what another one added."""
    own = finding.newest_by(actor.user_id)
    if finding.is_added and own is None:
        return None
    reviews = tuple(review for review in finding.reviews if review.by == actor.user_id)
    if own is None:
        return replace(finding, state=State.ASSIGNED, decision=None, decided_by=None, reviews=reviews)
    return replace(finding, state=State(own.decision), decision=own.decision, decided_by=actor.user_id, reviews=reviews)


# ---- actions on the whole call


def assign(call: CallNow, reviewer: Actor, round_: Round, actor: Actor) -> CallNow:
    """Give a first or second review to somebody. raises RefusedError"""
    _check_assign(call, reviewer, round_, actor)
    given = (*call.assignments, AssignmentNow(reviewer.user_id, round_))
    return replace(_moved(call, Action.ASSIGN, actor), assignments=given)


def withdraw(call: CallNow, actor: Actor) -> CallNow:
    """Take back what is still open of the assignments. raises RefusedError"""
    _check_call(call, Action.WITHDRAW, actor)
    _check_withdraw(call)
    return settle(replace(_moved(call, Action.WITHDRAW, actor), assignments=_done(call)))


def _check_withdraw(call: CallNow) -> None:
    if len(_done(call)) == len(call.assignments):
        raise RefusedError("conflict", "没有可以撤回的分配")


def _done(call: CallNow) -> tuple[AssignmentNow, ...]:
    return tuple(assignment for assignment in call.assignments if not assignment.is_open)


def finish(call: CallNow, actor: Actor) -> CallNow:
    """A reviewer is done with their round. When both rounds are, findings on which they differ become disputed.

    raises RefusedError where something is left to decide
    """
    mine = next((one for one in call.assignments if one.reviewer == actor.user_id and one.is_open), None)
    if mine is None:
        raise RefusedError("conflict", "没有分配给您的待办")
    left = sum(
        not (finding.newest_by(actor.user_id) or (mine.round is Round.FIRST and finding.decision))
        for finding in call.needing
        if not (call.is_blind and finding.is_added and finding.newest_by(actor.user_id) is None)
    )
    if left:
        raise RefusedError("conflict", f"还有 {left} 条没有判定")
    assignments = tuple(replace(one, is_open=False) if one is mine else one for one in call.assignments)
    return settle(replace(call, assignments=assignments))


def settle(call: CallNow) -> CallNow:
    """Once both reviewers are done: what they agree on stands, what they differ on is disputed. Does nothing before,
    and nothing twice."""
    if not call.is_settled:
        return call
    return _with(call, [_compared(finding) for finding in call.all.values()])


def _compared(finding: FindingNow) -> FindingNow:
    if (finding.state, Action.DISPUTE) not in TABLE or finding.newest_in(Round.ARBITRATION):
        return finding
    first, second = finding.newest_in(Round.FIRST), finding.newest_in(Round.SECOND)
    if first is None and second is None:
        return finding
    if first is not None and second is not None and first.decision is second.decision:
        return finding
    if not finding.needs_decision:  # a remark; whoever said something of it counts
        return finding if first or second is None else _decided(finding, second)
    if first is None and second is not None and not finding.is_added:
        return _decided(finding, second)  # there was one reviewer only
    return replace(finding, state=State.DISPUTED, decision=None, decided_by=None)


def _decided(finding: FindingNow, review: ReviewNow) -> FindingNow:
    return replace(finding, state=State(review.decision), decision=review.decision, decided_by=review.by)


def share(call: CallNow, actor: Actor, at: datetime, appeal_within: timedelta) -> CallNow:
    """Show the agent what came of the review; from now on they may appeal. raises RefusedError"""
    _check_call(call, Action.SHARE, actor)
    _check_share(call)
    return replace(_moved(call, Action.SHARE, actor), appeal_until=at + appeal_within)


def acknowledge(call: CallNow, actor: Actor) -> CallNow:
    """The agent accepts what they did not appeal. raises RefusedError"""
    _check_call(call, Action.ACKNOWLEDGE, actor)
    _check_acknowledge(call, actor)
    return _moved(call, Action.ACKNOWLEDGE, actor)


def finalise(call: CallNow, actor: Actor, at: datetime) -> CallNow:
    """Lock the call. raises RefusedError while the agent may still appeal or an appeal is open"""
    _check_call(call, Action.FINALISE, actor)
    _check_finalise(call, at)
    return _moved(call, Action.FINALISE, actor)


def reopen(call: CallNow, actor: Actor, why: str) -> CallNow:
    """Back to review, also from final. Each finding has its decision still, and an appeal is not had twice. raises
    RefusedError"""
    _check_call(call, Action.REOPEN, actor)
    _require_reason(why, "重新开启的原因")
    return replace(_moved(call, Action.REOPEN, actor), appeal_until=None)


def _moved(call: CallNow, action: Action, actor: Actor) -> CallNow:
    def move(finding: FindingNow) -> FindingNow:
        to = _step(finding.state, action, actor).to
        return replace(finding, state=to or State(finding.decision or State.AUTO))

    own = call.state if call.needing else (_step(call.state, action, actor).to or State.AUTO)
    return _with(replace(call, state=own), [move(finding) for finding in call.all.values()])


# ---- actions on a finding


def round_of(call: CallNow, finding: FindingNow, actor: Actor) -> Round:
    """The round in which a decision of this person counts."""
    if any(one.round is Round.SECOND and one.is_open for one in call.assignments if one.reviewer == actor.user_id):
        return Round.SECOND
    if finding.state is State.DISPUTED or (call.is_settled and actor.role in LEADS):
        return Round.ARBITRATION
    return Round.FIRST


def decide(call: CallNow, finding_id: int, decision: Decision, actor: Actor, why: str) -> CallNow:
    """Confirm or overturn a finding, or say that it cannot be decided. raises RefusedError"""
    finding = call.all[finding_id]
    _check_decide(call, finding, DECIDING[decision], actor)
    if decision is not Decision.CONFIRMED or finding.state is State.DISPUTED:
        _require_reason(why, "理由")
    review = ReviewNow(actor.user_id, round_of(call, finding, actor), decision)
    reviewed = replace(finding, reviews=(*finding.reviews, review))
    return _with(call, [reviewed if review.round is Round.SECOND else _decided(reviewed, review)])


def check_add(call: CallNow, actor: Actor) -> None:
    """Whether a violation may be added, a manual item scored. raises RefusedError"""
    _check_call(call, Action.ADD, actor)
    if actor.role in LEADS:
        return
    if call.is_settled:
        raise RefusedError("forbidden", "双人复核已完成，只有主管可以补充")
    if call.assignments and all(one.reviewer != actor.user_id for one in call.assignments):
        raise RefusedError("forbidden", "这通电话分配给了其他质检员")


def add(call: CallNow, finding_id: int, actor: Actor, why: str) -> CallNow:
    """A violation that the analyzer missed, confirmed by whoever adds it. raises RefusedError"""
    check_add(call, actor)
    _require_reason(why, "理由")
    finding = FindingNow(finding_id, State.ASSIGNED, is_added=True)
    review = ReviewNow(actor.user_id, round_of(call, finding, actor), Decision.CONFIRMED)
    reviewed = replace(finding, reviews=(review,))
    return _with(call, [reviewed if review.round is Round.SECOND else _decided(reviewed, review)])


def appeal(call: CallNow, finding_id: int, actor: Actor, at: datetime, why: str) -> CallNow:
    """The agent objects. raises RefusedError"""
    finding = call.all[finding_id]
    _check_appeal(call, finding, actor, at)
    _require_reason(why, "申诉理由")
    return _with(call, [replace(finding, state=State.APPEALED, appeal=AppealNow(actor.user_id))])


def decide_appeal(call: CallNow, finding_id: int, upheld: bool, actor: Actor, why: str) -> CallNow:
    """Uphold an appeal, which overturns the finding, or reject it. raises RefusedError"""
    finding = call.all[finding_id]
    action = Action.UPHOLD if upheld else Action.REJECT
    _check_verdict(call, finding, action, actor)
    _require_reason(why, "处理意见")
    decision = Decision.OVERTURNED if upheld else Decision.CONFIRMED
    review = ReviewNow(actor.user_id, Round.APPEAL, decision)
    decided = _decided(replace(finding, reviews=(*finding.reviews, review)), review) if upheld else finding
    closed = AppealNow(finding.appeal.by, is_open=False) if finding.appeal else None
    to = _step(finding.state, action, actor).to
    return _with(call, [replace(decided, state=to or finding.state, reviews=(*finding.reviews, review), appeal=closed)])


# ---- the call's own state


def _with(call: CallNow, changed: Iterable[FindingNow]) -> CallNow:
    moved = replace(call, findings={**call.all, **{finding.id: finding for finding in changed}})
    return replace(moved, state=state_of(moved))


def state_of(call: CallNow) -> State:
    """The least advanced state of the findings that need a decision; the call's own where none does."""
    states = [finding.state for finding in call.needing]
    return min(states, key=list(State).index) if states else call.state
