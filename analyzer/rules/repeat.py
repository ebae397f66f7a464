"""``repeat``: not the same over and over: near-identical utterances, or pet phrases (口头禅) in most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, model_validator
from rapidfuzz import fuzz

from analyzer.rules.call import WHOLE_CALL, Call, Window, is_by, is_mostly_faint, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Finding, Judgement, Wording
from analyzer.rules.phrases import PhraseSet, keep_longest
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, RuleSpec, Texts, role_of
from analyzer.rules.truth import Truth
from analyzer.types import Match, Role


@dataclass(frozen=True, slots=True)
class Repeat(Check):
    """Shared by both forms: which utterances are looked at. Back-channel and shorter ones are left out.

    min_characters   of an utterance, without hesitation and marks
    """

    wording: Wording
    speaker: Role | None = Role.AGENT
    window: Window = WHOLE_CALL
    min_confidence: float = 0.5
    min_characters: int = 6

    @property
    def listens_for(self) -> tuple[()]:
        return ()  # everything is decided at the end

    def utterances(self, call: Call) -> list[Said]:
        return [
            said
            for said in call.said
            if may_be_by(said, self.speaker)
            and not said.back_channel
            and len(said.stripped) >= self.min_characters
            and self.window.may_hold(said, call)
        ]

    def is_sure(self, said: Said) -> bool:
        return said.mean_confidence >= self.min_confidence and is_by(said, self.speaker)


class _RepeatWatch(Watch):
    """Everything is decided at the end, from the utterances the call keeps."""

    def hear(self, said: Said) -> None:
        return


# --- the same utterance again -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SameAgain(Repeat):
    """No utterance is said more than ``most`` times. Two are the same from a similarity of ``similarity`` on (0 to 100,
    Levenshtein ratio of their folded text)."""

    most: int = 1
    similarity: float = 90

    def watch(self, call: Call) -> Watch:
        return _SameAgainWatch(self, call)

    def groups(self, utterances: Sequence[Said]) -> list[list[Said]]:
        """Utterances by the first one they resemble."""
        groups: list[list[Said]] = []
        for said in utterances:
            like = (g for g in groups if fuzz.ratio(g[0].stripped, said.stripped) >= self.similarity)
            group = next(like, None)
            if group is None:
                groups.append([said])
            else:
                group.append(said)
        return groups


class _SameAgainWatch(_RepeatWatch):
    def __init__(self, check: SameAgain, call: Call) -> None:
        self.check, self.call = check, call

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check, call = self.check, self.call
        heard = check.utterances(call)
        if not heard:
            return Judgement(Truth.NOT_APPLICABLE)
        groups = check.groups([said for said in heard if check.is_sure(said)])
        most = max(map(len, groups), default=0)
        measured = {"value": most, "unit": "次", "low": None, "high": check.most}
        if most > check.most:
            findings = [self._finding(group[0], said) for group in groups for said in group[check.most :]]
            return Judgement(
                Truth.VIOLATED, tuple(sorted(findings, key=lambda finding: finding.span)), measured=measured
            )
        possible = max(map(len, check.groups(heard)))
        is_open = possible > check.most or call.truncated or is_mostly_faint(heard, check.min_confidence)
        return Judgement(Truth.UNSURE if is_open else Truth.MET, measured=measured)

    def _finding(self, first: Said, said: Said) -> Finding:
        wording, end = self.check.wording, len(said.text)
        return Finding(
            rule=wording.rule,
            severity=wording.severity,
            span=said.span,
            match=Match.EXACT if said.text == first.text else Match.VARIANT,
            message=wording.say(quote=said.quote(0, end), high=self.check.most),
            role=said.role,
            places=said.places(0, end),
            quote=said.quote(0, end),
            confidence=round(said.confidence(0, end), 4),
            suggestion=wording.suggestion,
        )


# --- pet phrases ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PetPhrases(Repeat):
    """The share of utterances that hold one of the phrases is at most ``most_share``. With fewer than
    ``min_utterances`` utterances there is nothing to judge."""

    phrases: PhraseSet = field(default_factory=lambda: PhraseSet(()))
    most_share: float = 0.5
    min_utterances: int = 3

    def watch(self, call: Call) -> Watch:
        return _PetPhrasesWatch(self, call)


class _PetPhrasesWatch(_RepeatWatch):
    def __init__(self, check: PetPhrases, call: Call) -> None:
        self.check, self.call = check, call

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check, call = self.check, self.call
        heard = check.utterances(call)
        if len(heard) < check.min_utterances:
            return Judgement(Truth.UNSURE if call.truncated and heard else Truth.NOT_APPLICABLE)
        sure = [said for said in heard if check.is_sure(said)]
        if len(sure) < check.min_utterances:
            return Judgement(Truth.UNSURE)
        share = self._share(sure)
        measured = {"value": share, "unit": "", "low": None, "high": check.most_share}
        is_over, may_be_over = share > check.most_share, self._share(heard) > check.most_share
        if is_over is not may_be_over or (call.truncated and not is_over):
            return Judgement(Truth.UNSURE, measured=measured)
        if not is_over:
            return Judgement(Truth.MET, measured=measured)
        names = {"value": share, "high": check.most_share}
        hits = (hit for said in sure for hit in keep_longest(check.phrases.find(said)))
        return Judgement(Truth.VIOLATED, tuple(check.wording.of_hit(hit, **names) for hit in hits), measured=measured)

    def _share(self, utterances: Sequence[Said]) -> float:
        return round(sum(self.check.phrases.any(said) for said in utterances) / len(utterances), 2)


class RepeatSpec(RuleSpec):
    kind: Literal["repeat"]
    max: int | None = Field(default=None, ge=1)
    similarity: float = Field(default=90, ge=0, le=100)
    any_of: Texts = []
    any_in: Texts = []
    allow: Texts = []
    max_share: float | None = Field(default=None, ge=0, le=1)
    min_utterances: int = Field(default=3, ge=1)
    min_characters: int = Field(default=6, ge=1)

    @model_validator(mode="after")
    def _one_form(self) -> RepeatSpec:
        if (self.max is None) == (self.max_share is None):
            raise ValueError("'repeat' needs either max, or max_share with any_of or any_in")
        if (self.max_share is None) == bool(self.any_of or self.any_in):
            raise ValueError("any_of and any_in belong to max_share")
        return self

    def build_check(self, builder: Builder) -> Repeat:
        if self.max is not None:
            return SameAgain(
                self.wording,
                speaker=role_of(self.speaker),
                window=self.window.build(),
                min_confidence=self.min_confidence,
                min_characters=self.min_characters,
                most=self.max,
                similarity=self.similarity,
            )
        return PetPhrases(
            self.wording,
            speaker=role_of(self.speaker),
            window=self.window.build(),
            min_confidence=self.min_confidence,
            min_characters=self.min_characters,
            phrases=PhraseSet(builder.phrases(self.any_of, self.any_in), builder.patterns(self.allow, ("allow",))),
            most_share=self.max_share or 0.0,
            min_utterances=self.min_utterances,
        )
