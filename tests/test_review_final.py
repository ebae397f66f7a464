"""Final scores: decisions laid over what the analyzer said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analyzer.catalog import load_pack
from analyzer.clauses import How, read_ledger
from analyzer.review.final import (
    NO_WEIGHTS,
    FinalCard,
    FindingSeen,
    ManualSeen,
    RuleSeen,
    final_card,
    manual_items,
    pack_weights,
)
from analyzer.rules import Finding, Judgement, Pack, Truth
from analyzer.scoring import Scorecard, score_call
from analyzer.types import Direction, Match, Outcome, Severity, Span, Verdict

HERE = Path(__file__).parent
SAMPLES = sorted((HERE.parent / "samples").glob("*/expected.json"))
DECISIONS = ("confirmed", "overturned", "unsure")
MAJOR, MINOR, CRITICAL = Severity.MAJOR, Severity.MINOR, Severity.CRITICAL
_BEST_LAST = (Verdict.FAIL, Verdict.REVIEW, Verdict.PASS)


_LEVEL_RULES = ("opening", "closing")
_RULES = (*_LEVEL_RULES, "banned_phrase", "polite_quota", "speech_rate", "confidentiality", "nin_not_ni", "fillers")


@cache
def shipped(profile: str) -> Pack:
    return load_pack("standard", profile)


@cache
def pack(profile: str = "standard") -> Pack:
    """A handful of the shipped rules, with the points the profile gives them."""
    return replace(shipped(profile), rules=tuple(rule for rule in shipped(profile).rules if rule.id in _RULES))


@cache
def weights(profile: str = "standard") -> dict[str, Any]:
    """As they come back from the database: JSON, and from PostgreSQL in another order."""
    stored: dict[str, Any] = json.loads(json.dumps(pack_weights(pack(profile))))
    return dict(sorted(stored.items(), key=lambda pair: (len(pair[0]), pair[0])))


def card(
    rules: Mapping[str, RuleSeen],
    findings: Sequence[FindingSeen] = (),
    manual: Sequence[ManualSeen] = (),
    profile: str = "standard",
    direction: Direction = Direction.INBOUND,
) -> FinalCard:
    mark = pack(profile).profile.pass_mark
    return final_card(weights(profile), mark, direction=direction, rules=rules, findings=findings, manual=manual)


def hit(rule: str = "banned_phrase", severity: Severity = MAJOR, **changes: Any) -> FindingSeen:
    return replace(FindingSeen(rule, severity, Outcome.VIOLATION), **changes)


def kept(*rules: str) -> dict[str, RuleSeen]:
    return {rule: RuleSeen(Outcome.PASS) for rule in rules}


BANNED = {"banned_phrase": RuleSeen(Outcome.VIOLATION), **kept("polite_quota", "speech_rate")}  # 40 of 60 points
DOUBTED = {"banned_phrase": RuleSeen(Outcome.UNSURE), **kept("polite_quota", "speech_rate")}


# ---- what decisions do


def test_an_overturned_hit_no_longer_counts() -> None:
    hits = [hit(), hit(severity=MINOR)]
    assert card(BANNED, hits).score == pytest.approx(76.7)
    assert card(BANNED, [hit(decision="overturned"), hits[1]]).score == pytest.approx(93.3)


def test_a_rule_whose_findings_are_all_overturned_passes_in_full() -> None:
    final = card(BANNED, [hit(decision="overturned"), hit(severity=MINOR, decision="overturned")])
    assert (final.score, final.verdict) == (100, Verdict.PASS)
    assert final.rules["banned_phrase"].outcome is Outcome.PASS
    assert (final.rules["banned_phrase"].points, final.rules["banned_phrase"].max_points) == (0, 40)


def test_what_was_unsure_stays_out_until_it_is_decided() -> None:
    doubt = hit(outcome=Outcome.UNSURE)
    rate = {**DOUBTED, "speech_rate": RuleSeen(Outcome.VIOLATION)}
    slow = hit("speech_rate", MINOR)
    assert card(rate, [doubt, slow]).score == 50  # 10 of 20
    assert card(rate, [replace(doubt, decision="unsure"), slow]).score == 50
    assert card(rate, [replace(doubt, decision="confirmed"), slow]).score == pytest.approx(66.7)  # 40 of 60
    assert card(rate, [replace(doubt, decision="overturned"), slow]).score == pytest.approx(83.3)  # 50 of 60


def test_a_rule_with_one_doubt_left_stays_out() -> None:
    doubts = [hit(outcome=Outcome.UNSURE, decision="overturned"), hit(outcome=Outcome.UNSURE)]
    assert card(DOUBTED, doubts).rules["banned_phrase"].outcome is Outcome.UNSURE


def test_a_violation_that_nobody_could_decide_leaves_the_score() -> None:
    final = card(BANNED, [hit(decision="unsure")])
    assert (final.score, final.rules["banned_phrase"].outcome) == (100, Outcome.UNSURE)
    assert final.verdict is Verdict.REVIEW  # more than a fifth of all points


def test_an_undecidable_hit_beside_a_decided_one_does_not_count() -> None:
    final = card(BANNED, [hit(severity=CRITICAL, decision="unsure"), hit(severity=MINOR, decision="confirmed")])
    assert final.rules["banned_phrase"].points == -4


def test_an_added_violation_counts_like_a_hit_of_its_rule() -> None:
    added = hit(severity=MINOR, is_added=True, decision="confirmed")
    assert card(BANNED, [hit(), added]).rules["banned_phrase"].points == -14
    assert card(kept("banned_phrase"), [added]).score == 90
    assert card(kept("polite_quota"), [added]).score == 92  # 46 of 50: the rule had not applied


def test_an_added_violation_that_is_overturned_is_a_pass() -> None:
    added = hit(severity=MINOR, is_added=True, decision="overturned")
    assert card(kept("banned_phrase"), [added]).score == 100


def test_a_remark_on_a_rule_that_was_kept_changes_nothing() -> None:
    remark = hit(outcome=Outcome.PASS, severity=Severity.INFO, decision="confirmed")
    assert card(kept("banned_phrase"), [remark]) == card(kept("banned_phrase"))


def test_a_trial_rule_counts_nothing_whatever_is_decided() -> None:
    fields = {**weights(), "fillers": {**weights()["fillers"], "status": "trial"}}
    findings = [hit("fillers", MINOR, outcome=Outcome.UNSURE, decision="confirmed")]
    rules = {**kept("polite_quota"), "fillers": RuleSeen(Outcome.UNSURE)}
    final = final_card(fields, 85, direction=Direction.INBOUND, rules=rules, findings=findings)
    assert (final.score, final.rules["fillers"].max_points) == (100, 0)


def test_an_overturned_veto_gives_the_score_back() -> None:
    veto = {"banned_phrase": RuleSeen(Outcome.VIOLATION), **kept("polite_quota")}
    assert card(veto, [hit()], profile="strict").score == 0
    assert card(veto, [hit(decision="overturned")], profile="strict").score == 100


# ---- levels


def opening(level: str, *said: str) -> dict[str, RuleSeen]:
    elements = {name: name in said for name in ("greeting", "company", "offer_help", "agent_id", "glad_to_serve")}
    return {"opening": RuleSeen(Outcome.VIOLATION, level, elements)}


def missing(name: str | None, **changes: Any) -> FindingSeen:
    return hit("opening", MAJOR, category=name, absent=True, **changes)


def test_an_element_that_was_said_after_all_raises_the_level() -> None:
    rules = opening("fail", "glad_to_serve")
    lacking = [missing("greeting"), missing("company"), missing("offer_help")]
    assert card(rules, lacking).score == 0
    one_said = [replace(lacking[0], decision="overturned"), *lacking[1:]]
    assert (card(rules, one_said).rules["opening"].level, card(rules, one_said).score) == ("partial", 50)
    all_said = [replace(one, decision="overturned") for one in lacking]
    assert (card(rules, all_said).rules["opening"].level, card(rules, all_said).score) == ("pass", 100)


def test_the_choice_of_supporting_elements_is_one_finding() -> None:
    rules = opening("partial", "greeting", "company", "offer_help")
    assert card(rules, [missing(None)]).score == 50
    assert card(rules, [missing(None, decision="overturned")]).score == 100


def test_a_forbidden_phrase_inside_caps_an_opening_until_it_is_overturned() -> None:
    rules = opening("partial", "greeting", "company", "offer_help", "agent_id")
    assert card(rules, [hit("opening", decision="confirmed")]).score == 50
    assert card(rules, [hit("opening", decision="overturned")]).score == 100


def test_an_added_violation_caps_an_opening_at_partial() -> None:
    rules = {"opening": RuleSeen(Outcome.PASS, "pass", dict.fromkeys(("greeting", "company", "offer_help"), True))}
    assert card(rules, [hit("opening", is_added=True, decision="confirmed")]).score == 50


def test_an_unsure_opening_that_is_confirmed_has_the_level_of_what_was_heard() -> None:
    rules = {"opening": replace(opening("partial", "greeting", "company")["opening"], outcome=Outcome.UNSURE)}
    whole = missing(None, outcome=Outcome.UNSURE)
    assert card(rules, [whole]).score is None
    assert card(rules, [replace(whole, decision="confirmed")]).score == 50
    assert card(rules, [replace(whole, decision="overturned")]).score == 100


# ---- by hand


def test_manual_items_join_the_score() -> None:
    rules = kept("polite_quota")
    done = [ManualSeen("warmth", Outcome.VIOLATION, 5, lost=3), ManualSeen("patience", Outcome.PASS, 5)]
    assert card(rules, manual=done).score == 85  # 17 of 20
    assert card(rules, manual=[ManualSeen("warmth", Outcome.NOT_APPLICABLE, 5)]).score == 100


def test_the_manual_items_shipped_are_clauses_that_no_rule_enforces() -> None:
    clauses = read_ledger(HERE.parent / "lexicons" / "clauses").clauses or read_ledger(HERE.parent / "lexicons").clauses
    for profile in ("standard", "strict"):
        items = manual_items(pack(profile))
        assert len(items) >= 12
        assert {clauses[item["clause"]].how for item in items} == {How.NOT_ENFORCED}


# ---- without weights


def test_a_pack_that_was_never_seen_gives_outcomes_but_no_score() -> None:
    final = final_card(None, None, direction=Direction.INBOUND, rules=BANNED, findings=[hit(decision="overturned")])
    assert (final.score, final.verdict, final.why_not) == (None, None, NO_WEIGHTS)
    assert final.rules["banned_phrase"].outcome is Outcome.PASS


# ---- properties

_TRUTHS = st.sampled_from([Truth.MET, Truth.VIOLATED, Truth.UNSURE, Truth.NOT_APPLICABLE])


@st.composite
def judgements(draw: st.DrawFn) -> dict[str, Judgement]:
    made: dict[str, Judgement] = {}
    for rule in pack().rules:
        truth = draw(_TRUTHS)
        level = None
        if rule.id in _LEVEL_RULES and truth is not Truth.NOT_APPLICABLE:
            level = "pass" if truth is Truth.MET else draw(st.sampled_from(["partial", "fail"]))
        severities = draw(st.lists(st.sampled_from(list(Severity)), max_size=4)) if truth in _FOUND else []
        found = tuple(Finding(rule.id, one, Span(0, 1), Match.EXACT, "…") for one in severities)
        made[rule.id] = Judgement(truth, found, level)
    return made


_FOUND = (Truth.VIOLATED, Truth.UNSURE)


def seen(made: Mapping[str, Judgement]) -> tuple[dict[str, RuleSeen], list[FindingSeen]]:
    """As the store has it: no rule that does not apply, and a finding for whatever a person has to decide."""
    rules, findings = {}, []
    for rule in pack().rules:
        judgement = made[rule.id]
        outcome = judgement.truth.outcome
        if outcome is Outcome.NOT_APPLICABLE:
            continue
        rules[rule.id] = RuleSeen(outcome, judgement.level)
        severities = [finding.severity for finding in judgement.findings]
        if judgement.truth in _FOUND:
            severities = severities or [rule.severity]
        findings += [FindingSeen(rule.id, severity, outcome) for severity in severities]
    return rules, findings


def automatic(made: Mapping[str, Judgement], profile: str) -> Scorecard:
    return score_call(made, pack(profile))


@given(judgements(), st.sampled_from(["standard", "strict"]))
@settings(max_examples=300, deadline=None)
def test_without_decisions_the_final_score_is_the_automatic_one(made: dict[str, Judgement], profile: str) -> None:
    rules, findings = seen(made)
    final, before = card(rules, findings, profile=profile), automatic(made, profile)
    assert (final.score, final.verdict) == (before.score, before.verdict)
    assert {rule: (one.points, one.max_points) for rule, one in final.rules.items()} == {
        rule: (before.rules[rule].points, before.rules[rule].max_points) for rule in final.rules
    }


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.parent.name)
def test_without_decisions_a_sample_keeps_its_score(path: Path) -> None:
    report = json.loads(path.read_text(encoding="utf-8"))
    rules = {rule: RuleSeen(Outcome(outcome)) for outcome, names in report["other_rules"].items() for rule in names}
    findings = []
    for entry in report["rules"]:
        elements = {name: element["present"] for name, element in entry.get("elements", {}).items()} or None
        rules[entry["rule"]] = RuleSeen(Outcome(entry["outcome"]), entry.get("level"), elements)
        findings += [
            FindingSeen(
                entry["rule"],
                Severity(finding["severity"]),
                Outcome(entry["outcome"]),
                category=finding["category"],
                absent=finding["match"] == "absent",
            )
            for finding in entry["findings"]
        ]
    whole = shipped(report["profile"])
    confirmed = [replace(one, decision="confirmed") if one.outcome is Outcome.VIOLATION else one for one in findings]
    for decisions in (findings, confirmed):
        final = final_card(
            pack_weights(whole),
            whole.profile.pass_mark,
            direction=Direction(report["direction"]),
            rules=rules,
            findings=decisions,
        )
        assert (final.score, final.verdict) == (report["score"], report["verdict"])


@st.composite
def decided(draw: st.DrawFn) -> tuple[dict[str, RuleSeen], list[FindingSeen]]:
    """A call with some decisions and some violations added."""
    rules, findings = seen(draw(judgements()))
    findings = [replace(one, decision=draw(st.sampled_from([None, *DECISIONS]))) for one in findings]
    for rule in draw(st.lists(st.sampled_from(_RULES), max_size=3)):
        severity, decision = draw(st.sampled_from(list(Severity))), draw(st.sampled_from(DECISIONS))
        findings.append(FindingSeen(rule, severity, Outcome.VIOLATION, decision, is_added=True))
    return rules, findings


@given(decided(), st.data(), st.sampled_from(["standard", "strict"]))
@settings(max_examples=300, deadline=None)
def test_overturning_never_lowers_score_or_verdict(
    call: tuple[dict[str, RuleSeen], list[FindingSeen]], data: st.DataObject, profile: str
) -> None:
    rules, findings = call
    places = [index for index, one in enumerate(findings) if not _keeps_others_open(one, findings)]
    if not places:
        return
    place = data.draw(st.sampled_from(places))
    after = [*findings]
    after[place] = replace(after[place], decision="overturned")
    old, new = card(rules, findings, profile=profile), card(rules, after, profile=profile)
    assert (new.score or 0) >= (old.score or 0)
    assert _BEST_LAST.index(new.verdict) >= _BEST_LAST.index(old.verdict)  # type: ignore[arg-type]


def _keeps_others_open(finding: FindingSeen, findings: Sequence[FindingSeen]) -> bool:
    """A confirmed finding of an unsure rule that has others still open: overturned, the rule is unsure again."""
    same = [one for one in findings if one.rule == finding.rule and one is not finding]
    return finding.decision == "confirmed" and any(
        one.outcome is Outcome.UNSURE and one.decision in (None, "unsure") for one in same
    )


@given(decided(), st.sampled_from(["standard", "strict"]))
@settings(max_examples=200, deadline=None)
def test_confirming_what_was_a_violation_anyway_changes_nothing(
    call: tuple[dict[str, RuleSeen], list[FindingSeen]], profile: str
) -> None:
    rules, findings = call
    after = [
        replace(one, decision="confirmed") if one.decision is None and one.outcome is Outcome.VIOLATION else one
        for one in findings
    ]
    assert card(rules, findings, profile=profile) == card(rules, after, profile=profile)
