"""The report object: complete, exact and the same bytes every time."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analyzer.catalog import load_pack
from analyzer.report import SCHEMA, analyze, dump, rule_entry
from analyzer.rules import Pack
from analyzer.transcripts import read_call, read_call_text
from analyzer.types import Direction, Role, Span, Transcript, Utterance

CALL = """# direction: inbound
00:01.0-00:05.0 坐席: 您好，雲嶺銀行，工号3017，请问有什么可以帮您？
00:06.0-00:08.0 客户: 我要查一下余额
00:09.0-00:11.0 坐席 (0.9): 喂，這不歸我管。
00:12.0-00:14.0 坐席: 感谢您的来电，祝您生活愉快，再见。
"""


@cache
def pack() -> Pack:
    return load_pack(Path(__file__).parent / "pack")


@cache
def report() -> dict[str, Any]:
    return analyze(read_call_text(CALL, "c1").transcript, pack())


def test_the_head_names_the_call_and_the_pack() -> None:
    head = {key: report()[key] for key in ("schema", "call_id", "direction", "duration_ms", "truncated", "verdict")}
    assert head == {
        "schema": SCHEMA, "call_id": "c1", "direction": "inbound", "duration_ms": 14_000, "truncated": False,
        "verdict": "fail",
    }  # fmt: skip
    assert report()["pack"] == {"name": "small", "version": "1", "digest": pack().digest}


def test_every_rule_of_the_pack_stands_there_once_in_its_order() -> None:
    assert [entry["rule"] for entry in report()["rules"]] == [rule.id for rule in pack().rules]


def test_a_finding_points_at_raw_words() -> None:
    for entry in report()["rules"]:
        for finding in entry["findings"]:
            if finding["quote"] is not None:
                words = "".join(
                    report()["turns"][s["turn"]]["text"][s["char_start"] : s["char_end"]] for s in finding["spans"]
                )
                assert words == finding["quote"]
    findings = rule_entry(report(), "banned_phrase")["findings"]
    assert [(f["turn"], f["quote"], f["start_ms"], f["end_ms"], f["match"], f["confidence"]) for f in findings] == [
        (2, "喂", 9000, 9333, "exact", 0.9),
        (2, "這不歸我管", 9333, 11_000, "exact", 0.9),
    ]


def test_turns_repeat_the_input_and_add_only_the_simplified_text() -> None:
    first, third = report()["turns"][0], report()["turns"][2]
    assert first == {
        "role": "agent", "start_ms": 1000, "end_ms": 5000, "text": "您好，雲嶺銀行，工号3017，请问有什么可以帮您？",
        "folded": "您好，云岭银行，工号3017，请问有什么可以帮您？",
    }  # fmt: skip
    assert third["confidence"] == 0.9


def test_unsorted_turns_keep_their_numbers() -> None:
    transcript = read_call_text(CALL, "c1").transcript
    turned = analyze(replace(transcript, utterances=transcript.utterances[::-1]), pack())
    assert turned["score"] == report()["score"]
    assert [f["turn"] for f in rule_entry(turned, "banned_phrase")["findings"]] == [1, 1]


def test_two_equal_turns_are_told_apart() -> None:
    same = [Utterance(Role.AGENT, Span(0, 1000), "不归我管") for _ in range(2)]
    found = analyze(Transcript("x", tuple(same), duration_ms=1000), pack())
    assert {f["turn"] for f in rule_entry(found, "banned_phrase")["findings"]} == {0, 1}


def test_metrics_measure_both_sides_by_every_denominator() -> None:
    metrics = report()["metrics"]
    assert metrics["syllables"] == {"agent": 21 + 6 + 14, "customer": 7}
    assert metrics["rate"]["customer"] == {"turn": 210, "articulation": 210, "gross": 30}
    assert metrics["rate"]["agent"] == {"turn": 308, "articulation": 308, "gross": 176}
    assert metrics["talk_ratio"] == 0.8
    assert metrics["silence_ms"] == 4000


def test_voiced_time_comes_from_activity_where_audio_was_seen() -> None:
    transcript = read_call_text(CALL, "c1").transcript
    activity = {Role.AGENT: (Span(1000, 3000), Span(2500, 4000)), Role.CUSTOMER: (Span(6000, 7000),)}
    metrics = analyze(replace(transcript, activity=activity), pack())["metrics"]
    assert metrics["rate"]["agent"] == {"turn": 308, "articulation": 820, "gross": 176}
    assert metrics["talk_ratio"] == 0.75
    assert metrics["silence_ms"] == 10_000


def test_the_rate_of_a_turn_runs_from_its_first_to_its_last_syllable() -> None:
    times = tuple(Span(t, t + 100) for t in (0, 1000, 1500, 2000, 5000))
    spoken = Utterance(Role.AGENT, Span(0, 5100), "，您好请。", None, times)
    metrics = analyze(Transcript("x", (spoken,), duration_ms=6000), pack())["metrics"]
    # 700 ms of silence separate both punctuation marks from the words
    assert metrics["rate"]["agent"]["turn"] == round(3 * 60_000 / 1100)


def test_nothing_said_is_a_report_too() -> None:
    empty = analyze(Transcript("x", (), Direction.INBOUND, 5000), pack())
    assert {entry["outcome"] for entry in empty["rules"]} == {"not_applicable"}
    assert (empty["score"], empty["verdict"]) == (None, "review")
    assert empty["metrics"]["talk_ratio"] is None
    assert empty["metrics"]["silence_ms"] == 5000


def test_judging_a_report_again_gives_the_same_bytes() -> None:
    transcript = read_call_text(CALL, "c1").transcript
    rich = replace(
        transcript,
        duration_ms=16_000,
        metadata={"company": "云岭银行", "queue": "vip", "truncated": True},
        activity={Role.AGENT: (Span(1000, 3000),), Role.CUSTOMER: ()},
        truncated=True,
        recording_offset_ms=300,
        recogniser={"name": "demo", "notice": "demo (synthetic voices only)"},
        warnings=("channels look swapped",),
        utterances=(
            *transcript.utterances,
            Utterance(
                Role.UNKNOWN,
                Span(15_000, 15_500),
                "好的",
                0.5,
                (Span(15_000, 15_250), Span(15_250, 15_500)),
                True,
                -31.5,
            ),
        ),
    )
    once = dump(analyze(rich, pack()))
    again = dump(analyze(read_call(json.loads(once), "other"), pack()))
    twice = dump(analyze(read_call(json.loads(again), "other"), pack()))
    assert json.loads(again)["rules"] == json.loads(once)["rules"]
    assert twice == again
    known = replace(rich, metadata={"company": "云岭银行", "truncated": True})
    first = dump(analyze(known, pack()))
    assert dump(analyze(read_call(json.loads(first), "other"), pack())) == first


def test_the_order_of_turns_in_the_input_changes_no_verdict() -> None:
    transcript = read_call_text(CALL, "c1").transcript
    for seed in range(5):
        shuffled = list(transcript.utterances)
        random.Random(seed).shuffle(shuffled)
        other = analyze(replace(transcript, utterances=tuple(shuffled)), pack())
        assert {e["rule"]: (e["outcome"], e["points"]) for e in other["rules"]} == {
            e["rule"]: (e["outcome"], e["points"]) for e in report()["rules"]
        }


def test_a_report_is_one_line_of_json_with_plain_characters() -> None:
    line = dump(report())
    assert "\n" not in line
    assert "雲嶺銀行" in line
    assert json.loads(line) == report()


SCHEMAS = Path(__file__).parent.parent / "docs" / "schemas"


@pytest.mark.parametrize("name", ["report", "transcript"])
def test_reports_follow_the_published_schemas(name: str) -> None:
    from jsonschema import Draft202012Validator

    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    rich = replace(
        read_call_text(CALL, "c1").transcript,
        activity={Role.AGENT: (Span(0, 900),)},
        recogniser={"name": "demo"},
        metadata={"hung_up_by": "customer"},
    )
    empty = Transcript("x", (), Direction.INBOUND, 5000)
    for call in (rich, empty):
        assert list(validator.iter_errors(json.loads(dump(analyze(call, pack()))))) == []
    assert list(validator.iter_errors({"turns": [{"role": "agent"}]}))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Role)),
            st.integers(0, 20_000),
            st.integers(0, 4000),
            st.text(st.sampled_from("您好请问喂不关归我的事管知道，。？！ 12aB[]（）“”\n啊呀…再见谢"), max_size=30),
            st.sampled_from([None, 0.0, 0.4, 1.0]),
        ),
        max_size=8,
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_said_findings_point_at_their_words(
    spoken: list[tuple[Role, int, int, str, float | None]], truncated: bool
) -> None:
    turns = tuple(Utterance(role, Span(at, at + ms), text, sure) for role, at, ms, text, sure in spoken)
    call = Transcript("x", turns, Direction.INBOUND, 30_000, truncated=truncated)
    found = analyze(call, pack())
    for entry in found["rules"]:
        for finding in entry["findings"]:
            words = "".join(turns[s["turn"]].text[s["char_start"] : s["char_end"]] for s in finding["spans"])
            assert words == (finding["quote"] or "")
            assert 0 <= finding["start_ms"] <= finding["end_ms"]
    assert dump(analyze(read_call(json.loads(dump(found)), "y"), pack())) == dump(found)


def test_an_unknown_rule_has_no_entry() -> None:
    with pytest.raises(KeyError):
        rule_entry(report(), "no_such_rule")
