"""``all``, ``any``, ``not``: checks combined. The members stand in the rule file itself.

``all`` ignores members that are not applicable, then violated > pending > unsure > met; ``any``: met > pending >
unsure > violated; ``not`` swaps met and violated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from analyzer.rules.anchor import joined, merged, one_of
from analyzer.rules.call import Call
from analyzer.rules.checks import Check, Watch
from analyzer.rules.faults import Fault, Place, RuleFaults
from analyzer.rules.findings import Element, Finding, Item, Judgement, Owed, Wording
from analyzer.rules.phrases import PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spec import Builder, RuleSpec
from analyzer.rules.truth import Truth, every, negation
from analyzer.types import Span


class Join(StrEnum):
    ALL = "all"
    ANY = "any"
    NOT = "not"


@dataclass(frozen=True, slots=True)
class Combined(Check):
    join: Join
    members: tuple[Check, ...]
    wording: Wording

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(needed for member in self.members for needed in member.needs))

    @property
    def listens_for(self) -> Collection[PhraseSet] | None:
        cues = [member.listens_for for member in self.members]
        return None if None in cues else [cue for own in cues for cue in own or ()]

    @property
    def reminds(self) -> bool:
        return any(member.reminds for member in self.members)

    def watch(self, call: Call) -> Watch:
        return _CombinedWatch(self, call, [member.watch(call) for member in self.members])


@dataclass(frozen=True, slots=True)
class _CombinedWatch(Watch):
    check: Combined
    call: Call
    watches: Sequence[Watch]

    def hear(self, said: Said) -> None:
        for watch in self.watches:
            watch.hear(said)

    def reach(self, ms: int) -> None:
        for watch in self.watches:
            watch.reach(ms)

    def findings_so_far(self) -> Sequence[tuple[Finding, bool]]:
        """What members of ``all`` found counts at once; of ``any`` and ``not`` only the end tells."""
        if self.check.join is not Join.ALL:
            return ()
        return merged(watch.findings_so_far() for watch in self.watches)

    def glimpse(self, said: Said) -> Sequence[Finding]:
        if self.check.join is not Join.ALL:
            return ()
        return list({f.id: f for watch in self.watches for f in watch.glimpse(said)}.values())

    def owed(self, unsettled: Sequence[Said]) -> Sequence[Owed]:
        """What every member owes; of ``any`` only while no member is content."""
        owed = [watch.owed(unsettled) for watch in self.watches]
        if self.check.join is Join.NOT or (self.check.join is Join.ANY and not all(owed)):
            return ()
        return [one for member in owed for one in member]

    def checklist(self, unsettled: Sequence[Said], ms: int) -> Sequence[Item]:
        """As what is owed: of ``any`` only while no member is content."""
        listed = [watch.checklist(unsettled, ms) for watch in self.watches]
        if self.check.join is Join.NOT or (self.check.join is Join.ANY and not all(listed)):
            return ()
        return list({(item.rule, item.element): item for items in listed for item in items}.values())

    def judge(self, others: Mapping[str, Judgement]) -> Judgement:
        judgements = [watch.judge(others) for watch in self.watches]
        match self.check.join:
            case Join.ALL:
                return replace(joined(judgements, every), elements=_elements(judgements))
            case Join.ANY:
                return one_of(judgements)
        return self._negated(judgements[0])

    def _negated(self, judgement: Judgement) -> Judgement:
        """What kept the member's norm breaks this one; where it names no words, what broke it is missing."""
        truth, wording = negation(judgement.truth), self.check.wording
        if truth is not Truth.VIOLATED:
            return Judgement(truth, measured=judgement.measured, evidence=judgement.findings)
        findings = tuple(
            replace(
                finding, rule=wording.rule, severity=wording.severity, message=wording.say(quote=finding.quote or "")
            )
            for finding in judgement.evidence
        )
        if not findings:
            findings = (wording.of_absence(Span(0, self.call.end_ms), None, {}),)
        return Judgement(truth, findings, measured=judgement.measured)


def _elements(judgements: Sequence[Judgement]) -> dict[str, Element] | None:
    """Elements of all members; those that are said win over those of the same name that are not."""
    merged: dict[str, Element] = {}
    for judgement in judgements:
        for name, element in (judgement.elements or {}).items():
            if name not in merged or element.present:
                merged[name] = element
    return merged or None


class CombineSpec(RuleSpec):
    """Members are written as rules are, without ``id``, ``title`` and ``cases``; what a member does not say of
    severity, message, suggestion, speaker, window and confidence it takes from the rule."""

    kind: Literal["all", "any", "not"]
    members: list[dict[str, Any]] = Field(min_length=1)

    def build_check(self, builder: Builder) -> Combined:
        if self.kind == "not" and len(self.members) != 1:
            builder.fault(("members",), "'not' takes one member")
        members = [self._member(fields, builder, ("members", i)) for i, fields in enumerate(self.members)]
        return Combined(Join(self.kind), tuple(m for m in members if m is not None), self.wording)

    def _member(self, fields: Mapping[str, Any], builder: Builder, place: Place) -> Check | None:
        builder.faults += [
            Fault((*place, key), f"a member has no {key!r} of its own")
            for key in ("id", "title", "status", "cases", "clauses", "not_applicable_when", "directions")
            if key in fields
        ]
        inherited = {key: getattr(self, key) for key in _INHERITED if key in self.model_fields_set}
        try:
            spec = builder.read_spec({**inherited, **fields})
        except RuleFaults as error:
            builder.faults += [Fault((*place, *fault.place), fault.message) for fault in error.faults]
            return None
        own = Builder(builder.words, builder.read_spec)
        check = spec.anchored_check(own)
        builder.faults += [Fault((*place, *fault.place), fault.message) for fault in own.faults]
        return check


_INHERITED = ("id", "title", "severity", "message", "suggestion", "speaker", "window", "boundary", "min_confidence")
