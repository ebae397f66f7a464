"""Transcripts in, whatever wrote them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analyzer.catalog import load_pack
from analyzer.errors import InputError
from analyzer.report import analyze, dump, rule_entry
from analyzer.transcripts import read_call, read_call_text, read_case, read_transcripts
from analyzer.types import Direction, Role, Span, Transcript

A, C, U, S = Role.AGENT, Role.CUSTOMER, Role.UNKNOWN, Role.SYSTEM


def turn(**changes: Any) -> dict[str, Any]:
    return {"role": "agent", "start_ms": 800, "end_ms": 1800, "text": "您好", **changes}


def only(path: Path) -> Transcript:
    found = list(read_transcripts(path))
    assert len(found) == 1
    assert isinstance(found[0], Transcript), found[0]
    return found[0]


def lines(transcript: Transcript) -> list[tuple[Role, int, int, str]]:
    return [(u.role, u.span.start_ms, u.span.end_ms, u.text) for u in transcript.utterances]


# --- our own JSON -----------------------------------------------------------------------------------------------------


def test_everything_a_call_says_of_itself_is_read(tmp_path: Path) -> None:
    call = {
        "call_id": "c1",
        "direction": "inbound",
        "duration_ms": 61000,
        "truncated": True,
        "recording_offset_ms": 1200,
        "metadata": {"ring_ms": "4000", "company": "云岭银行", "hung_up_by": None, "queue": "vip"},
        "activity": {"agent": [[800, 900]]},
        "turns": [turn(confidence=0.93, chars=[[800, 1000], [1000, 1800]], interpolated=True, level_db=-20.5)],
    }
    (tmp_path / "a.json").write_text(json.dumps(call), encoding="utf-8")
    transcript = only(tmp_path / "a.json")
    assert (transcript.call_id, transcript.direction, transcript.duration_ms) == ("c1", Direction.INBOUND, 61000)
    assert transcript.truncated
    assert transcript.recording_offset_ms == 1200
    assert transcript.metadata == {"ring_ms": 4000, "company": "云岭银行", "queue": "vip"}
    assert transcript.activity == {A: (Span(800, 900),)}
    utterance = transcript.utterances[0]
    assert (utterance.confidence, utterance.level_db, utterance.interpolated) == (0.93, -20.5, True)
    assert utterance.characters == (Span(800, 1000), Span(1000, 1800))
    assert transcript.warnings == ("通话属性 'queue' 不在已知之列，标准规则不会使用",)


def test_what_is_absent_or_null_has_a_meaning(tmp_path: Path) -> None:
    (tmp_path / "call-7.json").write_text(json.dumps({"turns": [turn(confidence=None)], "direction": None}), "utf-8")
    transcript = only(tmp_path / "call-7.json")
    assert (transcript.call_id, transcript.direction, transcript.duration_ms) == ("call-7", Direction.UNKNOWN, 1800)
    assert transcript.utterances[0].confidence is None
    assert not transcript.truncated


def test_unknown_keys_are_warned_about_and_metadata_may_say_truncated() -> None:
    transcript = read_call({"turns": [], "durations_ms": 3, "metadata": {"truncated": True}}, "x")
    assert transcript.warnings == ("不认识的字段 'durations_ms'，未使用；是否应为 'duration_ms'？",)
    assert transcript.truncated


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"turns": [turn(start_ms=5000)]}, "turns[0] starts at 5000 ms, after its end at 1800 ms"),
        ({"turns": [turn(), turn(role="agnet")]}, "turns[1].role is 'agnet'"),
        ({"turns": [turn(role=None)]}, "turns[0] has no 'role'"),
        ({"turns": [turn(text=5)]}, "turns[0].text must be text"),
        ({"turns": [turn(text="好\ud83d")]}, "turns[0].text holds half of a surrogate pair"),
        ({"turns": [turn(start_ms=-1)]}, "time counts from 0"),
        ({"turns": [turn(start_ms=1.7e12, end_ms=1.7e12)]}, "1700000000000.0, more than 24 hours; time counts from 0"),
        ({"turns": [turn(start_ms="8")]}, "must be a number"),
        ({"turns": [turn(confidence=1.5)]}, "between 0 and 1"),
        ({"turns": [turn(chars=[[800, 900]])]}, "1 times for 2 characters"),
        ({"turns": [turn(chars=[[800, 900], [900]])]}, "turns[0].chars[1] must be [start_ms, end_ms]"),
        ({"turns": {}}, "turns must be a list"),
        ({"turns": ["您好"]}, "turns[0] must be an object"),
        ({"turns": [], "direction": "in"}, "direction is 'in'; it is inbound, outbound or unknown"),
        ({"turns": [], "call_id": []}, "call_id must be text"),
        ({"turns": [], "metadata": {"hung_up_by": "nobody"}}, "hung_up_by is 'nobody'"),
        ({"turns": [], "truncated": "yes"}, "truncated is 'yes'; it must be true or false"),
        ({"text": "您好"}, "no transcript in this JSON"),
        ([], "no transcript in this JSON"),
        (3, "no transcript in this JSON"),
    ],
)
def test_a_bad_call_names_the_culprit(fields: Any, problem: str) -> None:
    with pytest.raises(InputError) as error:
        read_call(fields, "x")
    assert problem in str(error.value)


def test_a_bad_line_is_handed_out_in_its_place_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = json.dumps({"turns": [turn()]})
    (tmp_path / "calls.jsonl").write_text(f"{good}\n\n{{broken\n{good}\n", "utf-8")
    first, second, third = read_transcripts(tmp_path / "calls.jsonl")
    assert isinstance(first, Transcript)
    assert isinstance(third, Transcript)
    assert (first.call_id, third.call_id) == ("calls#1", "calls#4")
    assert "calls.jsonl:3: line 1, column 2: not JSON" in str(second)


def test_a_json_file_may_hold_a_list_of_calls(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        json.dumps([{"turns": [turn()]}, {"turns": 3}, {"turns": [], "call_id": "z"}]), "utf-8"
    )
    first, second, third = read_transcripts(tmp_path / "a.json")
    assert [call.call_id for call in (first, third) if isinstance(call, Transcript)] == ["a#1", "z"]
    assert "a.json[1]: turns must be a list" in str(second)


def test_ids_come_from_the_path_in_the_folder_and_a_second_one_is_an_error(tmp_path: Path) -> None:
    for name in ("b/x.json", "a.json", "b/y.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps({"turns": [], **({"call_id": "a"} if "y" in name else {})}), "utf-8")
    found = list(read_transcripts(tmp_path))
    assert [call.call_id for call in found if isinstance(call, Transcript)] == ["a", "b/x"]
    assert [str(call).split(": ")[1] for call in found if isinstance(call, InputError)] == [
        "call_id 'a' was used by " + str(tmp_path / "a.json") + " already; give each call its own"
    ]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.json", b"", "the file is empty"),
        ("a.json", b"\xff\xfe\x00", "neither UTF-8 nor GB18030"),
        ("a.json", b"{", "not JSON"),
        ("a.json", b'{"turns": [], "duration_ms": NaN}', "NaN is no number"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.txt", "00:01 您好".encode(), "line 1: expected '00:12.4 坐席: 您好'"),
        ("a.txt", "00:99.0 坐席: 您好".encode(), "line 1: expected '00:12.4 坐席: 您好'"),
        ("a.srt", "1\n您好".encode(), "no cue like"),
    ],
)
def test_a_file_that_is_no_transcript_says_so(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    (error,) = read_transcripts(tmp_path / name)
    assert isinstance(error, InputError)
    assert str(error).startswith(str(tmp_path / name))
    assert problem in str(error)


def test_a_path_that_is_not_there_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    missing, empty = read_transcripts(tmp_path / "no.json", tmp_path)
    assert "no such file or folder" in str(missing)
    assert "no transcript in this folder" in str(empty)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_text_is_read_in_the_usual_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("00:01.0 坐席: 您好，云岭银行".encode(encoding))
    assert only(tmp_path / "a.txt").utterances[0].text == "您好，云岭银行"


# --- the notation -----------------------------------------------------------------------------------------------------


def test_the_notation_has_times_roles_marks_and_a_header() -> None:
    marked = read_call_text(
        "# direction: outbound\n# metadata.hung_up_by: customer\n# duration: 01:10\n\n"
        "00:12.4 坐席: [[不关我的事]]，您问[[别人]]。\n00:15.0-00:16.25 客户(0.4)：那归谁管？\n1:00:01 系统: 请评价\n"
    )
    transcript = marked.transcript
    assert lines(transcript)[:2] == [
        (A, 12_400, 14_650, "不关我的事，您问别人。"),
        (C, 15_000, 16_250, "那归谁管？"),
    ]
    assert lines(transcript)[2][:2] == (S, 3_601_000)
    assert transcript.utterances[1].confidence == 0.4
    assert (transcript.direction, transcript.duration_ms) == (Direction.OUTBOUND, 70_000)
    assert transcript.metadata == {"hung_up_by": "customer"}
    assert marked.marks == ((0, 0, 5), (0, 8, 10))


def test_a_line_without_an_end_lasts_as_long_as_its_words_or_until_the_next() -> None:
    spoken = read_call_text("00:01.0 坐席: 您好请讲\n00:01.5 客户: 好\n坐席: 再见").transcript
    assert [(start, end) for _, start, end, _ in lines(spoken)] == [(1000, 1500), (1500, 1750), (2250, 2750)]


def test_times_that_were_reckoned_from_the_words_accuse_nobody_of_their_pace(tmp_path: Path) -> None:
    said = "请您打开手机银行再点开我的账户就能看到最近三个月的明细了"
    pack = load_pack()
    for times, outcome in (
        (("00:01-00:06", "00:08-00:13"), "violation"),
        (("00:01", "00:08"), "unsure"),
        (("", ""), "unsure"),
    ):
        text = "\n".join(f"{when} 坐席: {said}" for when in times)
        (tmp_path / "a.txt").write_text(text, encoding="utf-8")
        report = analyze(only(tmp_path / "a.txt"), pack)
        rate = rule_entry(report, "speech_rate")
        assert (rate["outcome"], rate["measured"]["value"] > 200) == (outcome, True)
        (tmp_path / "b.json").write_text(dump(report), encoding="utf-8")
        assert dump(analyze(only(tmp_path / "b.json"), pack)) == dump(report)


# --- other recognisers ------------------------------------------------------------------------------------------------

WHISPER = {
    "segments": [
        {
            "start": 0.8, "end": 2.0, "text": " 您好,請講", "speaker": "坐席", "avg_logprob": -0.1,
            "words": [
                {"word": " 您好", "start": 0.8, "end": 1.2, "probability": 0.9},
                {"word": ",請講", "start": 1.4, "end": 2.0, "probability": 0.7},
            ],
        },
        {"start": 3.0, "end": 4.0, "text": "查余额", "speaker": "SPEAKER_01", "avg_logprob": 0.0},
    ]
}  # fmt: skip
FUNASR = [{"key": "c9", "text": "您好 查余额", "sentence_info": [
    {"text": "您好。", "start": 800, "end": 1800, "spk": 0},
    {"text": "查余额。", "start": 3000, "end": 4000, "spk": 1}]}]  # fmt: skip
FUNASR_WHOLE = [{"key": "c9", "text": "您好,abc", "timestamp": [[0, 200], [200, 400], [500, 900]]}]
ALIBABA = {"Result": {"Sentences": [
    {"BeginTime": 800, "EndTime": 1800, "ChannelId": 0, "Text": "您好。"},
    {"BeginTime": 3000, "EndTime": 4000, "ChannelId": 1, "Text": "查余额。"}]}}  # fmt: skip
DASHSCOPE = {"transcripts": [
    {"channel_id": 0, "sentences": [{"begin_time": 800, "end_time": 1800, "text": "您好。",
        "words": [{"begin_time": 800, "end_time": 1800, "text": "您好", "punctuation": "。"}]}]},
    {"channel_id": 1, "sentences": [{"begin_time": 3000, "end_time": 4000, "text": "查余额。"}]}]}  # fmt: skip
TENCENT = {"Response": {"Data": {"ResultDetail": [
    {"FinalSentence": "您好。", "StartMs": 800, "EndMs": 1800, "SpeakerId": 0,
     "Words": [{"Word": "您好", "OffsetStartMs": 0, "OffsetEndMs": 1000}]},
    {"FinalSentence": "查余额。", "StartMs": 3000, "EndMs": 4000, "SpeakerId": 1, "Words": None}]}}}  # fmt: skip
VTT = "WEBVTT\n\n00:00.800 --> 00:01.800\n<v 坐席>您好。</v>\n\n00:03.000 --> 00:04.000 align:start\n客户：查余额。\n"
SRT = "1\n00:00:00,800 --> 00:00:01,800\n坐席: 您好。\n\n2\n00:00:03,000 --> 00:00:04,000\n[客户]: 查余额。\n"


@pytest.mark.parametrize(
    ("written", "roles"),
    [
        (WHISPER, (A, U)),
        (WHISPER["segments"], (A, U)),
        (FUNASR, (U, U)),
        (ALIBABA, (A, C)),
        (DASHSCOPE, (A, C)),
        (TENCENT, (A, C)),
    ],
)
def test_recognisers_json_is_read(written: Any, roles: Sequence[Role]) -> None:
    transcript = read_call(written, "x")
    assert [(r, s) for r, s, _, _ in lines(transcript)] == [(roles[0], 800), (roles[1], 3000)]
    assert [e for *_, e, _ in lines(transcript)][-1] == 4000
    assert bool(transcript.warnings) == (U in roles)


@pytest.mark.parametrize(("suffix", "text"), [("vtt", VTT), ("srt", SRT)])
def test_subtitles_are_read(tmp_path: Path, suffix: str, text: str) -> None:
    (tmp_path / f"a.{suffix}").write_text(text, "utf-8")
    assert lines(only(tmp_path / f"a.{suffix}")) == [(A, 800, 1800, "您好。"), (C, 3000, 4000, "查余额。")]


def test_word_times_become_character_times() -> None:
    utterance = read_call(WHISPER, "x").utterances[0]
    assert utterance.text == "您好,請講"
    assert utterance.characters == (
        Span(800, 1000), Span(1000, 1200), Span(1400, 1600), Span(1600, 1800), Span(1800, 2000),
    )  # fmt: skip
    assert utterance.confidence == 0.8
    whole = read_call(FUNASR_WHOLE, "x").utterances[0]
    assert whole.characters == (
        Span(0, 200), Span(200, 400), Span(400, 400), Span(500, 633), Span(633, 766), Span(766, 900),
    )  # fmt: skip


def test_one_channel_alone_names_nobody() -> None:
    mono = {"Result": {"Sentences": [{"BeginTime": 800, "EndTime": 1800, "ChannelId": 0, "Text": "您好。"}]}}
    assert [u.role for u in read_call(mono, "x").utterances] == [U]


@pytest.mark.parametrize(
    "broken", [{"segments": [{"start": 1}]}, {"transcripts": [{"sentences": [{"words": 3}]}]}, {"segments": [3]}]
)
def test_a_recognisers_broken_json_is_an_error_not_a_traceback(broken: Any) -> None:
    with pytest.raises(InputError):
        read_call(broken, "x")


def test_an_attribute_without_its_prefix_is_told_how_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "call.txt").write_text("# team: 晚班\n# directoin: inbound\n坐席: 您好\n", encoding="utf-8")
    [transcript] = read_transcripts(tmp_path / "call.txt")
    assert isinstance(transcript, Transcript)
    assert transcript.warnings == (
        "'team' 未使用：通话属性要写成 'metadata.team'",
        "不认识的字段 'directoin'，未使用；是否应为 'direction'？",
    )


@pytest.mark.parametrize(
    ("call", "facts", "fault"),
    [
        ("坐席: [[不归我们管。", {}, r"\[\[ without its other half"),
        ("坐席: 不归我们管]]。", {}, r"\]\] without its other half"),
        ("坐席: 您好。", {"metadata": {"duration_ms": 9000}}, "duration_ms is no attribute of 'metadata'"),
        ("坐席: 您好。", {"metadata": {"ring_ms": "soon"}}, "ring_ms is 'soon'"),
    ],
)
def test_a_case_that_cannot_mean_what_it_says_is_refused(call: str, facts: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        read_case(call, **facts)
