"""Rules that hear only what may concern them say the same as if they heard everything."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

from analyzer.catalog import load_pack
from analyzer.report import analyze, dump
from analyzer.rules import Pack, Pattern, Said
from analyzer.rules.hearing import Hearing
from analyzer.rules.listeners import Listeners
from analyzer.rules.phrases import misheard, ranges
from analyzer.rules.said import Stretch
from analyzer.transcripts import read_call
from analyzer.types import Transcript, Utterance
from bench.error_simulator import garble
from tests.parity_material import pack

CALLS = Path(__file__).parent.parent / "bench" / "data" / "rules" / "calls_tuning.jsonl"


def some_calls() -> list[Transcript]:
    lines = CALLS.read_text(encoding="utf-8").splitlines()[::8]
    fields = (json.loads(line) for line in lines)
    return [read_call({key: value for key, value in call.items() if key != "expected"}, CALLS.name) for call in fields]


def test_a_rule_misses_nothing_in_what_it_need_not_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = some_calls()
    sparing = [dump(analyze(call, pack())) for call in calls]

    def everyone(listeners: Listeners, said: Said, before: Said | None) -> Iterable[str]:
        return [rule.id for rule in pack().rules]

    monkeypatch.setattr(Listeners, "concerned", everyone)
    assert [dump(analyze(call, pack())) for call in calls] == sparing


def test_rules_that_are_decided_at_the_end_hear_nothing() -> None:
    deaf = {rule.kind for rule in pack().rules if rule.check.listens_for == ()}
    assert {"turn", "entity", "echo", "address", "metadata", "repeat"} <= deaf


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("不关我事", (("不关我事",),)),
        ("不…了", (("不",), ("了",))),
        ("(您|你)好吗?再说", (("再说",), ("您好", "你好"))),
        ("查[一下]$说", (("查一说", "查下说"),)),  # 吧 and 了 may stand at the anchor, so that only one is certain
    ],
)
def test_a_pattern_tells_all_the_literals_it_needs(source: str, needs: tuple[tuple[str, ...], ...]) -> None:
    assert Pattern(source).needs == needs


# --- the one scan -----------------------------------------------------------------------------------------------------


def misheard_utterances() -> list[Said]:
    """What agents and customers say, recognised with every fifth character wrong."""
    said = []
    for utterance in [one for call in some_calls()[:6] for one in call.utterances][:30]:
        text = garble(utterance.text, 0.2)
        if text:
            untimed = Utterance(utterance.role, utterance.span, text, 0.9)
            said.append(Said(utterance.role, [Stretch(untimed, 0, len(text), untimed.span)]))
    assert len(said) > 20
    return said


@cache
def standard() -> Pack:
    return load_pack()


def test_the_scan_misses_no_phrase() -> None:
    vocabulary = standard().back_channel.vocabulary
    assert len(vocabulary.sets) > 300
    utterances, found = misheard_utterances(), 0
    for phrases in vocabulary.sets[::2]:
        for order, phrase in enumerate(phrases.phrases):  # utterances inside: an expression takes long to compile
            for said in utterances:
                if ranges(phrase.pattern, said):
                    found += 1
                    assert order in vocabulary.candidates(said).spelled_in(phrases), (phrase.pattern, said.text)
    assert found > 100


def test_what_is_not_compared_by_sound_would_not_have_been_found(monkeypatch: pytest.MonkeyPatch) -> None:
    sparing, thorough = misheard_utterances(), misheard_utterances()
    vocabulary = standard().back_channel.vocabulary
    patterns = {phrase.pattern for phrases in vocabulary.sets for phrase in phrases.phrases}
    heard = {(pattern, hearing) for pattern in patterns for hearing in Hearing if pattern.sound_keys(hearing)}
    some = sorted(heard, key=lambda one: (one[0].source, one[1]))[::3]
    assert any(not one.may_be_misheard(sparing[0].sounds(hearing), hearing) for one, hearing in some)

    found = [misheard(pattern, said, hearing) for said in sparing for pattern, hearing in some]
    monkeypatch.setattr(Pattern, "may_be_misheard", lambda *_: True)
    assert found == [misheard(pattern, said, hearing) for said in thorough for pattern, hearing in some]
    assert any(found)
