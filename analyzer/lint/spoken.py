"""Sentences that a pattern should find: what an author would say to try it out.

A pattern no such sentence fits is written against the text it will never meet; one that fits and yet gives no hit is
masked by something. Slots are replaced by their first alternatives, open stretches by as few characters as they take.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from itertools import islice, product
from typing import Any

from analyzer.rules import PatternError, Said
from analyzer.rules.patterns import Anchor, Choice, Class, Literal, Node, Open, Optional, Sequence, parse
from analyzer.rules.said import Stretch
from analyzer.types import Role, Span, Utterance

_MS_PER_CHARACTER = 250
_MOST_ALTERNATIVES = 4  # of a slot: enough to say whether it can be matched at all
_SLOT = re.compile(r"\{([^{}:]*)\}")
_FILLING = ("某", "三", "1", "a", "王")  # what may stand in an open stretch
_LONGEST_FILLING = 60
_BREAK = "，"


def sentences(source: str, slots: Mapping[str, tuple[str, ...]], most: int = 64) -> Iterator[str]:
    """Sentences that should hold a match of the pattern, simplest first; none where it cannot be read."""
    try:
        nodes = parse(_without_slots(source, slots), {})
    except PatternError:
        return
    seen = set()
    for words in islice(_sequence(nodes), most):
        text = re.sub(f"^{_BREAK}+|{_BREAK}+$", "", re.sub(f"{_BREAK}+", _BREAK, words))
        if text and text not in seen:
            seen.add(text)
            yield text


@lru_cache(maxsize=4096)  # phrases of one list are listened to for each rule that uses it
def said_of(text: str, role: Role = Role.AGENT) -> Said:
    """The sentence as an utterance of its own."""
    span = Span(0, _MS_PER_CHARACTER * len(text))
    return Said(role, [Stretch(Utterance(role, span, text), 0, len(text), span)])


def _without_slots(source: str, slots: Mapping[str, tuple[str, ...]], depth: int = 4) -> str:
    """The pattern with the rows of each slot written out."""

    def rows(found: re.Match[str]) -> str:
        alternatives = slots.get(found[1], ())[:_MOST_ALTERNATIVES]
        return f"({'|'.join(alternatives)})" if alternatives else found[0]

    for _ in range(depth):
        source = _SLOT.sub(rows, source)
    return source


def _sequence(nodes: Sequence) -> Iterator[str]:
    """Spellings of a sequence. All first choices come first, so that a few already show every part."""
    choices = [list(islice(_node(node), 8)) for node in nodes]
    if all(choices):
        yield from ("".join(parts) for parts in product(*choices))


def _node(node: Node) -> Iterator[str]:
    match node:
        case Literal(character):
            yield character
        case Class(characters, negated):
            yield from (c for c in _FILLING if c not in characters) if negated else characters
        case Open(expression):
            yield from _fillings(expression)
        case Anchor():
            yield _BREAK
        case Choice(branches):
            for branch in branches:
                yield from _sequence(branch)
        case Optional(inside):
            yield ""
            yield from _node(inside)


@cache
def _fillings(expression: str) -> tuple[str, ...]:
    """The shortest text of one repeated character that an open stretch takes."""
    import re2  # noqa: PLC0415

    compiled: Any = re2.compile(expression)
    for length in range(_LONGEST_FILLING + 1):
        fitting = tuple(c * length for c in _FILLING if compiled.fullmatch(c * length))
        if fitting:
            return fitting[:1]
    return ()
