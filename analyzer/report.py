"""The ``analyzer.report/1`` object: everything a call's verdict rests on, and nothing of when or where it was made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analyzer.engine import CallAnalyzer, CallResult, likely_swapped
from analyzer.normalize import simplify
from analyzer.rules import Call, Element, Finding, Judgement, Pack, Rule, Status
from analyzer.rules.call import total_ms
from analyzer.rules.rate import rates, syllable_count, voiced_ms
from analyzer.rules.spans import talk
from analyzer.scoring import RuleScore, score_call
from analyzer.types import Role, Transcript, Utterance

SCHEMA = "analyzer.report/1"
_SIDES = (Role.AGENT, Role.CUSTOMER)


def analyze(transcript: Transcript, pack: Pack) -> dict[str, Any]:
    """Judge a finished call and report it."""
    return build_report(transcript, pack, judged(transcript, pack))


def judged(transcript: Transcript, pack: Pack) -> CallResult:
    """What the rules say of a finished call: the same engine that follows a live one, fed at once."""
    roles = {*_SIDES, *(utterance.role for utterance in transcript.utterances)}
    analyzer = CallAnalyzer(
        pack,
        direction=transcript.direction,
        metadata=transcript.metadata,
        roles=roles,
        starts_late=transcript.recording_offset_ms > 0,
        is_live=False,
    )
    for role, spans in (transcript.activity or {}).items():
        for span in spans:
            analyzer.activity(role, span)
    for utterance in sorted(transcript.utterances, key=_start_ms):
        for role in roles:  # as in a live call, so that no more is kept open than there
            analyzer.settled(role, _start_ms(utterance))
        analyzer.feed(utterance)
    return analyzer.finish(transcript.duration_ms, truncated=transcript.truncated)


def doubting_sides(transcript: Transcript) -> Transcript:
    """The transcript with a warning if its two sides look swapped. Nothing is corrected: it is a guess."""
    reason = likely_swapped(transcript.utterances)
    if reason is None:
        return transcript
    warning = f"{reason}；请核对角色（score --channels customer,agent 可对调）"
    return replace(transcript, warnings=tuple(dict.fromkeys((*transcript.warnings, warning))))


def _start_ms(utterance: Utterance) -> int:
    return utterance.characters[0].start_ms if utterance.characters else utterance.span.start_ms


def dump(report: Mapping[str, Any]) -> str:
    """One line of JSON; equal reports give equal bytes."""
    return json.dumps(report, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def recognised_by(report: Mapping[str, Any]) -> str | None:
    """The model that heard the call: what it says of itself, else its name; None for a transcript."""
    recogniser = report.get("recogniser") or {}
    told: str | None = recogniser.get("notice") or recogniser.get("name")
    return told


def build_report(transcript: Transcript, pack: Pack, result: CallResult) -> dict[str, Any]:
    """The report of a judged call. ``result`` must come from the utterances of ``transcript``, in any order."""
    card = score_call(result.judgements, pack)
    turn_of = _turn_numbers(transcript.utterances)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "call_id": transcript.call_id,
        "direction": transcript.direction.value,
        "duration_ms": transcript.duration_ms,
        "pack": {"name": pack.name, "version": pack.version, "digest": pack.digest},
        "profile": pack.profile.name,
        "score": _tidy(card.score),
        "verdict": card.verdict.value,
        "rules": [_rule(rule, result.judgements[rule.id], card.rules[rule.id], turn_of) for rule in pack.rules],
        "metrics": _metrics(result.call),
        "metadata": dict(transcript.metadata),
        "recogniser": dict(transcript.recogniser) if transcript.recogniser is not None else None,
        "truncated": transcript.truncated,
        "recording_offset_ms": transcript.recording_offset_ms,
        "warnings": list(transcript.warnings),
    }
    if transcript.activity is not None:
        report["activity"] = {
            role.value: [[span.start_ms, span.end_ms] for span in spans] for role, spans in transcript.activity.items()
        }
    report["turns"] = [_turn(utterance) for utterance in transcript.utterances]
    return report


class _TurnNumbers:
    """Index of each utterance in ``turns``. Two equal turns are told apart by identity where the caller kept it."""

    def __init__(self, utterances: Sequence[Utterance]) -> None:
        self._same = {id(utterance): index for index, utterance in enumerate(utterances)}
        self._utterances = utterances

    def __call__(self, utterance: Utterance) -> int:
        number = self._same.get(id(utterance))
        return self._utterances.index(utterance) if number is None else number


def _turn_numbers(utterances: Sequence[Utterance]) -> _TurnNumbers:
    return _TurnNumbers(utterances)


def _rule(rule: Rule, judgement: Judgement, score: RuleScore, turn_of: _TurnNumbers) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "rule": rule.id,
        "title": rule.title,
        "outcome": judgement.truth.outcome.value,
        "severity": rule.severity.value,
        "points": _tidy(score.points),
        "max_points": _tidy(score.max_points),
        "clauses": list(rule.clauses),
    }
    if rule.status is Status.TRIAL:
        entry["status"] = rule.status.value
    if judgement.level is not None:
        entry["level"] = judgement.level
    if judgement.elements is not None:
        entry["elements"] = {name: _element(element) for name, element in judgement.elements.items()}
    if judgement.measured is not None:
        entry["measured"] = {key: _tidy(value) for key, value in judgement.measured.items()}
    entry["findings"] = [_finding(finding, turn_of) for finding in judgement.findings]
    return entry


def _element(element: Element) -> dict[str, Any]:
    return {"present": element.present, "at_ms": element.at_ms, "quote": element.quote}


def _finding(finding: Finding, turn_of: _TurnNumbers) -> dict[str, Any]:
    spans = [
        {"turn": turn_of(place.utterance), "char_start": place.char_start, "char_end": place.char_end}
        for place in finding.places
    ]
    first = spans[0] if spans else {"turn": None, "char_start": None, "char_end": None}
    turn = turn_of(finding.turn) if finding.turn is not None else first["turn"]
    return {
        "category": finding.category,
        "severity": finding.severity.value,
        "role": finding.role.value if finding.role else None,
        "turn": turn,
        "spans": spans,
        "start_ms": finding.span.start_ms,
        "end_ms": finding.span.end_ms,
        "quote": finding.quote,
        "char_start": first["char_start"],
        "char_end": first["char_end"],
        "match": finding.match.value,
        "confidence": _tidy(finding.confidence),
        "message": finding.message,
        "suggestion": finding.suggestion,
        "clauses": list(finding.clauses),
    }


def _metrics(call: Call) -> dict[str, Any]:
    voiced = {role: voiced_ms(call, role) for role in _SIDES}
    spoken = sum(voiced.values())
    everyone = [span for role in Role for span in talk(call, role)]
    return {
        "rate": {role.value: rates(call, role) for role in _SIDES},
        "syllables": {role.value: syllable_count(call, role) for role in _SIDES},
        "talk_ratio": round(voiced[Role.AGENT] / spoken, 4) if spoken else None,
        "silence_ms": max(0, call.end_ms - total_ms(everyone)),
    }


def _turn(utterance: Utterance) -> dict[str, Any]:
    turn: dict[str, Any] = {
        "role": utterance.role.value,
        "start_ms": utterance.span.start_ms,
        "end_ms": utterance.span.end_ms,
        "text": utterance.text,
        "folded": simplify(utterance.text),
    }
    if utterance.confidence is not None:
        turn["confidence"] = utterance.confidence
    if utterance.characters is not None:
        turn["chars"] = [[span.start_ms, span.end_ms] for span in utterance.characters]
    if utterance.interpolated:
        turn["interpolated"] = True
    if utterance.estimated:
        turn["estimated"] = True
    if utterance.level_db is not None:
        turn["level_db"] = utterance.level_db
    if utterance.role_confidence is not None:
        turn["role_confidence"] = utterance.role_confidence
    return turn


def _tidy(value: Any) -> Any:
    """Whole numbers without a fraction, so that 100 and 100.0 print alike."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def rule_entry(report: Mapping[str, Any], rule_id: str) -> Mapping[str, Any]:
    """The entry of one rule. Raises KeyError if the pack has none of that id."""
    entries: Iterable[Mapping[str, Any]] = report["rules"]
    found = next((entry for entry in entries if entry["rule"] == rule_id), None)
    if found is None:
        raise KeyError(rule_id)
    return found
