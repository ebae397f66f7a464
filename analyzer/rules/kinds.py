"""The kinds of check there are, and how a rule file becomes a ``Rule``. A new kind is a module and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from analyzer.rules.address import AddressSpec
from analyzer.rules.attributes import AttributesSpec, WantedSpec
from analyzer.rules.combine import CombineSpec
from analyzer.rules.entity import AboutSpec, EchoSpec, EntitySpec
from analyzer.rules.faults import Fault, Place, RuleFaults, did_you_mean
from analyzer.rules.forbid import ExemptionSpec, ForbidSpec
from analyzer.rules.hold import HoldSpec, NudgeSpec
from analyzer.rules.loudness import LoudnessSpec
from analyzer.rules.measures import MeasureSpec
from analyzer.rules.overlap import OverlapSpec
from analyzer.rules.quota import QuotaSpec
from analyzer.rules.rate import RateSpec
from analyzer.rules.ratio import RatioSpec, UsesSpec
from analyzer.rules.repeat import RepeatSpec
from analyzer.rules.require import ElementFields, LevelSpec, PlanSpec, RequireSpec
from analyzer.rules.respond import RespondSpec
from analyzer.rules.script import ScriptSpec
from analyzer.rules.silence import SilenceSpec
from analyzer.rules.silent_call import SilentCallSpec
from analyzer.rules.spec import (
    AnchorSpec,
    Builder,
    CaseSpec,
    ConditionSpec,
    CueSpec,
    ExpectSpec,
    Rule,
    RuleSpec,
    SaidSpec,
    WindowSpec,
    Words,
)
from analyzer.rules.turn import HoldingSpec, TurnSpec

KINDS: Mapping[str, type[RuleSpec]] = {
    "forbid": ForbidSpec,
    "require": RequireSpec,
    "quota": QuotaSpec,
    "rate": RateSpec,
    "ratio": RatioSpec,
    "repeat": RepeatSpec,
    "entity": EntitySpec,
    "echo": EchoSpec,
    "address": AddressSpec,
    "turn": TurnSpec,
    "metadata": AttributesSpec,
    "respond": RespondSpec,
    "script": ScriptSpec,
    "silent_call": SilentCallSpec,
    "silence": SilenceSpec,
    "hold": HoldSpec,
    "overlap": OverlapSpec,
    "loudness": LoudnessSpec,
    "talk_ratio": MeasureSpec,
    "duration": MeasureSpec,
    "response_time": MeasureSpec,
    "monologue": MeasureSpec,
    "all": CombineSpec,
    "any": CombineSpec,
    "not": CombineSpec,
}

_NESTED = (
    WindowSpec,
    SaidSpec,
    CueSpec,
    AnchorSpec,
    ConditionSpec,
    ExpectSpec,
    CaseSpec,
    ExemptionSpec,
    ElementFields,
    LevelSpec,
    PlanSpec,
    WantedSpec,
    NudgeSpec,
    UsesSpec,
    AboutSpec,
    HoldingSpec,
)


def parse_rule(fields: Mapping[str, Any], words: Words) -> Rule:
    """Read the fields of a rule file. Raises RuleFaults with everything wrong in it."""
    spec = read_spec(fields)
    builder = Builder(words, read_spec)
    rule = spec.build_rule(builder)
    if builder.faults:
        raise RuleFaults(builder.faults)
    return rule


def read_spec(fields: Mapping[str, Any]) -> RuleSpec:
    """Check names and types of a rule's fields. Raises RuleFaults with everything wrong in them."""
    kind = str(fields.get("kind"))
    if kind not in KINDS:
        raise RuleFaults([_unknown_kind(kind, "kind" in fields)])
    try:
        return KINDS[kind].model_validate(fields)
    except ValidationError as error:
        raise RuleFaults([_fault(problem, KINDS[kind]) for problem in error.errors()]) from None


def _unknown_kind(kind: str, given: bool) -> Fault:
    if not given:
        return Fault((), f"key 'kind' is missing; it is one of {', '.join(KINDS)}")
    return Fault(("kind",), f"unknown kind {kind!r}{did_you_mean(kind, KINDS) or '; known: ' + ', '.join(KINDS)}")


def _fault(problem: Any, spec: type[BaseModel]) -> Fault:
    """A pydantic error in our words."""
    place: Place = tuple(part for part in problem["loc"] if part not in ("[key]",))
    name = place[-1] if place else ""
    match problem["type"]:
        case "extra_forbidden":
            return Fault(place, f"unknown key {name!r}{did_you_mean(str(name), _known_keys(spec, place[:-1]))}")
        case "missing":
            return Fault(place[:-1], f"key {name!r} is missing")
        case "enum" | "literal_error":
            expected = problem["ctx"]["expected"]
            guess = did_you_mean(str(problem["input"]), expected.replace("'", "").replace(" or ", ", ").split(", "))
            return Fault(place, f"{name}: {problem['input']!r} is not one of {expected}{guess}")
        case "value_error":
            return Fault(place, str(problem["ctx"]["error"]))
    return Fault(place, f"{name}: {problem['msg'][0].lower()}{problem['msg'][1:]}, got {problem['input']!r}")


def _known_keys(spec: type[BaseModel], place: Place) -> list[str]:
    """Keys that may stand at ``place``: every key of every nested model is near enough to guess from."""
    if not place:
        return list(_keys_of(spec))
    return sorted({key for model in (*_NESTED, spec) for key in _keys_of(model)})


def _keys_of(model: type[BaseModel]) -> Iterable[str]:
    return (info.alias or name for name, info in model.model_fields.items())
