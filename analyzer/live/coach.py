"""What the agent is told, and when: the checklist, hints, gauges and timers. No thread, no clock.

Theory of operation. The engine knows what is owed, what was said that should not have been, and what goes on (a wait, a
silence); the coach turns that into events, as few as possible. ``quiet`` decides which hint may be shown; this module
decides what is true. A reminder tells that something has *not* been said, so it waits while the agent is speaking or
speech of theirs is still being recognised, and goes as soon as it is said. A slip tells that something *was* said; its
grounds are interim words and findings, all of the same moment of the call one slip, and it goes when none is left:

    interim words that two passes agree on ─┐
    provisional finding ────────────────────┼─► slip ─► nudge shown (provisional) ─► shown (certain) | withdrawn
    confirmed finding ──────────────────────┘
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from analyzer.engine import CallAnalyzer, FindingEvent, FindingStatus
from analyzer.live.journal import EventLog
from analyzer.live.messages import DismissEvent, GaugeEvent, NudgeEvent, OwedEvent, Timer
from analyzer.live.pace import Pacer
from analyzer.live.quiet import Hint, Priority, Quiet
from analyzer.rules import Finding, Pack, Rule, Status
from analyzer.rules.findings import Item, ItemState, Occasion, Owed, Running
from analyzer.types import Direction, Role, Severity, Span, Utterance

FLOW_MS = 1_500  # an agent who has been speaking for so long is not interrupted
SLIP_STALE_MS = 12_000  # a better wording for what was said so long ago comes too late
REMINDER_STALE_MS = 20_000  # so long after its time a reminder that had to wait is dropped
SAME_WORDS_MS = 1_000  # interim and final words are timed so far apart at most
GAUGE_EVERY_MS = 1_000
CHECKLIST_EVERY_MS = 1_000
SILENCE_SHOWN_MS = 3_000  # shorter silences are pauses
BEHIND_STEP_MS = 500
_PRIORITIES: Mapping[Severity, Priority] = {Severity.CRITICAL: "critical", Severity.MAJOR: "high"}
_SPOKEN_KINDS = ("forbid", "hold")  # of rules whose findings are words that could be put better
_REPHRASE = "换个说法"


@dataclass(slots=True)
class _Slip:
    """Something the agent should have put otherwise.

    name      the id of its first finding, under which later ones of the same words are known outside
    grounds   findings, each with whether it is certain
    """

    finding: Finding
    at_ms: int
    name: str
    is_glimpsed: bool = False
    grounds: dict[str, bool] = field(default_factory=dict)
    nudge: _Nudge | None = None

    @property
    def stands(self) -> bool:
        return self.is_glimpsed or bool(self.grounds)

    @property
    def is_certain(self) -> bool:
        return any(self.grounds.values())

    def is_of(self, finding: Finding) -> bool:
        span, other = self.finding.span, finding.span
        if span.overlap_ms(other):
            return True
        return self.finding.rule == finding.rule and span.gap_to(other) + other.gap_to(span) < SAME_WORDS_MS


@dataclass(slots=True)
class _Nudge:
    """A hint that was shown. ``owed``: what it reminds of."""

    id: str
    hint: Hint
    owed: frozenset[tuple[str, str]] = frozenset()
    finding: str | None = None
    provisional: bool = False


class Coach:
    """Follows one call beside the engine and adds ``owed``, ``nudge``, ``gauge`` and ``dismiss`` events to its log."""

    def __init__(self, pack: Pack, direction: Direction, roles: Collection[Role], log: EventLog) -> None:
        self._log = log
        self._rules = {rule.id: rule for rule in pack.rules}
        self._warned_of = {rule.id for rule in pack.rules if _is_warned_of(rule, pack)}
        self._pacer = Pacer(pack, roles)
        self._quiet = Quiet()
        self._items: dict[tuple[str, str], Item] = {}
        self._listed_ms = 0
        self._slips: list[_Slip] = []
        self._nudges: dict[str, _Nudge] = {}  # on the screen
        self._n_nudges = 0
        self._reminded: set[tuple[str, str, int]] = set()
        self._voiced: frozenset[Role] = frozenset()
        self._agent_since_ms: int | None = None
        self._spoken_ms = dict.fromkeys(roles, 0)
        self._blind: tuple[Role, ...] = ()
        self._gauge: GaugeFields | None = None
        self._gauged_ms = -GAUGE_EVERY_MS
        self._is_over = False

    # ---- what is heard

    def hear(self, activity: Sequence[tuple[Role, Span]], voiced: Collection[Role], at_ms: int) -> None:
        """Voiced time, and who is speaking now."""
        for role, span in activity:
            self._spoken_ms[role] = self._spoken_ms.get(role, 0) + span.duration_ms
        self._voiced = frozenset(voiced)
        if Role.AGENT not in self._voiced:
            self._agent_since_ms = None
        elif self._agent_since_ms is None:
            self._agent_since_ms = at_ms

    def blind(self, roles: Collection[Role]) -> None:
        """Sides that deliver no audio; the gauge says so. A side that is only silent is none of them."""
        self._blind = tuple(sorted(roles))

    def said(self, utterance: Utterance, at_ms: int) -> None:
        """Final text."""
        self._pacer.said(utterance)
        for slip in self._slips:
            if utterance.role is Role.AGENT and slip.finding.span.start_ms < utterance.span.end_ms:
                slip.is_glimpsed = False  # what takes the place of the interim words decides

    def glimpse(self, role: Role, findings: Sequence[Finding], at_ms: int) -> None:
        """What the agreed part of interim text would break; nothing any more if empty."""
        if role is not Role.AGENT:
            return
        for slip in self._slips:
            slip.is_glimpsed = False
        for finding in findings:
            if self._is_slip(finding):
                self._slip_of(finding, at_ms).is_glimpsed = True
        self._follow_slips(at_ms)

    def findings(self, events: Sequence[FindingEvent], at_ms: int) -> None:
        """Findings came up, were confirmed or withdrawn."""
        for event in events:
            if not self._is_slip(event.finding):
                continue
            if event.status is FindingStatus.WITHDRAWN:
                for slip in self._slips:
                    slip.grounds.pop(event.finding.id, None)
            else:
                slip = self._slip_of(event.finding, at_ms)
                slip.grounds[event.finding.id] = event.status is FindingStatus.CONFIRMED
        self._follow_slips(at_ms)

    # ---- the checklist

    def checklist(self, engine: CallAnalyzer, at_ms: int) -> None:
        """Something was said, or the call began: bring the checklist up to date."""
        self._follow_slips(at_ms)
        self._listed_ms = at_ms
        items = {(item.rule, item.element): item for item in engine.checklist(at_ms)}
        for key, item in items.items():
            self._list(key, item, at_ms)
        for key in self._items.keys() - items.keys():
            if self._items[key].state is ItemState.PENDING:
                self._list(key, _cleared(self._items[key]), at_ms)

    def _list(self, key: tuple[str, str], item: Item, at_ms: int) -> None:
        if self._items.get(key) == item:
            return
        self._items[key] = item
        self._log.add(OwedEvent, at_ms, rule=item.rule, element=item.element, title=item.title,
                      state=item.state.value, due_ms=item.due_ms)  # fmt: skip

    # ---- the clock

    def tick(
        self, engine: CallAnalyzer, at_ms: int, behind_ms: int, unrecognised: Collection[Role] = frozenset()
    ) -> None:
        """Four times a second: what is due. ``unrecognised``: sides with finished speech that is not text yet."""
        if self._is_over:
            return
        self._drop_shown(at_ms)
        owed = [] if unrecognised else engine.owed()
        if not unrecognised:
            self._withdraw_met(owed, at_ms)
        reminders = self._reminders([one for one in owed if not self._may_be_met(one.occasion)], at_ms)
        slips = self._slip_hints(at_ms)
        rate = self._rate_hints(at_ms)
        for hint in self._quiet.choose([*slips, *reminders, *rate], at_ms, in_flow=self._is_in_flow(at_ms)):
            self._show(hint, slips.get(hint), reminders.get(hint, ()), at_ms)
        if at_ms - self._listed_ms >= CHECKLIST_EVERY_MS:
            self.checklist(engine, at_ms)
        self._tell_gauge(engine.running(at_ms), at_ms, behind_ms)

    def dismiss(self, nudge: str, at_ms: int) -> None:
        """The agent put a hint away. One that is gone already changes nothing."""
        shown = self._nudges.pop(nudge, None)
        if shown is None:
            return
        self._quiet.gone(shown.hint)
        self._quiet.mute(shown.hint.rule)
        for slip in self._slips:
            if slip.nudge is shown:
                slip.nudge = None
        self._log.add(DismissEvent, at_ms, nudge=nudge, rule=shown.hint.rule)

    def finish(self, engine: CallAnalyzer, at_ms: int) -> None:
        """The call is over: what was never said is missed, what is shown goes."""
        self.checklist(engine, at_ms)
        self._drop_shown(at_ms)
        for nudge in list(self._nudges.values()):
            self._withdraw(nudge, at_ms)
        self._is_over = True

    def _is_in_flow(self, at_ms: int) -> bool:
        return self._agent_since_ms is not None and at_ms - self._agent_since_ms >= FLOW_MS

    # ---- reminders

    def _may_be_met(self, occasion: Occasion) -> bool:
        """Somebody is saying, at this moment, what the reminder would miss."""
        return Role.AGENT in self._voiced or (occasion is Occasion.QUIET and bool(self._voiced))

    def _is_broken(self, occasion: Occasion) -> bool:
        """The first sound ends a wait or a silence; words that are owed are owed until they are text."""
        return occasion in (Occasion.WAIT, Occasion.QUIET) and self._may_be_met(occasion)

    def _reminders(self, owed: Iterable[Owed], at_ms: int) -> dict[Hint, Sequence[Owed]]:
        """One hint per rule: elements that are due together are told together, of steps in time the last."""
        by_rule: dict[tuple[str, Occasion], list[Owed]] = {}
        for one in owed:
            if one.nudge_ms <= at_ms:
                by_rule.setdefault((one.rule, one.occasion), []).append(one)
        reminders: dict[Hint, Sequence[Owed]] = {}
        for (_, occasion), due in by_rule.items():
            told = [max(due, key=lambda one: one.nudge_ms)] if occasion is Occasion.WAIT else due
            fresh = [one for one in told if _occasion(one) not in self._reminded]
            if fresh and at_ms - fresh[0].nudge_ms <= REMINDER_STALE_MS:
                reminders[self._reminder(fresh)] = fresh
        return reminders

    def _reminder(self, owed: Sequence[Owed]) -> Hint:
        first = owed[0]
        priority = _PRIORITIES.get(self._rules[first.rule].severity, "normal")
        is_element = first.occasion is Occasion.ELEMENT
        suggestions = [one.suggestion for one in owed if one.suggestion]
        return Hint(
            first.rule,
            frozenset(one.element for one in owed),
            first.occasion.value,
            "normal" if is_element and priority == "high" else priority,
            "；".join(dict.fromkeys(one.message for one in owed)),
            "，".join(suggestions if is_element else suggestions[:1]) or None,
            min(one.nudge_ms for one in owed),
        )

    def _withdraw_met(self, owed: Iterable[Owed], at_ms: int) -> None:
        """Reminders of what was said by now, and of a wait or a silence that somebody ends."""
        open_ones = {(one.rule, one.element) for one in owed if not self._is_broken(one.occasion)}
        for nudge in list(self._nudges.values()):
            if nudge.owed and open_ones.isdisjoint(nudge.owed):
                self._withdraw(nudge, at_ms)

    # ---- slips

    def _is_slip(self, finding: Finding) -> bool:
        return (
            finding.rule in self._warned_of
            and finding.role is Role.AGENT
            and bool(finding.places)
            and finding.severity in _PRIORITIES
        )

    def _slip_of(self, finding: Finding, at_ms: int) -> _Slip:
        """The slip that the finding belongs to, or a new one."""
        slip = next((slip for slip in self._slips if slip.is_of(finding)), None)
        if slip is None:
            slip = _Slip(finding, at_ms, finding.id)
            self._slips.append(slip)
        elif _weight(finding) >= _weight(slip.finding):
            slip.finding = finding
        return slip

    def _follow_slips(self, at_ms: int) -> None:
        """Withdraw what does not stand any more, make certain what is, show what is new."""
        if self._is_over:
            return
        self._drop_shown(at_ms)
        for slip in self._slips:
            if slip.nudge is None:
                continue
            if not slip.stands:
                self._withdraw(slip.nudge, at_ms)
                self._quiet.take_back(slip.nudge.hint, at_ms)
            elif slip.nudge.provisional and slip.is_certain and slip.nudge.id in self._nudges:
                slip.nudge.provisional = False
                self._tell(slip.nudge, at_ms)
        self._slips = [slip for slip in self._slips if slip.stands]
        slips = self._slip_hints(at_ms)
        for hint in self._quiet.choose(slips, at_ms, in_flow=self._is_in_flow(at_ms)):
            self._show(hint, slips[hint], (), at_ms)

    def _slip_hints(self, at_ms: int) -> dict[Hint, _Slip]:
        waiting = (s for s in self._slips if s.nudge is None and at_ms - s.finding.span.end_ms <= SLIP_STALE_MS)
        return {_slip_hint(slip): slip for slip in waiting}

    # ---- rate

    def _rate_hints(self, at_ms: int) -> list[Hint]:
        rule, off = self._pacer.rule, self._pacer.off(at_ms)
        if rule is None or off is None:
            return []
        message = self._pacer.message(off)
        is_repeated = any(key[0] == rule.id for key in self._reminded)
        if not message or (is_repeated and not self._pacer.is_far_off):
            return []
        return [Hint(rule.id, frozenset([off]), "rate", "normal", message, None, at_ms)]

    # ---- what goes out

    def _show(self, hint: Hint, slip: _Slip | None, owed: Sequence[Owed], at_ms: int) -> None:
        self._n_nudges += 1
        nudge = _Nudge(f"n{self._n_nudges}", hint, frozenset((one.rule, one.element) for one in owed))
        self._reminded.update(map(_occasion, owed))
        if hint.kind == "rate":
            self._reminded.add((hint.rule, "", at_ms))
        if slip is not None:
            nudge.provisional = not slip.is_certain
            nudge.finding = slip.name
            slip.nudge = nudge
        self._nudges[nudge.id] = nudge
        self._tell(nudge, at_ms)

    def _withdraw(self, nudge: _Nudge, at_ms: int) -> None:
        self._nudges.pop(nudge.id, None)
        self._quiet.gone(nudge.hint)
        self._tell(nudge, at_ms, state="withdrawn")

    def _drop_shown(self, at_ms: int) -> None:
        """Their time on the screen is over."""
        self._nudges = {key: n for key, n in self._nudges.items() if self._quiet.is_on_screen(n.hint, at_ms)}

    def _tell(self, nudge: _Nudge, at_ms: int, state: str = "shown") -> None:
        hint = nudge.hint
        element = next(iter(hint.elements)) if len(hint.elements) == 1 else None
        self._log.add(NudgeEvent, at_ms, id=nudge.id, state=state, kind=hint.kind, priority=hint.priority,
                      rule=hint.rule, element=element or None, finding=nudge.finding, provisional=nudge.provisional,
                      message=hint.message, suggestion=hint.suggestion, show_ms=hint.show_ms)  # fmt: skip

    # ---- gauges

    def _tell_gauge(self, running: Mapping[Occasion, Running], at_ms: int, behind_ms: int) -> None:
        """About once a second if anything has changed, at once if a timer started, stopped or passed a limit."""
        gauge = GaugeFields(
            hold=None if Role.AGENT in self._voiced else _timer(running.get(Occasion.WAIT), at_ms),
            silence=None if self._voiced else _timer(running.get(Occasion.QUIET), at_ms, SILENCE_SHOWN_MS),
            blind=tuple(role.value for role in self._blind),
            rate={name: pace.model_dump() for name, pace in self._pacer.gauges().items()},
            talk_ratio=self._talk_ratio(),
            behind_ms=behind_ms // BEHIND_STEP_MS * BEHIND_STEP_MS,
        )
        before = self._gauge
        if gauge == before:
            return
        is_sharp = before is None or gauge.sharp != before.sharp
        if is_sharp or at_ms - self._gauged_ms >= GAUGE_EVERY_MS:
            self._gauge, self._gauged_ms = gauge, at_ms
            self._log.add(GaugeEvent, at_ms, **gauge.as_fields())

    def _talk_ratio(self) -> float | None:
        own, other = self._spoken_ms.get(Role.AGENT, 0), self._spoken_ms.get(Role.CUSTOMER, 0)
        return round(own / (own + other), 2) if own + other else None


@dataclass(frozen=True, slots=True)
class GaugeFields:
    """A gauge's values, to see whether they changed."""

    hold: Timer | None
    silence: Timer | None
    blind: tuple[str, ...]
    rate: Mapping[str, Mapping[str, int | None]]
    talk_ratio: float | None
    behind_ms: int

    @property
    def sharp(self) -> tuple[object, ...]:
        """What is told at once."""
        return self.hold, self.silence, self.blind

    def as_fields(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}


def _timer(running: Running | None, at_ms: int, from_ms: int = 0) -> Timer | None:
    if running is None or at_ms - running.since_ms < from_ms:
        return None
    lasted_ms = at_ms - running.since_ms
    limits = running.limits_ms
    return Timer(since_ms=running.since_ms, limit_ms=next((ms for ms in limits if ms > lasted_ms), limits[-1]))


def _slip_hint(slip: _Slip) -> Hint:
    finding = slip.finding
    elements = frozenset([finding.category or ""])
    priority = _PRIORITIES[finding.severity]
    return Hint(finding.rule, elements, "forbidden", priority, _REPHRASE, finding.suggestion, slip.at_ms)


def _is_warned_of(rule: Rule, pack: Pack) -> bool:
    return rule.kind in _SPOKEN_KINDS and rule.status is Status.STABLE and pack.profile.weight(rule).max_points > 0


def _occasion(owed: Owed) -> tuple[str, str, int]:
    return owed.rule, owed.element, owed.nudge_ms


def _cleared(item: Item) -> Item:
    return Item(item.rule, item.element, item.title, ItemState.CLEARED, item.due_ms)


def _weight(finding: Finding) -> int:
    return -list(Severity).index(finding.severity)
