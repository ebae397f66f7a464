"""How every clause of the ledger is accounted for, proven on the rules' own cases.

A clause counts as *automated* only if its own id stands on a firing and on a silent case that hold, and switching off
one of the rules its row names breaks the firing one. What a row merely claims is listed with what is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from analyzer.cases import alone, fires, is_silent, run_case
from analyzer.catalog import PackFiles, open_pack, profile_specs
from analyzer.clauses import Clause, How, Ledger, read_ledger
from analyzer.errors import InputError
from analyzer.kpi import KPI
from analyzer.rules import Pack, Rule, did_you_mean
from analyzer.rules.spec import CaseSpec


@dataclass(frozen=True, slots=True)
class Item:
    """A clause with its proof.

    firing, silent   the cases that hold and carry its id, as ``rule: case``
    missing          what its row claims and nothing shows; empty when it is accounted for
    """

    clause: Clause
    firing: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_automated(self) -> bool:
        return self.clause.how in (How.RULE, How.METADATA) and not self.missing


@dataclass(frozen=True, slots=True)
class Coverage:
    """All clauses in order of the ledger; ``faults`` are those of its files, ``total`` what it must hold (if said)."""

    items: tuple[Item, ...]
    faults: tuple[str, ...]
    total: int | None

    @property
    def automated(self) -> int:
        return sum(item.is_automated for item in self.items)

    @property
    def unproven(self) -> list[Item]:
        return [item for item in self.items if item.missing]

    def by_how(self) -> dict[str, int]:
        counted = Counter(item.clause.how.value for item in self.items)
        return {how.value: counted[how.value] for how in How}

    def as_json(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "items": len(self.items),
            "automated": self.automated,
            "unproven": len(self.unproven),
            "by_how": self.by_how(),
            "faults": list(self.faults),
            "clauses": [_as_json(item) for item in self.items],
        }


def _as_json(item: Item) -> dict[str, Any]:
    clause = item.clause
    return {
        "id": clause.id,
        "norm": clause.norm,
        "stage": clause.stage,
        "how": clause.how.value,
        "rules": list(clause.rules),
        "reason": clause.reason or None,
        "automated": item.is_automated,
        "firing": list(item.firing),
        "silent": list(item.silent),
        "missing": list(item.missing),
    }


def cover(name_or_path: str) -> Coverage:
    """Account for every clause of a pack.

    raises ConfigError if the pack does not load, since nothing can be shown with it
    """
    opened = open_pack(name_or_path)
    opened.check()
    ledger = read_ledger(opened.folder)
    proof = _Proof(opened, ledger)
    options = _options_of(name_or_path)
    items = tuple(_item(clause, proof, options) for clause in ledger.clauses.values())
    return Coverage(items, ledger.faults, ledger.total)


def _options_of(name_or_path: str) -> dict[str, list[str]]:
    """Which profiles set an option of a rule, or switch it, by rule id."""
    setting: dict[str, list[str]] = {}
    for profile, spec in profile_specs(name_or_path).items():
        for rule_id, weight in spec.rules.items():
            if weight.options or weight.status or weight.severity or not weight.enabled:
                setting.setdefault(rule_id, []).append(profile)
    return setting


def _item(clause: Clause, proof: _Proof, options: Mapping[str, list[str]]) -> Item:
    match clause.how:
        case How.RULE | How.METADATA:
            return proof.item(clause)
        case How.AGGREGATE:
            return Item(clause, missing=tuple(_missing_figures(clause)))
        case How.PROFILE_OPTION:
            return Item(clause, missing=tuple(_missing_options(clause, proof, options)))
    return Item(clause, missing=() if clause.reason else ("no reason is given",))


def _missing_figures(clause: Clause) -> Iterator[str]:
    for name in clause.rules:
        if name not in KPI:
            yield f"no key figure {name!r}{did_you_mean(name, KPI)}"
        elif clause.id not in KPI[name].clauses:
            yield f"the key figure {name} does not name it"


def _missing_options(clause: Clause, proof: _Proof, options: Mapping[str, list[str]]) -> Iterator[str]:
    for rule_id in clause.rules:
        if problem := proof.unheard_of(rule_id):
            yield problem
        elif rule_id not in options:
            yield f"no profile sets an option of {rule_id}"


@dataclass(slots=True)
class _Proof:
    """The cases of a pack by the clauses they carry, judged when they are asked for and once."""

    opened: PackFiles
    ledger: Ledger
    _cases: dict[str, list[tuple[Rule, CaseSpec]]] = field(default_factory=dict)
    _held: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rule in self.opened.pack.rules:
            for case in rule.cases:
                for clause in case.clauses:
                    self._cases.setdefault(clause, []).append((rule, case))

    @property
    def pack(self) -> Pack:
        return self.opened.pack

    def unknown(self, rule_id: str) -> str | None:
        """What is wrong with a rule id of the ledger."""
        if any(rule.id == rule_id for rule in self.pack.rules):
            return None
        return self.unheard_of(rule_id) or f"rule {rule_id} does not run (draft, retired, or switched off)"

    def unheard_of(self, rule_id: str) -> str | None:
        """The same where a profile other than this one may run it."""
        if any(rule.id == rule_id for rule in self.opened.whole.rules):
            return None
        if any(rule.id == rule_id for rule in self.opened.rules):
            return f"rule {rule_id} does not run (draft or retired)"
        return f"no rule {rule_id!r}{did_you_mean(rule_id, [rule.id for rule in self.opened.rules])}"

    def item(self, clause: Clause) -> Item:
        written = self._cases.get(clause.id, [])
        firing = [(rule, case) for rule, case in written if fires(rule, case) and self.holds(rule, case)]
        silent = [(rule, case) for rule, case in written if is_silent(case) and self.holds(rule, case)]
        missing = [problem for rule_id in clause.rules if (problem := self.unknown(rule_id))]
        if not firing:
            missing.append("no firing case carries its id")
        elif not any(self._breaks(rule, case, clause) for rule, case in firing):
            missing.append(f"its firing case holds without {' '.join(clause.rules) or 'any rule'}")
        if not any(self._is_about(rule, clause) for rule, _ in silent):
            missing.append("no silent case carries its id")
        return Item(clause, _names(firing), _names(silent), tuple(missing))

    def holds(self, rule: Rule, case: CaseSpec, without: str = "") -> bool:
        key = (rule.id, case.name, without)
        if key not in self._held:
            self._held[key] = self._run(rule, case, without)
        return self._held[key]

    def _run(self, rule: Rule, case: CaseSpec, without: str) -> bool:
        if rule.id == without:
            return False  # the report has no entry of the rule: nothing the case states is found
        try:
            return not run_case(alone(self.pack, rule, without), rule, case)
        except InputError:
            return False

    def _breaks(self, rule: Rule, case: CaseSpec, clause: Clause) -> bool:
        return any(not self.holds(rule, case, without=off) for off in clause.rules)

    @staticmethod
    def _is_about(rule: Rule, clause: Clause) -> bool:
        return rule.id in clause.rules or any(needed in clause.rules for needed in rule.needs)


def _names(cases: list[tuple[Rule, CaseSpec]]) -> tuple[str, ...]:
    return tuple(f"{rule.id}: {case.name}" for rule, case in cases)
