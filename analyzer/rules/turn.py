"""``turn``: in or after a turn of talk of a given length the owed words are said, or no turn is that long.

A long story of the customer wants to be summed up, a long explanation to end in "is that clear", a monologue to hold a
question. A turn of talk (话轮) is one side's speech until the other says something that is not back-channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from analyzer.rules.call import Call, is_mostly_faint
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Finding, Judgement, Wording
from analyzer.rules.phrases import PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, Enum, RuleSpec, Spec, Texts
from analyzer.rules.truth import Truth, every
from analyzer.types import Role, Span


@dataclass(slots=True)
class Turn:
    """One side's speech until the other takes over, in order of start; other roles' speech belongs to no turn."""

    role: Role
    number: int
    said: list[Said] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What was said, folded, without hesitation and marks."""
        return "".join(said.stripped for said in self.said)

    @property
    def span(self) -> Span:
        return Span(self.said[0].span.start_ms, max(said.span.end_ms for said in self.said))


def turns_of(call: Call) -> list[Turn]:
    """Turns of talk in the order in which they begin, without what is only back-channel to the other side's turn."""
    turns: dict[tuple[Role, int], Turn] = {}
    latest: Turn | None = None
    for said in call.said:
        if said.turn_of_talk is None:
            continue
        key = said.role, said.turn_of_talk
        if key not in turns:
            latest = turns[key] = Turn(*key)
        elif said.back_channel and turns[key] is not latest:
            continue  # or a "yes" after the other's long answer would make one long turn of both
        turns[key].said.append(said)
    return list(turns.values())


def following(turns: Sequence[Turn], index: int, speaker: Role, count: int) -> list[Turn]:
    """The next ``count`` turns of ``speaker`` after the one at ``index``."""
    return [turn for turn in turns[index + 1 :] if turn.role is speaker][:count]


def may_be_missed(call: Call, span: Span, speaker: Role, min_confidence: float) -> bool:
    """Whether ``speaker`` may have said more in ``span`` than was surely heard."""
    inside = [said for said in call.said if said.span.overlap_ms(span)]
    own = [said for said in inside if said.role is speaker]
    return any(said.role is Role.UNKNOWN for said in inside) or is_mostly_faint(own, min_confidence)


def absence(wording: Wording, span: Span, due: Sequence[Turn], speaker: Role) -> Finding:
    """Something missing, at the first turn in which it was due."""
    finding = wording.of_absence(span, speaker, {})
    return replace(finding, turn=due[0].said[0].stretches[0].utterance) if due else finding


class Which(StrEnum):
    EACH = "each"
    ANY = "any"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Length:
    """How long a turn is: characters without hesitation and marks, and ms from its start to its end."""

    min_characters: int = 0
    max_characters: int | None = None
    min_ms: int = 0

    def fits(self, turn: Turn) -> bool:
        count = len(turn.text)
        if count < max(1, self.min_characters) or turn.span.duration_ms < self.min_ms:
            return False
        return self.max_characters is None or count <= self.max_characters


@dataclass(frozen=True, slots=True)
class LongTurn(Check):
    """Where a turn of ``of`` fits ``length``, ``speaker`` says one of ``owed`` in it, during it or within
    ``within_turns`` turns of theirs after it. Without ``owed`` such a turn is itself the breach.

    which      the turns that count: each; any (once is enough); the first or the last that fits
    holding    only turns that hold one of these count; empty: all
    """

    of: Role
    length: Length
    owed: PhraseSet
    wording: Wording
    speaker: Role = Role.AGENT
    min_confidence: float = 0.5
    which: Which = Which.EACH
    within_turns: int = 0
    holding: PhraseSet = field(default_factory=lambda: PhraseSet(()))

    @property
    def listens_for(self) -> tuple[()]:
        return ()  # everything is decided at the end

    def watch(self, call: Call) -> Watch:
        return _LongTurnWatch(self, call)


class _LongTurnWatch(Watch):
    def __init__(self, check: LongTurn, call: Call) -> None:
        self.check, self.call = check, call

    def hear(self, said: Said) -> None:
        return

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        turns = turns_of(self.call)
        chosen = self._chosen(turns)
        if not chosen:
            return Judgement(self._truth_without(turns))
        truths = [self._truth(turns, index) for index in chosen]
        if self.check.which is Which.ANY and Truth.MET in truths:
            return Judgement(Truth.MET)
        broken = [index for index, truth in zip(chosen, truths, strict=True) if truth is Truth.VIOLATED]
        return Judgement(every(truths), tuple(self._finding(turns, index) for index in broken))

    def _chosen(self, turns: Sequence[Turn]) -> list[int]:
        check = self.check
        fitting = [
            index
            for index, turn in enumerate(turns)
            if turn.role is check.of and check.length.fits(turn) and self._holds(turn)
        ]
        match check.which:
            case Which.FIRST:
                return fitting[:1]
            case Which.LAST:
                return fitting[-1:]
        return fitting

    def _holds(self, turn: Turn) -> bool:
        return not self.check.holding or any(self.check.holding.any(said) for said in turn.said)

    def _truth_without(self, turns: Sequence[Turn]) -> Truth:
        """No turn fits: nothing is owed, and a limit is kept."""
        if self.check.owed or not any(turn.role is self.check.of for turn in turns):
            return Truth.NOT_APPLICABLE
        return Truth.UNSURE if self.call.truncated else Truth.MET

    def _truth(self, turns: Sequence[Turn], index: int) -> Truth:
        check, call = self.check, self.call
        if not check.owed:
            return Truth.UNSURE if is_mostly_faint(turns[index].said, check.min_confidence) else Truth.VIOLATED
        due, own = self._due(turns, index), turns[index].role is check.speaker
        if any(check.owed.any(said) for said in self._during(turns, index)):
            return Truth.MET
        if not due and not own and check.within_turns:
            return Truth.UNSURE if call.truncated else Truth.NOT_APPLICABLE
        span = self._window(turns, index)
        missed = may_be_missed(call, span, check.speaker, check.min_confidence)
        return Truth.UNSURE if missed or (call.truncated and len(due) < check.within_turns) else Truth.VIOLATED

    def _due(self, turns: Sequence[Turn], index: int) -> list[Turn]:
        return following(turns, index, self.check.speaker, self.check.within_turns)

    def _during(self, turns: Sequence[Turn], index: int) -> list[Said]:
        """What the speaker says in the turn, while it lasts (back-channel), and in the turns after it."""
        inside = [
            said
            for said in self.call.said
            if said.role is self.check.speaker and said.span.overlap_ms(turns[index].span)
        ]
        return [*inside, *(said for turn in self._due(turns, index) for said in turn.said)]

    def _window(self, turns: Sequence[Turn], index: int) -> Span:
        span = turns[index].span
        return Span(span.start_ms, max([span.end_ms, *(turn.span.end_ms for turn in self._due(turns, index))]))

    def _finding(self, turns: Sequence[Turn], index: int) -> Finding:
        due = self._due(turns, index)
        own = [turns[index]] if turns[index].role is self.check.speaker else []
        return absence(self.check.wording, self._window(turns, index), [*due, *own], self.check.speaker)


class HoldingSpec(Spec):
    any_of: Texts = []
    any_in: Texts = []


class TurnSpec(RuleSpec):
    kind: Literal["turn"]
    speaker: Literal["agent", "customer"] = "agent"
    of: Literal["agent", "customer"]
    min_characters: int = Field(default=0, ge=0)
    max_characters: int | None = Field(default=None, ge=1)
    min_ms: int = Field(default=0, ge=0)
    which: Annotated[Which, Enum] = Which.EACH
    within_turns: int = Field(default=0, ge=0)
    holding: HoldingSpec = HoldingSpec()
    any_of: Texts = []
    any_in: Texts = []

    @model_validator(mode="after")
    def _some_length(self) -> TurnSpec:
        if not (self.min_characters or self.max_characters or self.min_ms or self.model_fields_set & {"holding"}):
            raise ValueError("'turn' needs min_characters, max_characters, min_ms or holding")
        return self

    def build_check(self, builder: Builder) -> LongTurn:
        return LongTurn(
            Role(self.of),
            Length(self.min_characters, self.max_characters, self.min_ms),
            PhraseSet(builder.phrases(self.any_of, self.any_in)),
            self.wording,
            speaker=Role(self.speaker),
            min_confidence=self.min_confidence,
            which=self.which,
            within_turns=self.within_turns,
            holding=PhraseSet(builder.phrases(self.holding.any_of, self.holding.any_in, ("holding",))),
        )
