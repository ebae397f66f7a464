"""``entity`` and ``echo``: a phone number, ID, amount or order number was said, or repeated back for confirmation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field
from rapidfuzz.distance import Levenshtein

from analyzer.rules.call import WHOLE_CALL, Call, Window, is_mostly_faint
from analyzer.rules.checks import Check, Watch
from analyzer.rules.faults import Place
from analyzer.rules.findings import Finding, Judgement, Wording
from analyzer.rules.phrases import PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, Enum, RuleSpec, Spec, Texts
from analyzer.rules.truth import Truth, every
from analyzer.rules.turn import Turn, absence, following, may_be_missed, turns_of
from analyzer.types import Role, Span

# --- what an entity looks like ----------------------------------------------------------------------------------------

_SPOKEN_DIGITS = str.maketrans("零〇一幺二三四五六七八九", "001123456789")
_DIGIT = "[0-9零〇一幺二三四五六七八九]"
_NUMERAL = "[0-9零〇一二两三四五六七八九十百千万亿点]"
_DATE_OR_MEASURE = f"(?!{_DIGIT}|年|月|日|号[^码]|元|块|点|分钟|小时|天|个|次|兆|米|公里|十|百|千|万|亿)"
_DIGITS_TO_ERROR = 5  # one digit of a phone number misheard on either side still counts as read back: two of eleven
_TAIL = 4  # digits after 尾号 that stand for the whole number


class Entity(StrEnum):
    NUMBER = "number"
    PHONE = "phone"
    ID_CARD = "id_card"
    ORDER_NUMBER = "order_number"
    AMOUNT = "amount"


def _patterns(min_digits: int) -> Mapping[Entity, re.Pattern[str]]:
    """Expressions without nested repetition: linear in the text."""
    return {
        Entity.NUMBER: re.compile(rf"(?<!{_DIGIT})[a-z]{{0,3}}{_DIGIT}{{{min_digits},}}{_DATE_OR_MEASURE}"),
        Entity.PHONE: re.compile(rf"(?<!{_DIGIT})([1一幺]{_DIGIT}{{10}}|[0零]{_DIGIT}{{9,11}})(?!{_DIGIT})"),
        Entity.ID_CARD: re.compile(rf"(?<!{_DIGIT}){_DIGIT}{{17}}(x|叉|{_DIGIT})(?!{_DIGIT})"),
        Entity.ORDER_NUMBER: re.compile(rf"(?:单号|订单|工单|编号)[^0-9]{{0,4}}?[a-z]{{0,3}}{_DIGIT}{{{min_digits},}}"),
        Entity.AMOUNT: re.compile(rf"{_NUMERAL}+(?:多|来)?(?:元|块|毛|角|人民币)"),
    }


@dataclass(frozen=True, slots=True)
class Detector:
    """Finds entities of one sort in text without hesitation and marks. ``min_digits`` holds for numbers."""

    entity: Entity
    min_digits: int = 4

    def values(self, text: str) -> list[str]:
        """Each entity as it can be compared: digits for numbers, the words for amounts.

        >>> Detector(Entity.NUMBER).values("我的号码是幺三八零零一三八零零零")
        ['13800138000']
        >>> Detector(Entity.AMOUNT).values("一共二十块")
        ['二十块']
        """
        found = _patterns(self.min_digits)[self.entity].finditer(text)
        return [match.group() if self.entity is Entity.AMOUNT else digits_of(match.group()) for match in found]


def digits_of(text: str) -> str:
    """The digits of ``text``, spoken ones too, and nothing else.

    >>> digits_of("尾号是幺二三四,对吗")
    '1234'
    """
    return "".join(c for c in text.translate(_SPOKEN_DIGITS) if c.isascii() and c.isdigit())


def _is_read_back(value: str, text: str) -> bool:
    """Whether ``text`` repeats the digits, in groups or not, or the last ones as 尾号.

    >>> _is_read_back("13900123456", "幺三九零零,幺二三四五七对吗")
    True
    >>> _is_read_back("13900123456", "幺三九零零,幺二三七八九对吗")
    False
    """
    heard = digits_of(text)
    if "尾号" in text and value[-_TAIL:] in heard:
        return True
    errors = len(value) // _DIGITS_TO_ERROR
    pieces = (heard[start : start + len(value)] for start in range(len(heard) - len(value) + 1))
    return any(Levenshtein.distance(value, piece) <= errors for piece in pieces)


# --- entity -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mention(Check):
    """The speaker says an entity. With ``about``: where those words are said (by anyone), in the same turn of talk of
    the speaker or one of the ``within_turns`` after it; once is enough, and without them nothing is owed."""

    detector: Detector
    wording: Wording
    speaker: Role = Role.AGENT
    window: Window = WHOLE_CALL
    min_confidence: float = 0.5
    about: PhraseSet = field(default_factory=lambda: PhraseSet(()))
    within_turns: int = 1

    @property
    def listens_for(self) -> tuple[()]:
        return ()  # everything is decided at the end

    def watch(self, call: Call) -> Watch:
        return _MentionWatch(self, call)


class _MentionWatch(Watch):
    def __init__(self, check: Mention, call: Call) -> None:
        self.check, self.call = check, call

    def hear(self, said: Said) -> None:
        return

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        owed = list(self._owed())
        if not owed:
            return Judgement(Truth.NOT_APPLICABLE)
        if any(self._says(said) for _, due in owed for turn in due for said in turn.said):
            return Judgement(Truth.MET)
        check, call = self.check, self.call
        if call.truncated or any(may_be_missed(call, span, check.speaker, check.min_confidence) for span, _ in owed):
            return Judgement(Truth.UNSURE)
        span, due = owed[0]
        return Judgement(Truth.VIOLATED, (absence(check.wording, span, due, check.speaker),))

    def _owed(self) -> Iterator[tuple[Span, list[Turn]]]:
        """Where it was due: per mention of the matter the stretch from it on, and the speaker's turns that count."""
        turns, check = turns_of(self.call), self.check
        if not check.about:
            own = [turn for turn in turns if turn.role is check.speaker and self._is_inside(turn)]
            if own:
                yield Span(own[0].span.start_ms, own[-1].span.end_ms), own
            return
        for index, turn in enumerate(turns):
            if self._is_inside(turn) and any(check.about.any(said) for said in turn.said):
                own = [turn] if turn.role is check.speaker else []
                due = [*own, *following(turns, index, check.speaker, check.within_turns)]
                if due:
                    yield Span(turn.span.start_ms, max(turn.span.end_ms, due[-1].span.end_ms)), due

    def _is_inside(self, turn: Turn) -> bool:
        return any(self.check.window.may_hold(said, self.call) for said in turn.said)

    def _says(self, said: Said) -> bool:
        return bool(self.check.detector.values(said.stripped)) and said.mean_confidence >= self.check.min_confidence


# --- echo -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Echo(Check):
    """What ``giver`` says of the entity, ``speaker`` repeats within ``within_turns`` turns of talk; with ``words``
    they say one of those instead (thanks).

    asked   the entity counts only where the other side asked for it with one of these in the turn before, or the giver
            names it so in the same turn; empty: always
    """

    detector: Detector
    wording: Wording
    speaker: Role = Role.AGENT
    giver: Role = Role.CUSTOMER
    window: Window = WHOLE_CALL
    min_confidence: float = 0.5
    within_turns: int = 2
    asked: PhraseSet = field(default_factory=lambda: PhraseSet(()))
    words: PhraseSet = field(default_factory=lambda: PhraseSet(()))

    @property
    def listens_for(self) -> tuple[()]:
        return ()  # everything is decided at the end

    def watch(self, call: Call) -> Watch:
        return _EchoWatch(self, call)


class _EchoWatch(Watch):
    def __init__(self, check: Echo, call: Call) -> None:
        self.check, self.call = check, call

    def hear(self, said: Said) -> None:
        return

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        turns = turns_of(self.call)
        truths: list[Truth] = []
        findings: list[Finding] = []
        for index, turn in enumerate(turns):
            for value in self._given(turns, index):
                due = following(turns, index, self.check.speaker, self.check.within_turns)
                truths.append(self._truth(value, turn, due))
                if truths[-1] is Truth.VIOLATED:
                    span = Span(turn.span.end_ms, max(turn.span.end_ms, due[-1].span.end_ms))
                    findings.append(absence(self.check.wording, span, due, self.check.speaker))
        return Judgement(every(truths), tuple(findings))

    def _given(self, turns: Sequence[Turn], index: int) -> list[str]:
        """Entities of a turn of the giver's that count."""
        check, turn = self.check, turns[index]
        if turn.role is not check.giver or not any(check.window.may_hold(said, self.call) for said in turn.said):
            return []
        if check.asked and not self._is_asked(turns, index):
            return []
        return check.detector.values(turn.text)

    def _is_asked(self, turns: Sequence[Turn], index: int) -> bool:
        before = [turn for turn in turns[:index] if turn.role is self.check.speaker][-1:]
        return any(self.check.asked.any(said) for turn in (*before, turns[index]) for said in turn.said)

    def _truth(self, value: str, given: Turn, due: Sequence[Turn]) -> Truth:
        if not due:
            return Truth.UNSURE if self.call.truncated else Truth.NOT_APPLICABLE
        if self._is_answered(value, due):
            return Truth.MET
        if is_mostly_faint(given.said, self.check.min_confidence):
            return Truth.UNSURE
        span = Span(given.span.start_ms, max(given.span.end_ms, due[-1].span.end_ms))
        missed = may_be_missed(self.call, span, self.check.speaker, self.check.min_confidence)
        is_cut = self.call.truncated and len(due) < self.check.within_turns
        return Truth.UNSURE if missed or is_cut else Truth.VIOLATED

    def _is_answered(self, value: str, due: Sequence[Turn]) -> bool:
        check = self.check
        if check.words:
            return any(check.words.any(said) for turn in due for said in turn.said)
        if check.detector.entity is Entity.AMOUNT:
            return any(value in turn.text for turn in due)
        return _is_read_back(value, "".join(turn.text for turn in due))


# --- rule files -------------------------------------------------------------------------------------------------------


class AboutSpec(Spec):
    any_of: Texts = []
    any_in: Texts = []

    def build(self, builder: Builder, place: Place) -> PhraseSet:
        return PhraseSet(builder.phrases(self.any_of, self.any_in, place))


class EntitySpec(RuleSpec):
    kind: Literal["entity"]
    speaker: Literal["agent", "customer"] = "agent"
    entity: Annotated[Entity, Enum]
    min_digits: int = Field(default=4, ge=2)
    about: AboutSpec = AboutSpec()
    within_turns: int = Field(default=1, ge=0)

    def build_check(self, builder: Builder) -> Mention:
        return Mention(
            Detector(self.entity, self.min_digits),
            self.wording,
            speaker=Role(self.speaker),
            window=self.window.build(),
            min_confidence=self.min_confidence,
            about=self.about.build(builder, ("about",)),
            within_turns=self.within_turns,
        )


class EchoSpec(RuleSpec):
    kind: Literal["echo"]
    speaker: Literal["agent", "customer"] = "agent"
    entity: Annotated[Entity, Enum]
    min_digits: int = Field(default=4, ge=2)
    asked: AboutSpec = AboutSpec()
    within_turns: int = Field(default=2, ge=1)
    any_of: Texts = []
    any_in: Texts = []

    def build_check(self, builder: Builder) -> Echo:
        speaker = Role(self.speaker)
        return Echo(
            Detector(self.entity, self.min_digits),
            self.wording,
            speaker=speaker,
            giver=Role.CUSTOMER if speaker is Role.AGENT else Role.AGENT,
            window=self.window.build(),
            min_confidence=self.min_confidence,
            within_turns=self.within_turns,
            asked=self.asked.build(builder, ("asked",)),
            words=PhraseSet(builder.phrases(self.any_of, self.any_in)),
        )
