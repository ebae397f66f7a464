"""How right the rules are: labelled utterances, whole calls and ordinary turns, clean and with recogniser-like errors.

    python -m bench.rules [--part tuning|closing] [--profile standard] [--show]

The material and what its labels mean: ``bench/data/rules/GUIDE.md``. The tuning part may be looked at (``--show`` lists
what is wrong); the closing part only gives figures. Errors come from ``bench.error_simulator`` with one fixed seed.
``unsure`` counts as wrong: a miss where something should be found, a false alarm where nothing should. Intervals are
Wilson's at 95 %.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from analyzer.catalog import load_pack
from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack
from analyzer.transcripts import read_call
from bench.error_simulator import garble, garble_call

DATA = Path(__file__).parent / "data" / "rules"
RATES = (0.0, 0.1, 0.2, 0.3)
FINE = "无"
RULE = "banned_phrase"
NEXT_AFTER_MS = 800
MS_PER_CHARACTER = 250
SEED = 1


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``of``, with Wilson's interval at 95 %."""

    hits: int
    of: int

    def __str__(self) -> str:
        if not self.of:
            return "-"
        low, high = wilson(self.hits, self.of)
        return f"{self.hits / self.of:.3f} [{low:.3f}-{high:.3f}] n={self.of}"


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a share.

    >>> [round(bound, 3) for bound in wilson(98, 100)]
    [0.93, 0.994]
    """
    share, spread = hits / of, z * z / of
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / of + spread / of / 4)
    return middle - half, middle + half


def call_of(texts: Iterable[tuple[str, str]], call_id: str) -> dict[str, Any]:
    """(role, text) one after the other, at an even pace, as a transcript object."""
    turns, at = [], 1_000
    for role, text in texts:
        end = at + MS_PER_CHARACTER * max(1, len(text))
        turns.append({"role": role, "start_ms": at, "end_ms": end, "text": text})
        at = end + NEXT_AFTER_MS
    return {"call_id": call_id, "direction": "inbound", "duration_ms": at, "turns": turns}


def judged(call: Mapping[str, Any], pack: Pack) -> Mapping[str, Any]:
    fields = {key: value for key, value in call.items() if key != "expected"}
    return analyze(read_call(fields, str(call["call_id"])), pack)


# ---- utterances


@dataclass(slots=True)
class Utterances:
    """Counts over labelled utterances; ``wrong`` holds what is listed with ``--show``."""

    flagged_right: int = 0
    flagged_wrong: int = 0
    missed: int = 0
    unsure: int = 0
    category_right: int = 0
    severity_right: int = 0
    total: int = 0
    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def precision(self) -> Share:
        return Share(self.flagged_right, self.flagged_right + self.flagged_wrong)

    @property
    def recall(self) -> Share:
        return Share(self.flagged_right, self.flagged_right + self.missed)

    def add(self, row: Mapping[str, str], entry: Mapping[str, Any], turn: int, text: str) -> None:
        findings = [finding for finding in entry["findings"] if finding["turn"] == turn]
        outcome = entry["outcome"] if findings else "pass"
        self.total += 1
        self.unsure += outcome == "unsure"
        wanted, got = row["label"], (findings[0]["category"] if findings else FINE)
        self.confusion[wanted, got if outcome != "unsure" else "unsure"] += 1
        if wanted == FINE:
            self.flagged_wrong += outcome != "pass"
        elif outcome == "violation":
            self.flagged_right += 1
            self.category_right += got == wanted
            self.severity_right += findings[0]["severity"] == row["severity"]
        else:
            self.missed += 1
        if (got if outcome == "violation" else FINE if outcome == "pass" else "unsure") != wanted:
            quoted = " ".join(str(finding["quote"]) for finding in findings)
            self.wrong.append(
                f"{row['id']} {wanted} -> {got} ({outcome}) {text} {'<' + quoted + '>' if quoted else ''}"
            )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))


def utterances(part: str, rate: float, pack: Pack) -> Utterances:
    counts = Utterances()
    for row in rows(DATA / f"utterances_{part}.tsv"):
        said = [("customer", row["customer_before"]), ("agent", row["text"]), ("agent", row["next"])]
        heard = [(role, garble(text, rate, SEED)) for role, text in said if text]
        turn = 1 if row["customer_before"] else 0
        report = judged(call_of(heard, row["id"]), pack)
        counts.add(row, rule_entry(report, RULE), turn, heard[turn][1])
    return counts


# ---- whole calls


@dataclass(slots=True)
class Calls:
    """Outcome counts per rule, elements and levels of opening and closing."""

    outcomes: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    elements: Counter[tuple[bool, bool]] = field(default_factory=Counter)
    level_right: int = 0
    levels: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, call: Mapping[str, Any], report: Mapping[str, Any]) -> None:
        known = {entry["rule"]: entry for entry in report["rules"]}
        for rule, expected in call["expected"].items():
            wanted = expected if isinstance(expected, Mapping) else {"outcome": expected}
            entry = known.get(rule, {"outcome": "no such rule"})
            if wanted.get("outcome"):
                self.outcomes[rule][wanted["outcome"], entry["outcome"]] += 1
            if wanted.get("outcome") not in (None, entry["outcome"]):
                self.wrong.append(f"{call['call_id']} {rule}: {wanted['outcome']} -> {entry['outcome']}")
            if wanted.get("level"):
                self.levels += 1
                self.level_right += entry.get("level") == wanted["level"]
            for name, present in (wanted.get("elements") or {}).items():
                got = bool(((entry.get("elements") or {}).get(name) or {}).get("present"))
                self.elements[present, got] += 1
                if got != present:
                    self.wrong.append(f"{call['call_id']} {rule}.{name}: {present} -> {got}")

    @property
    def element_f1(self) -> float:
        return f1(self.elements[True, True], self.elements[False, True], self.elements[True, False])

    def rule_f1(self, rule: str) -> float:
        """Mean F1 over the outcomes that occur for the rule: pass, violation, not applicable, unsure."""
        counts = self.outcomes[rule]
        names = {wanted for wanted, _ in counts}
        return sum(f1(*_positives(counts, name)) for name in names) / len(names)

    @property
    def macro_f1(self) -> float:
        return sum(map(self.rule_f1, self.outcomes)) / max(1, len(self.outcomes))


def _positives(counts: Counter[tuple[str, str]], name: str) -> tuple[int, int, int]:
    right = counts[name, name]
    extra = sum(n for (wanted, got), n in counts.items() if got == name and wanted != name)
    missed = sum(n for (wanted, got), n in counts.items() if wanted == name and got != name)
    return right, extra, missed


def f1(right: int, extra: int, missed: int) -> float:
    return 2 * right / (2 * right + extra + missed) if right + extra + missed else 1.0


def calls(part: str, rate: float, pack: Pack) -> Calls:
    counts = Calls()
    for path in sorted(DATA.glob(f"calls_{part}*.jsonl")):
        for call in _json_lines(path):
            heard = garble_call(call, rate, SEED) if rate else call
            counts.add(call, judged(heard, pack))
    return counts


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, filter(str.strip, lines))


# ---- ordinary turns


def false_alarms(rate: float, pack: Pack) -> tuple[int, list[str]]:
    """How many ordinary turns were judged, and those with a ``banned_phrase`` finding, unsure ones included."""
    alarms = []
    turns = [line.strip() for line in (DATA / "ordinary_turns.txt").read_text(encoding="utf-8").splitlines()]
    turns = [turn for turn in turns if turn]
    for number, turn in enumerate(turns, 1):
        heard = garble(turn, rate, SEED)
        entry = rule_entry(judged(call_of([("agent", heard)], f"o{number}"), pack), RULE)
        alarms += [f"{number} {heard} <{finding['quote']}>" for finding in entry["findings"]]
    return len(turns), alarms


# ---- tables


def show(console: Console, title: str, lines: Sequence[str]) -> None:
    console.print(f"\n{title}: {len(lines)}", highlight=False)
    for line in lines:
        console.print("  " + line, highlight=False, markup=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("tuning", "closing"), default="tuning")
    parser.add_argument("--profile", default="standard")
    parser.add_argument("--pack", default="standard")
    parser.add_argument("--rates", type=float, nargs="*", default=RATES)
    parser.add_argument("--only", choices=("utterances", "calls", "turns"), nargs="*")
    parser.add_argument("--show", action="store_true", help="list what is wrong (tuning part only)")
    given = parser.parse_args()
    if given.show and given.part == "closing":
        parser.error("--show: the closing part is for figures; look at the tuning part")
    pack = load_pack(given.pack, given.profile)
    parts = given.only or ("utterances", "calls", "turns")
    console = Console(width=150)
    if "utterances" in parts:
        _report_utterances(console, given, pack)
    if "calls" in parts:
        _report_calls(console, given, pack)
    if "turns" in parts:
        for rate in given.rates:
            turns, alarms = false_alarms(rate, pack)
            per_thousand = 1000 * len(alarms) / turns
            console.print(
                f"ordinary turns, {rate:.0%} errors: {len(alarms)} alarms in {turns}: {per_thousand:.2f} per 1,000"
            )
            if given.show:
                show(console, "alarms", alarms)


def _report_utterances(console: Console, given: argparse.Namespace, pack: Pack) -> None:
    table = Table("errors", "precision", "recall", "category right", "severity right", "unsure", title=RULE)
    for rate in given.rates:
        counts = utterances(given.part, rate, pack)
        category = Share(counts.category_right, counts.flagged_right)
        severity = Share(counts.severity_right, counts.flagged_right)
        unsure = f"{counts.unsure / counts.total:.1%}"
        table.add_row(f"{rate:.0%}", *map(str, (counts.precision, counts.recall, category, severity)), unsure)
        if given.show:
            show(console, f"utterances judged wrong at {rate:.0%} errors", counts.wrong)
        if not rate:
            confusion = [
                f"{wanted} -> {got}: {n}" for (wanted, got), n in counts.confusion.most_common() if wanted != got
            ]
            show(console, "confusion, clean", confusion)
    console.print(table)


def _report_calls(console: Console, given: argparse.Namespace, pack: Pack) -> None:
    table = Table("errors", "element F1", "level right", "macro-F1 over rules", "rules", title="whole calls")
    for rate in given.rates:
        counts = calls(given.part, rate, pack)
        level = Share(counts.level_right, counts.levels)
        table.add_row(
            f"{rate:.0%}", f"{counts.element_f1:.3f}", str(level), f"{counts.macro_f1:.3f}", str(len(counts.outcomes))
        )
        if given.show:
            show(console, f"wrong at {rate:.0%} errors", counts.wrong)
        if not rate:
            show(
                console,
                "F1 per rule, clean",
                [f"{rule} {counts.rule_f1(rule):.3f}" for rule in sorted(counts.outcomes)],
            )
    console.print(table)


if __name__ == "__main__":
    main()
