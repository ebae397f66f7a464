"""``hold``: putting the customer on hold (让客户等待): asked for before, apologised for after, not too long.

Theory of operation. An agent announces a wait by asking for it (请您稍等), by ordering it (等一下) or by saying what
they will look up (我帮您查一下). The wait starts where the announcement, and the customer's direct answer to it, end;
it ends with the agent's next words, unless these only ask for more patience (还在查，请您再稍等). What the customer
says into a wait does not end it and is not counted as waiting; while the customer looks something up, nobody waits but
the agent. An announcement that nothing follows but talk was no hold. Music of the telephone system between two
utterances of the agent is a wait that nobody announced; so is one for which the agent apologises on return. One machine
follows this for every aspect that rules judge:

             announces           quiet for long enough          speaks again
      ─────► ANNOUNCED ─────────────────► WAITING ────────────────────► over, judged
              │    ▲ asks, gives data         │ ▲ asks for more patience
              │    └─┘                        └─┘
              └── talks on: no hold
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from analyzer.labels import ELEMENTS
from analyzer.rules.call import Call, is_mostly_faint
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import (
    Element,
    Finding,
    Item,
    ItemState,
    Judgement,
    Occasion,
    Owed,
    Running,
    Wording,
)
from analyzer.rules.phrases import Hit, PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spans import joined, seconds
from analyzer.rules.spec import Builder, Enum, RuleSpec, Spec, Texts
from analyzer.rules.truth import Truth
from analyzer.types import Role, Span

_ANSWER_MS = 3000  # the customer's answer to the announcement starts within
_POSTPONED_MS = 15_000  # an announced wait may start so long after, when the agent asks for something first
_REASON_MS = 15_000  # the reason may have been given so long before the announcement
_APOLOGY_MS = 5000  # a return that starts with 喂，您好 has this long for the apology
_UNHEARD_MS = 1000  # agent's voice without words inside a wait: they may have been back
LONGEST_REST = 20  # characters of an utterance after the announcement: 您上个月那笔订单的退款情况
_SHORT = 6  # syllables: 好的，谢谢您 says nothing new
_NO_RETURN_MS = 7000  # a call that ends in a wait: shorter ones are just its end
_QUESTION_MARKS = ("?", "？")


class Aspect(StrEnum):
    """What a rule judges of every hold."""

    CONSENT = "consent"
    RETURN = "return"
    DURATION = "duration"
    CALLBACK = "callback"


class Manner(StrEnum):
    """How a wait was announced."""

    ASKED = "asked"
    ORDERED = "ordered"
    LOOKUP = "lookup"  # only what will be looked up was said
    NOT = "not"  # known from the system's music, or from the agent's return


_MANNERLY = (Manner.ASKED, Manner.ORDERED)  # judged by their words, even if no wait followed


@dataclass(frozen=True, slots=True)
class HoldWords:
    """Agent's words unless said otherwise."""

    ask: PhraseSet
    order: PhraseSet
    lookup: PhraseSet  # what they will look up or do
    reason: PhraseSet
    question: PhraseSet
    assent: PhraseSet  # customer's
    refusal: PhraseSet  # customer's
    back: PhraseSet
    patience: PhraseSet
    callback: PhraseSet
    asked: PhraseSet  # questions and requests to the customer, for which a wait can be put off
    busy: PhraseSet  # customer's: looking something up
    music: PhraseSet  # the system's

    def announcement(self, said: Said) -> tuple[Manner, Hit] | None:
        for manner, phrases in ((Manner.ORDERED, self.order), (Manner.ASKED, self.ask), (Manner.LOOKUP, self.lookup)):
            hits = phrases.find(said)
            if hits and (manner is Manner.ORDERED or not self._talks_on(said)):
                return manner, hits[0]
        return None

    def _talks_on(self, said: Said) -> bool:
        """Whether what was announced is over in the same utterance: 请稍等，…查到了，您的余额是…"""
        about = (self.ask, self.lookup, self.reason, self.question, self.asked)
        reached = max(hit.end for phrases in about for hit in phrases.find(said))
        return len(said.text) - reached > LONGEST_REST

    def asks(self, said: Said) -> bool:
        return said.raw.rstrip().endswith(_QUESTION_MARKS) or self.asked.any(said)

    def hands_over(self, said: Said) -> bool:
        """Whether the customer has something to say or do before the wait can start; to agree is not counted."""
        questions = self.question.find(said)
        if any(not any(hit.overlaps(other) for other in questions) for hit in self.asked.find(said)):
            return True
        return not questions and said.raw.rstrip().endswith(_QUESTION_MARKS)


@dataclass(slots=True)
class Hold:
    """One hold as far as it is known.

    own        agent's utterances from the announcement to the wait, the announcing one first
    before     what the agent said right before
    replies    the customer's utterances since the announcement
    since_ms   start of the wait, once there is one
    until_ms   its end
    back       the agent's return; ``after`` what they say right after it
    """

    words: HoldWords
    manner: Manner
    hit: Hit | None
    own: list[Said]
    before: list[Said] = field(default_factory=list)
    replies: list[Said] = field(default_factory=list)
    patience: list[Said] = field(default_factory=list)
    since_ms: int | None = None
    until_ms: int | None = None
    back: Said | None = None
    after: list[Said] = field(default_factory=list)
    is_doubtful: bool = False

    @property
    def own_end_ms(self) -> int:
        return max(said.span.end_ms for said in self.own)

    @property
    def start_ms(self) -> int:
        """Where the wait starts, if it does: after the announcement and the customer's direct answer."""
        return self._start()[0]

    def _start(self) -> tuple[int, bool]:
        """The same, and whether it is the customer who keeps the agent waiting: asked, or looking something up."""
        if self.since_ms is not None:
            return self.since_ms, False
        start, is_theirs = self.own_end_ms, self.words.hands_over(self.own[-1])
        for reply in self.replies:
            if reply.span.start_ms - start > _ANSWER_MS and not is_theirs:
                break
            start = max(start, reply.span.end_ms)
            is_theirs = self.words.busy.any(reply)
        return start, is_theirs

    def waited_ms(self, until_ms: int) -> int:
        """Time the customer has waited, their own speech not counted."""
        start, is_theirs = self._start()
        wait = Span(start, max(start, until_ms))
        spoken = sum(span.overlap_ms(wait) for span in joined(reply.span for reply in self.replies))
        return 0 if is_theirs else wait.duration_ms - spoken

    @property
    def waited(self) -> int:
        return 0 if self.until_ms is None else self.waited_ms(self.until_ms)

    @property
    def span(self) -> Span:
        return Span(self.start_ms, max(self.start_ms, self.until_ms or 0))

    @property
    def answers(self) -> list[Said]:
        """What the customer said to the announcement."""
        return [reply for reply in self.replies if reply.span.start_ms <= self.own_end_ms + _ANSWER_MS]


class Holds:
    """Follows one call and cuts it into holds."""

    def __init__(self, words: HoldWords, min_wait_ms: int, min_lookup_ms: int) -> None:
        self.words = words
        self.min_wait_ms, self.min_lookup_ms = min_wait_ms, min_lookup_ms
        self.over: list[Hold] = []
        self.current: Hold | None = None
        self.recent: list[Said] = []  # agent's
        self.replies: list[Said] = []  # the customer's since the agent's last words
        self.has_unknown_announcement = False

    def hear(self, said: Said) -> None:
        match said.role:
            case Role.AGENT:
                self._hear_agent(said)
            case Role.CUSTOMER:
                self.replies.append(said)
                if self.current:
                    self.current.replies.append(said)
            case Role.SYSTEM:
                self._hear_system(said)
            case Role.UNKNOWN:
                if self.current:
                    self.current.is_doubtful = True
                elif self.words.announcement(said):
                    self.has_unknown_announcement = True

    def needed_ms(self, hold: Hold) -> int:
        return self.min_lookup_ms if hold.manner is Manner.LOOKUP else self.min_wait_ms

    def is_waiting(self, hold: Hold, until_ms: int) -> bool:
        return hold.since_ms is not None or hold.waited_ms(until_ms) >= self.needed_ms(hold)

    def last(self, end_ms: int) -> Hold | None:
        """The hold in which the call ended."""
        hold = self.current
        if hold is None or not self.is_waiting(hold, end_ms) or hold.waited_ms(end_ms) < _NO_RETURN_MS:
            return hold if hold and hold.manner in _MANNERLY else None
        return replace(hold, since_ms=hold.start_ms, until_ms=end_ms)

    # --- who speaks ---

    def _hear_system(self, said: Said) -> None:
        is_music = not said.text or self.words.music.any(said)  # sounds without words stand in brackets: （音乐）
        if self.current is None and self.recent and is_music:
            self.current = Hold(self.words, Manner.NOT, None, [self.recent[-1]], self.recent[:-1], list(self.replies))

    def _hear_agent(self, said: Said) -> None:
        if self.over and (done := self.over[-1]).back and said.span.start_ms <= done.back.span.start_ms + _APOLOGY_MS:
            done.after.append(said)
        announced = self.words.announcement(said)
        if said.back_channel and not announced:
            self.recent = [*self.recent[-3:], said]
            return
        if not (self.current and self._goes_on(self.current, said, announced)):
            self._infer(said)
            if announced:
                manner, hit = announced
                self.current = Hold(self.words, manner, hit, [said], self._just_before(said))
        self.recent = [*self.recent[-3:], said]
        self.replies = []

    def _just_before(self, said: Said) -> list[Said]:
        return [one for one in self.recent if one.span.end_ms >= said.span.start_ms - _REASON_MS]

    def _goes_on(self, hold: Hold, said: Said, announced: tuple[Manner, Hit] | None) -> bool:
        """Whether the agent's words belong to the hold that is announced or going on; else it is over, or was none."""
        start = said.span.start_ms
        if self.is_waiting(hold, start):
            if self._asks_for_patience(said, announced) or self._adds_to_patience(hold, said):
                hold.since_ms = hold.start_ms
                hold.patience.append(said)
                return True
            hold.since_ms, hold.until_ms, hold.back, hold.after = hold.start_ms, start, said, [said]
            self.over.append(hold)
            self.current = None
            return False
        if start - hold.own_end_ms <= _POSTPONED_MS and (announced or self._says_nothing_new(said)):
            if announced and hold.manner is Manner.LOOKUP:
                hold.manner, hold.hit = announced
            hold.own.append(said)
            return True
        if hold.manner in _MANNERLY:
            self.over.append(hold)
        self.current = None
        return False

    def _asks_for_patience(self, said: Said, announced: tuple[Manner, Hit] | None) -> bool:
        if self.words.back.any(said):
            return False
        return self.words.patience.any(said) or (announced is not None and announced[0] is not Manner.LOOKUP)

    def _adds_to_patience(self, hold: Hold, said: Said) -> bool:
        """A word or two right after the agent asked for patience (谢谢您)."""
        last = hold.patience[-1].span.end_ms if hold.patience else None
        is_near = last is not None and said.span.start_ms - last < self.min_wait_ms
        return is_near and sum(said.syllables) <= _SHORT and not self.words.back.any(said)

    def _says_nothing_new(self, said: Said) -> bool:
        return sum(said.syllables) <= _SHORT or self.words.asks(said) or self.words.question.any(said)

    def _infer(self, said: Said) -> None:
        """A return that thanks for the wait tells of a hold whose announcement was not understood, as long as the agent
        had the last word before it."""
        if self.current or not self.recent or not self.words.back.any(said):
            return
        if self.over and self.over[-1].back is said:
            return
        answers = self.words.assent
        if any(not (reply.back_channel or answers.any(reply)) for reply in self.replies):
            return
        hold = Hold(
            self.words, Manner.NOT, None, [self.recent[-1]], self.recent[:-1], list(self.replies), is_doubtful=True
        )
        if hold.waited_ms(said.span.start_ms) >= self.min_lookup_ms:
            hold.since_ms, hold.until_ms, hold.back, hold.after = hold.start_ms, said.span.start_ms, said, [said]
            self.over.append(hold)


# --- judging ----------------------------------------------------------------------------------------------------------

_CONSENT = ("reason", "question", "assent")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one aspect says of one hold."""

    truth: Truth
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldCheck(Check):
    """``needs`` of consent: reason, question, assent. ``limit_ms``: the wait from which the aspect's norm applies, or,
    for duration, the longest allowed. ``nudges``: reminders by time waited."""

    aspect: Aspect
    wording: Wording
    words: HoldWords
    wanted: tuple[str, ...] = _CONSENT
    limit_ms: int = 0
    min_wait_ms: int = 3000
    min_lookup_ms: int = 7000
    nudges: tuple[tuple[int, str], ...] = ()
    min_confidence: float = 0.5

    @property
    def reminds(self) -> bool:
        return bool(self.nudges)

    def watch(self, call: Call) -> Watch:
        return _HoldWatch(self, call)

    def verdict(self, hold: Hold, call: Call) -> Verdict:
        match self.aspect:
            case Aspect.CONSENT:
                return self._consent(hold, call)
            case Aspect.RETURN:
                return self._return(hold, call)
            case Aspect.DURATION:
                return self._limit(hold, hold.waited, call)
            case Aspect.CALLBACK if hold.waited <= self.limit_ms:
                return Verdict(Truth.NOT_APPLICABLE)
            case Aspect.CALLBACK:
                said = [*hold.before, *hold.own, *hold.patience, *hold.after]
                return self._said_or_missing(hold, any(map(self.words.callback.any, said)), said)

    def _limit(self, hold: Hold, value_ms: int, call: Call) -> Verdict:
        if value_ms > self.limit_ms:
            return Verdict(Truth.UNSURE if self._is_doubtful(hold) else Truth.VIOLATED)
        if hold.until_ms is None:
            return Verdict(Truth.NOT_APPLICABLE)
        return Verdict(Truth.UNSURE if call.truncated and hold.back is None else Truth.MET)

    def _return(self, hold: Hold, call: Call) -> Verdict:
        if hold.waited <= self.limit_ms:
            return Verdict(Truth.NOT_APPLICABLE)
        if hold.back is None:
            return Verdict(Truth.UNSURE if call.truncated else Truth.NOT_APPLICABLE)
        return self._said_or_missing(hold, any(map(self.words.back.any, hold.after)), hold.after)

    def _said_or_missing(self, hold: Hold, is_said: bool, where: Sequence[Said]) -> Verdict:
        if is_said:
            return Verdict(Truth.MET)
        is_faint = is_mostly_faint(where, self.min_confidence)
        return Verdict(Truth.UNSURE if is_faint or self._is_doubtful(hold) else Truth.VIOLATED)

    def _consent(self, hold: Hold, call: Call) -> Verdict:
        found = self.elements(hold)
        missing = tuple(name for name in self.wanted if not found[name].present)
        if not missing:
            return Verdict(Truth.MET)
        if hold.until_ms is None and hold.manner is not Manner.ORDERED:
            return Verdict(Truth.NOT_APPLICABLE)  # asked for and not needed
        is_unheard = missing == ("assent",) and not any(said.role is Role.CUSTOMER for said in call.said)
        faint = [*hold.own, *hold.before[-1:]] if set(missing) - {"assent"} else hold.answers
        if is_unheard or self._is_doubtful(hold) or (faint and is_mostly_faint(faint, self.min_confidence)):
            return Verdict(Truth.UNSURE, missing)
        return Verdict(Truth.VIOLATED, missing)

    def _is_doubtful(self, hold: Hold) -> bool:
        return hold.is_doubtful or (hold.hit is not None and hold.hit.confidence < self.min_confidence)

    def elements(self, hold: Hold) -> dict[str, Element]:
        refused = any(map(self.words.refusal.any, hold.answers))
        return {
            "reason": _first(self.words.reason, [*hold.before, *hold.own]),
            "question": _first(self.words.question, hold.own),
            "assent": Element(False) if refused else _first(self.words.assent, hold.answers),
        }


def _first(phrases: PhraseSet, said: Sequence[Said]) -> Element:
    hits = (hit for one in said for hit in phrases.find(one))
    hit = next(hits, None)
    return Element(True, hit.span.start_ms, hit.quote) if hit else Element(False)


class _HoldWatch(Watch):
    def __init__(self, check: HoldCheck, call: Call) -> None:
        self.check, self.call = check, call
        self.holds = Holds(check.words, check.min_wait_ms, check.min_lookup_ms)
        self.reached_ms = 0

    def hear(self, said: Said) -> None:
        self.holds.hear(said)

    def reach(self, ms: int) -> None:
        self.reached_ms = ms

    # --- while the call goes on ---

    def findings_so_far(self) -> Sequence[tuple[Finding, bool]]:
        holds = self.holds
        known = [(hold, self._is_settled(hold)) for hold in holds.over]
        if holds.current and holds.is_waiting(holds.current, self.reached_ms):
            since = holds.current.start_ms
            known.append((replace(holds.current, since_ms=since, until_ms=self.reached_ms), False))
        return [
            (self._finding(hold, verdict), is_final)
            for hold, is_final in known
            if (verdict := self._doubting(self.check.verdict(hold, self.call), hold)).truth is Truth.VIOLATED
        ]

    def _is_settled(self, hold: Hold) -> bool:
        return hold.back is None or self.reached_ms > hold.back.span.start_ms + _APOLOGY_MS

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        check, hold = self.check, self._open(unsettled)
        if hold is None or not check.nudges or not self._wants(hold):
            return ()
        occasion = Occasion.ANSWER if check.aspect is Aspect.RETURN else Occasion.WAIT
        rule, suggestion = check.wording.rule, check.wording.suggestion
        return [
            Owed(rule, f"{check.aspect}-{ms}", text, hold.start_ms + ms, occasion, suggestion)
            for ms, text in check.nudges
        ]

    def running(self, unsettled: Sequence[Said], ms: int) -> Running | None:
        hold = self._open(unsettled)
        if hold is None or not self.check.limit_ms or not self.holds.is_waiting(hold, ms):
            return None
        return Running(Occasion.WAIT, hold.start_ms, (self.check.limit_ms,))

    def _open(self, unsettled: Sequence[Said]) -> Hold | None:
        """The hold that is announced or goes on, as long as the agent has not come back."""
        hold = self.holds.current
        if hold is None:
            return None
        start = max([hold.start_ms, *(said.span.end_ms for said in hold.patience)])
        spoken = any(span.start_ms > start for span in self.call.activity.get(Role.AGENT, ()))
        is_back = spoken or any(said.role is Role.AGENT and said.span.start_ms > start for said in unsettled)
        return None if is_back else hold

    def _wants(self, hold: Hold) -> bool:
        """Whether the agent can still do something for the aspect that they have not done."""
        match self.check.aspect:
            case Aspect.CONSENT:
                return hold.manner in _MANNERLY and bool({"reason", "question"} & self._missing(hold))
            case Aspect.CALLBACK:
                return not self._offers_callback(hold)
        return True

    def _missing(self, hold: Hold) -> set[str]:
        found = self.check.elements(hold)
        return {name for name in self.check.wanted if not found[name].present}

    def _offers_callback(self, hold: Hold, more: Sequence[Said] = ()) -> bool:
        said = [*hold.before, *hold.own, *hold.patience, *hold.after, *more]
        return any(map(self.check.words.callback.any, said))

    def checklist(self, unsettled: Sequence[Said], ms: int) -> Sequence[Item]:
        """What is owed for the hold that goes on, or for the last one."""
        if not self.check.nudges:
            return ()
        hold = self.holds.current or (self.holds.over[-1] if self.holds.over else None)
        if hold is None:
            return ()
        rule, told = self.check.wording.rule, self._told(hold, unsettled, ms)
        return [Item(rule, element, ELEMENTS[element], state) for element, state in told.items()]

    def _told(self, hold: Hold, unsettled: Sequence[Said], ms: int) -> Mapping[str, ItemState]:
        """How each element stands; empty before it is owed."""
        check, is_over = self.check, hold.until_ms is not None
        waited_ms = hold.waited if is_over else hold.waited_ms(ms)
        is_due = waited_ms > check.limit_ms and (is_over or self.holds.is_waiting(hold, ms))
        own = [said for said in unsettled if said.role is Role.AGENT]
        match check.aspect:
            case Aspect.CONSENT if hold.manner in _MANNERLY or is_due:
                is_late = is_over or self.holds.is_waiting(hold, ms)
                missing, state = self._missing(hold), ItemState.MISSED if is_late else ItemState.PENDING
                return {name: state if name in missing else ItemState.DONE for name in check.wanted}
            case Aspect.RETURN if is_due:
                is_said = any(map(check.words.back.any, [*hold.after, *own]))
                is_late = is_over and self._is_settled(hold)
                return {"apology": _state(is_said, is_late and hold.back is not None, self.call)}
            case Aspect.CALLBACK if waited_ms >= check.nudges[0][0] and (not is_over or is_due):
                return {"callback": _state(self._offers_callback(hold, own), is_over, self.call)}
        return {}

    # --- at the end ---

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        check, call = self.check, self.call
        last = self.holds.last(call.end_ms)
        holds = [*self.holds.over, *([last] if last and not self._was_transferred(last) else [])]
        judged = [(hold, self._doubting(check.verdict(hold, call), hold)) for hold in holds]
        judged = [(hold, verdict) for hold, verdict in judged if verdict.truth is not Truth.NOT_APPLICABLE]
        truths = [verdict.truth for _, verdict in judged]
        truth = next((t for t in (Truth.VIOLATED, Truth.UNSURE, Truth.MET) if t in truths), Truth.NOT_APPLICABLE)
        if truth in (Truth.NOT_APPLICABLE, Truth.MET) and self.holds.has_unknown_announcement:
            truth = Truth.UNSURE
        wanted = (Truth.VIOLATED, Truth.UNSURE) if truth is Truth.UNSURE else (truth,)
        found = [(h, v) for h, v in judged if v.truth in wanted and v.truth is not Truth.MET]
        findings = tuple(self._finding(hold, verdict) for hold, verdict in found)
        waited = max((hold.waited for hold, _ in judged), default=0)
        return Judgement(truth, findings, elements=self._elements(judged), measured=self._measured(waited))

    def _was_transferred(self, hold: Hold) -> bool:
        """The customer went on to somebody else: nobody was to come back."""
        metadata = self.call.metadata
        is_transfer = metadata.get("ended_by") == "transfer" or metadata.get("transferred") is True
        return hold.back is None and is_transfer

    def _doubting(self, verdict: Verdict, hold: Hold) -> Verdict:
        """The agent's voice without words inside a wait: they may have been back, or asked for patience."""
        if verdict.truth is not Truth.VIOLATED or self.check.aspect is Aspect.CONSENT:
            return verdict
        heard = [said.span for said in self.call.said if said.role is Role.AGENT]
        unheard = (
            span.overlap_ms(hold.span)
            for span in joined(self.call.activity.get(Role.AGENT, ()))
            if not any(span.overlap_ms(other) for other in heard)
        )
        return replace(verdict, truth=Truth.UNSURE) if sum(unheard) >= _UNHEARD_MS else verdict

    def _elements(self, judged: Sequence[tuple[Hold, Verdict]]) -> dict[str, Element] | None:
        """Of consent: what every hold had; the first hold says when and how."""
        if self.check.aspect is not Aspect.CONSENT or not judged:
            return None
        found = [self.check.elements(hold) for hold, _ in judged]
        return {
            name: found[0][name] if all(one[name].present for one in found) else Element(False) for name in _CONSENT
        }

    def _measured(self, waited_ms: int) -> dict[str, Any] | None:
        """The longest wait."""
        if not waited_ms or self.check.aspect is Aspect.CONSENT:
            return None
        high = seconds(self.check.limit_ms) if self.check.aspect is Aspect.DURATION else None
        return {"value": seconds(waited_ms), "unit": "秒", "low": None, "high": high}

    def _finding(self, hold: Hold, verdict: Verdict) -> Finding:
        check = self.check
        names = {
            "missing": "、".join(ELEMENTS[name] for name in verdict.missing),
            "value": seconds(hold.waited),
            "high": seconds(check.limit_ms),
        }
        if check.aspect is Aspect.CONSENT:
            if hold.manner is Manner.ORDERED and hold.hit is not None:
                return check.wording.of_hit(hold.hit, **names)
            said = hold.own[0]
            window = Span(said.span.start_ms, max(said.span.end_ms, hold.start_ms))
            return replace(check.wording.of_absence(window, Role.AGENT, names), turn=_turn(said), grows=True)
        if check.aspect is Aspect.RETURN and hold.back is not None:
            window = Span(hold.back.span.start_ms, max(said.span.end_ms for said in hold.after))
            return replace(check.wording.of_absence(window, Role.AGENT, names), turn=_turn(hold.back), grows=True)
        said = hold.back or hold.own[0]
        return replace(check.wording.of_absence(hold.span, Role.AGENT, names), turn=_turn(said), grows=True)


def _state(is_said: bool, is_late: bool, call: Call) -> ItemState:
    if is_said:
        return ItemState.DONE
    if is_late:
        return ItemState.MISSED
    return ItemState.CLEARED if call.end_ms else ItemState.PENDING


def _turn(said: Said) -> Any:
    return said.stretches[0].utterance


class NudgeSpec(Spec):
    after_ms: int = Field(ge=1)
    say: str = Field(min_length=1)


class HoldSpec(RuleSpec):
    kind: Literal["hold"]
    speaker: Literal["agent"] = "agent"
    aspect: Annotated[Aspect, Enum]
    elements: list[Literal["reason", "question", "assent"]] = ["reason", "question", "assent"]
    limit_ms: int = Field(default=0, ge=0)
    min_wait_ms: int = Field(default=3000, ge=0)
    min_lookup_ms: int = Field(default=7000, ge=0)
    nudges: list[NudgeSpec] = []
    ask_in: Texts = []
    order_in: Texts = []
    lookup_in: Texts = []
    reason_in: Texts = []
    question_in: Texts = []
    assent_in: Texts = []
    refusal_in: Texts = []
    back_in: Texts = []
    patience_in: Texts = []
    callback_in: Texts = []
    asked_in: Texts = []
    busy_in: Texts = []
    music_in: Texts = []

    def build_check(self, builder: Builder) -> HoldCheck:
        names = [name.removesuffix("_in") for name in type(self).model_fields if name.endswith("_in")]
        words = HoldWords(**{name: builder.phrase_set(getattr(self, f"{name}_in"), f"{name}_in") for name in names})
        if not builder.faults and not (words.ask or words.order or words.lookup):
            builder.fault((), "'hold' needs ask_in, order_in or lookup_in")
        if self.aspect in (Aspect.RETURN, Aspect.CALLBACK) and not getattr(self, _NEEDED[self.aspect]):
            builder.fault((), f"aspect {self.aspect.value!r} needs {_NEEDED[self.aspect]}")
        return HoldCheck(
            self.aspect,
            self.wording,
            words,
            tuple(self.elements),
            self.limit_ms,
            self.min_wait_ms,
            self.min_lookup_ms,
            tuple((nudge.after_ms, nudge.say) for nudge in self.nudges),
            self.min_confidence,
        )


_NEEDED = {Aspect.RETURN: "back_in", Aspect.CALLBACK: "callback_in"}
