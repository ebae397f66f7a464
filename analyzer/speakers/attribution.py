"""A transcript of one channel to one with roles, as far as they can be told."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter

from analyzer.engine import agent_signs
from analyzer.speakers.roles import Casting, cast
from analyzer.speakers.traits import Traits
from analyzer.speakers.voices import Stretch, Voices, tell_apart
from analyzer.types import Role, Span, Transcript, Utterance

SURE = 0.8  # confidence from which a turn gets its role; docs/speakers.md says how often such turns are right
_SILENT = frozenset("，。！？；：、,.!?;:")
_SNAP = 2  # characters by which a seam moves to where a clause ends


@dataclass(frozen=True, slots=True)
class _Part:
    """Voiced time with the role it most likely has, and how surely."""

    span: Span
    role: Role
    confidence: float

    @property
    def told(self) -> Role:
        return self.role if self.confidence >= SURE else Role.UNKNOWN


def attribute(transcript: Transcript, traits: Sequence[Traits]) -> Transcript:
    """Give each turn of a one-channel call its role and ``role_confidence``; turns are cut where the voice changes.

    transcript  all its turns of role unknown
    traits      of all its segments, in order
    returns     roles where they are sure (``SURE``), unknown elsewhere; voiced time per role; a warning that says so
    """
    voices = tell_apart(traits)
    if voices is None or not transcript.utterances:
        return _warned(transcript, "单声道：语音太少，无法区分说话人")
    if voices.confidence < SURE:
        return _warned(transcript, f"单声道：听不出两个不同的声音（置信度 {voices.confidence:.2f}），说话人未区分")
    casting = _casting(transcript, voices)
    parts = [_part(stretch, voices, casting) for stretch in voices.stretches]
    sure = voices.confidence * casting.confidence
    if sure < SURE:
        return _warned(transcript, f"单声道：听出两个声音，但分不清谁是坐席（置信度 {sure:.2f}），说话人未区分")
    utterances = tuple(turn for utterance in transcript.utterances for turn in _turns(utterance, parts))
    known_ms = sum(part.span.duration_ms for part in parts if part.told is not Role.UNKNOWN)
    share = known_ms / max(1, sum(part.span.duration_ms for part in parts))
    warning = f"单声道：说话人由声音推断，置信度 {sure:.2f}；{share:.0%} 的语音已归属，其余说话人不明"
    return _warned(replace(transcript, utterances=utterances, activity=_activity(parts)), warning)


def _warned(transcript: Transcript, warning: str) -> Transcript:
    return replace(transcript, warnings=(*transcript.warnings, warning))


def _casting(transcript: Transcript, voices: Voices) -> Casting:
    """From the words that are surely of one voice."""
    sides: tuple[list[Utterance], list[Utterance]] = ([], [])
    for utterance in transcript.utterances:
        for place, piece in _pieces(
            utterance, [one.span for one in voices.stretches], [stretch.voice for stretch in voices.stretches]
        ):
            voice = voices.stretches[place[0]].voice
            if voice is not None:
                sides[voice].append(piece)
    return cast(*sides, transcript.direction)


def _part(stretch: Stretch, voices: Voices, casting: Casting) -> _Part:
    voice = stretch.voice if stretch.voice is not None else 0
    side = voices.confidence_of(stretch)
    right = side * casting.confidence + (1 - side) * (1 - casting.confidence)
    role = Role.AGENT if voice == casting.agent else Role.CUSTOMER
    return _Part(stretch.span, role, voices.confidence * right)


def _turns(utterance: Utterance, parts: Sequence[_Part]) -> Iterator[Utterance]:
    """An utterance cut where its role changes. What sounds like the customer and speaks like the agent is neither's."""
    for places, piece in _pieces(utterance, [part.span for part in parts], [part.told for part in parts]):
        own = [parts[place] for place in places]
        role, confidence = own[0].told, sum(part.confidence for part in own) / len(own)
        if role is Role.CUSTOMER and agent_signs([piece]):
            role, confidence = Role.UNKNOWN, min(confidence, 0.5)
        yield replace(piece, role=role, role_confidence=round(confidence, 2))


def _pieces(
    utterance: Utterance, spans: Sequence[Span], owners: Sequence[object]
) -> Iterator[tuple[list[int], Utterance]]:
    """An utterance cut where the owner of the voiced time under its characters changes.

    spans   voiced time, in order; owners: whose each is
    yields  for each piece the span under each of its characters, as indices of ``spans``
    """
    times = utterance.characters
    if times is None:
        yield [_under(utterance.span, spans)] * max(1, len(utterance.text)), utterance
        return
    places: list[int] = []
    for character, time in zip(utterance.text, times, strict=True):
        is_silent = character in _SILENT or time.duration_ms == 0
        places.append(places[-1] if places and is_silent else _under(time, spans))
    seams = [at for at in range(1, len(places)) if owners[places[at]] != owners[places[at - 1]]]
    edges = sorted({0, len(places), *(_snapped(utterance.text, seam) for seam in seams)})
    for start, end in pairwise(edges):
        yield _most(places[start:end], owners), _cut(utterance, start, end)


def _most(places: Sequence[int], owners: Sequence[object]) -> list[int]:
    """Those of the commonest owner: a seam that moved leaves a character or two of another."""
    counts = {
        owner: sum(owners[place] == owner for place in places) for owner in dict.fromkeys(owners[p] for p in places)
    }
    owner = max(counts, key=counts.__getitem__)
    return [place for place in places if owners[place] == owner]


def _under(time: Span, spans: Sequence[Span]) -> int:
    """The voiced span that a character lies in, or nearest to."""
    after = bisect_right(spans, time.midpoint_ms, key=attrgetter("start_ms"))
    near = range(max(0, after - 1), min(len(spans), after + 1))
    return min(
        near, key=lambda place: max(0, time.midpoint_ms - spans[place].end_ms, spans[place].start_ms - time.midpoint_ms)
    )


def _snapped(text: str, seam: int) -> int:
    """A seam, moved behind a mark where one is near."""
    near = (at for at in range(max(1, seam - _SNAP), min(len(text), seam + _SNAP) + 1) if text[at - 1] in _SILENT)
    return min(near, key=lambda at: abs(at - seam), default=seam)


def _cut(utterance: Utterance, start: int, end: int) -> Utterance:
    if (start, end) == (0, len(utterance.text)):
        return utterance
    times = utterance.characters
    assert times is not None
    own = times[start:end]
    first = utterance.span.start_ms if start == 0 else own[0].start_ms
    last = utterance.span.end_ms if end == len(utterance.text) else own[-1].end_ms
    return replace(utterance, text=utterance.text[start:end], characters=own, span=Span(first, max(first, last)))


def _activity(parts: Sequence[_Part]) -> dict[Role, tuple[Span, ...]]:
    """Voiced time by role; what was cut by a change of mind alone is whole again."""
    spans: dict[Role, list[Span]] = {}
    for part in parts:
        own = spans.setdefault(part.told, [])
        if own and own[-1].end_ms == part.span.start_ms:
            own[-1] = Span(own[-1].start_ms, part.span.end_ms)
        else:
            own.append(part.span)
    return {role: tuple(own) for role, own in sorted(spans.items())}
