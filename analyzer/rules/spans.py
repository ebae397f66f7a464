"""Who was speaking when: voiced spans of a side, and the stretches in which nobody spoke.

Where VAD saw the audio its spans are taken as they are. Else the characters' times serve: a side speaks as long as its
characters follow each other within ``VOICE_GAP_MS``, however the text was cut into turns. A turn that is timed as a
whole is one span.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from analyzer.rules.call import Call
from analyzer.rules.said import Said
from analyzer.types import Role, Span

VOICE_GAP_MS = 300  # longer than the gaps between words, shorter than those between two turns


def talk(call: Call, role: Role) -> list[Span]:
    """Voiced spans of one side, in order, without overlaps."""
    seen = call.activity.get(role)
    if seen:
        return joined(seen)
    return joined((span for said in call.said if said.role is role for span in spoken(said)), VOICE_GAP_MS)


def spoken(said: Said) -> Iterator[Span]:
    """When the words of an utterance were said."""
    for stretch in said.stretches:
        times = stretch.utterance.characters
        if times is None:
            yield stretch.span
        else:
            yield from times[stretch.char_start : stretch.char_end]


def joined(spans: Iterable[Span], below_ms: int = 1) -> list[Span]:
    """Spans in order, those with a gap of less than ``below_ms`` made one.

    >>> joined([Span(5, 9), Span(0, 4), Span(9, 12)])
    [Span(start_ms=0, end_ms=4), Span(start_ms=5, end_ms=12)]
    """
    whole: list[Span] = []
    for span in sorted(spans):
        if whole and span.start_ms - whole[-1].end_ms < below_ms:
            whole[-1] = Span(whole[-1].start_ms, max(whole[-1].end_ms, span.end_ms))
        else:
            whole.append(span)
    return whole


def gaps(spans: Sequence[Span], end_ms: int) -> Iterator[Span]:
    """What lies between ``spans`` (in order, without overlaps) and from the last of them to ``end_ms``.

    >>> list(gaps([Span(0, 4), Span(9, 12)], 20))
    [Span(start_ms=4, end_ms=9), Span(start_ms=12, end_ms=20)]
    """
    ends = [*(span.start_ms for span in spans[1:]), end_ms]
    for span, end in zip(spans, ends, strict=True) if spans else ():
        if span.end_ms < end:
            yield Span(span.end_ms, end)


def seconds(ms: int) -> float:
    """Milliseconds as people read them.

    >>> seconds(12_340)
    12.3
    """
    return round(ms / 1000, 1)
