"""What other rules would have said of calls that were judged already.

A call is compared with the verdict its report holds, or with that of another pack where one is named. Of a call only
what changed is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.cases import alone
from analyzer.catalog import load_pack, profiles
from analyzer.errors import ConfigError, InputError
from analyzer.report import analyze, rule_entry
from analyzer.rescore.changes import Change
from analyzer.rescore.stored import places, stored_calls
from analyzer.rescore.workers import Errand, Faulty, Rejudged, Rules, Task, rejudge
from analyzer.rules import Pack

if TYPE_CHECKING:
    from analyzer.rescore.tables import Tables


@dataclass(slots=True)
class Backtest:
    """``changes`` in order of the calls; ``faults`` are calls that could not be judged."""

    calls: int = 0
    changes: list[Change] = field(default_factory=list)
    faults: list[InputError] = field(default_factory=list)

    def changed_rules(self) -> dict[str, int]:
        """How many calls' outcome changes, by rule, most first."""
        return dict(Counter(rule for change in self.changes for rule in change.rules).most_common())

    def as_json(self) -> dict[str, Any]:
        return {
            "calls": self.calls,
            "changed": len(self.changes),
            "failed": len(self.faults),
            "rules": self.changed_rules(),
            "changes": [change.as_json() for change in self.changes],
        }


def replay(
    sources: Iterable[str | Path],
    rules: Rules,
    baseline: Rules | None = None,
    *,
    jobs: int = 1,
    tables: Tables | None = None,
    unmasked: bool = False,
    on_change: Callable[[Change], None] = lambda change: None,
) -> Backtest:
    """Judge stored calls by ``rules`` and collect what changes.

    sources    run folders, reports, transcripts: files, folders, patterns
    baseline   what to compare with instead of the verdicts that reports hold
    jobs       processes that judge; never changes a result
    tables     gets the rows of all calls compared
    on_change  told of each change as it is found, in order of the calls
    """
    result = Backtest()
    tasks = (place if isinstance(place, InputError) else Task(place) for place in places(sources))
    errand = Errand(rules, baseline, with_tables=tables is not None, unmasked=unmasked)
    with closing(rejudge(tasks, errand, jobs)) as batches:
        for batch in batches:
            judged = [outcome for outcome in batch.outcomes if isinstance(outcome, Rejudged)]
            result.faults += [outcome.error for outcome in batch.outcomes if isinstance(outcome, Faulty)]
            for call in judged:
                _count(result, call, on_change)
            if tables is not None and batch.sheets is not None:
                tables.add(batch.sheets, [call.rows for call in judged], [call.is_compared for call in judged])
    return result


def _count(result: Backtest, call: Rejudged, on_change: Callable[[Change], None]) -> None:
    if not call.is_compared:
        result.faults.append(_unjudged(call.call_id))
        return
    result.calls += 1
    if call.change is not None:
        result.changes.append(call.change)
        on_change(call.change)


def _unjudged(call_id: str) -> InputError:
    return InputError(f"{call_id}: no report, so no verdict to compare with; name one with --baseline standard")


# --- one rule in all profiles ---


@dataclass(frozen=True, slots=True)
class Share:
    """How one rule goes in one profile: calls by outcome. ``title`` is the profile's."""

    profile: str
    title: str
    outcomes: Mapping[str, int]

    @property
    def judged(self) -> int:
        return self.outcomes.get("pass", 0) + self.outcomes.get("violation", 0)

    @property
    def failed(self) -> float | None:
        """Share of violations among the calls that were judged; None where none was."""
        return self.outcomes.get("violation", 0) / self.judged if self.judged else None

    def __str__(self) -> str:
        share = "无可判通话" if self.failed is None else f"违规 {self.failed:.1%}"
        counts = f"{self.outcomes.get('violation', 0)}/{self.judged} 通可判"
        rest = f"，存疑 {self.outcomes.get('unsure', 0)}，不适用 {self.outcomes.get('not_applicable', 0)}"
        return f"{self.profile}（{self.title}）  {share}（{counts}{rest}）"

    def as_json(self) -> dict[str, Any]:
        return {"profile": self.profile, "failed": self.failed, "outcomes": dict(self.outcomes)}


def shares_by_profile(
    rule_id: str, sources: Sequence[str | Path], name_or_path: str
) -> tuple[list[Share], list[InputError]]:
    """Which share of stored calls each profile of a pack would fail by one rule. A profile without the rule is left
    out."""
    packs = [pack for profile in profiles(name_or_path) if (pack := _with_rule(name_or_path, profile, rule_id))]
    if not packs:
        raise ConfigError(f"no profile of {name_or_path} runs the rule {rule_id!r}")
    counted: list[Counter[str]] = [Counter() for _ in packs]
    faults: list[InputError] = []
    for call in stored_calls(sources):
        if isinstance(call, InputError):
            faults.append(call)
            continue
        for pack, outcomes in zip(packs, counted, strict=True):
            outcomes[rule_entry(analyze(call.transcript, pack), rule_id)["outcome"]] += 1
    shares = [
        Share(pack.profile.name, pack.profile.title, dict(outcomes))
        for pack, outcomes in zip(packs, counted, strict=True)
    ]
    return shares, faults


def _with_rule(name_or_path: str, profile: str, rule_id: str) -> Pack | None:
    pack = load_pack(name_or_path, profile)
    rule = next((rule for rule in pack.rules if rule.id == rule_id), None)
    return alone(pack, rule) if rule else None
