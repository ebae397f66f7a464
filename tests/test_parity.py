"""Parity: however a call arrives, the report is the same. For every kind of check.

A call that hypothesis makes up is judged once as a whole and then *delivered* again and again: cut between characters
(times carried), channel by channel in any order, settled late or early, with hints asked for and the clock jumping
about in between. Each report must have the bytes of the first, once its places are led back to the whole call's turns.
And every finding that was shown is decided once: what was confirmed stands in the report, and all of it was confirmed.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from analyzer.engine import CallAnalyzer, CallResult, FindingEvent, FindingStatus
from analyzer.normalize import syllables
from analyzer.report import analyze, build_report, dump
from analyzer.rules import Pack, Truth
from analyzer.rules.kinds import KINDS
from analyzer.rules.said import character_times
from analyzer.types import Role, Span, Transcript, Utterance
from tests.parity_material import AGENT, CUSTOMER, RULES, calls, pack
from tests.parity_mutants import MUTANTS, with_clocked_check

DELIVERIES = 8  # of each call
PARTS = 6
CALLS = 130

DECISIONS = {("provisional", "confirmed"), ("provisional", "withdrawn"), ("confirmed",)}

Analyzer = Callable[..., CallAnalyzer]


# --- delivering a call ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of the whole call's turn number ``turn``, from its character ``offset`` on."""

    utterance: Utterance
    turn: int
    offset: int


def pieces_of(call: Transcript, chance: random.Random) -> list[Piece]:
    """The call's turns, most of them cut at random. Turns that run into others of their side stay whole: there the
    order of words is the order of turns."""
    pieces = []
    for turn, utterance in enumerate(call.utterances):
        count = chance.choice([0, 0, 1, 2, 5]) if _is_in_order(utterance, call) else 0
        cuts = {chance.randrange(len(utterance.text)) for _ in range(count)}
        edges = sorted({0, len(utterance.text), *cuts})
        pieces += [Piece(_part(utterance, a, b), turn, a) for a, b in pairwise(edges)]
    return pieces


def _is_in_order(utterance: Utterance, call: Transcript) -> bool:
    if utterance.characters is None and not any(syllables(utterance.text)):
        return False  # a sound without words: its characters have no time of their own
    others = (o for o in call.utterances if o is not utterance and o.role is utterance.role)
    return all(o.span.end_ms <= utterance.span.start_ms or utterance.span.end_ms <= o.span.start_ms for o in others)


def _part(utterance: Utterance, start: int, end: int) -> Utterance:
    if (start, end) == (0, len(utterance.text)):
        return utterance
    times = character_times(utterance)[start:end]
    return replace(
        utterance,
        span=Span(times[0].start_ms, max(time.end_ms for time in times)),
        text=utterance.text[start:end],
        characters=times,
    )


class Delivery:
    """One way for a call to arrive. Everything that is shown on the way is kept in ``events``."""

    def __init__(
        self, call: Transcript, pieces: Sequence[Piece], chance: random.Random, analyzer: CallAnalyzer
    ) -> None:
        self.call, self.chance, self.analyzer = call, chance, analyzer
        self.waiting: dict[Role, list[Utterance]] = defaultdict(list)
        for piece in pieces:
            self.waiting[piece.utterance.role].append(piece.utterance)
        self.voiced = [(role, span) for role, spans in (call.activity or {}).items() for span in spans]
        self.horizon_ms = max([call.duration_ms, *(u.span.end_ms for u in call.utterances)])
        self.events: list[FindingEvent] = []

    def run(self) -> Any:
        chance = self.chance
        in_order = chance.random() < 0.5
        while any(self.waiting.values()):
            role = chance.choice([role for role, waiting in self.waiting.items() if waiting])
            for _ in range(chance.choice([1, 1, 2, 9])):
                if waiting := self.waiting[role]:
                    self._feed(waiting.pop(0 if in_order else chance.randrange(len(waiting))))
            for role in roles_of(self.call):
                if chance.random() < 0.6:
                    self._settle(role)
            self._look()
        self._see(max([self.horizon_ms, *(span.end_ms for _, span in self.voiced)]))
        result = self.analyzer.finish(self.call.duration_ms, truncated=self.call.truncated)
        self.events += result.events
        return result

    def _feed(self, utterance: Utterance) -> None:
        self._see(utterance.span.start_ms + 1)
        self.events += self.analyzer.feed(utterance)

    def _settle(self, role: Role) -> None:
        """The watermark, somewhere before what is still to come; what VAD saw till then is known."""
        limit = min((u.span.start_ms for u in self.waiting[role]), default=self.horizon_ms)
        ms = int(limit * self.chance.choice([1, 1, 1, 0.9, 0.5]))
        self._see(ms)
        self.events += self.analyzer.settled(role, ms)

    def _see(self, ms: int) -> None:
        due = [seen for seen in self.voiced if seen[1].start_ms < ms or self.chance.random() < 0.1]
        self.chance.shuffle(due)
        for role, span in due:
            self.voiced.remove((role, span))
            self.analyzer.activity(role, span)

    def _look(self) -> None:
        if self.chance.random() < 0.5:
            self.analyzer.now(self.chance.randrange(2 * self.horizon_ms))
            self.analyzer.checklist(self.chance.randrange(2 * self.horizon_ms))
            self.analyzer.running(self.chance.randrange(2 * self.horizon_ms))
        if self.chance.random() < 0.3:
            self.analyzer.preview(self.chance.choice([AGENT, CUSTOMER]), "没办法，请稍等，我要投诉，再见")


def judged_at_once(call: Transcript, rules: Pack, analyzer: Analyzer) -> dict[str, Any]:
    """The report of a call that is fed as a whole."""
    following = start(call, rules, analyzer)
    for role, spans in (call.activity or {}).items():
        for span in spans:
            following.activity(role, span)
    for utterance in call.utterances:
        following.feed(utterance)
    return build_report(call, rules, following.finish(call.duration_ms, truncated=call.truncated))


def start(call: Transcript, rules: Pack, analyzer: Analyzer) -> CallAnalyzer:
    return analyzer(rules, direction=call.direction, metadata=call.metadata, roles=roles_of(call))


def roles_of(call: Transcript) -> list[Role]:
    """All that may be told at the start: where somebody of unknown role may speak, only the end confirms."""
    is_told = all(utterance.role is not Role.UNKNOWN for utterance in call.utterances)
    return [role for role in Role if role is not Role.UNKNOWN or not is_told]


# --- comparing --------------------------------------------------------------------------------------------------------


def led_back(report: Mapping[str, Any], pieces: Sequence[Piece], turns: Sequence[Any]) -> str:
    """The report's bytes with its places in the turns of the whole call."""
    rules = [
        {**entry, "findings": [_finding_led_back(finding, pieces) for finding in entry["findings"]]}
        for entry in report["rules"]
    ]
    return dump({**report, "rules": rules, "turns": turns})


def _finding_led_back(finding: Mapping[str, Any], pieces: Sequence[Piece]) -> dict[str, Any]:
    spans: list[dict[str, int]] = []
    for place in finding["spans"]:
        piece = pieces[place["turn"]]
        first, last = piece.offset + place["char_start"], piece.offset + place["char_end"]
        if spans and spans[-1]["turn"] == piece.turn and spans[-1]["char_end"] == first:
            spans[-1]["char_end"] = last
        else:
            spans.append({"turn": piece.turn, "char_start": first, "char_end": last})
    turn = None if finding["turn"] is None else pieces[finding["turn"]].turn
    ends = {key: spans[0][key] if spans else None for key in ("char_start", "char_end")}
    return {**finding, "spans": spans, "turn": turn, **ends}


def assert_parity(call: Transcript, seed: int, rules: Pack, analyzer: Analyzer = CallAnalyzer, times: int = 1) -> None:
    whole = [Piece(utterance, turn, 0) for turn, utterance in enumerate(call.utterances)]
    report = judged_at_once(call, rules, analyzer)
    expected = led_back(report, whole, report["turns"])
    for number in range(times):
        chance = random.Random(seed + number)
        pieces = pieces_of(call, chance)
        delivery = Delivery(call, pieces, chance, start(call, rules, analyzer))
        result = delivery.run()
        arrived = build_report(replace(call, utterances=tuple(p.utterance for p in pieces)), rules, result)
        assert led_back(arrived, pieces, report["turns"]) == expected
        assert_decided_once(delivery.events, confirmed_by(result, rules))


def confirmed_by(result: CallResult, rules: Pack) -> set[str]:
    """Findings of the report that count; those of a trial rule are told and confirmed too, but never scored."""
    counting = {rule.id for rule in rules.rules if result.judgements[rule.id].truth is Truth.VIOLATED}
    return {finding.id for rule in counting for finding in result.judgements[rule].findings}


def assert_decided_once(events: Sequence[FindingEvent], counting: set[str]) -> None:
    told: dict[str, list[str]] = defaultdict(list)
    for event in events:
        told[event.finding.id].append(event.status.value)
    assert {tuple(statuses) for statuses in told.values()} <= DECISIONS, told
    confirmed = {name for name, statuses in told.items() if statuses[-1] == FindingStatus.CONFIRMED}
    assert {name for name in confirmed if not name.startswith("banned_on_trial:")} == counting


# --- the property -----------------------------------------------------------------------------------------------------


@cache
def part_of_pack(number: int) -> Pack:
    """Every sixth rule, and what they need: a call is judged by these alone, which leaves time for more calls."""
    whole = pack()
    chosen = {rule.id for rule in whole.rules[number::PARTS]}
    needed = {name for rule in whole.rules if rule.id in chosen for name in rule.needs}
    return replace(whole, rules=tuple(rule for rule in whole.rules if rule.id in chosen | needed))


@given(calls(), st.integers(0, 2**32))
@settings(max_examples=CALLS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_call_is_judged_alike_however_it_arrives(call: Transcript, seed: int) -> None:
    assert_parity(call, seed, part_of_pack(seed % PARTS), times=DELIVERIES)


@given(calls())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_stored_call_is_judged_as_one_that_is_fed_at_once(call: Transcript) -> None:
    assert dump(analyze(call, pack())) == dump(judged_at_once(call, pack(), CallAnalyzer))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_what_depends_on_anything_but_words_and_their_times_is_caught(mutant: Analyzer) -> None:
    @given(calls(), st.integers(0, 2**32))
    @settings(max_examples=100, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    def keeps_parity(call: Transcript, seed: int) -> None:
        assert_parity(call, seed, pack(), mutant, times=4)

    with pytest.raises((AssertionError, ValueError)):  # a report may not even be possible: of text that is in no turn
        keeps_parity()


def test_a_check_whose_verdict_uses_the_clock_is_caught() -> None:
    @given(calls(), st.integers(0, 2**32))
    @settings(max_examples=100, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    def keeps_parity(call: Transcript, seed: int) -> None:
        assert_parity(call, seed, with_clocked_check(pack()), times=4)

    with pytest.raises(AssertionError):
        keeps_parity()


# --- what the property covers -----------------------------------------------------------------------------------------


def test_every_kind_of_check_is_under_the_property() -> None:
    def kinds(fields: Mapping[str, Any]) -> Iterator[str]:
        yield fields["kind"]
        for member in fields.get("members", ()):
            yield from kinds(member)

    assert {kind for fields in RULES.values() for kind in kinds(fields)} == set(KINDS)


def test_the_calls_both_keep_and_break_every_kind_of_check() -> None:
    outcomes: dict[str, set[str]] = defaultdict(set)

    @given(calls())
    @settings(max_examples=240, deadline=None, database=None, phases=[Phase.generate], derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    def collect(call: Transcript) -> None:
        for entry in judged_at_once(call, pack(), CallAnalyzer)["rules"]:
            outcomes[RULES[entry["rule"]]["kind"]].add(entry["outcome"])

    collect()
    assert {kind: seen for kind, seen in outcomes.items() if not {"pass", "violation"} <= seen} == {}
