"""What other rules would have said of calls that were judged already.

One call at a time is read, judged and forgotten, so memory does not grow with the number of calls. A call is compared
with the verdict its report holds, or with that of another pack where one is named.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyzer.cases import alone
from analyzer.catalog import load_pack, profiles
from analyzer.errors import ConfigError, InputError
from analyzer.report import SCHEMA, analyze, rule_entry
from analyzer.rules import Pack
from analyzer.runs import REPORTS
from analyzer.transcripts import read_call, read_transcripts
from analyzer.types import Transcript

_SUFFIXES = (".json", ".jsonl")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a report says of a call, as far as it is compared. ``rules``: outcome by rule id."""

    verdict: str
    score: float | None
    rules: Mapping[str, str]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Judged:
        return cls(report["verdict"], report["score"], {entry["rule"]: entry["outcome"] for entry in report["rules"]})


@dataclass(frozen=True, slots=True)
class Change:
    """A call that is judged differently. ``rules``: outcome before and after by rule; None where there was no rule."""

    call_id: str
    before: Judged
    after: Judged
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


def replay(sources: Iterable[str | Path], pack: Pack, baseline: Pack | None = None) -> Backtest:
    """Judge stored calls with ``pack`` and collect what changes.

    sources    run folders, reports, transcripts: files, folders, patterns
    baseline   what to compare with instead of the verdicts that reports hold
    """
    result = Backtest()
    for call in stored_calls(sources):
        if isinstance(call, InputError):
            result.faults.append(call)
        elif baseline is None and call.judged is None:
            result.faults.append(_unjudged(call.transcript))
        else:
            before = Judged.of(analyze(call.transcript, baseline)) if baseline else call.judged
            after = Judged.of(analyze(call.transcript, pack))
            result.calls += 1
            if before is not None and (change := change_of(call.transcript.call_id, before, after)):
                result.changes.append(change)
    return result


def _unjudged(transcript: Transcript) -> InputError:
    return InputError(
        f"{transcript.call_id}: no report, so no verdict to compare with; name one with --baseline standard"
    )


def change_of(call_id: str, before: Judged, after: Judged) -> Change | None:
    """What differs between two judgements of a call; None where nothing does."""
    ids = dict.fromkeys((*before.rules, *after.rules))
    rules = {
        rule: (before.rules.get(rule), after.rules.get(rule))
        for rule in ids
        if before.rules.get(rule) != after.rules.get(rule)
    }
    if not rules and (before.verdict, before.score) == (after.verdict, after.score):
        return None
    return Change(call_id, before, after, rules)


# --- stored calls ---


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call to judge again, and what was said of it before, if that is known."""

    transcript: Transcript
    judged: Judged | None


def stored_calls(sources: Iterable[str | Path]) -> Iterator[StoredCall | InputError]:
    """The calls of run folders, reports and transcripts, in order; what cannot be read stands in its place."""
    for source in sources:
        for path in _report_files(Path(source)):
            if path.suffix in _SUFFIXES and path.is_file():
                yield from _read_reports(path)
            else:
                for transcript in read_transcripts(path):
                    yield transcript if isinstance(transcript, InputError) else StoredCall(transcript, None)


def _report_files(source: Path) -> Iterator[Path]:
    """The reports of a run folder; any other source as it is."""
    if (source / REPORTS).is_dir():
        yield from sorted((source / REPORTS).glob("*.json"))
    elif source.is_dir() and any(source.glob("*.json")):
        yield from sorted(path for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    else:
        yield source


def _read_reports(path: Path) -> Iterator[StoredCall | InputError]:
    """A file of one report, or of one a line; transcripts in JSON have no verdict."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        yield from (call if isinstance(call, InputError) else StoredCall(call, None) for call in read_transcripts(path))
        return
    lines = text.splitlines() if path.suffix == ".jsonl" else [text]
    for number, line in enumerate(lines, 1):
        if line.strip():
            place = f"{path}:{number}" if path.suffix == ".jsonl" else str(path)
            yield from _read_report(line, place, path.stem)


def _read_report(text: str, place: str, name: str) -> Iterator[StoredCall | InputError]:
    try:
        fields = json.loads(text)
        calls = fields if isinstance(fields, list) and fields and "turns" in fields[0] else [fields]
        for call in calls:
            yield StoredCall(read_call(call, name), _judged(call))
    except InputError as error:
        yield InputError(f"{place}: {error}")
    except (ValueError, TypeError, KeyError) as error:
        yield InputError(f"{place}: neither a report nor a transcript ({type(error).__name__}); check the file")


def _judged(fields: Any) -> Judged | None:
    is_report = isinstance(fields, dict) and fields.get("schema") == SCHEMA and "verdict" in fields
    return Judged.of(fields) if is_report else None


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
