"""The heart: utterances and the clock in, findings and verdicts out. No I/O; time is an input.

Theory of operation. Text arrives per role in any pieces and any order. ``feed`` only stores it. Speech becomes an
*utterance* (same role, gaps under 700 ms between characters) and is *closed* once its role is settled 700 ms past its
end; closed utterances are *released* to the rules strictly in order of call time, one as soon as nothing earlier can
still come from any side. So what the rules hear, and with it every verdict, depends on the words and their times alone,
not on arrival. Before release an utterance may be shown: ``feed`` and ``preview`` say what it would break, as
provisional findings and hints. Release or the end of the call confirms or withdraws each of them, once: what is
confirmed stands in the report. ``now`` knows reminders only.

Where some turns are of unknown role and others are not, the call is judged again with the unknown ones given to the
agent, to the customer, and to whoever spoke last not: a verdict that depends on it is unsure.

                 feed                    settled (own role)            settled (all roles), in order
    recognised ────────► open utterances ──────────────────► closed ──────────────────────────────► rules ──► finish
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any

from analyzer.rules import Call, Finding, Judgement, Pack, Pattern, Phrase, PhraseSet, Rule, Said, Status, Truth
from analyzer.rules.checks import Watch
from analyzer.rules.findings import Item, ItemState, Occasion, Owed, Running
from analyzer.rules.said import Stretch, stretches_of
from analyzer.types import Direction, Role, Span, Utterance

MERGE_GAP_MS = 700  # speech of one role with shorter gaps is one utterance
_TAKES_TURNS = frozenset({Role.AGENT, Role.CUSTOMER})
_ROLE_ORDER = {role: order for order, role in enumerate(Role)}


class FindingStatus(StrEnum):
    PROVISIONAL = "provisional"
    CONFIRMED = "confirmed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class FindingEvent:
    """A finding came up, was confirmed, or turned out to be none. ``finding.id`` ties the three together."""

    finding: Finding
    status: FindingStatus


@dataclass(frozen=True, slots=True)
class Nudge:
    """A reminder of something owed before it is too late. For the agent's eyes; no verdict rests on it."""

    rule: str
    element: str
    message: str


@dataclass(frozen=True, slots=True)
class CallResult:
    """What every rule of the pack says of a finished call, in the pack's order, and the facts it rests on.

    events   findings that only the end confirmed or withdrew; none stays provisional
    """

    judgements: Mapping[str, Judgement]
    call: Call
    events: tuple[FindingEvent, ...] = ()


@dataclass(slots=True)
class _Channel:
    """One role's text that is not released yet. ``stretches`` are kept in order of call time."""

    role: Role
    stretches: list[Stretch] = field(default_factory=list)
    settled_ms: int = 0
    _known: dict[tuple[int, ...], Said] = field(default_factory=dict)

    @property
    def next_start_ms(self) -> int:
        """No utterance that is still to come starts earlier."""
        return min([self.settled_ms, *(stretch.span.start_ms for stretch in self.stretches[:1])])

    def add(self, stretches: Iterable[Stretch]) -> None:
        self.stretches.extend(stretches)
        self.stretches.sort(key=_order_of_stretch)

    def utterances(self) -> list[Said]:
        """The stretches as utterances: the same objects as long as nothing joins them."""
        groups = {tuple(map(id, group)): group for group in self._groups()}
        self._known = {key: self._known.get(key) or Said(self.role, group) for key, group in groups.items()}
        return list(self._known.values())

    def _groups(self) -> list[list[Stretch]]:
        groups: list[list[Stretch]] = []
        reached = -MERGE_GAP_MS
        for stretch in self.stretches:
            if stretch.span.start_ms - reached >= MERGE_GAP_MS or not groups:
                groups.append([])
            groups[-1].append(stretch)
            reached = max(reached, stretch.span.end_ms)
        return groups

    def is_closed(self, said: Said) -> bool:
        return self.settled_ms >= said.span.end_ms + MERGE_GAP_MS

    def release(self, said: Said) -> None:
        """Let go of the first utterance."""
        del self.stretches[: len(said.stretches)]


def _order_of_stretch(stretch: Stretch) -> tuple[Span, str, float]:
    confidence = stretch.utterance.confidence
    return stretch.span, stretch.text, 1.0 if confidence is None else confidence


@cache
def _overrides(watch: type[Watch], method: str) -> bool:
    return getattr(watch, method) is not getattr(Watch, method)


class CallAnalyzer:
    """Follows one call. Feed it as things become known, in any order; ``finish`` gives the verdicts.

    roles     sides whose text may come; speech is judged early only where all of them are settled
    is_live   somebody sees findings as they come up. A stored call is judged without: ``feed`` and ``settled`` return
              nothing then, and the verdicts are the same
    """

    def __init__(
        self,
        pack: Pack,
        *,
        direction: Direction = Direction.UNKNOWN,
        metadata: Mapping[str, Any] | None = None,
        roles: Collection[Role] = _TAKES_TURNS,
        starts_late: bool = False,
        is_live: bool = True,
    ) -> None:
        self.pack = pack
        self.call = Call(direction=direction, metadata=dict(metadata or {}), starts_late=starts_late)
        self._channels = {role: _Channel(role) for role in sorted(roles, key=_ROLE_ORDER.__getitem__)}
        self._watches = {rule.id: rule.check.watch(self.call) for rule in pack.in_order_of_need}
        told = [rule for rule in pack.rules if is_live and (not rule.directions or direction in rule.directions)]
        self._glimpsing = [rule for rule in told if _overrides(type(self._watches[rule.id]), "glimpse")]
        self._finding = [rule for rule in told if _overrides(type(self._watches[rule.id]), "findings_so_far")]
        self._reminding = [rule for rule in told if rule.check.reminds]
        self._running = [rule for rule in told if _overrides(type(self._watches[rule.id]), "running")]
        self._reaching = [watch for watch in self._watches.values() if _overrides(type(watch), "reach")]
        self._is_live = is_live
        self._may_be_doubted = Role.UNKNOWN in roles and not _TAKES_TURNS.isdisjoint(roles)  # see ``_if_told``
        self._reached_ms = 0
        self._floor: Role | None = None
        self._shown: dict[str, FindingEvent] = {}
        self._counted: dict[str, FindingEvent] = {}
        self._nudged: set[tuple[str, str, int]] = set()
        self._is_finished = False

    # --- what comes in ---

    def activity(self, role: Role, span: Span) -> None:
        """Voiced time as VAD sees it, before any text."""
        self.call.activity.setdefault(role, []).append(span)

    def feed(self, utterance: Utterance) -> list[FindingEvent]:
        """Final text of one side. Raises ValueError for a role that was not announced or text behind its watermark."""
        channel = self._channels.get(utterance.role)
        if channel is None:
            raise ValueError(f"text of role {utterance.role}, but roles are {', '.join(self._channels)}")
        stretches = stretches_of(utterance, MERGE_GAP_MS)
        if stretches and stretches[0].span.start_ms < channel.settled_ms:
            raise ValueError(
                f"text of {utterance.role} at {stretches[0].span.start_ms} ms after settled({channel.settled_ms} ms)"
            )
        channel.add(stretches)
        return self._changes()

    def settled(self, role: Role, ms: int) -> list[FindingEvent]:
        """This side is fully recognised up to ``ms``; a smaller value than before changes nothing."""
        channel = self._channels[role]
        channel.settled_ms = max(channel.settled_ms, ms)
        self._release()
        return self._changes()

    def now(self, ms: int) -> list[Nudge]:
        """The clock: reminders that are due, each once. No verdict depends on it."""
        nudges = []
        for owed in self.owed():
            occasion = owed.rule, owed.element, owed.nudge_ms
            if ms >= owed.nudge_ms and occasion not in self._nudged:
                self._nudged.add(occasion)
                nudges.append(Nudge(owed.rule, owed.element, owed.message))
        return nudges

    def owed(self) -> list[Owed]:
        """What the agent has not said yet and is to be reminded of, each with the time for it. Changes no state."""
        unsettled = self._unsettled()
        owed: list[Owed] = []
        for rule in self._reminding:
            own = self._watches[rule.id].owed(unsettled)
            if own and self._excuse(rule) is not Truth.NOT_APPLICABLE:
                owed += own
        return owed

    def checklist(self, ms: int) -> list[Item]:
        """What is owed on this call and how it stands at ``ms``, what closes a call last, else in the pack's order. An
        item that was pending and is not told of any more is cleared. Changes no state."""
        unsettled = self._unsettled()
        items: list[Item] = []
        for rule in self._reminding:
            own = self._watches[rule.id].checklist(unsettled, ms)
            if own and self._excuse(rule) is Truth.NOT_APPLICABLE:
                own = [i if i.state is ItemState.DONE else replace(i, state=ItemState.CLEARED) for i in own]
            items += own
        return sorted(items, key=attrgetter("at_end"))

    def running(self, ms: int) -> dict[Occasion, Running]:
        """The wait or silence that goes on at ``ms``, with the limits of all rules that have one."""
        unsettled = self._unsettled()
        running: dict[Occasion, Running] = {}
        for rule in self._running:
            one = self._watches[rule.id].running(unsettled, ms)
            if one is None:
                continue
            other = running.get(one.occasion, one)
            limits = tuple(sorted({*one.limits_ms, *other.limits_ms}))
            running[one.occasion] = Running(one.occasion, min(one.since_ms, other.since_ms), limits)
        return running

    def preview(
        self, role: Role, text: str, span: Span | None = None, confidence: float | None = None
    ) -> list[Finding]:
        """What interim text would break, for hints; ``span``: when it was said. Changes no state."""
        if not text.strip():
            return []
        span = span or Span(0, 0)
        said = Said(role, [Stretch(Utterance(role, span, text, confidence), 0, len(text), span)])
        return [finding for watch in self._watches.values() for finding in watch.glimpse(said)]

    def finish(self, end_ms: int, *, truncated: bool = False, metadata: Mapping[str, Any] | None = None) -> CallResult:
        """The call is over: everything still open is settled. ``metadata`` adds what only the end tells."""
        if self._is_finished:
            raise ValueError("the call is finished already")
        self._is_finished = True
        self.call.metadata = {**self.call.metadata, **(metadata or {})}
        self.call.truncated = truncated
        unsettled = [said.span.end_ms for said in self._unsettled()]
        for channel in self._channels.values():
            channel.settled_ms = max([channel.settled_ms, end_ms, *unsettled]) + MERGE_GAP_MS + 1
        self._release()
        self.call.end_ms = max([end_ms, *(said.span.end_ms for said in self.call.said)])
        judgements: dict[str, Judgement] = {}
        for rule in self.pack.in_order_of_need:
            judgements[rule.id] = self._judge(rule, judgements)
        for other in self._if_told():
            self._doubt(judgements, other)
        events = tuple(self._show(self._counted))
        return CallResult({rule.id: judgements[rule.id] for rule in self.pack.rules}, self.call, events)

    # --- speakers unknown ---

    def _if_told(self) -> Iterator[Mapping[str, Judgement]]:
        """What the rules would say if every turn had a role, in some ways to give them. Nothing where all have one, or
        none has: then there is no more to say than that."""
        roles = {said.role for said in self.call.said}
        if Role.UNKNOWN not in roles or roles.isdisjoint(_TAKES_TURNS):
            return
        for told in (_given_to(Role.AGENT, self.call), _given_to(Role.CUSTOMER, self.call), _alternating(self.call)):
            yield self._judged_anew(told)

    def _judged_anew(self, told: Sequence[tuple[Role, Said]]) -> Mapping[str, Judgement]:
        call = self.call
        other = CallAnalyzer(
            self.pack,
            direction=call.direction,
            metadata=call.metadata,
            roles={*self._channels, *_TAKES_TURNS},
            starts_late=call.starts_late,
            is_live=False,
        )
        for role, spans in call.activity.items():
            for span in spans:
                other.activity(role if role is not Role.UNKNOWN else _nearest(span, told), span)
        for role, said in told:
            for stretch in said.stretches:
                other.feed(_alone(stretch, role))
        return other.finish(call.end_ms, truncated=call.truncated).judgements

    def _doubt(self, judgements: dict[str, Judgement], other: Mapping[str, Judgement]) -> None:
        """Keep of the judgements what the others say too."""
        for rule, own in judgements.items():
            if own.truth not in (Truth.UNSURE, other[rule].truth):
                judgements[rule] = replace(own, truth=Truth.UNSURE)
                for finding in own.findings:
                    self._counted.pop(finding.id, None)

    # --- order ---

    def _release(self) -> None:
        """Hand closed utterances to the rules in order of call time, as far as nothing earlier can come."""
        heard = len(self.call.said)
        while (said := self._first_closed()) is not None:
            self._channels[said.role].release(said)
            self._hear(said)
        reached = min(channel.next_start_ms for channel in self._channels.values())
        if reached == self._reached_ms and heard == len(self.call.said):
            return
        self._reached_ms = reached
        for watch in self._reaching:
            watch.reach(reached)

    def _first_closed(self) -> Said | None:
        """The earliest utterance, if it is closed and every side is settled past its start."""
        heads = [channel.utterances()[0] for channel in self._channels.values() if channel.stretches]
        if not heads:
            return None
        first = min(heads, key=lambda said: (said.span.start_ms, _ROLE_ORDER[said.role]))
        is_first = all(channel.settled_ms > first.span.start_ms for channel in self._channels.values())
        return first if is_first and self._channels[first.role].is_closed(first) else None

    def _hear(self, said: Said) -> None:
        said.back_channel = self.pack.is_back_channel(said)
        said.turn_of_talk = self._take_turn(said)
        before = self._just_before(said)
        self.call.said.append(said)
        for rule_id in self.pack.listeners.concerned(said, before):
            self._watches[rule_id].hear(said)

    def _just_before(self, said: Said) -> Said | None:
        """The same speaker's utterance before, if a phrase that it began may go on: since then others said nothing but
        back-channel."""
        for earlier in reversed(self.call.said):
            if earlier.role is said.role:
                return earlier if said.may_continue(earlier) else None
            if not earlier.back_channel:
                return None
        return None

    def _take_turn(self, said: Said) -> int | None:
        """Number of the turn of talk: a side's turn lasts until the other says something that is not back-channel."""
        role, turns = said.role, self.call.turns
        if role not in _TAKES_TURNS:
            return None
        if self._floor is not role and not (said.back_channel and self._floor is not None):
            self._floor = role
            turns[role] = turns.get(role, 0) + 1
        return max(0, turns.get(role, 0) - 1)

    def _unsettled(self) -> list[Said]:
        return [said for channel in self._channels.values() for said in channel.utterances()]

    # --- what goes out ---

    def _changes(self) -> list[FindingEvent]:
        """Findings that came up, were confirmed or fell away since the last time."""
        if not self._is_live:
            return []
        current: dict[str, FindingEvent] = {}
        unsettled = self._unsettled()
        for rule in self._glimpsing:
            for said in unsettled:
                for finding in self._watches[rule.id].glimpse(said):
                    current[finding.id] = FindingEvent(finding, FindingStatus.PROVISIONAL)
        for rule in self._finding:
            for finding, is_final in self._watches[rule.id].findings_so_far():
                # Else only the end tells: whether the rule applies, or who spoke.
                is_certain = is_final and not rule.not_applicable_when and not self._may_be_doubted
                status = FindingStatus.CONFIRMED if is_certain else FindingStatus.PROVISIONAL
                current[finding.id] = FindingEvent(finding, status)
        return self._show(current)

    def _show(self, current: dict[str, FindingEvent]) -> list[FindingEvent]:
        """What is new in ``current``, and what is withdrawn because it is not there any more."""
        changes = [event for key, event in current.items() if self._status(key) is not event.status]
        for key, event in self._shown.items():
            if key not in current and self._may_come_back(event):
                current[key] = event
            elif key not in current:
                changes.append(FindingEvent(event.finding, FindingStatus.WITHDRAWN))
        self._shown = current
        return changes

    def _may_come_back(self, event: FindingEvent) -> bool:
        """While an utterance grows a finding in it may fall away and be found again: its release decides."""
        channel = self._channels.get(event.finding.role) if event.finding.role else None
        if channel is None or event.status is not FindingStatus.PROVISIONAL:
            return False
        return channel.next_start_ms <= event.finding.span.start_ms

    def _status(self, key: str) -> FindingStatus | None:
        return self._shown[key].status if key in self._shown else None

    def _judge(self, rule: Rule, others: Mapping[str, Judgement]) -> Judgement:
        needs = rule.needs
        needed = {rule_id: others[rule_id] for rule_id in needs if rule_id in others} if needs else {}
        judgement = self._watches[rule.id].judge(needed)
        excused = self._excuse(rule)
        if excused is not None:
            return Judgement(excused, elements=judgement.elements)
        if judgement.truth is Truth.VIOLATED:
            confirmed = (FindingEvent(finding, FindingStatus.CONFIRMED) for finding in judgement.findings)
            self._counted.update((event.finding.id, event) for event in confirmed)
        if rule.status is Status.TRIAL and judgement.truth is Truth.VIOLATED:
            return Judgement(Truth.UNSURE, judgement.findings, judgement.level, judgement.elements, judgement.measured)
        return judgement

    def _excuse(self, rule: Rule) -> Truth | None:
        """Whether the rule does not apply to this call; UNSURE where that cannot be told."""
        if rule.directions and self.call.direction not in rule.directions:
            return Truth.UNSURE if self.call.direction is Direction.UNKNOWN else Truth.NOT_APPLICABLE
        truths = {condition.truth(self.call) for condition in rule.not_applicable_when}
        if Truth.MET in truths:
            return Truth.NOT_APPLICABLE
        return Truth.UNSURE if Truth.UNSURE in truths else None


# --- speakers unknown -------------------------------------------------------------------------------------------------


def _given_to(role: Role, call: Call) -> list[tuple[Role, Said]]:
    return [(role if said.role is Role.UNKNOWN else said.role, said) for said in call.said]


def _alternating(call: Call) -> list[tuple[Role, Said]]:
    """Who did not speak last speaks now."""
    told: list[tuple[Role, Said]] = []
    last = Role.CUSTOMER
    for said in call.said:
        role = said.role
        if role is Role.UNKNOWN:
            role = Role.CUSTOMER if last is Role.AGENT else Role.AGENT
        last = role if role in _TAKES_TURNS else last
        told.append((role, said))
    return told


def _nearest(span: Span, told: Sequence[tuple[Role, Said]]) -> Role:
    """Whose words a voiced span carries: of the unknown utterance nearest to it."""
    unknown = [(role, said) for role, said in told if said.role is Role.UNKNOWN]
    return min(unknown, key=lambda each: abs(each[1].span.midpoint_ms - span.midpoint_ms))[0]


def _alone(stretch: Stretch, role: Role) -> Utterance:
    """A stretch as an utterance of this role."""
    whole = stretch.utterance
    if whole.characters is None:
        return replace(whole, role=role)
    times = whole.characters[stretch.char_start : stretch.char_end]
    return replace(whole, role=role, span=stretch.span, text=stretch.text, characters=times)


# --- which side is which ----------------------------------------------------------------------------------------------

_AGENT_SAYS = PhraseSet(
    Phrase(Pattern(text), term=term)
    for term, text in (
        ("工号", "(我的|客服)?工号(是|为)?{数字:2-8}"),
        ("工号", "{数字:2-8}号(客服|坐席|话务员|为您服务)"),
        ("服务", "为(您|你)服务"),
        ("帮助", "有什么(可以|能)?(帮|为)(到|助)?(您|你)"),
        ("致电", "(欢迎|感谢)(您)?(的)?(致电|来电|拨打)"),
        ("自报", "我是{任意:1-12}(客服|坐席|专员|话务员|客户经理)"),
        ("服务", "还有(什么|其他)…(帮|为)(到|助)?您"),
    )
)
_CERTAIN = 2  # kinds of such sentences on one side, and none on the other


def agent_signs(utterances: Iterable[Utterance]) -> set[str]:
    """Kinds of sentences that only agents say, among these."""
    texts = (one for one in utterances if one.text)
    said = (Said(one.role, [Stretch(one, 0, len(one.text), one.span)]) for one in texts)
    return {hit.phrase.term for one in said for hit in _AGENT_SAYS.find(one)}


def likely_swapped(utterances: Iterable[Utterance]) -> str | None:
    """Why the two sides of a call look swapped, in Chinese, or None: the side that greets, offers service and gives a
    staff number should be the agent. Told from what is said alone, whatever the pack."""
    told = list(utterances)
    agent, customer = (agent_signs(one for one in told if one.role is role) for role in (Role.AGENT, Role.CUSTOMER))
    if len(customer) < _CERTAIN or agent:
        return None
    return f"声道可能接反：客户一侧说了坐席才说的话（{'、'.join(sorted(customer))}）"
