"""The word lists of the standard pack, on sentences and calls written for these tests."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from analyzer.catalog import load_pack, profiles
from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack
from analyzer.transcripts import read_call, read_case
from analyzer.types import Direction

ROOT = Path(__file__).parent.parent
CALLS: list[dict[str, Any]] = YAML(typ="safe").load(
    (Path(__file__).parent / "data" / "calls" / "openings_and_closings.yaml").read_text(encoding="utf-8")
)
WORDINGS: dict[str, dict[str, list[str]]] = YAML(typ="safe").load(
    (Path(__file__).parent / "data" / "element_wordings.yaml").read_text(encoding="utf-8")
)
SAMPLES = sorted(path.parent for path in (ROOT / "samples").glob("*/truth.json"))
SURE_RULES = ("opening", "closing", "polite_quota", "speech_rate")


@cache
def pack(profile: str = "standard") -> Pack:
    return load_pack("standard", profile)


def report_of(call: str, direction: str, metadata: dict[str, Any] | None = None) -> dict[str, Any]:
    marked = read_case(call, direction=Direction(direction), metadata=metadata)
    return analyze(marked.transcript, pack())


def present(report: dict[str, Any], rule: str) -> set[str]:
    return {name for name, element in rule_entry(report, rule)["elements"].items() if element["present"]}


@pytest.mark.parametrize("call", [pytest.param(call, id=call["name"]) for call in CALLS])
def test_a_call_opens_and_closes_as_its_author_says(call: dict[str, Any]) -> None:
    report = report_of(call["call"], call["direction"], call.get("metadata"))
    for rule in ("opening", "closing"):
        wanted = call.get(rule, {})
        entry = rule_entry(report, rule)
        if "present" in wanted:
            assert present(report, rule) == set(wanted["present"])
        if "level" in wanted:
            assert entry["level"] == wanted["level"]
        if "outcome" in wanted:
            assert entry["outcome"] == wanted["outcome"]
    if "polite" in call:
        assert rule_entry(report, "polite_quota")["measured"]["value"] == call["polite"]


@pytest.mark.parametrize("place", WORDINGS)
def test_an_element_is_known_by_its_wordings_and_by_no_others(place: str) -> None:
    rule, direction, element = place.split()
    wordings = WORDINGS[place]
    for said, sentences in ((True, wordings["said"]), (False, wordings["not_said"])):
        wrong = [s for s in sentences if (element in present(report_of(f"坐席: {s}", direction), rule)) is not said]
        assert wrong == []


@pytest.mark.parametrize("folder", [pytest.param(folder, id=folder.name) for folder in SAMPLES])
def test_what_was_said_in_a_sample_call_is_judged_as_its_truth_says(folder: Path) -> None:
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    keys = ("role", "start_ms", "end_ms", "text", "chars")
    turns = [{key: turn[key] for key in keys if key in turn} for turn in truth["turns"]]
    fields = {key: truth[key] for key in ("call_id", "direction", "duration_ms", "metadata")}
    report = analyze(read_call({**fields, "turns": turns}, folder.name), pack())
    assert {rule: rule_entry(report, rule)["outcome"] for rule in SURE_RULES} == {
        rule: truth["expected"][rule] for rule in SURE_RULES
    }
    for rule, elements in truth["elements"].items():
        if elements is not None:
            assert present(report, rule) == {name for name, element in elements.items() if element["present"]}
    assert rule_entry(report, "polite_quota")["measured"]["value"] == truth["polite_terms"]
    measured = rule_entry(report, "speech_rate")["measured"]["value"]
    assert measured == pytest.approx(truth["rate"]["agent"]["judged"], abs=1)


def test_every_profile_loads_and_weighs_the_first_five_rules() -> None:
    assert profiles("standard") == [
        "handbook_a",
        "handbook_l",
        "handbook_s",
        "modern",
        "outbound",
        "standard",
        "strict",
    ]
    for name in profiles("standard"):
        rules = {rule.id for rule in pack(name).rules}
        assert rules >= {*SURE_RULES, "banned_phrase"}
