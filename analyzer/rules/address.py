"""``address``: how the customer is addressed (称呼): surname with title often enough, and always the right one.

The customer's surname is known from the call attribute ``customer_surname``, or once the customer or the agent says it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from analyzer.normalize import fold, sound
from analyzer.rules.call import WHOLE_CALL, Call, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Judgement, Wording
from analyzer.rules.patterns import Pattern
from analyzer.rules.phrases import Hit, PhraseSet, keep_longest
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, RuleSpec, Texts
from analyzer.rules.truth import Truth
from analyzer.types import Role

_LEADS = re.compile("[姓叫是我]")  # what may stand before a name in a phrase that gives it (我姓王, 我叫王伟)
_SEXES = {
    "male": ("先生", "大哥", "大叔", "大爷", "叔叔", "伯伯", "伯父", "爷爷", "哥"),
    "female": ("女士", "小姐", "太太", "夫人", "大姐", "大婶", "大妈", "阿姨", "伯母", "奶奶", "姐"),
}


@dataclass(frozen=True, slots=True)
class Names:
    """Phrases that tell about names.

    surname    the slot of surnames
    used       surname and title in the agent's mouth (王先生)
    given      the customer says who they are (我姓王)
    answers    a bare name, as the answer to ``requests``
    requests   the agent asks for the name (您贵姓)
    declined   the customer would rather not say it
    """

    surname: Pattern
    used: PhraseSet
    given: PhraseSet
    answers: PhraseSet
    requests: PhraseSet
    declined: PhraseSet

    def surname_in(self, text: str) -> str | None:
        """The surname that folded ``text`` starts with."""
        found = self.surname.search(text)
        return text[: found[1]] if found and found[0] == 0 else None

    def surname_given(self, said: Said, asked: bool) -> str | None:
        """The surname the customer gives in an utterance, which may be the answer to a request for it."""
        hits = [*self.given.find(said), *(self.answers.find(said) if asked else ())]
        names = (self.surname_in(_LEADS.split(said.text[hit.start : hit.end])[-1]) for hit in hits)
        return next((name for name in names if name), None)

    def is_of(self, hit: Hit, surname: str) -> bool:
        """Whether surname and title are of this surname, misheard or not; a word before it may belong to the hit."""
        text = hit.said.text[hit.start : hit.end]
        return any(sound(text[i : i + len(surname)]) == sound(surname) for i in range(min(3, len(text))))


@dataclass(frozen=True, slots=True)
class _Known:
    """A surname and the place in the call from which on it is known (-1: before the first word)."""

    surname: str
    index: int


class _AddressWatch(Watch):
    """What both rules about addressing need to know of the call. Everything is decided at the end."""

    def __init__(self, names: Names, call: Call) -> None:
        self.names, self.call = names, call

    def hear(self, said: Said) -> None:
        return

    def known(self) -> _Known | None:
        names = self.names
        told = self.call.metadata.get("customer_surname")
        if told:
            folded = fold(str(told)).text
            return _Known(names.surname_in(folded) or folded, -1)
        asked = False
        for index, said in enumerate(self.call.said):
            if said.role is Role.CUSTOMER and (surname := names.surname_given(said, asked)):
                return _Known(surname, index)
            if said.role is Role.AGENT:
                if used := names.used.find(said):
                    text = said.text[used[0].start : used[0].end]
                    return _Known(names.surname_in(text) or text[:1], index - 1)
                asked = names.requests.any(said)
        return None

    def uses(self, known: _Known) -> list[Hit]:
        """Surname and title of this customer, said by the agent (or by who may be the agent) since it is known."""
        later = [said for said in self.call.said[known.index + 1 :] if may_be_by(said, Role.AGENT)]
        hits = [hit for said in later for hit in keep_longest(self.names.used.find(said))]
        return [hit for hit in hits if self.names.is_of(hit, known.surname)]

    def turns_since(self, known: _Known) -> int:
        """Turns of talk of the agent since the name is known."""
        later = self.call.said[known.index + 1 :]
        return len({said.turn_of_talk for said in later if said.role is Role.AGENT})


# --- often enough -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Address(Check):
    """Surname with title at least ``low`` times since it is known; from ``unsure_from`` on, too few is only unsure. Not
    applicable with fewer than ``min_turns`` turns of the agent since. Asking again after the customer declined to say
    their name violates, whatever the count."""

    names: Names
    wording: Wording
    pressing: str
    min_confidence: float = 0.5
    low: int = 2
    unsure_from: int | None = 1
    min_turns: int = 3

    @property
    def listens_for(self) -> tuple[()]:
        return ()  # everything is decided at the end

    def watch(self, call: Call) -> Watch:
        return _UseWatch(self, call)


class _UseWatch(_AddressWatch):
    def __init__(self, check: Address, call: Call) -> None:
        super().__init__(check.names, call)
        self.check = check

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check = self.check
        pressed = self._pressed()
        if pressed:
            wording = Wording(check.wording.rule, check.wording.severity, check.pressing, check.wording.suggestion)
            return Judgement(Truth.VIOLATED, tuple(map(wording.of_hit, pressed)))
        known = self.known()
        if known is None or self.turns_since(known) < check.min_turns:
            is_open = self.call.truncated and known is not None
            return Judgement(Truth.UNSURE if is_open else Truth.NOT_APPLICABLE)
        uses = self.uses(known)
        sure = [u for u in uses if u.confidence >= check.min_confidence and u.said.role is Role.AGENT]
        measured = {"value": len(sure), "unit": "次", "low": check.low, "high": None}
        truth = self._truth(len(sure), len(uses))
        if truth is not Truth.VIOLATED:
            return Judgement(truth, measured=measured)
        names = {"value": len(sure), "count": len(sure), "low": check.low}
        window = WHOLE_CALL.span(Role.AGENT, self.call)
        return Judgement(truth, (check.wording.of_absence(window, Role.AGENT, names),), measured=measured)

    def _truth(self, count: int, possible: int) -> Truth:
        check, call = self.check, self.call
        if count >= check.low:
            return Truth.MET
        enough = check.low if check.unsure_from is None else check.unsure_from
        if possible >= enough or call.truncated or call.is_doubtful(Role.AGENT, WHOLE_CALL, check.min_confidence):
            return Truth.UNSURE
        return Truth.VIOLATED

    def _pressed(self) -> list[Hit]:
        """Requests for the name after the customer declined to say it."""
        asked = declined = False
        pressed: list[Hit] = []
        for said in self.call.said:
            if said.role is Role.AGENT:
                hits = self.names.requests.find(said)
                pressed += self._sure(keep_longest(hits)) if declined else []
                asked = bool(hits) or (asked and said.back_channel)
            elif said.role is Role.CUSTOMER and asked:
                declined = declined or self.names.declined.any(said)
        return pressed

    def _sure(self, hits: Sequence[Hit]) -> list[Hit]:
        return [hit for hit in hits if hit.confidence >= self.check.min_confidence]


# --- the right one ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AddressAccuracy(Check):
    """Called by name (王先生，…), the customer is called by the surname that is known and by titles of one sex.

    called   surname and title as a vocative
    """

    names: Names
    called: PhraseSet
    wording: Wording
    min_confidence: float = 0.5

    @property
    def listens_for(self) -> tuple[()]:
        return ()  # everything is decided at the end

    def watch(self, call: Call) -> Watch:
        return _AccuracyWatch(self, call)


class _AccuracyWatch(_AddressWatch):
    def __init__(self, check: AddressAccuracy, call: Call) -> None:
        super().__init__(check.names, call)
        self.check = check

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check, known = self.check, self.known()
        own = [said for said in self.call.said if may_be_by(said, Role.AGENT)]
        called = [hit for said in own for hit in keep_longest(check.called.find(said))]
        if known is None or not called:
            return Judgement(Truth.NOT_APPLICABLE)
        first_sex = next(filter(None, map(_sex, called)), None)
        wrong = [
            hit for hit in called if not self.names.is_of(hit, known.surname) or (_sex(hit) or first_sex) != first_sex
        ]
        sure = [h for h in wrong if h.confidence >= check.min_confidence and h.said.role is Role.AGENT]
        if sure:
            return Judgement(Truth.VIOLATED, tuple(map(check.wording.of_hit, sure)))
        return Judgement(Truth.UNSURE if wrong or self.call.truncated else Truth.MET)


def _sex(hit: Hit) -> str | None:
    """What the title tells, if it tells."""
    text = hit.said.text[hit.start : hit.end]
    ends = {sex: max((text.rfind(title) for title in titles), default=-1) for sex, titles in _SEXES.items()}
    sex = max(ends, key=ends.__getitem__)
    return sex if ends[sex] >= 0 else None


class AddressSpec(RuleSpec):
    kind: Literal["address"]
    speaker: Literal["agent"] = "agent"
    demands: Literal["use", "accuracy"] = "use"
    used_in: Texts
    called_in: Texts = []
    given_in: Texts
    answers_in: Texts = []
    requests_in: Texts
    declined_in: Texts = []
    pressing: str = ""
    min: int = Field(default=2, ge=1)
    unsure_from: int | None = Field(default=1, ge=0)
    min_turns: int = Field(default=3, ge=1)

    def build_check(self, builder: Builder) -> Check:
        names = Names(
            surname=builder.patterns(["{姓氏}"], ())[0],
            used=self._listed(builder, "used_in"),
            given=self._listed(builder, "given_in"),
            answers=self._listed(builder, "answers_in"),
            requests=self._listed(builder, "requests_in"),
            declined=self._listed(builder, "declined_in"),
        )
        if self.demands == "accuracy":
            called = self._listed(builder, "called_in")
            return AddressAccuracy(names, called, self.wording, self.min_confidence)
        return Address(
            names,
            self.wording,
            pressing=self.pressing or self.message,
            min_confidence=self.min_confidence,
            low=self.min,
            unsure_from=self.unsure_from,
            min_turns=self.min_turns,
        )

    def _listed(self, builder: Builder, key: str) -> PhraseSet:
        return PhraseSet(phrase for words in builder.lists(getattr(self, key), (key,)) for phrase in words.phrases)
