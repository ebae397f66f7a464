"""The small language that phrases are written in (docs/rule-files.md, "Patterns"), compiled for RE2.

Theory of operation. An utterance is matched as *marked text*: its folded characters with private-use marks where an
utterance, a clause or a sentence starts and ends. A pattern becomes one linear-time regular expression over marked
text, with a gap between any two elements in which hesitation and breaks may stand. Three things are read off a pattern
besides: *needs*, literals that every match contains (so that one Aho-Corasick pass finds the few patterns worth
running), *spellings*, the plain strings it stands for, and whether anything in it is open. For comparison by sound the
same pattern is compiled over syllables (``hearing``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from string import ascii_lowercase
from typing import Any

from analyzer.normalize import fold_source
from analyzer.rules.hearing import Hearing, codes, in_syllables

CLAUSE_START, CLAUSE_END = "\ue000", "\ue001"
UTTERANCE_START, UTTERANCE_END = "\ue002", "\ue003"
SENTENCE_BREAK = "\ue004"
MARKS = frozenset("\ue000\ue001\ue002\ue003\ue004")

HESITATION = frozenset("呃嗯额啊呀呢嘛哦噢唉")
FILLERS = ("那个", "就是说", "就是", "然后")  # hesitation of several characters, skipped inside a phrase
PARTICLES = "啊呀呢吧嘛啦哦了"

NOT_SOUNDED = HESITATION | frozenset(PARTICLES)  # stay characters when text becomes syllables, so that they are skipped

_HESITATION_CLASS = "".join(sorted(HESITATION))
_GAP_CLASS = f"[\ue000\ue001\ue004{_HESITATION_CLASS}]*"
_GAP = f"{_GAP_CLASS}(?:(?:{'|'.join(FILLERS)}){_GAP_CLASS})?"
_ANYTHING = "(?:[\ue000\ue001]{0,2}[^\ue000-\ue004]){"
_IN_SENTENCE = "(?:[\ue000\ue001]{{0,2}}[^\ue000-\ue004]){{{low},{high}}}"
_IN_CLAUSE_HAN = r"\p{{Han}}{{{low},{high}}}"
_LATIN = "[a-z]{{{low},{high}}}"
_DIGITS = "0123456789零〇一二三四五六七八九十百千万亿两幺点"
_NUMBER = "(?:[\ue000\ue001]{{0,2}}[" + _DIGITS + "]){{{low},{high}}}"
BUILT_IN_SLOTS: Mapping[str, tuple[str, int, int, tuple[str, ...] | None]] = {
    "任意": (_IN_SENTENCE, 1, 8, None),
    "汉字": (_IN_CLAUSE_HAN, 1, 8, None),
    "数字": (_NUMBER, 1, 20, tuple(_DIGITS)),
    "字母": (_LATIN, 1, 20, tuple(ascii_lowercase)),
}
_ELLIPSIS = (0, 6)
_MOST = 100  # longest open stretch; RE2 refuses repetition above 1000 and nested ones grow with it

_MOST_SPELLINGS = 64
_MOST_KEYS = 48  # of one pattern
_LONG_KEY = 4  # a longer key finds no fewer candidates worth running
_SHORTEST_SOUND_KEY = 2  # syllables; there are only some 400 different ones
_SHORT = 2  # characters of a phrase inside which nothing is skipped
COMPILED = 2048  # expressions kept compiled: three times what the sample calls use; any other takes a millisecond
_SHORTEST_STEM = 4  # a final particle is optional in phrases that have so many characters before it

PatternSource = str


class PatternError(ValueError):
    """A phrase that does not follow the pattern language. The message quotes the phrase and says what is wrong."""


@dataclass(frozen=True, slots=True)
class Literal:
    character: str


@dataclass(frozen=True, slots=True)
class Class:
    characters: str
    negated: bool


@dataclass(frozen=True, slots=True)
class Open:
    """A slot or ``…``: ``expression`` is RE2 source; ``keys`` as those of a pattern."""

    expression: str
    keys: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    expression: str
    at_end: bool


@dataclass(frozen=True)
class Choice:
    """What is read off it is asked for again with every stretch of its pattern, and kept."""

    branches: tuple[Sequence, ...]

    @cached_property
    def keys(self) -> tuple[str, ...] | None:
        best = [_best_stretch(_spoken(branch)) for branch in self.branches]
        return tuple(key for stretch in best if stretch for key in stretch.keys) if all(best) else None

    @cached_property
    def spellings(self) -> list[str]:
        spelled = [_spellings(branch) for branch in self.branches]
        return [spelling for branch in spelled for spelling in branch] if all(spelled) else []

    @cached_property
    def is_open(self) -> bool:
        return any(map(_is_open, self.branches))

    @cached_property
    def holds_anchor(self) -> bool:
        return any(_holds_anchor(inside) for branch in self.branches for inside in branch)


@dataclass(frozen=True, slots=True)
class Optional:
    node: Node


Node = Literal | Class | Open | Anchor | Choice | Optional
Sequence = tuple[Node, ...]
Slots = Mapping[str, Sequence]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Text as RE2 reads it, encoded once for all the patterns that are looked for in it."""

    utf8: bytes

    @classmethod
    def of(cls, text: str) -> Encoded:
        return cls(text.encode())

    def characters(self, span: tuple[int, int]) -> tuple[int, int]:
        """The range of characters at a range of bytes; what is nowhere (-1, -1) stays nowhere."""
        start, end = span
        if start < 0:
            return span
        first = len(self.utf8[:start].decode())
        return first, first + len(self.utf8[start:end].decode())


@dataclass(frozen=True, slots=True)
class Sounds:
    """Characters of a text by the syllable that each is read as. ``has_filler``: one of those that a match may skip
    sounds in it."""

    written: Mapping[str, frozenset[str]]
    has_filler: bool

    @classmethod
    def of(cls, text: str, hearing: Hearing) -> Sounds:
        sounded = in_syllables(text, hearing, NOT_SOUNDED)
        written: dict[str, set[str]] = {}
        for syllable, character in zip(sounded, text, strict=True):
            written.setdefault(syllable, set()).add(character)
        has_filler = any(filler in sounded for filler in _sounded_fillers(hearing))
        return cls({syllable: frozenset(characters) for syllable, characters in written.items()}, has_filler)


class Pattern:
    """One phrase of the pattern language.

    >>> Pattern("(跟|和)我无关").search("\ue002\ue000这跟我无关\ue001\ue003")
    (3, 7)
    """

    def __init__(self, source: PatternSource, slots: Slots | None = None) -> None:
        self.source = source
        self.nodes = parse(source, slots or {})

    def __repr__(self) -> str:
        return f"Pattern({self.source!r})"

    @cached_property
    def is_open(self) -> bool:
        """It holds a slot, ``…`` or a negated class: what it matches is not spelled out."""
        return _is_open(self.nodes)

    @property
    def keys(self) -> tuple[str, ...] | None:
        """Literals of which every match, less hesitation and marks, contains one; None if there is none."""
        return self.needs[0] if self.needs else None

    @cached_property
    def needs(self) -> tuple[tuple[str, ...], ...]:
        """Sets of literals: every match, less hesitation, marks and fillers, contains one of each. The first set, the
        ``keys``, tells most; where it tells enough there is no other."""
        return _needs(self.nodes)

    @cached_property
    def spellings(self) -> tuple[str, ...]:
        """The plain strings the pattern stands for, less hesitation; empty when it is open or stands for too many."""
        return () if self.is_open else tuple(_spellings(self.nodes))

    @cached_property
    def alphabet(self) -> frozenset[str]:
        """The characters it is written with."""
        return frozenset(_alphabet(self.nodes))

    @property
    def length(self) -> int:
        """Fewest characters a match has."""
        return _length(self.nodes)

    @cached_property
    def longest(self) -> int:
        """Most characters it spells out; what stays open is not counted."""
        return _longest(self.nodes)

    def search_all(self, marked: Encoded) -> list[tuple[int, int]]:
        """Spans of all matches in marked text, leftmost-longest, apart from each other, outer anchors left out."""
        source, group = self._expression
        return [marked.characters(found.span(group)) for found in _compile(source).finditer(marked.utf8)]

    def hear_all(self, sounded: Encoded, hearing: Hearing) -> list[tuple[tuple[int, int], tuple[tuple[int, int], ...]]]:
        """Like ``search_all`` over marked text in syllables; with each match the spans of its open parts."""
        source, group = self._sounding_expressions(hearing)
        if not source:
            return []
        expression = _compile(source)
        return [
            (
                sounded.characters(found.span(group)),
                tuple(sounded.characters(found.span(part)) for part in range(group + 1, expression.groups + 1)),
            )
            for found in expression.finditer(sounded.utf8)
        ]

    def may_be_misheard(self, text: Sounds, hearing: Hearing) -> bool:
        """Whether ``hear_all`` may find in a text what is not written as the pattern is: a character that the pattern
        does not know is read like one that it does."""
        read, known = self._read_as(hearing), self.alphabet
        if read is None or text.has_filler:
            return True
        return any(syllable in read and not characters <= known for syllable, characters in text.written.items())

    @cache  # noqa: B019 - patterns live as long as their pack
    def _read_as(self, hearing: Hearing) -> frozenset[str] | None:
        """All that a match in syllables may consist of, open stretches apart; None where that is not spelled out."""
        if any(map(_is_unbounded, self.nodes)) or any(map(_holds_anchor, _outer_anchors(self.nodes)[1])):
            return None
        return frozenset("".join(_sounding_like(character, hearing) for character in self.alphabet))

    def sound_keys(self, hearing: Hearing) -> tuple[str, ...]:
        """``keys`` in syllables; none where they are too short to help or the pattern cannot be heard."""
        keys = self.keys or ("",)
        if min(map(len, keys)) < _SHORTEST_SOUND_KEY or not _is_sounded(self.nodes):
            return ()
        return tuple(dict.fromkeys(in_syllables(key, hearing, NOT_SOUNDED) for key in keys))

    def search(self, marked: str) -> tuple[int, int] | None:
        return next(iter(self.search_all(Encoded.of(marked))), None)

    def ends(self, marked: str) -> bool:
        """Whether a match ends where ``marked`` ends (hesitation may follow)."""
        return _compile(self._ending_expression).search(marked) is not None

    def starts(self, marked: str) -> bool:
        """Whether a match starts where ``marked`` starts (hesitation may stand before)."""
        return _compile(self._starting_expression).search(marked) is not None

    def spells(self, text: str) -> bool:
        """Whether folded ``text`` is the phrase itself, with nothing skipped."""
        if self.is_open:
            return False
        if self._is_spelled_out:
            return text in self.spellings
        return _compile(self._strict_expression).fullmatch(text) is not None

    @cached_property
    def _is_spelled_out(self) -> bool:
        """``spellings`` are all it may be written as: it holds no hesitation, and no anchor among its words."""
        inside = _outer_anchors(self.nodes)[1]
        return bool(self.spellings) and self.alphabet.isdisjoint(HESITATION) and not any(map(_holds_anchor, inside))

    @cached_property
    def _expression(self) -> tuple[str, int]:
        """RE2 source, and which group of it is the match less its outer anchors."""
        gap = "" if _is_short(_outer_anchors(self.nodes)[1]) else _GAP
        if not any(isinstance(node, Anchor) for node in (self.nodes[0], self.nodes[-1])):
            return _regex(self.nodes, gap), 0  # without groups RE2 is twice as quick
        return _framed(self.nodes, gap, _GAP), 1

    @cache  # noqa: B019 - patterns live as long as their pack
    def _sounding_expressions(self, hearing: Hearing) -> tuple[str, int]:
        """The same over syllables; empty where the pattern cannot be heard."""
        if not _is_sounded(self.nodes):
            return "", 0
        gap = _sounding_gap(hearing)
        return _framed(_in_syllables(self.nodes, hearing), gap, gap), 1

    @cached_property
    def _strict_expression(self) -> str:
        return _regex(tuple(n for n in self.nodes if not isinstance(n, Anchor)), "")

    @cached_property
    def _ending_expression(self) -> str:
        return f"(?:{_regex(self.nodes, _GAP)}){_GAP}$"

    @cached_property
    def _starting_expression(self) -> str:
        return f"^{_GAP}(?:{_regex(self.nodes, _GAP)})"


def _framed(nodes: Sequence, gap: str, gap_at_anchors: str) -> str:
    """RE2 source whose first group is the match less its outer anchors."""
    lead, core, tail = _outer_anchors(nodes)
    before = "".join(_node_regex(anchor, gap) + gap_at_anchors for anchor in lead)
    after = "".join(gap_at_anchors + _node_regex(anchor, gap) for anchor in tail)
    return f"{before}({_regex(core, gap)}){after}"


@lru_cache(maxsize=COMPILED)
def _compile(expression: str) -> Any:
    """Nobody else keeps the result: it weighs 100 to 200 KiB, and more with every text it reads."""
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.longest_match = True
    options.log_errors = False
    return re2.compile(expression, options)


# --- reading ----------------------------------------------------------------------------------------------------------

_TOKENS = re.compile(
    r"(?P<slot>\{[^{}]*\})|(?P<ellipsis>…+(?:\{\d[^{}]*\})?)|(?P<class>\[[^\]]*\])|(?P<anchor>\^\^?|\$\$?)"
    r"|(?P<operator>[()|?])|(?P<stray>[\[\]{}])|(?P<character>.)",
    re.DOTALL,
)
_NOT_OURS = frozenset("+*\\")  # operators of other pattern languages; dropping them would change what is meant
_BOUNDS = re.compile(r"(\d+)(?:-(\d+))?")


def parse(source: str, slots: Slots) -> Sequence:
    """Read a pattern. Raises PatternError."""
    tokens = [(str(found.lastgroup), found.group()) for found in _TOKENS.finditer(fold_source(source))]
    reader = _Reader(source, tokens, slots)
    nodes = reader.choice(nested=False)
    if _length(nodes) == 0:
        raise PatternError(f"{source!r} would match nothing at all")
    return _with_optional_particle(nodes)


def _with_optional_particle(nodes: Sequence) -> Sequence:
    """A final 啊 呀 呢 嘛 or 啦 of a longer phrase is a matter of taste."""
    if len(nodes) <= _SHORTEST_STEM or not isinstance(last := nodes[-1], Literal) or last.character not in "啊呀呢嘛啦":
        return nodes
    return (*nodes[:-1], Optional(last))


class _Reader:
    """Recursive descent over the tokens of one pattern."""

    def __init__(self, source: str, tokens: list[tuple[str, str]], slots: Slots) -> None:
        self.source, self.tokens, self.slots, self.position = source, tokens, slots, 0

    def fail(self, problem: str) -> PatternError:
        return PatternError(f"{self.source!r}: {problem}")

    def choice(self, nested: bool) -> Sequence:
        branches = [self.sequence()]
        while self._take("|"):
            branches.append(self.sequence())
        if self.position < len(self.tokens) and not nested:
            raise self.fail("')' without '('")
        return branches[0] if len(branches) == 1 else (_choice(branches),)

    def sequence(self) -> Sequence:
        nodes: list[Node] = []
        while self.position < len(self.tokens) and self.tokens[self.position][1] not in ("|", ")"):
            kind, text = self.tokens[self.position]
            self.position += 1
            if text == "?" and kind == "operator":
                if not nodes or isinstance(nodes[-1], Anchor):
                    raise self.fail("'?' needs a character, class, group or slot before it")
                nodes[-1] = _optional(nodes[-1])
            else:
                nodes.extend(self.node(kind, text))
        return tuple(nodes)

    def node(self, kind: str, text: str) -> Sequence:
        match kind:
            case "operator":  # only "(" is left
                inside = self.choice(nested=True)
                if not self._take(")"):
                    raise self.fail("'(' without ')'")
                return (inside[0],) if len(inside) == 1 else (Choice((inside,)),)
            case "slot":
                return (self._slot(text[1:-1]),)
            case "ellipsis":
                low, high = self._bounds(text.lstrip("…").strip("{}"), _ELLIPSIS)
                return (Open(_IN_SENTENCE.format(low=low, high=high)),)
            case "class":
                return (self._class(text[1:-1]),)
            case "anchor":
                return (_ANCHORS[text],)
            case "stray":
                raise self.fail(f"{text!r} has no partner")
        if text in _NOT_OURS:
            raise self.fail(f"{text!r} is no part of the pattern language; write (…)?(…)? for what may come twice")
        return (Literal(text),) if _is_spoken(text) else ()

    def _take(self, operator: str) -> bool:
        if self.position < len(self.tokens) and self.tokens[self.position] == ("operator", operator):
            self.position += 1
            return True
        return False

    def _class(self, inside: str) -> Class:
        negated = inside.startswith("^")
        characters = "".join(dict.fromkeys(filter(_is_spoken, inside.removeprefix("^"))))
        if not characters:
            raise self.fail("'[]' holds no character")
        return Class(characters, negated)

    def _slot(self, inside: str) -> Node:
        name, _, bounds = inside.partition(":")
        if name in BUILT_IN_SLOTS:
            expression, low, high, keys = BUILT_IN_SLOTS[name]
            low, high = self._bounds(bounds, (low, high))
            return Open(expression.format(low=low, high=high), keys if low else None)
        if name not in self.slots:
            from analyzer.rules.faults import did_you_mean  # noqa: PLC0415

            raise self.fail(f"unknown slot {{{name}}}{did_you_mean(name, [*BUILT_IN_SLOTS, *self.slots])}")
        return _open_slot(self.slots[name])

    def _bounds(self, text: str, default: tuple[int, int]) -> tuple[int, int]:
        if not text:
            return default
        found = _BOUNDS.fullmatch(text)
        if not found:
            raise self.fail(f"bounds must look like 2 or 2-8, not {text!r}")
        low, high = int(found[1]), int(found[2] or found[1])
        if low > high or high > _MOST:
            raise self.fail(f"bounds {text!r} must rise and stay at or below {_MOST}")
        return low, high


@lru_cache(maxsize=1024)
def _open_slot(nodes: Sequence) -> Open:
    """A slot of the pack, as many patterns use it."""
    return Open(_regex(nodes, _GAP), next(iter(_needs(nodes)), None))


_ANCHORS = {
    "^": Anchor(CLAUSE_START, at_end=False),
    "^^": Anchor(UTTERANCE_START + CLAUSE_START, at_end=False),
    "$": Anchor(f"[{PARTICLES}]{{0,2}}{CLAUSE_END}", at_end=True),
    "$$": Anchor(f"[{PARTICLES}]{{0,2}}{CLAUSE_END}{UTTERANCE_END}", at_end=True),
}


def _is_spoken(character: str) -> bool:
    return character.isalnum()


def _choice(branches: list[Sequence]) -> Node:
    filled = tuple(branch for branch in branches if branch)
    node = Choice(filled)
    return node if len(filled) == len(branches) else Optional(node)


def _optional(node: Node) -> Node:
    return node if isinstance(node, Optional) else Optional(node)


# --- reading off ------------------------------------------------------------------------------------------------------


def _regex(nodes: Sequence, gap: str) -> str:
    """RE2 source of a sequence. The gap of an optional element belongs to it, so that none leads or trails a match."""
    parts: list[str] = []
    after_mandatory = after_open = False
    for node in nodes:
        is_open = isinstance(node, Open)
        # an open stretch stays in its sentence
        between = gap.replace(SENTENCE_BREAK, "") if is_open or after_open else gap
        if isinstance(node, Optional):
            inside = _node_regex(node.node, gap)
            parts.append(f"(?:{between}{inside})?" if after_mandatory else f"(?:{inside}{between})?")
        else:
            parts.append((between if after_mandatory else "") + _node_regex(node, gap))
            after_mandatory = True
            after_open = is_open
    return "".join(parts)


def _node_regex(node: Node, gap: str) -> str:
    match node:
        case Literal(character):
            return character
        case Class(characters, negated):
            return f"[^{characters}\ue000-\ue004]" if negated else f"[{characters}]"
        case Open(expression):
            return f"(?:{expression})"
        case Anchor(expression, _):
            return expression
        case Choice(branches):
            return f"(?:{'|'.join(_regex(branch, gap) for branch in branches)})"
        case Optional(inside):
            return f"(?:{_node_regex(inside, gap)})?"


# --- in syllables -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _sounded_fillers(hearing: Hearing) -> tuple[str, ...]:
    return tuple(in_syllables(filler, hearing, NOT_SOUNDED) for filler in FILLERS)


def _sounding_gap(hearing: Hearing) -> str:
    return f"{_GAP_CLASS}(?:(?:{'|'.join(_sounded_fillers(hearing))}){_GAP_CLASS})?"


def _in_syllables(nodes: Sequence, hearing: Hearing) -> Sequence:
    return tuple(_node_in_syllables(node, hearing) for node in nodes)


def _node_in_syllables(node: Node, hearing: Hearing) -> Node:
    match node:
        case Literal(character):
            return Class(_sounding_like(character, hearing), negated=False)
        case Class(characters, negated):
            return Class("".join(_sounding_like(c, hearing) for c in characters), negated)
        case Open(expression):
            return Open(f")({expression})(?:")  # a group of its own, so that a match can tell it apart
        case Choice(branches):
            return Choice(tuple(_in_syllables(branch, hearing) for branch in branches))
        case Optional(inside):
            return Optional(_node_in_syllables(inside, hearing))
    return node


def _sounding_like(character: str, hearing: Hearing) -> str:
    """Codes of all readings, and the characters that stay characters and are read alike (吗: 嘛)."""
    heard = codes(character, hearing)
    alike = (c for c in sorted(NOT_SOUNDED) if c != character and set(codes(c, hearing)) & set(heard))
    return "".join(dict.fromkeys((character, *heard, *alike)))


def _is_sounded(nodes: Sequence) -> bool:
    """Whether text in syllables can be compared: what slots ask for (Han characters, digits) is gone from it."""
    return all(map(_node_is_sounded, nodes))


def _node_is_sounded(node: Node) -> bool:
    match node:
        case Open(expression):
            return expression.startswith(_ANYTHING)
        case Choice(branches):
            return all(map(_is_sounded, branches))
        case Optional(inside):
            return _node_is_sounded(inside)
    return True


def _alphabet(nodes: Sequence) -> Iterator[str]:
    for node in nodes:
        match node:
            case Literal(character):
                yield character
            case Class(characters, False):
                yield from characters
            case Choice(branches):
                for branch in branches:
                    yield from _alphabet(branch)
            case Optional(inside):
                yield from _alphabet((inside,))


def _outer_anchors(nodes: Sequence) -> tuple[Sequence, Sequence, Sequence]:
    first = next(i for i, node in enumerate(nodes) if not isinstance(node, Anchor))
    last = next(i for i, node in reversed(list(enumerate(nodes))) if not isinstance(node, Anchor))
    return nodes[:first], nodes[first : last + 1], nodes[last + 1 :]


def _is_short(nodes: Sequence) -> bool:
    """One or two characters: nothing may stand between them, or 感谢，谢谢 would hold 谢，谢."""
    spellings = [] if _is_open(nodes) else _spellings(nodes)
    return bool(spellings) and all(len(spelling) <= _SHORT for spelling in spellings)


def _is_open(nodes: Sequence) -> bool:
    return any(_node_is_open(node) for node in nodes)


def _node_is_open(node: Node) -> bool:
    match node:
        case Open() | Class(_, True):
            return True
        case Choice():
            return node.is_open
        case Optional(inside):
            return _node_is_open(inside)
    return False


def _length(nodes: Sequence) -> int:
    return sum(map(_node_length, nodes))


def _node_length(node: Node) -> int:
    match node:
        case Literal() | Class() | Open():
            return 1
        case Choice(branches):
            return min(map(_length, branches))
    return 0


def _longest(nodes: Sequence) -> int:
    return sum(map(_node_longest, nodes))


def _node_longest(node: Node) -> int:
    match node:
        case Literal() | Class():
            return 1
        case Choice(branches):
            return max(map(_longest, branches))
        case Optional(inside):
            return _node_longest(inside)
    return 0


def _needs(nodes: Sequence) -> tuple[tuple[str, ...], ...]:
    spoken = _spoken(nodes)
    best = _best_stretch(spoken)
    if best is None:
        return ()
    # what a clause ends with (吧, 了) may stand between the neighbours of an anchor, so that only the best is certain
    if min(map(len, best.keys)) >= _LONG_KEY or any(map(_holds_anchor, _outer_anchors(nodes)[1])):
        return (best.keys,)
    return (best.keys, *_needs(spoken[: best.first]), *_needs(spoken[best.last :]))


def _spoken(nodes: Sequence) -> Sequence:
    return tuple(node for node in nodes if not isinstance(node, Anchor))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Neighbouring elements ``first`` to ``last``, one of whose ``keys`` every match contains."""

    keys: tuple[str, ...]
    first: int
    last: int

    @property
    def worth(self) -> tuple[int, int]:
        """How much a key tells: its length counts first, then how few there are to choose from."""
        return min(_LONG_KEY, *map(len, self.keys)), -len(self.keys)


def _best_stretch(spoken: Sequence) -> _Stretch | None:
    single = (_Stretch(keys, i, i + 1) for i, node in enumerate(spoken) if (keys := _node_keys(node)))
    return max((*_runs(spoken), *single), key=lambda stretch: stretch.worth, default=None)


def _runs(spoken: Sequence) -> Iterator[_Stretch]:
    """All strings that neighbouring elements spell, for every stretch that spells few enough and is no longer than it
    need be.

    Hesitation is left out of both sides, a break is invisible.
    """
    spelled = [[] if isinstance(node, Optional) or _node_is_open(node) else _node_spellings(node) for node in spoken]
    for first in range(len(spoken)):
        keys = [""]
        for last, more in enumerate(spelled[first:], first + 1):
            if not more or len(keys) * len(more) > _MOST_KEYS:
                break
            keys = [head + tail for head in keys for tail in more]
            if all(keys):
                yield _Stretch(tuple(dict.fromkeys(keys)), first, last)
                if min(map(len, keys)) >= _LONG_KEY:
                    break


def _is_unbounded(node: Node) -> bool:
    """Whether it holds a negated class, which any other character matches."""
    match node:
        case Class(_, True):
            return True
        case Choice(branches):
            return any(_is_unbounded(inside) for branch in branches for inside in branch)
        case Optional(inside):
            return _is_unbounded(inside)
    return False


def _holds_anchor(node: Node) -> bool:
    match node:
        case Anchor():
            return True
        case Choice():
            return node.holds_anchor
        case Optional(inside):
            return _holds_anchor(inside)
    return False


def _node_keys(node: Node) -> tuple[str, ...] | None:
    return node.keys if isinstance(node, Open | Choice) else None


def _spellings(nodes: Sequence) -> list[str]:
    spelled = [""]
    for node in nodes:
        spelled = [head + tail for head in spelled for tail in _node_spellings(node)]
        if len(spelled) > _MOST_SPELLINGS:
            return []
    return list(dict.fromkeys(spelled))


def _node_spellings(node: Node) -> list[str]:
    match node:
        case Literal(character):
            return ["" if character in HESITATION else character]
        case Class(characters, _):
            return ["" if character in HESITATION else character for character in characters]
        case Choice():
            return node.spellings
        case Optional(inside):
            return ["", *_node_spellings(inside)]
    return [""]
