"""Which calls people are to review, and who reviews which.

A draw depends on the seed and the ids of the calls alone: each call has its own rank (a hash of seed and id, a
"permanent random number"), and a draw takes the lowest ranks. So the same plan drawn twice draws the same calls,
whatever order the database answers in, and a call that comes later never changes the rank of another.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_CALLS = 100_000

Kind = Literal["random", "per_agent", "by_rule", "by_score", "critical", "audit"]
Id = Annotated[int, Field(ge=1, lt=2**31)]
Day = Annotated[date, Field(ge=date(1970, 1, 2), le=date(9000, 1, 1))]  # a zone away from it is a date still
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1, le=MOST_CALLS)]


# ---- what a plan says


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Frame(_Strict):
    """The calls that a plan draws from. Days are local, both ends included; what is empty takes all."""

    first_day: Day | None = None
    last_day: Day | None = None
    teams: list[Annotated[str, Field(max_length=120)]] = []
    agents: list[Annotated[str, Field(max_length=120)]] = []
    direction: Literal["inbound", "outbound", "unknown"] | None = None
    verdict: Literal["pass", "fail", "review"] | None = None
    never_assigned: bool = True


class Band(_Strict):
    """Calls with low <= score < high; 100 belongs to the band that ends there. ``count`` of them, else all."""

    low: Annotated[float, Field(ge=0, le=100)]
    high: Annotated[float, Field(ge=0, le=100)]
    count: Count | None = None

    def holds(self, score: float | None) -> bool:
        return score is not None and (self.low <= score < self.high or score == self.high == 100)

    @model_validator(mode="after")
    def _is_a_band(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"分数段 {self.low:g}–{self.high:g} 为空：下限须小于上限")
        return self


class Quota(_Strict):
    """A reviewer of the plan. ``most``: assignments that this plan may give them; null for no limit."""

    reviewer_id: Id
    most: Annotated[int | None, Field(ge=0, le=MOST_CALLS)] = None


class Options(_Strict):
    """``Plan.options``.

    share, count   how many calls (random, audit: one of the two; per_agent, by_rule: ``count`` per agent, per rule)
    rules          of by_rule
    bands          of by_score
    per_call       of audit: unflagged agent utterances of each drawn call
    second_share   of the drawn calls that another reviewer reviews as well, neither knowing of the other
    due_days       from the draw until the reviews are due
    """

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 1
    frame: Frame = Frame()
    share: Share | None = None
    count: Count | None = None
    rules: list[Annotated[str, Field(min_length=1, max_length=120)]] = []
    bands: list[Band] = []
    per_call: Annotated[int, Field(ge=1, le=200)] = 10
    second_share: Annotated[float, Field(ge=0, le=1)] = 0
    reviewers: Annotated[list[Quota], Field(min_length=1, max_length=500)]
    due_days: Annotated[int | None, Field(ge=0, le=365)] = 7


def complaint(kind: Kind, options: Options) -> str | None:
    """What is wrong with a plan of this kind, for people; None where nothing is."""
    one_of = (options.share is None) != (options.count is None)
    wrong = (
        (kind in ("random", "audit") and not one_of, "请填写比例或数量（二选一）"),
        (kind in ("per_agent", "by_rule") and options.count is None, "请填写每名坐席（每条规则）抽取的数量"),
        (kind == "by_rule" and not options.rules, "请选择规则"),
        (kind == "by_score" and not options.bands, "请填写分数段"),
        (kind == "audit" and options.second_share > 0, "漏检审计不安排双盲复评"),
        (options.second_share > 0 and not options.frame.never_assigned, "双盲复评只能从未分配过的通话中抽取"),
    )
    return next((what for is_wrong, what in wrong if is_wrong), None)


# ---- drawing


@dataclass(frozen=True, slots=True)
class Candidate:
    """A call of the frame. ``rules``: those with a finding in it (by_rule needs them)."""

    call: int
    agent: str | None = None
    score: float | None = None
    criticals: int = 0
    rules: frozenset[str] = field(default_factory=frozenset)


def draw(kind: Kind, options: Options, frame: Iterable[Candidate]) -> list[Candidate]:
    """The drawn calls, in order of their rank."""
    ranked = sorted(frame, key=lambda call: (rank(options.seed, call.call), call.call))
    drawn = _DRAWN_BY[kind](options, ranked)
    return [call for call in ranked if call.call in drawn]


def rank(seed: int, *of: int | str) -> bytes:
    """Where in the seed's order something stands."""
    return blake2b(f"{seed}:{':'.join(map(str, of))}".encode(), digest_size=8).digest()


def _simple(options: Options, ranked: Sequence[Candidate]) -> set[int]:
    """
    >>> reviewers = [Quota(reviewer_id=1)]
    >>> len(_simple(Options(share=0.1, reviewers=reviewers), [Candidate(call) for call in range(25)]))
    3
    """
    n = options.count if options.share is None else math.ceil(round(options.share * len(ranked), 9))
    return {call.call for call in ranked[:n]}


def _per_agent(options: Options, ranked: Sequence[Candidate]) -> set[int]:
    """Calls of nobody known are no agent's."""
    return _first_of_each(options.count, ((call.agent, call.call) for call in ranked if call.agent is not None))


def _by_rule(options: Options, ranked: Sequence[Candidate]) -> set[int]:
    return _first_of_each(
        options.count, ((rule, call.call) for call in ranked for rule in options.rules if rule in call.rules)
    )


def _first_of_each(n: int | None, groups: Iterable[tuple[str, int]]) -> set[int]:
    taken: Counter[str] = Counter()
    drawn = set()
    for group, call in groups:
        if n is None or taken[group] < n:
            taken[group] += 1
            drawn.add(call)
    return drawn


def _by_score(options: Options, ranked: Sequence[Candidate]) -> set[int]:
    drawn: set[int] = set()
    for band in options.bands:
        drawn.update([call.call for call in ranked if band.holds(call.score)][: band.count])
    return drawn


def _critical(options: Options, ranked: Sequence[Candidate]) -> set[int]:
    return {call.call for call in ranked if call.criticals}


_DRAWN_BY: Mapping[Kind, Callable[[Options, Sequence[Candidate]], set[int]]] = {
    "random": _simple,
    "per_agent": _per_agent,
    "by_rule": _by_rule,
    "by_score": _by_score,
    "critical": _critical,
    "audit": _simple,
}


def draw_segments(seed: int, call: int, unflagged: Collection[int], n: int) -> list[int]:
    """``n`` of a call's unflagged agent utterances (all where it has fewer), in order of time."""
    return sorted(sorted(unflagged, key=lambda turn: (rank(seed, "turn", call, turn), turn))[:n])


# ---- assigning


@dataclass(frozen=True, slots=True)
class Reviewer:
    """``agent``: whose calls are their own, which they never review. ``most``: of this plan; None for no limit."""

    id: int
    agent: str | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    call: int
    reviewer: int
    round: Literal["first", "second", "audit"]


@dataclass(frozen=True, slots=True)
class Shares:
    """``unassigned``: calls that no reviewer had room for, or whose only reviewers are on the phone in them.
    ``single``: calls of the second share for which no other reviewer was left."""

    tasks: tuple[Task, ...]
    unassigned: tuple[int, ...]
    single: tuple[int, ...]


def share_out(kind: Kind, options: Options, drawn: Sequence[Candidate], reviewers: Sequence[Reviewer]) -> Shares:
    """Give every drawn call to a reviewer, and the second share to another one: evenly, within the quotas, nobody
    their own calls. First reviews come before second ones where the quotas do not suffice for both."""
    desk = _Evenly(options.seed, reviewers)
    round_: Literal["first", "audit"] = "audit" if kind == "audit" else "first"
    first = {call.call: desk.give(call, ()) for call in desk.hardest_first(drawn)}
    tasks = [Task(call.call, reviewer, round_) for call in drawn if (reviewer := first[call.call]) is not None]
    twice = _twice(options, [call for call in drawn if first[call.call] is not None])
    second = {call.call: desk.give(call, (first[call.call],)) for call in desk.hardest_first(twice)}
    tasks += [Task(call.call, other, "second") for call in twice if (other := second[call.call]) is not None]
    return Shares(
        tuple(tasks),
        tuple(call.call for call in drawn if first[call.call] is None),
        tuple(call.call for call in twice if second[call.call] is None),
    )


def _twice(options: Options, calls: Sequence[Candidate]) -> list[Candidate]:
    n = math.ceil(round(options.second_share * len(calls), 9))
    chosen = {
        call.call for call in sorted(calls, key=lambda call: (rank(options.seed, "second", call.call), call.call))[:n]
    }
    return [call for call in calls if call.call in chosen]


class _Evenly:
    """Whoever has the fewest tasks of this plan gets the next one."""

    def __init__(self, seed: int, reviewers: Sequence[Reviewer]) -> None:
        self._reviewers = sorted(reviewers, key=lambda reviewer: rank(seed, "reviewer", reviewer.id))
        self._given: dict[int, int] = defaultdict(int)

    def hardest_first(self, calls: Sequence[Candidate]) -> list[Candidate]:
        """Calls that somebody must not review, before calls that anybody may."""
        own = {reviewer.agent for reviewer in self._reviewers if reviewer.agent is not None}
        return sorted(calls, key=lambda call: call.agent not in own)

    def give(self, call: Candidate, but: Collection[int | None]) -> int | None:
        able = [
            reviewer
            for reviewer in self._reviewers
            if reviewer.id not in but
            and (reviewer.agent is None or reviewer.agent != call.agent)
            and (reviewer.most is None or self._given[reviewer.id] < reviewer.most)
        ]
        if not able:
            return None
        chosen = min(able, key=lambda reviewer: self._given[reviewer.id])
        self._given[chosen.id] += 1
        return chosen.id
