"""When the identifiers of a call are said, from the times of their characters."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from analyzer.privacy import Identifier, mask_turns
from analyzer.types import Span

MARGIN_MS = 300  # a recogniser's character times are off by a syllable or so
UNTIMED_MARGIN_MS = 1_500  # only the whole turn's times are known


class Said(NamedTuple):
    """A turn: who, what, from when to when, and when each character was said, if that is known."""

    role: str
    text: str
    start_ms: int
    end_ms: int
    characters: Sequence[Sequence[int]] | None


def bleep_spans(turns: Sequence[Said], own: Collection[str] = ()) -> tuple[Span, ...]:
    """The stretches of call time to bleep, in order, not overlapping: every identifier with a margin around it.

    own  digits of the company's own numbers, which stay
    """
    masked = mask_turns([(turn.role, turn.text) for turn in turns], own)
    spans = [_when(turn, one) for turn, found in zip(turns, masked, strict=True) for one in found.spans]
    return tuple(_joined(sorted(spans)))


def _when(turn: Said, identifier: Identifier) -> Span:
    if turn.characters is not None and len(turn.characters) == len(turn.text):
        start, end = turn.characters[identifier.start][0], turn.characters[identifier.end - 1][1]
        margin = MARGIN_MS
    else:
        per_character = (turn.end_ms - turn.start_ms) / max(1, len(turn.text))
        start = turn.start_ms + round(identifier.start * per_character)
        end = turn.start_ms + round(identifier.end * per_character)
        margin = UNTIMED_MARGIN_MS
    return Span(max(0, start - margin), max(start, end) + margin)


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    last: Span | None = None
    for span in spans:
        if last is not None and span.start_ms <= last.end_ms:
            last = Span(last.start_ms, max(last.end_ms, span.end_ms))
            continue
        if last is not None:
            yield last
        last = span
    if last is not None:
        yield last
