"""What differs between two judgements of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analyzer.types import Outcome


@dataclass(frozen=True, slots=True)
class Total:
    """What a report says of a call as a whole."""

    verdict: str
    score: float | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What a report says of a call, as far as it is compared. ``rules``: outcome by rule id."""

    total: Total
    rules: Mapping[str, str]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Judged:
        total = Total(report["verdict"], report["score"])
        return cls(total, {entry["rule"]: entry["outcome"] for entry in report["rules"]})


@dataclass(frozen=True, slots=True)
class Change:
    """A call that is judged differently. ``rules``: outcome before and after by rule; None where there was no rule."""

    call_id: str
    before: Total
    after: Total
    rules: Mapping[str, tuple[str | None, str | None]]

    def __str__(self) -> str:
        parts = [f"{rule} {_shown(was)}→{_shown(becomes)}" for rule, (was, becomes) in self.rules.items()]
        verdict, score = (self.before.verdict, self.after.verdict), (self.before.score, self.after.score)
        if verdict[0] != verdict[1]:
            parts.insert(0, f"{verdict[0]}→{verdict[1]}")
        if score[0] != score[1]:
            parts.insert(0, f"{_shown(score[0])}→{_shown(score[1])}")
        return f"{self.call_id}: {'  '.join(parts)}"

    def as_json(self) -> dict[str, Any]:
        return {
            "call_id": self.call_id,
            "score": [self.before.score, self.after.score],
            "verdict": [self.before.verdict, self.after.verdict],
            "rules": {rule: list(outcomes) for rule, outcomes in self.rules.items()},
        }


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def is_flip(was: str | None, becomes: str | None) -> bool:
    """Whether outcomes of a rule differ; None where there was no rule, which is as good as one that does not apply."""
    return (was or Outcome.NOT_APPLICABLE) != (becomes or Outcome.NOT_APPLICABLE)


def change_of(call_id: str, before: Judged, after: Judged) -> Change | None:
    """What differs between two judgements of a call; None where nothing does."""
    outcomes = {rule: (before.rules.get(rule), after.rules.get(rule)) for rule in (*before.rules, *after.rules)}
    rules = {rule: (was, becomes) for rule, (was, becomes) in outcomes.items() if is_flip(was, becomes)}
    if not rules and before.total == after.total:
        return None
    return Change(call_id, before.total, after.total, rules)
