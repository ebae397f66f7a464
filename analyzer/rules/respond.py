"""``respond``: after a cue (customer abuse, complaint, praise; an agent who cannot hear …) the owed sentence comes
within the range.

Each cue opens an *episode*; further cues inside it belong to it, and so do those before the agent has had a chance to
answer. Once the range is over the owed elements were all said, or something is missing. Nobody owes an answer to a
customer who is gone: without a word of the speaker after the cue, an episode at the end of the call does not count.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from pydantic import Field

from analyzer.rules.anchor import Cue, Point, Range, Reach, Where, Which, joined, one_of
from analyzer.rules.call import Call, is_by, is_mostly_faint, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Element, Finding, Item, ItemState, Judgement, Occasion, Owed, Wording
from analyzer.rules.phrases import Hit, PhraseSet
from analyzer.rules.require import PASS, ElementFields, ElementSpec, Level, LevelSpec, Plan
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, CueSpec, Enum, RuleSpec, Texts, role_of
from analyzer.rules.truth import Truth, every
from analyzer.types import Role


@dataclass(frozen=True, slots=True)
class Respond(Check):
    """``cue`` is what calls for an answer, ``plan`` what the answer is made of.

    ahead_of    words the answer must come before (the solution, to which an apology comes first)
    unanswered  what a cue without the owed answer comes to, where nothing is doubtful
    nudge_ms    how long after the cue the agent is reminded
    """

    cue: Cue
    plan: Plan
    wording: Wording
    reach: Reach
    which: Which | int = Which.EACH
    speaker: Role | None = Role.AGENT
    ahead_of: PhraseSet = field(default_factory=lambda: PhraseSet(()))
    min_confidence: float = 0.5
    unanswered: Truth = Truth.VIOLATED
    nudge_ms: int | None = None
    nudge: str = ""

    @property
    def listens_for(self) -> Collection[PhraseSet] | None:
        return (self.cue.phrases,)  # what follows is gone through once it is asked for

    @property
    def reminds(self) -> bool:
        return self.nudge_ms is not None

    def watch(self, call: Call) -> Watch:
        return _RespondWatch(self, call)


class _Episode:
    """One cue and what was said to it."""

    def __init__(self, check: Respond, call: Call, point: Point, earlier: Sequence[Said]) -> None:
        self.check, self.call, self.point = check, call, point
        self.range = Range(check.reach, point, check.speaker, earlier)
        self._heard = len(call.said)

    def takes_in(self, point: Point) -> bool:
        """Whether a further cue belongs to this episode, as far as it has gone."""
        if point.said is self.point.said or not self.range.has_answer:
            return True
        return self.range.has_room and bool(self.owes(()))

    def go_on(self) -> None:
        """Take in what was said since."""
        for said in self.call.said[self._heard :]:
            self.range.take(said)
        self._heard = len(self.call.said)

    def own(self) -> list[Said]:
        return [piece for piece in self.range.pieces if may_be_by(piece, self.check.speaker)]

    def hits(self, element: ElementSpec, more: Sequence[Said] = ()) -> list[Hit]:
        return [hit for said in (*self.own(), *more) for hit in element.find(said, self.call)]

    def owes(self, more: Sequence[Said]) -> list[ElementSpec]:
        """Elements not said so far, ``more`` speech included; none once the answer is good enough."""
        plan = self.check.plan
        said = {e.name for e in plan.elements if self.hits(e, more)}
        return [] if plan.level(said) == PASS else [e for e in plan.elements if e.name not in said]

    # --- at the end ---

    def judge(self) -> Judgement:
        check, plan = self.check, self.check.plan
        possible = {e.name: self.hits(e) for e in plan.elements}
        sure = {name: [hit for hit in hits if self._is_sure(hit)] for name, hits in possible.items()}
        elements = {e.name: _element(sure[e.name]) for e in plan.elements}
        evidence = tuple(check.wording.of_hit(hits[0]) for hits in sure.values() if hits)
        is_late = self._is_late(sure)
        if not is_late and plan.level(_names(sure)) == PASS:
            return Judgement(Truth.MET, elements=elements, evidence=evidence)
        if not (self.was_owed() or any(sure.values())):
            return Judgement(Truth.NOT_APPLICABLE)
        truth = self._failing(possible)
        if truth is Truth.NOT_APPLICABLE:
            return Judgement(truth)
        finding = self._order() if is_late and plan.level(_names(sure)) == PASS else self._absence(sure)
        return Judgement(truth, (finding,), elements=elements, evidence=evidence)

    def _is_sure(self, hit: Hit) -> bool:
        return hit.confidence >= self.check.min_confidence and is_by(hit.said, self.check.speaker)

    def _is_late(self, found: Mapping[str, Sequence[Hit]]) -> bool:
        """Something came first that the answer should have come before."""
        ahead = [hit.span.start_ms for said in self.own() for hit in self.check.ahead_of.find(said)]
        said = [hit.span.start_ms for hits in found.values() for hit in hits]
        return bool(ahead and said and min(ahead) < min(said))

    def was_owed(self) -> bool:
        """The speaker had a chance: said something in the range, or left the other side waiting."""
        if is_by(self.point.said, self.check.speaker) or self.range.is_closed:
            return True
        after = [said for said in self.own() if said.span.end_ms > self.point.span.end_ms]
        return bool(after)

    def _failing(self, possible: Mapping[str, Sequence[Hit]]) -> Truth:
        """What the check makes of a missing answer, or unsure where the cue or the answer may have been misheard."""
        if self.check.unanswered is not Truth.VIOLATED:
            return self.check.unanswered
        may_pass = self.check.plan.level(_names(possible)) == PASS and not self._is_late(possible)
        cut_off = self.call.truncated and not self.range.is_closed
        unknown = any(said.role is Role.UNKNOWN for said in self.own()) and self.check.speaker is not None
        faint = is_mostly_faint(self.own(), self.check.min_confidence)
        is_doubtful = not self.point.sure or may_pass or cut_off or unknown or faint
        return Truth.UNSURE if is_doubtful else Truth.VIOLATED

    def _absence(self, found: Mapping[str, Sequence[Hit]]) -> Finding:
        absent = [e for e in self.check.plan.elements if not found[e.name]]
        cores = [e for e in absent if e.core]
        named = cores or absent
        titles = ("、" if cores else "或").join(e.title for e in named)
        suggestion = next((e.suggestion for e in named if e.suggestion), None)
        return self._finding(titles, suggestion, named[0].name if len(named) == 1 else None)

    def _order(self) -> Finding:
        return self._finding("顺序", None, None)

    def _finding(self, missing: str, suggestion: str | None, category: str | None) -> Finding:
        check = self.check
        names = {"missing": missing, "element": missing, "suggestion": suggestion, "quote": self.point.quote}
        finding = check.wording.of_absence(self.range.span(self.call), check.speaker, names, category)
        due = self.range.due()
        return replace(finding, turn=due.stretches[0].utterance if due else None)


def _names(found: Mapping[str, Sequence[Hit]]) -> set[str]:
    return {name for name, hits in found.items() if hits}


def _element(hits: Sequence[Hit]) -> Element:
    first = min(hits, key=lambda hit: (hit.span.start_ms, hit.start, -hit.end), default=None)
    return Element(True, first.span.start_ms, first.quote) if first else Element(False)


class _RespondWatch(Watch):
    def __init__(self, check: Respond, call: Call) -> None:
        self.check, self.call = check, call
        self.first = len(call.said)  # of the utterances that are this watch's to hear
        self._episodes: list[_Episode] = []

    @property
    def episodes(self) -> Sequence[_Episode]:
        """All so far, each up to now."""
        for episode in self._episodes:
            episode.go_on()
        return self._episodes

    def hear(self, said: Said) -> None:
        for point in self.check.cue.points(said):
            if not self._belongs(point):
                earlier = self.call.said[self.first : -1]
                self._episodes.append(_Episode(self.check, self.call, point, earlier))

    def _belongs(self, point: Point) -> bool:
        """Whether the cue is part of the episode before; a sure cue takes the place of an unsure one."""
        episodes = self.episodes
        if not episodes or not episodes[-1].takes_in(point):
            return False
        return episodes[-1].point.sure or not point.sure

    def reach(self, ms: int) -> None:
        if self._episodes:
            for episode in self.episodes:
                episode.range.pass_by(ms)

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        check, episode = self.check, self._at_issue()
        if check.nudge_ms is None or episode is None or episode.range.is_closed:
            return ()
        rule, at_ms = check.wording.rule, episode.point.span.end_ms + check.nudge_ms
        return [
            Owed(
                rule,
                element.name,
                element.nudge or check.nudge or f"还没说：{element.title}",
                at_ms,
                Occasion.ANSWER,
                element.suggestion,
            )
            for element in episode.owes(self._answering(episode, unsettled))
        ]

    def checklist(self, unsettled: Sequence[Said], ms: int) -> Sequence[Item]:
        """The elements of the answer; where some of them will do, all as one item."""
        check, episode = self.check, self._at_issue()
        if check.nudge_ms is None or episode is None:
            return ()
        elements, limit_ms = check.plan.elements, check.reach.within_ms
        owed = {element.name for element in episode.owes(self._answering(episode, unsettled))}
        due_ms = None if limit_ms is None else episode.point.span.end_ms + limit_ms
        open_state = ItemState.PENDING
        if episode.range.is_closed or self.call.end_ms:
            open_state = ItemState.MISSED if episode.was_owed() else ItemState.CLEARED
        rule = check.wording.rule
        if len(check.plan.lacking(())) == len(elements) == check.plan.passing.elements:
            return [
                Item(rule, e.name, e.title, open_state if e.name in owed else ItemState.DONE, due_ms) for e in elements
            ]
        state = open_state if owed else ItemState.DONE
        return [Item(rule, elements[0].name, "或".join(e.title for e in elements), state, due_ms)]

    def _at_issue(self) -> _Episode | None:
        """The episode of which something may be owed now: the last that counts, or one that settled it for all."""
        if self.check.nudge_ms is None or not self._episodes:
            return None
        episodes, which = self.episodes, self.check.which
        if isinstance(which, int):
            episodes = episodes[which - 1 : which]
        elif which is Which.ANY:
            episodes = [*episodes, *(e for e in episodes if not e.owes(()))]
        return episodes[-1] if episodes and episodes[-1].point.sure else None

    def _answering(self, episode: _Episode, unsettled: Sequence[Said]) -> list[Said]:
        own = (said for said in unsettled if is_by(said, self.check.speaker))
        return [piece for said in own if (piece := episode.range.part(said))]

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        if not self._episodes:
            return Judgement(Truth.NOT_APPLICABLE)
        counting = [e for e in self.episodes if self.check.cue.counts(e.point, self.call)]
        which = self.check.which
        if isinstance(which, int):
            counting = counting[which - 1 : which]
        judgements = [episode.judge() for episode in counting]
        return one_of(judgements) if which is Which.ANY else _every(judgements)


def _every(judgements: Sequence[Judgement]) -> Judgement:
    """As ``joined`` by ``all``; an element counts as said where it was in every episode that counts."""
    judgement = joined(judgements, every)
    applicable = [j.elements for j in judgements if j.elements is not None]
    if not applicable:
        return judgement
    return replace(judgement, elements=_merged(applicable))


def _merged(elements: Sequence[Mapping[str, Element]]) -> dict[str, Element]:
    return {name: _first([each[name] for each in elements]) for name in elements[0]}


def _first(elements: Iterable[Element]) -> Element:
    told = list(elements)
    return told[0] if all(element.present for element in told) else Element(False)


_UNANSWERED = {
    "violation": Truth.VIOLATED,
    "unsure": Truth.UNSURE,
    "not_applicable": Truth.NOT_APPLICABLE,
}


class RespondSpec(RuleSpec):
    kind: Literal["respond"]
    cue: CueSpec
    where: Annotated[Where, Enum] = Where.AFTER
    which: Literal["each", "any"] | Annotated[int, Field(ge=1)] = "each"
    within_turns: int | None = Field(default=None, ge=1)
    within_ms: int | None = Field(default=None, ge=1)
    elements: dict[str, ElementFields]
    need: LevelSpec | None = None
    ahead_of: Texts = []
    ahead_of_in: Texts = []
    unanswered: Literal["violation", "unsure", "not_applicable"] = "violation"
    nudge: str | None = None
    nudge_ms: int | None = Field(default=None, ge=0)

    def build_check(self, builder: Builder) -> Respond:
        if not self.elements:
            builder.fault(("elements",), "'respond' needs elements")
        elements = tuple(f.build(name, builder, ("elements", name)) for name, f in self.elements.items())
        turns = 1 if self.within_turns is None and self.within_ms is None else self.within_turns
        ahead = [
            *(p for words in builder.lists(self.ahead_of_in, ("ahead_of_in",)) for p in words.phrases),
            *builder.inline(self.ahead_of, ("ahead_of",)),
        ]
        return Respond(
            self.cue.cue(builder, ("cue",)),
            Plan(elements, passing=self.need.build() if self.need else Level(core=None, elements=len(elements))),
            self.wording,
            reach=Reach(self.where, turns, self.within_ms),
            which=self.which if isinstance(self.which, int) else Which(self.which),
            speaker=role_of(self.speaker),
            ahead_of=PhraseSet(ahead),
            min_confidence=self.min_confidence,
            unanswered=_UNANSWERED[self.unanswered],
            nudge_ms=self.nudge_ms,
            nudge=self.nudge or "",
        )
