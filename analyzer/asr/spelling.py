"""Tokens to characters, each with its time.

A token may be a part of a 汉字 (byte-level vocabularies spend two or three on a rarer one), one character, or several.
So tokens are gathered until they decode to whole characters, a *piece*; a piece's time is from its first token's start
to the next piece's start. Only when it has been put in its place on the voiced time is it divided evenly among its
characters, who are then marked interpolated. Punctuation makes no sound and gets no time: it stands at the end of what
it follows.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

_BROKEN = "\N{REPLACEMENT CHARACTER}"
_LONGEST_CHARACTER = 4  # bytes, and so tokens


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of tokens[first:end], whole characters only."""

    text: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class TimedPiece:
    """Text the aligner timed as one. log_prob: mean natural logarithm of its tokens' probabilities."""

    text: str
    start_ms: int
    end_ms: int
    log_prob: float

    def moved(self, by_ms: int) -> TimedPiece:
        return replace(self, start_ms=self.start_ms + by_ms, end_ms=self.end_ms + by_ms)


@dataclass(frozen=True, slots=True)
class Character:
    """One code point of the recognised text; ``interpolated`` if its time was divided out of a longer one."""

    text: str
    start_ms: int
    end_ms: int
    log_prob: float
    interpolated: bool = False


def is_mark(letter: str) -> bool:
    """Punctuation, space or symbol: nothing that is spoken."""
    return unicodedata.category(letter)[0] not in "LNM"


def is_silent(piece: TimedPiece) -> bool:
    """Nothing in it sounds."""
    return all(map(is_mark, piece.text))


def split_pieces(tokens: Sequence[int], decode: Callable[[list[int]], str]) -> list[Piece]:
    """Cut a token sequence where it decodes to whole characters. Bytes that make no character are left out."""
    pieces: list[Piece] = []
    first, end = 0, 1
    while first < len(tokens):
        text = decode(list(tokens[first:end]))
        unfinished = text.endswith(_BROKEN) and text.count(_BROKEN) == 1 and end - first < _LONGEST_CHARACTER
        if unfinished and end < len(tokens):
            end += 1
            continue
        if _BROKEN in text and end - first > 1:  # the first token leads nowhere: what follows may be sound
            end = first + 1
            text = decode(list(tokens[first:end]))
        if kept := text.replace(_BROKEN, ""):
            pieces.append(Piece(kept, first, end))
        first, end = end, end + 1
    return pieces


def time_pieces(pieces: Sequence[Piece], starts_ms: Sequence[float], log_probs: Sequence[float]) -> list[TimedPiece]:
    """Give every piece its time and mean log probability; neighbours the aligner could not tell apart become one.

    starts_ms  start of every token, and at last the end of the last: n_tokens + 1, never falling
    """
    timed: list[TimedPiece] = []
    for piece in pieces:
        probabilities = log_probs[piece.first : piece.end]
        new = TimedPiece(
            piece.text,
            round(starts_ms[piece.first]),
            round(starts_ms[piece.end]),
            sum(probabilities) / len(probabilities),
        )
        if timed and _inseparable(timed[-1], new):
            timed[-1] = _joined(timed[-1], new)
            continue
        if timed and is_silent(new) and timed[-1].start_ms == timed[-1].end_ms:
            timed[-1] = replace(
                timed[-1], end_ms=new.end_ms
            )  # the aligner heard the word while the model wrote a comma
            new = replace(new, start_ms=new.end_ms)
        timed.append(new)
    return timed


def divide(piece: TimedPiece) -> list[Character]:
    """The piece's characters, its time shared evenly by those that sound."""
    n_sounding = sum(not is_mark(letter) for letter in piece.text)
    step = (piece.end_ms - piece.start_ms) / (n_sounding or 1)
    characters, at = [], 0
    for letter in piece.text:
        begins = piece.start_ms + round(at * step)
        at += not is_mark(letter)
        ends = piece.start_ms + round(at * step)
        characters.append(Character(letter, begins, ends, piece.log_prob, interpolated=n_sounding > 1))
    return characters


def _inseparable(former: TimedPiece, latter: TimedPiece) -> bool:
    """One of the two sounds and has no time of its own."""
    if is_silent(former) or is_silent(latter):
        return False
    return former.start_ms == former.end_ms or latter.start_ms == latter.end_ms


def _joined(former: TimedPiece, latter: TimedPiece) -> TimedPiece:
    weights = len(former.text), len(latter.text)
    mean = (former.log_prob * weights[0] + latter.log_prob * weights[1]) / sum(weights)
    return TimedPiece(former.text + latter.text, former.start_ms, latter.end_ms, mean)
