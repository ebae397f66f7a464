"""``metadata``: an attribute of the call fulfils a condition: answered within three rings, not hung up by the agent.

A rule names attributes in order of preference (rings, else the time they took); the first one that is known decides.
Nothing is known of most attributes where the telephone system does not export them. That is no doubt about this call,
so the check is not applicable then, unless the rule asks for ``unsure``, which sends the call to a human.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic import Field, model_validator

from analyzer.rules.call import Call
from analyzer.rules.checks import Check, Watch
from analyzer.rules.findings import Judgement, Wording
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, RuleSpec, Spec
from analyzer.rules.truth import Truth
from analyzer.types import Role, Span, Utterance

QUIET_END = "quiet_end_ms"  # not given but measured: from the last word to the end of the call

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an attribute must be: inside the bounds (both inclusive), one of, none of. ``unit`` is for people."""

    at_least: int | float | None = None
    at_most: int | float | None = None
    one_of: tuple[Value, ...] = ()
    none_of: tuple[Value, ...] = ()
    unit: str = ""

    def truth(self, value: Any) -> Truth:
        """MET or VIOLATED; UNSURE for a value that cannot be compared with the bounds.

        >>> Wanted(at_most=3).truth(4)
        <Truth.VIOLATED: 'violated'>
        """
        if self.has_bounds and not is_number(value):
            return Truth.UNSURE
        if self.at_least is not None and value < self.at_least:
            return Truth.VIOLATED
        if self.at_most is not None and value > self.at_most:
            return Truth.VIOLATED
        if value in self.none_of or (self.one_of and value not in self.one_of):
            return Truth.VIOLATED
        return Truth.MET

    @property
    def has_bounds(self) -> bool:
        return self.at_least is not None or self.at_most is not None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class Attributes(Check):
    """``wanted`` by attribute, in order of preference. ``at_end``: what is wrong went wrong when the call ended."""

    wanted: Mapping[str, Wanted]
    wording: Wording
    when_unknown: Truth = Truth.NOT_APPLICABLE
    at_end: bool = False

    @property
    def listens_for(self) -> tuple[()]:
        return ()  # everything is decided at the end

    def watch(self, call: Call) -> Watch:
        return _AttributesWatch(self, call)


@dataclass(frozen=True, slots=True)
class _AttributesWatch(Watch):
    check: Attributes
    call: Call

    def hear(self, said: Said) -> None:
        return

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        for name, wanted in self.check.wanted.items():
            value = self._value(name)
            if value is not None:
                return self._judgement(wanted, value)
        return Judgement(self.check.when_unknown)

    def _value(self, name: str) -> Any:
        return self._quiet_end_ms() if name == QUIET_END else self.call.metadata.get(name)

    def _quiet_end_ms(self) -> int | None:
        """Unknown where the recording stops before the call does."""
        return None if self.call.truncated else self.call.end_ms - self._last_word_ms()

    def _last_word_ms(self) -> int:
        return max((said.span.end_ms for said in self.call.said), default=0)

    def _judgement(self, wanted: Wanted, value: Any) -> Judgement:
        truth = wanted.truth(value)
        measured = _measured(wanted, value) if is_number(value) else None
        if truth is not Truth.VIOLATED:
            return Judgement(truth, measured=measured)
        names = {"value": value, "low": wanted.at_least, "high": wanted.at_most}
        finding = self.check.wording.of_absence(self._span(), Role.AGENT, names)
        return Judgement(truth, (replace(finding, turn=self._turn()),), measured=measured)

    def _span(self) -> Span:
        end_ms = self.call.end_ms
        return Span(min(self._last_word_ms(), end_ms), end_ms) if self.check.at_end else Span(0, end_ms)

    def _turn(self) -> Utterance | None:
        """The agent's last words, for what went wrong at the end."""
        said = self.call.by(Role.AGENT)
        return said[-1].stretches[-1].utterance if said and self.check.at_end else None


def _measured(wanted: Wanted, value: float) -> dict[str, Any]:
    return {"value": value, "unit": wanted.unit, "low": wanted.at_least, "high": wanted.at_most}


class WantedSpec(Spec):
    at_least: int | float | None = None
    at_most: int | float | None = None
    one_of: list[Value] = []
    none_of: list[Value] = []
    unit: str = ""

    @model_validator(mode="after")
    def _wants_something(self) -> WantedSpec:
        if not self.model_fields_set - {"unit"}:
            raise ValueError("an attribute needs at_least, at_most, one_of or none_of")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is more than at_most {self.at_most:g}")
        return self

    def build(self) -> Wanted:
        return Wanted(self.at_least, self.at_most, tuple(self.one_of), tuple(self.none_of), self.unit)


class AttributesSpec(RuleSpec):
    kind: Literal["metadata"]
    speaker: Literal["agent"] = "agent"
    attributes: dict[str, WantedSpec] = Field(min_length=1)
    when_unknown: Literal["unsure", "not_applicable"] = "not_applicable"
    at_end: bool = False

    def build_check(self, builder: Builder) -> Attributes:
        return Attributes(
            {name: wanted.build() for name, wanted in self.attributes.items()},
            self.wording,
            when_unknown=Truth(self.when_unknown),
            at_end=self.at_end,
        )
