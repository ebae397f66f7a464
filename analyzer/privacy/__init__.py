"""Personal identifiers of mainland China in what was said, written or spoken: found, and masked.

``mask`` and ``mask_turns`` give text of the same length in which every character of an identifier is ``*``, and say
where, so that offsets stay right and a recording can be bleeped by character times. What is an identifier, and what is
not: docs/desk.md. How digits are read out of talk: ``privacy.reading``; which digits are whose: ``privacy.numbers``;
plates, e-mail addresses and house numbers: ``privacy.words``.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from analyzer.privacy.finding import Identifier, find_identifiers
from analyzer.privacy.numbers import Kind

__all__ = ["Identifier", "Kind", "Masked", "Quotes", "mask", "mask_report", "mask_turns", "mask_values"]

STAR = "*"
GAP = "…"


@dataclass(frozen=True, slots=True)
class Masked:
    """text   as long as the raw text, ``*`` for what is masked
    spans  what was masked, in order, not overlapping
    """

    text: str
    spans: tuple[Identifier, ...] = field(default=())


class _Turn(NamedTuple):
    role: str
    text: str


def mask(text: str, own: Collection[str] = ()) -> Masked:
    """Mask the identifiers in one text.

    own  the company's own numbers, digits only: they stay

    >>> mask("我姓王，电话幺三九呀，零零幺三，九三个零。").text
    '我姓王，电话**************。'
    """
    return mask_turns([("", text)], own)[0]


def mask_turns(turns: Sequence[tuple[str, str]], own: Collection[str] = ()) -> list[Masked]:
    """Mask the identifiers in the turns ``(role, text)`` of a call, in the order in which they were said.

    Sees more than ``mask`` does turn by turn: a number that one role says over several turns, what the other side asked
    for before, and the groups that it reads back in between.
    """
    found = find_identifiers([_Turn(*turn) for turn in turns], frozenset(own))
    return [_starred(text, spans) for (_, text), spans in zip(turns, found, strict=True)]


def _starred(text: str, spans: Sequence[Identifier]) -> Masked:
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], STAR * (span.end - span.start)]
        at = span.end
    return Masked("".join((*pieces, text[at:])), tuple(spans))


# ---- reports

_MASKED_TURN = ("text", "folded")  # both are as long as the raw text
_QUOTING = ("message", "suggestion")


def mask_report(report: Mapping[str, Any], own: Collection[str] = ()) -> dict[str, Any]:
    """A report (``analyzer.report/1``) with every identifier masked: turns, quotes, messages, attributes.

    The call's id stays as it is: it names the recording.
    """
    masked: dict[str, Any] = copy.deepcopy(dict(report))
    turns = masked.get("turns") or []
    hidden = Quotes({number: (turn["role"], turn["text"]) for number, turn in enumerate(turns)}, own)
    for rule in masked.get("rules") or []:
        for finding in rule.get("findings") or []:
            raw = finding.get("quote")
            finding["quote"] = shown = hidden.quote(raw, finding.get("spans") or ())
            for key in _QUOTING:
                if finding.get(key):
                    finding[key] = hidden.message(finding[key], raw, shown)
        for element in (rule.get("elements") or {}).values():
            element["quote"] = hidden.masked(element.get("quote"))
        if rule.get("measured"):
            rule["measured"] = mask_values(rule["measured"], own)
    masked["metadata"] = mask_values(masked.get("metadata") or {}, own)
    for number, turn in enumerate(turns):
        turn.update({key: hidden.starred(number, turn[key]) for key in _MASKED_TURN if key in turn})
    return masked


class Quotes:
    """What quotes a call, masked as its turns are: half an identifier in a quote is known from the turn it was cut
    out of.

    turns  number -> (role, raw text), in the order in which they were said
    own    digits of the company's own numbers, which stay
    """

    def __init__(self, turns: Mapping[int, tuple[str, str]], own: Collection[str] = ()) -> None:
        self._raw = {number: text for number, (_, text) in turns.items()}
        self._stars = dict(zip(turns, mask_turns(list(turns.values()), own), strict=True))
        self._own = own

    def turn(self, number: int) -> str:
        """A turn, masked."""
        return self._stars[number].text

    def starred(self, number: int, text: str) -> str:
        """A text as long as the turn's, masked in the same places."""
        return _starred(text, self._stars[number].spans).text

    def quote(self, raw: str | None, spans: Sequence[Mapping[str, Any]]) -> str | None:
        """A finding's quote, cut out of the turn where its only span says, else looked for in the turns."""
        if raw and len(spans) == 1:
            number, cut = spans[0]["turn"], slice(spans[0]["char_start"], spans[0]["char_end"])
            if self._raw.get(number, "")[cut] == raw:
                return self.turn(number)[cut]
        return self.masked(raw)

    def message(self, text: str | None, raw: str | None, shown: str | None) -> str | None:
        """A sentence that may hold the quote ``raw``, which is shown as ``shown``."""
        return self.masked(text.replace(raw, shown) if text and raw and shown else text)

    def masked(self, text: str | None) -> str | None:
        """Text that may quote a turn as a whole or in part, or parts of several joined by ``…``."""
        if not text:
            return text
        for number, star in self._stars.items():
            at = self._raw[number].find(text) if star.spans else -1
            if at >= 0:
                return star.text[at : at + len(text)]
        if GAP in text.strip(GAP):
            text = GAP.join(self.masked(part) or "" for part in text.split(GAP))
        return mask(text, self._own).text


def mask_values(value: Any, own: Collection[str] = ()) -> Any:
    """Every text inside a JSON value masked."""
    if isinstance(value, str):
        return mask(value, own).text
    if isinstance(value, Mapping):
        return dict(_mask_items(value, own))
    if isinstance(value, list | tuple):
        return [mask_values(item, own) for item in value]
    return value


def _mask_items(values: Mapping[str, Any], own: Collection[str]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        yield key, mask_values(value, own)
