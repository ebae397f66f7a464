"""What each kind of check says of a call. The pack is tests/pack; its rules are shaped like the standard ones."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from analyzer.catalog import load_pack
from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack
from analyzer.transcripts import read_case
from analyzer.types import Direction


@cache
def pack(profile: str = "standard") -> Pack:
    return load_pack(Path(__file__).parent / "pack", profile)


def judged(call: str, rule: str, direction: Direction = Direction.INBOUND, **facts: Any) -> Mapping[str, Any]:
    return rule_entry(analyze(read_case(call, direction=direction, **facts).transcript, pack()), rule)


def quotes(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(finding["category"], finding["quote"]) for finding in entry["findings"]]


# --- forbid -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("喂，不归我管。", [("直呼", "喂"), ("推诿", "不归我管")]),
        ("喂喂，您好", [("直呼", "喂喂")]),
        ("这个不清楚。", [("推诿", "这个不清楚")]),
        ("这个不清楚，我帮您核实一下。", []),
        ("您别着急，大声一点", [("命令", "大声一点")]),
        ("请您大声一点好吗", []),
        ("对不起，您大声一点好吗", []),
        ("请坐。大声一点", [("命令", "大声一点")]),
        ("您刚才说不关我的事是吗", []),
        ("我跟您说，不关我的事", [("推诿", "不关我的事")]),
        ("他的原话是“不关我的事”，对吗", []),
        ("喂养的事情您放心", []),
        ("不知道您现在方便吗", []),
        ("非常抱歉，不关我的事", [("推诿", "不关我的事")]),
        ("不说话我就挂电话了", [("其他禁语", "不说话我就挂电话")]),
    ],
)
def test_forbidden_words_are_found_unless_allowed_quoted_or_excused(line: str, found: list[tuple[str, str]]) -> None:
    entry = judged(f"00:01.0 坐席: {line}", "banned_phrase")
    assert quotes(entry) == found
    assert entry["outcome"] == ("violation" if found else "pass")


def test_a_next_step_within_five_seconds_excuses_and_a_later_one_does_not() -> None:
    call = "00:01.0-00:02.0 坐席: 这个不清楚。\n00:0{}.0-00:09.9 坐席: 我帮您核实一下。"
    assert judged(call.format(7), "banned_phrase")["outcome"] == "pass"
    late = call.replace("00:0{}.0", "00:07.1")
    assert judged(late, "banned_phrase")["outcome"] == "violation"


def test_only_the_very_next_utterance_of_the_agent_may_excuse() -> None:
    call = "00:01.0-00:02.0 坐席: 这个不清楚。\n00:03.0-00:03.5 坐席: 嗯。\n00:05.0-00:06.0 坐席: 我帮您核实一下。"
    assert judged(call, "banned_phrase")["outcome"] == "violation"
    between = call.replace("坐席: 嗯", "客户: 嗯")
    assert judged(between, "banned_phrase")["outcome"] == "pass"


def test_customer_speech_never_breaks_an_agents_rule() -> None:
    assert judged("00:01.0 客户: 喂，不关我的事。\n00:05.0 坐席: 好的。", "banned_phrase")["outcome"] == "pass"


def test_a_hit_below_the_wanted_confidence_is_unsure_and_shown() -> None:
    entry = judged("00:01.0 坐席 (0.3): 不关我的事。\n00:05.0 坐席: 您好，云岭银行。", "banned_phrase")
    assert entry["outcome"] == "unsure"
    assert entry["findings"][0]["confidence"] == 0.3
    assert entry["points"] == 0


def test_a_sure_hit_outweighs_an_unsure_one() -> None:
    entry = judged("00:01.0 坐席 (0.3): 不关我的事。\n00:05.0 坐席: 不归我管。", "banned_phrase")
    assert entry["outcome"] == "violation"
    assert quotes(entry) == [("推诿", "不归我管")]


def test_forbidden_words_of_an_unknown_speaker_are_unsure() -> None:
    assert judged("00:01.0 未知: 不关我的事。", "banned_phrase")["outcome"] == "unsure"
    assert judged("00:01.0 未知: 您好。", "banned_phrase")["outcome"] == "pass"


def test_speech_recognised_poorly_throughout_is_unsure() -> None:
    assert judged("00:01.0 坐席 (0.2): 您好云岭银行。", "banned_phrase")["outcome"] == "unsure"


def test_a_truncated_recording_is_unsure_unless_something_was_found() -> None:
    assert judged("00:01.0 坐席: 您好。", "banned_phrase", truncated=True)["outcome"] == "unsure"
    assert judged("00:01.0 坐席: 不关我的事。", "banned_phrase", truncated=True)["outcome"] == "violation"


def test_a_phrase_over_two_turns_lists_both() -> None:
    entry = judged("00:01.0-00:02.0 坐席: 您好，不关\n00:02.2-00:03.0 坐席: 我的事。", "banned_phrase")
    assert entry["findings"][0]["spans"] == [
        {"turn": 0, "char_start": 3, "char_end": 5},
        {"turn": 1, "char_start": 0, "char_end": 3},
    ]
    assert entry["findings"][0]["quote"] == "不关我的事"


def test_the_quote_is_the_raw_words() -> None:
    entry = judged("00:01.0 坐席: 您好，這個不歸，我管。", "banned_phrase")
    assert entry["findings"][0]["quote"] == "這個不歸，我管"
    assert (entry["findings"][0]["char_start"], entry["findings"][0]["char_end"]) == (3, 10)


# --- require ----------------------------------------------------------------------------------------------------------

FULL = "您好，云岭银行，工号3017，请问有什么可以帮您？"


def levels(call: str, rule: str = "opening", direction: Direction = Direction.INBOUND, **facts: Any) -> tuple[str, str]:
    entry = judged(call, rule, direction, **facts)
    return entry["outcome"], entry["level"]


@pytest.mark.parametrize(
    ("lines", "level"),
    [
        ([FULL], "pass"),
        (["您好，云岭银行，请问有什么可以帮您？"], "partial"),  # no supporting element
        (["您好，云岭银行。"], "partial"),
        (["您好。"], "fail"),
        (["工号3017为您服务"], "fail"),  # two elements, none of them core
        (["工号3017，您好"], "partial"),
        (["请问有什么可以帮您？工号3017。云岭银行，您好"], "pass"),  # any order
        (["您好", "云岭银行，工号3017", "请问有什么可以帮您"], "pass"),  # spread over three turns
        (["您好", "云岭银行，工号3017", "请稍等", "请问有什么可以帮您"], "partial"),  # the fourth turn is too late
        (["喂，" + FULL], "partial"),  # a forbidden phrase inside
        ([FULL, "不归我管"], "pass"),  # and one after it
        (["不归我管", FULL], "partial"),
    ],
)
def test_an_opening_passes_with_all_core_and_one_supporting_element(lines: list[str], level: str) -> None:
    turns = "\n".join(
        f"00:{10 * i:02}.0 坐席: {line}\n00:{10 * i + 8:02}.0 客户: 我要查一下余额" for i, line in enumerate(lines)
    )
    assert levels(turns) == ("pass" if level == "pass" else "violation", level)


def test_back_channel_does_not_use_up_a_turn() -> None:
    call = "\n".join(
        f"00:{4 * i:02}.0 坐席: {line}\n00:{4 * i + 3:02}.0 客户: 嗯"
        for i, line in enumerate(["您好", "云岭银行", "工号3017", "是这样的", "请问有什么可以帮您"])
    )
    assert levels(call) == ("pass", "pass")


def test_the_metadata_names_the_company() -> None:
    call = "00:01.0 坐席: 您好，米亚，工号3017，请问有什么可以帮您？"
    assert levels(call) == ("violation", "partial")
    assert levels(call, metadata={"company": "米亚"}) == ("pass", "pass")


def test_an_outbound_call_owes_other_elements() -> None:
    call = "00:01.0 坐席: 您好，请问是王先生吗？我是云岭银行的客服，来电是想做个回访，您现在方便吗？"
    entry = judged(call, "opening", Direction.OUTBOUND)
    assert entry["outcome"] == "pass"
    assert list(entry["elements"]) == ["greeting", "self_intro", "purpose", "confirm_customer", "time_consent"]


def test_an_unknown_direction_leaves_the_opening_unsure() -> None:
    assert judged(f"00:01.0 坐席: {FULL}", "opening", Direction.UNKNOWN)["outcome"] == "unsure"


def test_elements_say_when_and_how_or_null() -> None:
    elements = judged("00:01.0 坐席: 您好，云岭银行。", "opening")["elements"]
    assert elements["greeting"] == {"present": True, "at_ms": 1000, "quote": "您好"}
    assert elements["offer_help"] == {"present": False, "at_ms": None, "quote": None}


def test_what_is_missing_is_a_finding_with_its_window_and_no_words() -> None:
    call = "00:01.0-00:03.0 坐席: 您好，云岭银行，工号3017。\n00:05.0-00:06.0 客户: 我要查余额"
    findings = judged(call, "opening", duration_ms=20_000)["findings"]
    assert [(f["category"], f["message"]) for f in findings] == [("offer_help", "开场白缺少主动询问")]
    assert {key: findings[0][key] for key in ("quote", "turn", "char_start", "char_end", "match")} == {
        "quote": None, "turn": None, "char_start": None, "char_end": None, "match": "absent",
    }  # fmt: skip
    assert (findings[0]["start_ms"], findings[0]["end_ms"]) == (0, 3000)


def test_what_is_missing_may_have_been_missed() -> None:
    assert levels("00:01.0 坐席 (0.3): 您好，云岭银行。")[0] == "unsure"
    assert levels("00:01.0 坐席: 您好。\n00:03.0 未知: 云岭银行，请问有什么可以帮您")[0] == "unsure"
    assert levels("00:01.0 坐席: 您好，云岭银行。", truncated=True)[0] == "unsure"
    assert levels(f"00:01.0 坐席: {FULL}", truncated=True) == ("pass", "pass")


def test_a_window_that_closed_before_the_recording_broke_off_is_judged() -> None:
    turns = "\n".join(f"00:{6 * i:02}.0 坐席: 您好\n00:{6 * i + 3:02}.0 客户: 我要查余额" for i in range(5))
    assert levels(turns, truncated=True) == ("violation", "fail")
    assert judged(turns, "closing", truncated=True)["outcome"] == "unsure"


def test_where_nothing_of_an_opening_is_heard_the_start_of_a_truncated_recording_may_be_missing() -> None:
    turns = "\n".join(f"00:{6 * i:02}.0 坐席: 请讲\n00:{6 * i + 3:02}.0 客户: 我要查余额" for i in range(5))
    assert judged(turns, "opening", truncated=True)["outcome"] == "unsure"
    assert levels(turns) == ("violation", "fail")


def test_a_call_on_which_the_agent_never_speaks_owes_no_opening() -> None:
    assert judged("00:01.0 客户: 喂，喂？", "opening")["outcome"] == "not_applicable"


@pytest.mark.parametrize(
    ("lines", "level"),
    [
        (["请问还有其他可以帮您的吗", "感谢您的来电，再见"], "pass"),
        (["感谢您的来电，祝您生活愉快，再见"], "pass"),
        (["感谢您的来电，再见"], "partial"),
        (["再见"], "fail"),
        (["麻烦您了，还有什么疑问吗", "拜拜"], "pass"),
        (["感谢您的来电，祝您生活愉快", "嗯", "这样啊", "您再看看", "再见"], "fail"),  # said too early
        (["感谢您的来电，祝您生活愉快，再见，大声一点"], "partial"),
        (["不归我管", "感谢您的来电，祝您生活愉快，再见"], "pass"),
    ],
)
def test_a_closing_stands_in_the_last_three_turns(lines: list[str], level: str) -> None:
    turns = "\n".join(
        f"00:{10 * i:02}.0 坐席: {line}\n00:{10 * i + 8:02}.0 客户: 我还有一个问题" for i, line in enumerate(lines)
    )
    assert levels(turns, "closing") == ("pass" if level == "pass" else "violation", level)


def test_no_closing_is_owed_on_a_dropped_line_or_after_warned_abuse() -> None:
    assert judged("00:01.0 坐席: 您好。", "closing", metadata={"ended_by": "dropped"})["outcome"] == "not_applicable"
    abuse = "00:01.0 客户: 你个混蛋\n00:04.0 坐席: 请您文明用语\n00:08.0 客户: 混蛋\n00:12.0 坐席: 我只能结束本次通话"
    assert judged(abuse, "closing")["outcome"] == "not_applicable"
    unwarned = "00:01.0 坐席: 请您文明用语\n00:04.0 客户: 你个混蛋\n00:12.0 坐席: 我只能结束本次通话"
    assert judged(unwarned, "closing")["outcome"] == "violation"


# --- quota ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "count", "outcome"),
    [
        ("您好，请问您贵姓？谢谢", 3, "pass"),
        ("您好，请讲", 2, "unsure"),
        ("您好", 1, "violation"),
        ("查好了", 0, "violation"),
        ("谢谢，谢谢谢谢，再见", 2, "unsure"),  # repeats in one breath are one use
        ("谢谢您，非常感谢，谢谢", 3, "pass"),
        ("您的申请和请假都提交了，您好", 1, "violation"),
        ("对不起，不好意思，抱歉，麻烦您", 4, "pass"),
    ],
)
def test_polite_words_are_counted(line: str, count: int, outcome: str) -> None:
    entry = judged(f"00:01.0 坐席: {line}", "polite_quota")
    assert (entry["measured"]["value"], entry["outcome"]) == (count, outcome)


def test_too_few_polite_words_are_unsure_where_some_may_have_been_missed() -> None:
    assert judged("00:01.0 坐席: 好的", "polite_quota", truncated=True)["outcome"] == "unsure"
    assert judged("00:01.0 坐席: 好的\n00:03.0 未知: 您好", "polite_quota")["outcome"] == "unsure"
    assert judged("00:01.0 坐席: 您好，请讲，谢谢\n00:03.0 未知: 嗯", "polite_quota")["outcome"] == "pass"


# --- rate -------------------------------------------------------------------------------------------------------------

TEN = "一共有十个字的一句话啊"[:10]


def speech(role: str, cpm: int, lines: int = 6, start: int = 0) -> str:
    """``lines`` turns of ten syllables at exactly ``cpm``."""
    ms = 600_000 // cpm
    at = [start + i * (ms + 8000) for i in range(lines)]
    return "\n".join(
        f"{s // 60000:02}:{s % 60000 / 1000:06.3f}-{(s + ms) // 60000:02}:{(s + ms) % 60000 / 1000:06.3f} {role}: {TEN}"
        for s in at
    )


@pytest.mark.parametrize(
    ("agent", "customer", "outcome"),
    [
        (120, 200, "pass"),
        (144, 250, "pass"),
        (150, 250, "violation"),
        (90, 200, "violation"),
        (200, 200, "pass"),
        (200, 240, "pass"),
        (200, 300, "violation"),
    ],
)
def test_a_rate_is_violated_only_outside_both_bands(agent: int, customer: int, outcome: str) -> None:
    call = f"{speech('坐席', agent)}\n{speech('客户', customer, 8, 4000)}"
    entry = judged(call, "speech_rate")
    assert entry["outcome"] == outcome
    assert entry["measured"]["value"] == pytest.approx(agent, abs=1)
    names = [band["name"] for band in entry["measured"]["bands"]]
    assert names == (["absolute", "customer"])
    assert (entry["measured"]["low"], entry["measured"]["high"]) == (96, 144)


def test_a_customer_who_says_little_gives_no_band() -> None:
    call = f"{speech('坐席', 200)}\n{speech('客户', 200, 2, 4000)}"
    entry = judged(call, "speech_rate")
    assert [band["name"] for band in entry["measured"]["bands"]] == ["absolute"]
    assert entry["outcome"] == "violation"


def test_too_little_speech_has_no_rate_to_judge_but_is_measured() -> None:
    report = analyze(read_case(speech("坐席", 300, 2)).transcript, pack())
    assert rule_entry(report, "speech_rate")["outcome"] == "not_applicable"
    assert report["metrics"]["rate"]["agent"]["turn"] == 300
    assert report["metrics"]["rate"]["customer"] == {"turn": 0, "articulation": 0, "gross": 0}


def test_read_back_numbers_back_channel_and_short_utterances_are_left_out() -> None:
    calm = speech("坐席", 120)
    rushed = calm + "\n02:00.000-02:00.800 坐席: 嗯嗯好的好的\n02:02.000-02:02.500 坐席: 稍等一下\n"
    number = "02:10.000-02:20.000 坐席: 一三八一二三四五六七八"
    assert judged(calm, "speech_rate")["measured"]["value"] == 120
    assert judged(rushed + number, "speech_rate")["measured"]["value"] == 120


def test_a_profile_sets_another_band() -> None:
    report = analyze(read_case(speech("坐席", 200)).transcript, pack("modern"))
    assert rule_entry(report, "speech_rate")["outcome"] == "pass"
    assert "polite_quota" not in [entry["rule"] for entry in report["rules"]]
