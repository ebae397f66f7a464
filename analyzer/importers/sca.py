"""Rule JSON of speech analytics clouds (SCA): rules over conditions over operators.

    {"conditions": [{"cid": "a", "check_range": {"role": "客服", "range": {"from": 1, "to": 3}},
                     "operators": [{"oid": "1", "type": "HIT_ANY_KEYWORDS", "param": {"keywords": ["你好"]}}],
                     "lambda": "1"}],
     "rules": [{"rid": "1", "name": "开场白", "lambda": "!a"}]}

Both generations of keys are read (``keywords`` and ``operKeyWords``, ``lambda`` and ``operLambda``, any case). A rule
of SCA is *hit*; what is hit is a fault. So keywords become a ``forbid`` rule, their absence a ``require`` rule, "a, and
then not b" a ``respond`` rule, model sentences a ``script`` rule, speed a ``rate`` rule, a gap a ``silence`` rule.
Everything else is listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, permutations
from typing import Any

from analyzer.errors import ConfigError
from analyzer.importers.drafts import Drafts, Row, literal
from analyzer.importers.keywords import APART, beside
from analyzer.importers.regex import RegexError, as_pattern

_ROLES = {"客服": "agent", "坐席": "agent", "agent": "agent", "1": "agent", "客户": "customer", "用户": "customer",
          "customer": "customer", "2": "customer", "所有": "any", "all": "any", "": "any"}  # fmt: skip
_NEGATED, _PLAIN = re.compile(r"[!！]\(?(\w+)\)?"), re.compile(r"\(?(\w+)\)?")
_THEN_NOT = re.compile(r"\(?(\w+)\)?&&?[!！]\(?(\w+)\)?")
_MOST_JOINED = 3
_MOST_COMBINED = 24


class UnmappedError(ValueError):
    """Something without a counterpart; the message says what."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in our terms. ``rows``: what is said; ``absent``: it is met when nobody says it."""

    cid: str
    role: str
    window: dict[str, int]
    anchor: Mapping[str, Any] | None
    rows: tuple[Row, ...] = ()
    absent: bool = False
    sentences: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    other: tuple[str, dict[str, Any]] | None = None  # a kind that hears no words, with its keys
    notes: tuple[str, ...] = ()


def is_sca(fields: Any) -> bool:
    inner = _unwrapped(fields)
    return isinstance(inner, Mapping) and bool(_get(inner, "rules")) and _get(inner, "conditions") is not None


def read_sca(source: str, fields: Any) -> Drafts:
    """All rules of an export. Raises ConfigError if it is none."""
    inner = _unwrapped(fields)
    if not is_sca(inner):
        raise ConfigError(f"{source}: no SCA rules; expected an object with 'conditions' and 'rules'")
    drafts = Drafts(source)
    conditions = {str(_first(c, "cid", "conditionInfoCid")): c for c in _items(_get(inner, "conditions"))}
    for index, rule in enumerate(_items(_get(inner, "rules"))):
        name = str(_first(rule, "name", "ruleName") or f"rule {index + 1}")
        place = f"“{name}”"
        own = {str(_first(c, "cid", "conditionInfoCid")): c for c in _items(_get(rule, "conditions") or [])}
        try:
            _add(drafts, place, name, rule, {**conditions, **own})
        except UnmappedError as error:
            drafts.leave(place, str(error))
        _note_rest(drafts, place, rule)
    return drafts


def _unwrapped(fields: Any) -> Any:
    """The object with rules: as it is, under ``data`` as an API answers, or as text under ``JsonStr``."""
    for _ in range(3):
        if isinstance(fields, str):
            try:
                fields = json.loads(fields)
            except ValueError:
                return fields
        if isinstance(fields, Mapping) and _get(fields, "rules") is None:
            fields = _first(fields, "data", "jsonStr") or fields
    return fields


def _add(
    drafts: Drafts, place: str, name: str, rule: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]
) -> None:
    formula = re.sub(r"\s", "", str(_first(rule, "lambda", "ruleLambda") or "&&".join(conditions)))
    why = str(_first(rule, "comments", "description") or "")
    if found := _THEN_NOT.fullmatch(formula):
        first, then = _conditions(place, drafts, found.groups(), conditions)
        _add_respond(drafts, name, first, then, why)
    elif found := _NEGATED.fullmatch(formula):
        (condition,) = _conditions(place, drafts, found.groups(), conditions)
        _add_single(drafts, name, condition, why, negated=True)
    elif found := _PLAIN.fullmatch(formula):
        (condition,) = _conditions(place, drafts, found.groups(), conditions)
        _add_single(drafts, name, condition, why, negated=False)
    elif re.fullmatch(r"\(?\w+(\|\|?\w+)+\)?", formula):
        for condition in _conditions(place, drafts, re.findall(r"\w+", formula), conditions):
            _add_single(drafts, f"{name}（{condition.cid}）", condition, why, negated=False)
        drafts.leave(place, f"lambda {formula}: one draft per condition; each hit costs its own points")
    else:
        raise UnmappedError(
            f"lambda {formula!r} combines conditions in a way that must be written by hand (all, any, not)"
        )


def _conditions(
    place: str, drafts: Drafts, names: Sequence[str], known: Mapping[str, Mapping[str, Any]]
) -> list[Condition]:
    found = []
    for name in names:
        if name not in known:
            raise UnmappedError(f"condition {name!r} is not in the file")
        condition = _condition(name, known[name])
        for note in condition.notes:
            drafts.leave(f"{place} condition {name}", note)
        found.append(condition)
    return found


def _add_single(drafts: Drafts, name: str, condition: Condition, why: str, *, negated: bool) -> None:
    if condition.anchor is not None:
        raise UnmappedError(f"condition {condition.cid} hangs on another alone; write the rule by hand (anchor)")
    keys: dict[str, Any] = {"why": why, "speaker": condition.role}
    if condition.window:
        keys["window"] = condition.window
    if condition.other is not None:
        kind, own = condition.other
        if negated:
            raise UnmappedError(f"condition {condition.cid}: the reverse of {kind!r} must be written by hand")
        drafts.add_rule(drafts.new_id(name), name, kind, why=why, **own)
    elif condition.sentences:
        if not negated:
            raise UnmappedError("a hit on a model sentence is no fault; turned round it would be a 'script' rule")
        keys["sentences"] = list(condition.sentences)
        drafts.add_rule(drafts.new_id(name), name, "script", **keys, **condition.options)
    elif condition.absent is not negated:
        elements = {"said": {"title": name, "core": True, "any_of": [row["phrase"] for row in condition.rows]}}
        drafts.add_rule(drafts.new_id(name), name, "require", **keys, elements=elements)
    else:
        rule_id = drafts.new_id(name)
        drafts.add_words(rule_id, name, list(condition.rows))
        drafts.add_rule(rule_id, name, "forbid", **keys, any_in=[rule_id])


def _add_respond(drafts: Drafts, name: str, first: Condition, then: Condition, why: str) -> None:
    """The first is met and the second, hanging on it, is not: an answer that is owed and does not come."""
    anchor = then.anchor or {}
    location = str(_get(anchor, "location") or "").upper()
    if str(_get(anchor, "cid") or first.cid) != first.cid or location not in ("", "AFTER", "BEFORE", "AROUND"):
        raise UnmappedError(f"condition {then.cid} hangs on something else than {first.cid}")
    if first.absent or then.absent or not first.rows or not then.rows:
        raise UnmappedError("an owed answer needs words on both sides")
    cue: dict[str, Any] = {"speaker": first.role, "any_of": [row["phrase"] for row in first.rows]}
    if first.window:
        cue["window"] = first.window
    elements = {"said": {"title": name, "core": True, "any_of": [row["phrase"] for row in then.rows]}}
    where = {"where": location.lower()} if location in ("BEFORE", "AROUND") else {}
    drafts.add_rule(
        drafts.new_id(name), name, "respond", why=why, speaker=then.role, cue=cue, **where,
        within_turns=then.window.get("first_turns", 1), elements=elements,
    )  # fmt: skip


def _note_rest(drafts: Drafts, place: str, rule: Mapping[str, Any]) -> None:
    """What a rule carries besides and an import cannot know what to do with."""
    for key in ("scoreNum", "scoreNumType", "ruleScoreType", "triggers", "effectiveTime"):
        if value := _get(rule, key):
            drafts.leave(place, f"{key} {value!r} is set in a profile, by hand")


# --- conditions ---


def _condition(cid: str, fields: Mapping[str, Any]) -> Condition:
    ranged = _first(fields, "check_range", "checkRange") or {}
    role = str(_get(ranged, "role") or "").strip()
    if role not in _ROLES:
        raise UnmappedError(f"condition {cid}: role {role!r} is unknown")
    window, notes = _window(_get(ranged, "range"))
    anchor = _get(ranged, "anchor") or None
    anchor = anchor if anchor and _first(anchor, "cid", "anchorCid", "aCid") else None
    operators = _items(_get(fields, "operators"))
    formula = re.sub(r"\s", "", str(_first(fields, "lambda", "operLambda") or ""))
    if not operators:
        raise UnmappedError(f"condition {cid} has no operator")
    if len(operators) > 1 and not re.fullmatch(r"\w+(\|\|?\w+)+", formula):
        raise UnmappedError(f"condition {cid}: lambda {formula!r} over operators must be written by hand")
    heard = [_operator(cid, operator) for operator in operators]
    if len(heard) > 1 and any(one.absent or one.sentences or one.other for one in heard):
        raise UnmappedError(f"condition {cid} joins operators of different kinds")
    rows = tuple(row for one in heard for row in one.rows)
    notes = [*notes, *(note for one in heard for note in one.notes)]
    one = heard[0]
    return Condition(
        cid, _ROLES[role], window, anchor, rows, one.absent, one.sentences, one.options, one.other, tuple(notes)
    )


def _window(range_: Any) -> tuple[dict[str, int], list[str]]:
    """1..n is the first n sentences, -n..-1 the last: of turns of talk with us."""
    if isinstance(range_, str):
        range_ = json.loads(range_) if range_.strip().startswith("{") else None
    if not isinstance(range_, Mapping):
        return {}, []
    first, last = int(_get(range_, "from") or 1), int(_get(range_, "to") or -1)
    if (first, last) in ((1, -1), (0, -1), (0, 0)):
        return {}, []
    note = f"sentences {first} to {last} become turns of talk"
    if first in (0, 1) and last > 0:
        return {"first_turns": last}, [note]
    if first < 0 and last == -1:
        return {"last_turns": -first}, [note]
    raise UnmappedError(f"the range from {first} to {last} is neither the first nor the last sentences")


# --- operators ---


@dataclass(frozen=True, slots=True)
class _Heard:
    rows: tuple[Row, ...] = ()
    absent: bool = False
    sentences: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    other: tuple[str, dict[str, Any]] | None = None
    notes: tuple[str, ...] = ()


def _operator(cid: str, operator: Mapping[str, Any]) -> _Heard:
    kind = str(_first(operator, "type", "operType") or "").upper()
    param = _get(operator, "param") or {}
    reader = _OPERATORS.get(kind)
    if reader is None:
        raise UnmappedError(f"condition {cid}: operator {kind or 'without type'} has no counterpart")
    try:
        return reader(param, kind)
    except UnmappedError as error:
        raise UnmappedError(f"condition {cid}: {error}") from None


def _keywords(param: Mapping[str, Any], kind: str) -> _Heard:
    words = [str(word) for word in _items(_first(param, "keywords", "operKeyWords"))]
    phrases = [phrase for word in words if (phrase := literal(word))]
    if not phrases:
        raise UnmappedError("no keywords")
    size = _first(param, "keywordMatchSize")
    least = int(size) if size is not None else {"INCLUDE_KEYWORDS": -1}.get(kind, 1)
    if "EXCLUDE" in kind or least == 0:
        return _Heard(_rows(phrases), absent=True)
    least = len(phrases) if least == -1 else least
    if least == 1:
        return _Heard(_rows(phrases))
    if least > min(_MOST_JOINED, len(phrases)):
        raise UnmappedError(
            f"{least} of {len(phrases)} keywords in one sentence: more than {_MOST_JOINED} cannot be joined"
        )
    gap = f"…{{0-{APART}}}"
    joined = [gap.join(order) for chosen in combinations(phrases, least) for order in permutations(chosen)]
    if len(joined) > _MOST_COMBINED:
        raise UnmappedError(f"{least} of {len(phrases)} keywords make {len(joined)} phrases; choose the telling ones")
    note = f"{least} keywords are looked for in one sentence, {APART} characters apart at most"
    return _Heard(_rows(joined), notes=(note,))


def _rows(phrases: Sequence[str]) -> tuple[Row, ...]:
    return tuple({"phrase": phrase} for phrase in phrases)


def _regex(param: Mapping[str, Any], kind: str) -> _Heard:
    try:
        row = {"phrase": as_pattern(str(_get(param, "regex") or ""))}
        if excluded := _get(param, "notRegex"):
            row["allow"] = beside(as_pattern(str(excluded)))
    except RegexError as error:
        raise UnmappedError(f"regular expression: {error}") from None
    return _Heard((row,))


def _similar(param: Mapping[str, Any], kind: str) -> _Heard:
    sentences = tuple(str(text) for text in _items(_first(param, "similarlySentences", "references")))
    if not sentences:
        raise UnmappedError("no model sentences")
    score = _first(param, "score", "similarity_threshold", "threshold")
    options = {"similarity": _percent(float(score))} if score is not None else {}
    note = "its similarity counts other things than ours; check the number on calls"
    return _Heard(sentences=sentences, options=options, notes=(note,))


def _percent(score: float) -> float:
    return score * 100 if score <= 1 else score


def _speed(param: Mapping[str, Any], kind: str) -> _Heard:
    limit = int(float(_first(param, "velocityInMint", "velocity") or 0))
    if not limit:
        raise UnmappedError("no speed")
    slower = str(_get(param, "compareOperator") or "gt").lower() == "lt"
    band = {"low": limit, "high": 1000} if slower else {"low": 0, "high": limit}
    note = "" if _get(param, "average") else "speed is judged over the call, not sentence by sentence"
    return _Heard(other=("rate", {"speaker": "agent", **band}), notes=(note,) if note else ())


def _gap(param: Mapping[str, Any], kind: str) -> _Heard:
    interval = int(float(_get(param, "interval") or 0))
    if not interval:
        raise UnmappedError("no interval")
    if str(_get(param, "compareOperator") or "gt").lower() == "lt":
        raise UnmappedError("an interval that is too short has no counterpart")
    return _Heard(other=("silence", {"longer_than_ms": interval}), notes=("only silence the agent owes counts",))


_OPERATORS: Mapping[str, Callable[[Mapping[str, Any], str], _Heard]] = {
    "HIT_ANY_KEYWORDS": _keywords,
    "INCLUDE_KEYWORDS": _keywords,
    "EXCLUDE_KEYWORDS": _keywords,
    "EXCLUDE_ALL_KEYWORDS": _keywords,
    "INCLUDE_ANY_KEYWORDS": _keywords,
    "REGULAR_EXPRESSION": _regex,
    "SIMILAR_MATCH": _similar,
    "SPEECH_SPEED_CHECK": _speed,
    "INTERVAL_GREATER": _gap,
}


# --- keys in any spelling ---


def _plain_key(key: str) -> str:
    return key.replace("_", "").lower()


def _get(fields: Any, key: str) -> Any:
    if not isinstance(fields, Mapping):
        return None
    wanted = _plain_key(key)
    return next((value for name, value in fields.items() if _plain_key(str(name)) == wanted), None)


def _first(fields: Any, *keys: str) -> Any:
    return next((value for key in keys if (value := _get(fields, key)) is not None), None)


def _items(value: Any) -> list[Any]:
    """A list, bare or as the older interface wraps it: ``{"operator": […]}``."""
    if isinstance(value, Mapping):
        inner: Iterator[Any] = (item for item in value.values() if isinstance(item, list))
        return next(inner, [value])
    return value if isinstance(value, list) else []
