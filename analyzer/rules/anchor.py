"""Anchors (前置条件): a check looks only after, before, around or at what another check found.

Theory of operation. Each hit of the anchor is a *point* of the call and opens a *range* around it. The anchored check
follows every range as if it were a call of its own: its watch hears the parts of utterances that lie inside and nothing
else. At the end the ranges' verdicts are joined: each range must keep the norm, or any of them, or the n-th alone.
Without a point the check is not applicable; a point that is itself unsure can make it unsure, never violated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from analyzer.rules.call import WHOLE_CALL, Call, Window, is_by, may_be_by
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Finding, Item, Judgement, Owed
from analyzer.rules.phrases import PhraseSet, keep_longest
from analyzer.rules.said import Place, Said
from analyzer.rules.truth import Truth, every, some
from analyzer.types import Match, Role, Span


class Where(StrEnum):
    """On which side of a point a check looks. ``AROUND`` and ``CURRENT`` hold the point's whole utterance."""

    AFTER = "after"
    BEFORE = "before"
    AROUND = "around"
    CURRENT = "current"


class Which(StrEnum):
    """Which points count; a number stands for the n-th alone."""

    EACH = "each"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Point:
    """What an anchor found: raw characters ``first`` to ``last`` of an utterance. ``sure``: certainly by whom it
    should be, and recognised well enough."""

    said: Said
    first: int
    last: int
    span: Span
    sure: bool = True

    @property
    def quote(self) -> str:
        return self.said.raw[self.first : self.last]


@dataclass(frozen=True, slots=True)
class Cue:
    """Words that a norm hangs on. ``unless``: words of the same utterance that take them back."""

    phrases: PhraseSet
    speaker: Role | None = Role.AGENT
    window: Window = WHOLE_CALL
    min_confidence: float = 0.5
    unless: PhraseSet = field(default_factory=lambda: PhraseSet(()))

    def points(self, said: Said) -> list[Point]:
        """The cue's hits in one utterance, whatever the window."""
        if not may_be_by(said, self.speaker):
            return []
        found = self.phrases.find(said)
        if not found or (self.unless and self.unless.any(said)):
            return []
        return [
            Point(
                said,
                *said.folded.raw_range(hit.start, hit.end),
                span=hit.span,
                sure=hit.confidence >= self.min_confidence and is_by(said, self.speaker),
            )
            for hit in keep_longest(found)
        ]

    def counts(self, point: Point, call: Call) -> bool:
        """Whether the point lies in the cue's window; some windows are known at the end only."""
        return self.window.holds(point.said, point.span, call) or (
            self.window.by_turns and point.said.turn_of_talk is None
        )


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a range goes from its point, on each side it goes to: turns of talk of the speaker (the rest of the
    point's own turn is free), and milliseconds."""

    where: Where = Where.AFTER
    within_turns: int | None = None
    within_ms: int | None = None

    @property
    def goes_back(self) -> bool:
        return self.where in (Where.BEFORE, Where.AROUND)

    @property
    def goes_on(self) -> bool:
        return self.where in (Where.AFTER, Where.AROUND)


class Range:
    """One point and what ``speaker`` and others say around it. ``earlier``: utterances heard before the point's."""

    def __init__(self, reach: Reach, point: Point, speaker: Role | None, earlier: Sequence[Said]) -> None:
        self.reach, self.point, self.speaker = reach, point, speaker
        self.pieces: list[Said] = []
        self._turns: list[int] = []
        self._is_over = not reach.goes_on
        before = [*self._before(earlier), *self._overlapping(earlier)]
        self.pieces = [piece for piece in (*before, self._own()) if piece]

    @property
    def has_answer(self) -> bool:
        """The speaker has taken a turn since."""
        return bool(self._turns)

    @property
    def has_room(self) -> bool:
        """A turn that the speaker takes next lies inside."""
        turns = self.reach.within_turns
        return not self._is_over and (turns is None or len(self._turns) < turns)

    @property
    def is_closed(self) -> bool:
        """Nothing that is still to come lies inside."""
        return self._is_over

    def part(self, said: Said) -> Said | None:
        """What of an utterance that follows the point's lies inside. Changes nothing."""
        if self._is_over or self._passes(said):
            return None
        limit = self.reach.within_ms
        return said if limit is None else _between(said, self.point.span.end_ms, self.point.span.end_ms + limit)

    def take(self, said: Said) -> Said | None:
        """As ``part``, and remembers it."""
        piece = self.part(said)
        if self._passes(said):
            self._is_over = True
        if piece is None:
            return None
        if self._is_turn(said) and said.turn_of_talk not in self._turns:
            self._turns.append(said.turn_of_talk or 0)
        self.pieces.append(piece)
        return piece

    def pass_by(self, ms: int) -> None:
        """All speech that starts before ``ms`` has been heard."""
        limit = self.reach.within_ms
        if limit is not None and ms >= self.point.span.end_ms + limit:
            self._is_over = True

    def due(self) -> Said | None:
        """The speaker's first utterance in which something owed could have been said."""
        own = [piece for piece in self.pieces if is_by(piece, self.speaker)]
        return next((piece for piece in own if not piece.back_channel), own[0] if own else None)

    def span(self, call: Call) -> Span:
        """The range in call time, once the call is over; of turns, up to the end of the last of them."""
        point, limit = self.point.span, self.reach.within_ms
        first = min([point.start_ms, *(p.span.start_ms for p in self.pieces)])
        last = max([point.end_ms, *(p.span.end_ms for p in self.pieces if is_by(p, self.speaker))])
        if not self.reach.goes_back:
            first = point.end_ms if self.reach.where is Where.AFTER else first
        if limit is not None and self.reach.goes_on:
            last = min(max(last, call.end_ms), point.end_ms + limit)
        return Span(first, max(first, last))

    def _is_turn(self, said: Said) -> bool:
        if not is_by(said, self.speaker) or said.turn_of_talk is None or said.back_channel:
            return False
        return not self._is_own_turn(said)

    def _is_own_turn(self, said: Said) -> bool:
        own = self.point.said
        return said.role is own.role and said.turn_of_talk == own.turn_of_talk

    def _passes(self, said: Said) -> bool:
        """The utterance begins a turn more than there is room for, or begins too late."""
        limit = self.reach.within_ms
        if limit is not None and said.span.start_ms >= self.point.span.end_ms + limit:
            return True
        if self.reach.within_turns is None or not self._is_turn(said) or said.turn_of_talk in self._turns:
            return False
        return len(self._turns) >= self.reach.within_turns

    def _own(self) -> Said | None:
        """What of the point's own utterance lies inside."""
        said = self.point.said
        match self.reach.where:
            case Where.AFTER:
                return said.part(self.point.last, len(said.raw))
            case Where.BEFORE:
                return said.part(0, self.point.first)
        return said

    def _before(self, earlier: Sequence[Said]) -> list[Said]:
        if not self.reach.goes_back:
            return []
        turns: set[int | None] = set()
        pieces: list[Said] = []
        for said in reversed(earlier):
            if self._is_turn(said):
                turns.add(said.turn_of_talk)
            if self.reach.within_turns is not None and len(turns) > self.reach.within_turns:
                break
            limit, start = self.reach.within_ms, self.point.span.start_ms
            piece = said if limit is None else _between(said, start - limit, start)
            pieces += [piece] if piece else []
        return pieces[::-1]

    def _overlapping(self, earlier: Sequence[Said]) -> list[Said]:
        """What the speaker went on to say while the point was being said."""
        if self.reach.where is not Where.AFTER:
            return []
        end = self.point.span.end_ms
        going_on = (s for s in earlier if s.role is not self.point.said.role and s.span.end_ms > end)
        return [piece for said in going_on if (piece := _between(said, end, said.span.end_ms + 1))]


def _between(said: Said, start_ms: int, end_ms: int) -> Said | None:
    """The part of an utterance whose characters have their midpoints in [start_ms, end_ms)."""
    inside = [index for index, time in enumerate(said.times) if start_ms <= time.midpoint_ms < end_ms]
    return said.part(inside[0], inside[-1] + 1) if inside else None


# --- an anchored check ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where points come from (words, or what the rule ``rule`` found) and which of them count."""

    cue: Cue | None = None
    rule: str | None = None
    reach: Reach = Reach()
    which: Which | int = Which.EACH


@dataclass(frozen=True, slots=True)
class Anchored(Check):
    """``check`` inside the ranges of ``anchor``; turns of talk are those of ``speaker``."""

    check: Check
    anchor: Anchor
    speaker: Role | None = Role.AGENT

    @property
    def needs(self) -> tuple[str, ...]:
        return (*self.check.needs, *([self.anchor.rule] if self.anchor.rule else []))

    @property
    def reminds(self) -> bool:
        return self.check.reminds

    def watch(self, call: Call) -> Watch:
        return _AnchoredWatch(self, call)


class _Episode:
    """The check inside one range: the range is the whole call to it."""

    def __init__(self, check: Anchored, point: Point, call: Call, earlier: Sequence[Said]) -> None:
        self.range = Range(check.anchor.reach, point, check.speaker, earlier)
        self.call = Call(
            call.direction, call.metadata, starts_late=call.starts_late, turns=call.turns, activity=call.activity
        )
        if is_by(point.said, check.speaker) and point.said not in self.range.pieces:
            self.call.said.append(point.said)  # the speaker was there to say what is owed
        self.watch = check.check.watch(self.call)
        for piece in self.range.pieces:
            self._tell(piece)

    def hear(self, said: Said) -> None:
        if piece := self.range.take(said):
            self._tell(piece)

    def _tell(self, piece: Said) -> None:
        self.call.said.append(piece)
        self.watch.hear(piece)

    def judge(self, call: Call, others: Mapping[str, Judgement]) -> Judgement:
        self.call.metadata, self.call.end_ms = call.metadata, call.end_ms
        self.call.truncated = call.truncated and not self.range.is_closed
        judgement = self.watch.judge(others)
        truth = judgement.truth
        if truth is Truth.VIOLATED and not self.range.point.sure:
            truth = Truth.UNSURE
        findings = tuple(self._placed(finding, call) for finding in judgement.findings)
        return replace(judgement, truth=truth, findings=findings)

    def _placed(self, finding: Finding, call: Call) -> Finding:
        """Something missing was due in the range, at the speaker's first utterance there."""
        if finding.match is not Match.ABSENT:
            return finding
        due = self.range.due()
        turn = finding.turn or (due.stretches[0].utterance if due else None)
        return replace(finding, turn=turn, span=self.range.span(call))


class _AnchoredWatch(Watch):
    def __init__(self, check: Anchored, call: Call) -> None:
        self.check, self.call = check, call
        self.heard: list[Said] = []
        self.episodes: list[_Episode] = []

    def hear(self, said: Said) -> None:
        cue = self.check.anchor.cue
        self._hear(said, cue.points(said) if cue else [])

    def _hear(self, said: Said, points: Iterable[Point]) -> None:
        for episode in self.episodes:
            episode.hear(said)
        for point in points:
            self.episodes.append(_Episode(self.check, point, self.call, self.heard))
        self.heard.append(said)

    def reach(self, ms: int) -> None:
        for episode in self.episodes:
            episode.watch.reach(ms)
            episode.range.pass_by(ms)

    def findings_so_far(self) -> Sequence[tuple[Finding, bool]]:
        """What was said inside the ranges. What is missing there is known at the end, with the range itself."""
        cue, which = self.check.anchor.cue, self.check.anchor.which
        if which is not Which.EACH or cue is None:
            return ()
        sure = [episode.watch.findings_so_far() for episode in self._counting() if _is_sure(episode)]
        said = ([(f, final and not cue.window.needs_end) for f, final in found if f.places] for found in sure)
        return merged(said)

    def glimpse(self, said: Said) -> Sequence[Finding]:
        if self.check.anchor.which is not Which.EACH:
            return ()
        parts = [(e, part) for e in self._counting() if _is_sure(e) and (part := e.range.part(said))]
        return list({f.id: f for episode, part in parts for f in episode.watch.glimpse(part)}.values())

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        open_ones = [e for e in self._counting() if _is_sure(e) and not e.range.is_closed]
        return [owed for e in open_ones for owed in e.watch.owed([s for s in unsettled if e.range.part(s)])]

    def checklist(self, unsettled: Sequence[Said], ms: int) -> Sequence[Item]:
        """Of the last range: those before it are over."""
        sure = [e for e in self._counting() if _is_sure(e)]
        return [item for e in sure[-1:] for item in e.watch.checklist([s for s in unsettled if e.range.part(s)], ms)]

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        if self.check.anchor.rule:
            self._replay(others)
        judgements = [episode.judge(self.call, others) for episode in self._counting()]
        if self.check.anchor.which is Which.ANY:
            return one_of(judgements)
        return joined(judgements, every)

    def _replay(self, others: Mapping[str, Judgement]) -> None:
        """Points of a rule are known once it is judged; the call is gone through again with them."""
        rule = others.get(self.check.anchor.rule or "")
        heard, self.heard, self.episodes = self.heard, [], []
        for said in heard:
            self._hear(said, points_of(rule, said) if rule else [])

    def _counting(self) -> list[_Episode]:
        cue, which = self.check.anchor.cue, self.check.anchor.which
        episodes = [e for e in self.episodes if cue is None or cue.counts(e.range.point, self.call)]
        return episodes[which - 1 : which] if isinstance(which, int) else episodes


def _is_sure(episode: _Episode) -> bool:
    return episode.range.point.sure


def points_of(judgement: Judgement, said: Said) -> Iterator[Point]:
    """What a rule found in one utterance: hits that count, or that keep the norm."""
    for finding in (*judgement.findings, *judgement.evidence):
        ranges = [where for place in finding.places if (where := _raw_range(place, said))]
        if ranges:
            first, last = ranges[0][0], ranges[-1][1]
            yield Point(said, first, last, finding.span, judgement.truth is not Truth.UNSURE)


def _raw_range(place: Place, said: Said) -> tuple[int, int] | None:
    begin = 0
    for stretch in said.stretches:
        if stretch.utterance is place.utterance and stretch.char_start <= place.char_start < stretch.char_end:
            return begin + place.char_start - stretch.char_start, begin + place.char_end - stretch.char_start
        begin += len(stretch.text)
    return None


def merged(told: Iterable[Sequence[tuple[Finding, bool]]]) -> list[tuple[Finding, bool]]:
    """Findings of several watches, each once: final as soon as one of them says so."""
    found: dict[str, tuple[Finding, bool]] = {}
    for finding, is_final in (one for findings in told for one in findings):
        found[finding.id] = finding, is_final or found.get(finding.id, (finding, False))[1]
    return list(found.values())


def joined(judgements: Sequence[Judgement], join: Callable[[Iterable[Truth]], Truth]) -> Judgement:
    """One verdict of several: the truth that ``join`` makes of theirs, with the evidence of those that decided it."""
    truth = join(judgement.truth for judgement in judgements)
    decisive = [judgement for judgement in judgements if judgement.truth is truth]
    if not decisive:
        return Judgement(truth)
    findings = {finding.id: finding for judgement in decisive for finding in judgement.findings}
    evidence = {finding.id: finding for judgement in decisive for finding in judgement.evidence}
    return replace(decisive[0], findings=tuple(findings.values()), evidence=tuple(evidence.values()))


def one_of(judgements: Sequence[Judgement]) -> Judgement:
    """As ``joined`` by ``any``: of what is missing everywhere, the first absence alone is told."""
    judgement = joined(judgements, some)
    absences = [finding for finding in judgement.findings if finding.match is Match.ABSENT]
    kept = tuple(finding for finding in judgement.findings if finding not in absences[1:])
    return replace(judgement, findings=kept)
