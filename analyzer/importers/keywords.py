"""Keyword expressions as speech clouds write them: ``(会议||例会)&&缺货``, ``!逾期``, ``退款#6不了``.

``|`` or ``||`` is or, ``&`` or ``&&`` is and (in any order), ``!`` is not, brackets group. A distance is written
``A#6B``, ``A&{6}B``, ``A&{0,6}B`` or ``A.{0,6}B``: A, at most so many characters, then B.

A hit means something was said that should not have been, so an expression becomes phrases of a ``forbid`` rule. What
is joined by *and* is looked for inside one sentence, at most 30 characters apart; what must not be there becomes an
allowed longer phrase. An expression of *not* alone is hit when nobody says it: that is a ``require`` rule.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any

from analyzer.errors import ConfigError
from analyzer.importers.drafts import Drafts, Row, literal

APART = 30  # characters between words joined by "and"
_MOST_JOINED = 3  # words that stand in any order: 3 give six patterns
_MOST_WAYS = 64  # an expression in so many "or" parts at most
_TOKENS = re.compile(
    r"\s*(?:(?P<distance>#\d+#?|&\{\d+(?:[,-]\d+)?\}|\.\{\d+,\d+\})|(?P<operator>\|\|?|&&?|[!()])"
    r"|(?P<word>[^\s|&!()#{}.]+(?:\s+[^\s|&!()#{}.]+)*))"
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way an expression is met: all of ``said`` (patterns) and none of ``unsaid``."""

    said: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()


class ExpressionError(ValueError):
    """An expression that cannot be read; the message says why."""


def read_expression(text: str) -> list[Way]:
    """An expression as its ways. Raises ExpressionError."""
    tokens = list(_tokens(unicodedata.normalize("NFKC", text)))
    reader = _Reader(tokens)
    ways = reader.either()
    if reader.position < len(tokens):
        raise ExpressionError(f"{tokens[reader.position][1]!r} stands where an operator is expected")
    if len(ways) > _MOST_WAYS:
        raise ExpressionError(f"it has {len(ways)} alternatives; split it")
    return ways


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text.rstrip()):
        found = _TOKENS.match(text, position)
        if not found:
            raise ExpressionError(f"{text[position:].strip()[:8]!r} is no operator")
        kind = str(found.lastgroup)
        if kind == "word" and not literal(found[kind]):
            raise ExpressionError(f"{found[kind]!r} has no letter")
        yield kind, found[kind]
        position = found.end()


class _Reader:
    """Recursive descent: or over and over not over distance."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.position = tokens, 0

    def either(self) -> list[Way]:
        ways = self.both()
        while self._take("|", "||"):
            ways = [*ways, *self.both()]
        return ways

    def both(self) -> list[Way]:
        ways = self.inverse()
        while self._take("&", "&&"):
            ways = _joined(ways, self.inverse())
        return ways

    def inverse(self) -> list[Way]:
        if self._take("!"):
            return _negated(self.inverse())
        return self.near()

    def near(self) -> list[Way]:
        ways = self.one()
        while self.position < len(self.tokens) and self.tokens[self.position][0] == "distance":
            low, high = _bounds(self.tokens[self.position][1])
            self.position += 1
            ways = _apart(ways, self.one(), f"…{{{low}-{high}}}")
        return ways

    def one(self) -> list[Way]:
        if self._take("("):
            ways = self.either()
            if not self._take(")"):
                raise ExpressionError("'(' without ')'")
            return ways
        if self.position < len(self.tokens) and self.tokens[self.position][0] == "word":
            self.position += 1
            return [Way((literal(self.tokens[self.position - 1][1]),))]
        raise ExpressionError("a word is missing")

    def _take(self, *operators: str) -> bool:
        if self.position < len(self.tokens) and self.tokens[self.position][1] in operators:
            self.position += 1
            return True
        return False


def _bounds(distance: str) -> tuple[int, int]:
    numbers = [int(number) for number in re.findall(r"\d+", distance)]
    low, high = (numbers[0], numbers[1]) if len(numbers) > 1 else (0, numbers[0])
    if low > high or high > 100:
        raise ExpressionError(f"the distance {distance!r} must rise and stay at or below 100")
    return low, high


def _joined(left: Sequence[Way], right: Sequence[Way]) -> list[Way]:
    return [Way((*a.said, *b.said), (*a.unsaid, *b.unsaid)) for a, b in product(left, right)]


def _negated(ways: Sequence[Way]) -> list[Way]:
    """Not (A or B) is neither; not (A and B) is the lack of either."""
    lacks = [[Way((), (word,)) for word in way.said] + [Way((word,)) for word in way.unsaid] for way in ways]
    negated = [Way()]
    for choices in lacks:
        negated = _joined(negated, choices)
    return negated


def _apart(left: Sequence[Way], right: Sequence[Way], gap: str) -> list[Way]:
    if any(way.unsaid or len(way.said) != 1 for way in (*left, *right)):
        raise ExpressionError("a distance stands between words or their alternatives only")
    return [Way((f"{a.said[0]}{gap}{b.said[0]}",)) for a, b in product(left, right)]


# --- to drafts ---


def phrase_of(way: Way) -> Row:
    """A way as a row of a word list. Raises ExpressionError if it needs more than a sentence."""
    if len(way.said) > _MOST_JOINED:
        raise ExpressionError(f"more than {_MOST_JOINED} words joined by 'and'; look for a shorter part")
    gap = f"…{{0-{APART}}}"
    orders = [gap.join(order) for order in permutations(way.said)]
    row = {"phrase": orders[0] if len(orders) == 1 else f"({'|'.join(orders)})"}
    if way.unsaid:
        row["allow"] = ";".join(map(beside, way.unsaid))
    return row


def beside(pattern: str) -> str:
    """The sentence around a pattern, as an allowed longer phrase: what is found beside it, or over it, is no hit."""
    return f"…{{0-{APART}}}({pattern})…{{0-{APART}}}"


def add_expressions(drafts: Drafts, title: str, expressions: Sequence[tuple[str, str]], why: str = "") -> None:
    """One rule, or two, of the expressions of a category. ``expressions``: (place, expression)."""
    rows: list[Row] = []
    owed: list[tuple[str, list[str]]] = []
    for place, expression in expressions:
        try:
            ways = read_expression(expression)
            missing = [way for way in ways if not way.said]
            if missing and len(ways) > 1:
                raise ExpressionError("it joins what is said and what is not by 'or'; make them two rules")
            if missing:
                owed.append((place, list(missing[0].unsaid)))
            rows += [{**phrase_of(way), "notes": expression} for way in ways if way.said]
            if any(len(way.said) > 1 for way in ways):
                drafts.leave(place, f"{expression}: 'and' holds inside a sentence, {APART} characters apart at most")
        except ExpressionError as error:
            drafts.leave(place, f"{expression}: {error}")
    if rows:
        rule_id = drafts.new_id(title)
        drafts.add_words(rule_id, title, rows)
        drafts.add_rule(rule_id, title, "forbid", why=why, speaker="agent", any_in=[rule_id])
    for place, words in owed:
        add_owed(drafts, place, title, words, why)
    if rows or owed:
        drafts.leave(f"“{title}”", "who must (not) say it is not stated; speaker agent is assumed")


def add_owed(drafts: Drafts, place: str, title: str, words: Sequence[str], why: str) -> None:
    """A rule that is broken when none of ``words`` is said."""
    said = {"title": "、".join(words)[:20], "core": True, "any_of": list(words)}
    name = f"{title}（未说{words[0]}）"
    drafts.add_rule(drafts.new_id(name), name, "require", why=why, speaker="agent", elements={"said": said})
    if len(words) > 1:
        drafts.leave(place, f"none of {'、'.join(words)} said: saying one of them is enough for the draft")


def read_expressions(source: str, title: str, text: str) -> Drafts:
    """A file of one expression per line; ``[类别]`` or ``# 类别`` starts a category, a tab stands after one's own."""
    drafts = Drafts(source)
    categories: dict[str, list[tuple[str, str]]] = {}
    current = title
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        heading = re.fullmatch(r"(?:#\s*(.+)|\[(.+)\]|【(.+)】)", words)
        if heading:
            current = next(group for group in heading.groups() if group).strip()
        elif words:
            category, tab, expression = words.partition("\t")
            key = category.strip() if tab else current
            categories.setdefault(key, []).append((f"line {number}", (expression if tab else words).strip()))
    for category, expressions in categories.items():
        add_expressions(drafts, category, expressions)
    _refuse_empty(drafts)
    return drafts


def read_keyword_rules(source: str, fields: Any) -> Drafts:
    """``[{category, description, contents: [expression, …]}, …]``, bare or as an API answers, in ``results.rule``."""
    drafts = Drafts(source)
    for index, rule in enumerate(_keyword_rules(fields)):
        place = f"rule {index + 1}"
        contents = rule.get("contents", rule.get("content")) if isinstance(rule, Mapping) else None
        if not isinstance(contents, list | str):
            drafts.leave(place, "no contents")
            continue
        listed = [contents] if isinstance(contents, str) else contents
        title = str(rule.get("category") or rule.get("name") or place)
        add_expressions(drafts, title, [(place, str(text)) for text in listed], str(rule.get("description") or ""))
        for key in set(rule) - {"category", "name", "description", "contents", "content"}:
            drafts.leave(place, f"key {key!r} has no counterpart")
    _refuse_empty(drafts)
    return drafts


def _keyword_rules(fields: Any) -> Sequence[Any]:
    for key in ("results", "rule", "rules"):
        if isinstance(fields, Mapping) and key in fields:
            fields = fields[key]
    return fields if isinstance(fields, list) else [fields]


def _refuse_empty(drafts: Drafts) -> None:
    if not drafts.rules and not drafts.unmapped:
        raise ConfigError(
            f"{drafts.source}: no keyword expression in it; one per line, or JSON with category and contents"
        )
