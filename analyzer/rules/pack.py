"""A pack: rules with their words, and the profile that weighs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property

from analyzer.rules.listeners import Listeners
from analyzer.rules.patterns import HESITATION
from analyzer.rules.phrases import PhraseSet
from analyzer.rules.said import Said
from analyzer.rules.spec import Rule, Status
from analyzer.types import Severity

PASS_MARK = 85.0
DEFAULT_POINTS: Mapping[Severity, float] = {
    Severity.CRITICAL: 20,
    Severity.MAJOR: 10,
    Severity.MINOR: 5,
    Severity.INFO: 0,
}
_LONGEST_BACK_CHANNEL = 12  # characters; 嗯嗯好的好的谢谢 is one, a sentence is not


@dataclass(frozen=True, slots=True)
class Weight:
    """What a rule is worth in a profile.

    deduct   points lost, per call or per hit, at most ``cap``; by severity of the finding where they differ
    bonus    points added when the rule passes
    """

    max_points: float
    deduct: float | Mapping[Severity, float]
    per_hit: bool = False
    cap: float | None = None
    veto: bool = False
    bonus: float = 0

    @classmethod
    @cache
    def of(cls, severity: Severity) -> Weight:
        return cls(DEFAULT_POINTS[severity], DEFAULT_POINTS[severity])


@dataclass(frozen=True, slots=True)
class ManualItem:
    """A norm that no rule can judge and a person scores (人工项). ``clause``: the ledger's."""

    id: str
    title: str
    max_points: float
    clause: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A quality scheme (质检方案): pass mark, weights by rule id, and what people score by hand. Manual items count in
    final scores only."""

    name: str
    title: str = ""
    pass_mark: float = PASS_MARK
    weights: Mapping[str, Weight] = field(default_factory=dict)
    manual: tuple[ManualItem, ...] = ()

    def weight(self, rule: Rule) -> Weight:
        return self.weights.get(rule.id) or Weight.of(rule.severity)


@dataclass(frozen=True)
class Pack:
    """Everything that judges a call. ``rules`` are those that run (stable and trial), by topic and id."""

    name: str
    version: str
    digest: str
    rules: tuple[Rule, ...]
    profile: Profile
    back_channel: PhraseSet = field(default_factory=lambda: PhraseSet(()))

    def rule(self, rule_id: str) -> Rule:
        return next(rule for rule in self.rules if rule.id == rule_id)

    def is_scored(self, rule: Rule) -> bool:
        return rule.status is Status.STABLE

    @cached_property
    def listeners(self) -> Listeners:
        return Listeners({rule.id: rule.check for rule in self.rules})

    @cached_property
    def in_order_of_need(self) -> tuple[Rule, ...]:
        """Rules so ordered that each follows those whose judgements it needs. The catalogue refuses circles."""
        by_id = {rule.id: rule for rule in self.rules}
        ordered: dict[str, Rule] = {}

        def place(rule: Rule) -> None:
            for needed in rule.needs:
                if needed in by_id and needed not in ordered:
                    place(by_id[needed])
            ordered.setdefault(rule.id, rule)

        for rule in self.rules:
            place(rule)
        return tuple(ordered.values())

    def is_back_channel(self, said: Said) -> bool:
        """Nothing but 嗯, 对, 好的 and hesitation."""
        if not said.text or len(said.text) > _LONGEST_BACK_CHANNEL:
            return not said.text
        if not said.stripped:
            return True
        covered = {index for hit in self.back_channel.find(said) for index in range(hit.start, hit.end)}
        return all(index in covered or heard in HESITATION for index, heard in enumerate(said.text))
