"""Identifiers in the turns of a call.

Theory of operation. All turns of one role are read as one text, so that a number said over two turns is one run of
digit groups. In a run, every stretch of groups whose digits together are an identifier is one. What is left over is
tried again without groups that were said twice (幺三八，幺三八零零…), then as a misheard whole if the words before name
it. At last the pieces of a number that was found are looked for in the turns around it, where the other side read them
back.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

from analyzer.normalize import simplify
from analyzer.privacy.numbers import LONGEST, Cue, Kind, cue_of, kind_of, nearly
from analyzer.privacy.reading import Group, Run, read_runs
from analyzer.privacy.words import find_written

_BEFORE, _ASKED = 16, 30  # characters of context that say what a number is
_ECHO_TURNS = 2  # after the number, in which it is read back in pieces
_SHORTEST, _SHORTEST_ECHO = 7, 3  # digits
_WITH_CHECKSUM = (Kind.ID_CARD, Kind.BANK_CARD)
_MOST_WRITTEN = 5  # groups
_MOST_REPEATED = 8  # groups; beyond it a run is no number that somebody tries to say


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """Where an identifier stands in a text: code points [start, end)."""

    start: int
    end: int
    kind: Kind


class Turn(Protocol):
    @property
    def role(self) -> str: ...
    @property
    def text(self) -> str: ...


class _Place(NamedTuple):
    """Where a piece of joined text comes from: its first character there, and the number of its turn."""

    start: int
    turn: int


class _Number(NamedTuple):
    kind: Kind
    digits: str
    groups: Run


def find_identifiers(turns: Sequence[Turn], own: frozenset[str]) -> list[tuple[Identifier, ...]]:
    """The identifiers of each turn, in order, none overlapping another. own: digits of numbers to leave alone."""
    plain = [plain_of(turn.text) for turn in turns]
    found: list[list[Identifier]] = [[] for _ in turns]
    numbers: list[tuple[_Number, int, int]] = []  # with its first turn and its last
    for speaker in dict.fromkeys(turn.role for turn in turns):
        talk = _Talk(plain, [index for index, turn in enumerate(turns) if turn.role == speaker])
        for number in _numbers(talk, own):
            pieces = talk.pieces(number.groups)
            numbers.append((number, min(pieces), max(pieces)))
            for turn, (start, end) in pieces.items():
                found[turn].append(Identifier(start, end, number.kind))
    for index, text in enumerate(plain):
        found[index] += [Identifier(start, end, kind) for kind, start, end in find_written(text)]
    _add_echoes(plain, numbers, found)
    return [_without_overlaps(spans) for spans in found]


@lru_cache(maxsize=4096)
def plain_of(text: str) -> str:
    """Narrow, lower case, simplified; as long as ``text``."""
    narrow = "".join(_narrow(character) for character in text)
    return narrow if narrow.isascii() else simplify(narrow)


def _narrow(character: str) -> str:
    if "\ud800" <= character <= "\udfff":  # half a character, which no dictionary can be asked about
        return "\ufffd"
    narrow = unicodedata.normalize("NFKC", character).lower()
    return narrow if len(narrow) == 1 else character


class _Talk:
    """What one role said, one turn a line."""

    def __init__(self, plain: Sequence[str], turns: Sequence[int]) -> None:
        self._plain = plain
        self._places: list[_Place] = []
        at = 0
        for turn in turns:
            self._places.append(_Place(at, turn))
            at += len(plain[turn]) + 1
        self.text = "\n".join(plain[turn].replace("\n", " ") for turn in turns)

    def pieces(self, groups: Run) -> dict[int, tuple[int, int]]:
        """Turn to where in it the groups stand, from the first of them to the last."""
        pieces: dict[int, tuple[int, int]] = {}
        for group in groups:
            place = self._place(group.start)
            first = pieces.get(place.turn, (group.start - place.start,))[0]
            pieces[place.turn] = (first, group.end - place.start)
        return pieces

    def _place(self, at: int) -> _Place:
        return next(place for place in reversed(self._places) if place.start <= at)

    def cue(self, start: int) -> Cue:
        """What the words before ``start`` say about the number there."""
        place = self._place(start)
        before = self.text[max(place.start, start - _BEFORE) : start]
        is_answer = start - place.start < _BEFORE and place.turn > 0
        return cue_of(before, self._plain[place.turn - 1][-_ASKED:] if is_answer else "")


# ---- numbers in runs of digits


def _numbers(talk: _Talk, own: frozenset[str]) -> Iterator[_Number]:
    for run in read_runs(talk.text):
        if sum(len(group.digits) for group in run) >= _SHORTEST:
            yield from (number for number in _numbers_of(run, talk) if number.digits not in own)


def _numbers_of(run: Run, talk: _Talk) -> Iterator[_Number]:
    card = _said_twice(run, talk)
    if card and card.kind in _WITH_CHECKSUM:
        yield card  # or a telephone number would be found inside it
        return
    left: Run = []
    last: _Number | None = None
    for groups, number in (*_taken(run, talk.cue(run[0].start)), ([], None)):
        if groups and number is None:
            left += groups
            continue
        longer = _said_twice([*last.groups, *left], talk) if last and left else None
        if last:
            yield longer or last
        if left and not longer and (other := _said_twice(left, talk) or _misheard(left, talk)):
            yield other
        left, last = [], number


def _taken(run: Run, cue: Cue) -> Iterator[tuple[Run, _Number | None]]:
    """The run cut into identifiers and single groups that are none."""
    at = 0
    while at < len(run):
        of_first = cue if at == 0 else cue & ~Cue.CODE
        number, stop = _longest(run, at, of_first)
        yield run[at:stop], number
        at = stop


def _longest(run: Run, first: int, cue: Cue) -> tuple[_Number | None, int]:
    digits, found = "", None
    stop = first + 1
    for last in range(first, len(run)):
        digits += run[last].digits
        if len(digits) > LONGEST:
            break
        kind = kind_of(digits, cue)
        if kind and _looks_said(kind, run[first : last + 1]):
            found, stop = _Number(kind, digits, run[first : last + 1]), last + 1
    return found, stop


def _looks_said(kind: Kind, groups: Run) -> bool:
    """Whether a written mobile number is grouped in few long groups or single digits; 15 10 30 22 123 is none."""
    lengths = [len(group.digits) for group in groups]
    if kind is not Kind.MOBILE or any(group.is_spoken for group in groups):
        return True
    return max(lengths) == 1 or (len(lengths) <= _MOST_WRITTEN and sum(length < 3 for length in lengths) <= 2)


def _said_twice(groups: Run, talk: _Talk) -> _Number | None:
    """A number of which groups were repeated."""
    cue = talk.cue(groups[0].start)
    for tried in _with_and_without_loose_ends(groups):
        for digits in _said_once(tried):
            if kind := kind_of(digits, cue):
                return _Number(kind, digits, tried)
    return None


def _misheard(groups: Run, talk: _Talk) -> _Number | None:
    """A number that the words before it name, with a digit lost or heard twice."""
    cue = talk.cue(groups[0].start)
    for tried in _with_and_without_loose_ends(groups):
        digits = "".join(group.digits for group in tried)
        if kind := nearly(digits, cue):
            return _Number(kind, digits, tried)
    return None


def _with_and_without_loose_ends(groups: Run) -> Iterator[Run]:
    """The groups, and the groups without a digit at either end that may belong to another word."""
    for tried in (groups, groups[groups[0].is_loose : len(groups) - groups[-1].is_loose]):
        if sum(len(group.digits) for group in tried) >= _SHORTEST:
            yield tried


def _said_once(run: Run) -> Iterator[str]:
    """What a speaker who repeats groups may mean: each group dropped that the digits before it end with, or kept."""
    if len(run) > _MOST_REPEATED:
        return
    ways = [""]
    for group in run:
        ways = [way for before in ways for way in _with_group(before, group)]
    whole = "".join(group.digits for group in run)
    for way in dict.fromkeys(ways):
        if way != whole:
            yield way
        yield from _stutters(way)


def _with_group(before: str, group: Group) -> list[str]:
    kept = before + group.digits
    return [before, kept] if len(group.digits) > 1 and before.endswith(group.digits) else [kept]


def _stutters(digits: str) -> Iterator[str]:
    """``digits`` without one stretch of three or more that is said twice in a row: recognisers do not write pauses."""
    for length in range(3, len(digits) // 2 + 1):
        for at in range(len(digits) - 2 * length + 1):
            if digits[at : at + length] == digits[at + length : at + 2 * length]:
                yield digits[:at] + digits[at + length :]


# ---- what is read back


def _add_echoes(
    plain: Sequence[str], numbers: Sequence[tuple[_Number, int, int]], found: list[list[Identifier]]
) -> None:
    for number, first, last in numbers:
        for turn in range(max(0, first - 1), min(len(plain), last + _ECHO_TURNS + 1)):
            found[turn] += [
                Identifier(groups[0].start, groups[-1].end, number.kind)
                for run in read_runs(plain[turn])
                for groups in (run, *([group] for group in run))
                if _is_echo("".join(group.digits for group in groups), number.digits)
            ]


def _is_echo(said: str, digits: str) -> bool:
    return len(said) >= _SHORTEST_ECHO and said in digits


def _without_overlaps(spans: list[Identifier]) -> tuple[Identifier, ...]:
    kept: list[Identifier] = []
    for span in sorted(set(spans)):
        if kept and span.start < kept[-1].end:
            kept[-1] = Identifier(kept[-1].start, max(kept[-1].end, span.end), kept[-1].kind)
        else:
            kept.append(span)
    return tuple(kept)
