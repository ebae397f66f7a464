"""Checks over a whole conversation: ratio, repeat, entity, echo, address, turn. Each rule stands beside its test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from analyzer.catalog import load_pack
from analyzer.report import analyze, rule_entry
from analyzer.rules import Pack, Rule, RuleFaults, WordList, Words, parse_rule
from analyzer.rules.entity import Detector, Entity
from analyzer.rules.pack import Profile
from analyzer.rules.patterns import parse
from analyzer.rules.phrases import PhraseSet, read_phrase
from analyzer.transcripts import read_case

_SURNAME = {"姓氏": parse("[王汪李张]", {})}
_BACK_CHANNEL = PhraseSet([read_phrase({"phrase": phrase}, {}) for phrase in ("嗯", "好的")])


def _list(name: str, *phrases: str) -> WordList:
    rows = [read_phrase({"phrase": p, "boundary": "none", "sound": "off"}, _SURNAME) for p in phrases]
    return WordList(name, name, "tests", "Apache-2.0", tuple(rows))


_LISTS = (
    _list("nin", "您"),
    _list("ni", "你"),
    _list("used", "{姓氏}(先生|女士)"),
    _list("called", "^{姓氏}(先生|女士)"),
    _list("given", "我姓{姓氏}"),
    _list("answers", "^^{姓氏}$"),
    _list("requests", "贵姓"),
    _list("declined", "不方便"),
)


def rule_of(**fields: Any) -> Rule:
    head = {"id": "tried", "title": "试", "status": "stable", "severity": "minor", "message": "{quote}{value}"}
    return parse_rule(head | fields, Words({words.name: words for words in _LISTS}, _SURNAME))


def judged(rule: Rule, call: str, **facts: Any) -> Mapping[str, Any]:
    pack = Pack("tests", "1", "", (rule,), Profile("standard"), _BACK_CHANNEL)
    return rule_entry(analyze(read_case(call, **facts).transcript, pack), rule.id)


def quotes(entry: Mapping[str, Any]) -> list[str | None]:
    return [finding["quote"] for finding in entry["findings"]]


# --- ratio ------------------------------------------------------------------------------------------------------------

_NIN = {"kind": "ratio", "any_in": ["nin"], "to": {"any_in": ["nin", "ni"]}, "min": 0.6, "at_least": 2}


@pytest.mark.parametrize(
    ("call", "outcome", "value", "found"),
    [
        ("坐席: 您的订单，您查收，你签字", "pass", 0.67, []),
        ("坐席: 您的订单，你签字", "violation", 0.5, ["你"]),
        ("坐席: 你的订单", "not_applicable", None, []),
        ("客户: 你的你的\n坐席: 您看，您说", "pass", 1.0, []),
        ("坐席 (0.3): 您的订单，你签字", "unsure", None, []),
        ("未知: 你，你，你\n坐席: 您的，您的", "unsure", 1.0, []),
    ],
)
def test_ratio_blames_what_is_not_part_of_it(call: str, outcome: str, value: float | None, found: list[str]) -> None:
    entry = judged(rule_of(**_NIN), call)
    assert (entry["outcome"], entry.get("measured", {}).get("value"), quotes(entry)) == (outcome, value, found)


def test_ratio_of_two_windows_reports_the_lack() -> None:
    window = {"from_percent": 50, "to_percent": 100}
    rule = rule_of(
        kind="ratio", any_in=["nin"], window=window, to={"any_in": ["nin"], "window": {"to_percent": 50}}, min=1
    )
    entry = judged(rule, "00:01.0 坐席: 您看您说\n00:09.0 坐席: 好了", duration_ms=10_000)
    assert entry["outcome"] == "violation"
    assert entry["findings"][0]["quote"] is None
    assert (entry["findings"][0]["start_ms"], entry["findings"][0]["end_ms"]) == (5_000, 10_000)


# --- repeat -----------------------------------------------------------------------------------------------------------


def test_the_same_utterance_may_be_said_so_often_and_no_more() -> None:
    rule = rule_of(kind="repeat", max=2)
    again = "00:01.0 坐席: 系统正在审核请等待\n00:05.0 坐席: 系统正在审核请等待\n"
    assert judged(rule, again)["outcome"] == "pass"
    entry = judged(rule, again + "00:09.0 坐席: 系统正在审核请您等待")
    assert quotes(entry) == ["系统正在审核请您等待"]
    assert entry["findings"][0]["match"] == "variant"
    assert entry["measured"]["value"] == 3


def test_repeats_of_the_customer_and_short_ones_do_not_count() -> None:
    rule = rule_of(kind="repeat", max=1)
    call = (
        "00:01.0 客户: 系统正在审核请等待\n00:05.0 坐席: 系统正在审核请等待\n00:09.0 坐席: 好的呀\n00:12.0 坐席: 好的呀"
    )
    assert judged(rule, call)["outcome"] == "pass"


def test_pet_phrases_may_stand_in_half_of_the_utterances() -> None:
    rule = rule_of(kind="repeat", any_of=["就是说"], max_share=0.5, min_utterances=2, min_characters=3)
    half = "00:01.0 坐席: 就是说明天到\n00:05.0 坐席: 您注意接听\n"
    assert judged(rule, half)["outcome"] == "pass"
    entry = judged(rule, half + "00:09.0 坐席: 就是说上午到")
    assert (entry["outcome"], quotes(entry)) == ("violation", ["就是说", "就是说"])
    assert judged(rule, "坐席: 就是说明天到")["outcome"] == "not_applicable"


def test_repeat_takes_one_form() -> None:
    with pytest.raises(RuleFaults, match="either max, or max_share"):
        rule_of(kind="repeat")
    with pytest.raises(RuleFaults, match="belong to max_share"):
        rule_of(kind="repeat", max=1, any_of=["就是说"])


# --- entities ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entity", "text", "values"),
    [
        (Entity.NUMBER, "幺三八零零一三八零零零", ["13800138000"]),
        (Entity.NUMBER, "二零二三年办的交了50000元", []),
        (Entity.NUMBER, "尾号1234", ["1234"]),
        (Entity.PHONE, "打13800138000", ["13800138000"]),
        (Entity.PHONE, "打138001380001", []),
        (Entity.ID_CARD, "53010219900101123x", ["53010219900101123"]),
        (Entity.ORDER_NUMBER, "订单号是88023311", ["88023311"]),
        (Entity.ORDER_NUMBER, "余额是88023311", []),
        (Entity.AMOUNT, "一共一百二十元", ["一百二十元"]),
        (Entity.AMOUNT, "一共一百二十人", []),
    ],
)
def test_entities_are_told_from_other_numbers(entity: Entity, text: str, values: Sequence[str]) -> None:
    assert Detector(entity).values(text) == list(values)


def test_an_amount_is_owed_where_its_matter_is_mentioned() -> None:
    rule = rule_of(kind="entity", entity="amount", about={"any_of": ["运费"]}, within_turns=1)
    assert judged(rule, "客户: 运费怎么算\n坐席: 二十元")["outcome"] == "pass"
    entry = judged(rule, "客户: 运费怎么算\n坐席: 看重量")
    assert (entry["outcome"], entry["findings"][0]["turn"]) == ("violation", 1)
    assert judged(rule, "客户: 运费怎么算\n未知: 看重量\n坐席: 嗯对的")["outcome"] == "unsure"
    assert judged(rule, "坐席: 明天到")["outcome"] == "not_applicable"


_ECHO = {"kind": "echo", "entity": "number", "min_digits": 5, "asked": {"any_of": ["账号"]}}


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("坐席: 幺二三四五六七八对吗", "pass"),
        ("坐席: 1234，5678对吗", "pass"),
        ("坐席: 尾号五六七八对吗", "pass"),
        ("坐席: 12345679对吗", "pass"),
        ("坐席: 98761234对吗", "violation"),
        ("坐席: 好的查到了", "violation"),
        ("坐席 (0.2): 好的查到了", "unsure"),
        ("坐席: 稍等看看\n客户: 快点查吧\n坐席: 12345678对吗", "pass"),
        ("坐席: 稍等看看\n客户: 快点查吧\n坐席: 查到了\n客户: 多少钱\n坐席: 12345678对吗", "violation"),
    ],
)
def test_a_number_is_read_back_within_two_turns(reply: str, outcome: str) -> None:
    entry = judged(rule_of(**_ECHO), f"坐席: 请报账号\n客户: 12345678\n{reply}")
    assert entry["outcome"] == outcome


def test_a_number_nobody_asked_for_need_not_be_read_back() -> None:
    assert judged(rule_of(**_ECHO), "客户: 短信来自10086999\n坐席: 好的查到了")["outcome"] == "not_applicable"


def test_thanks_may_be_owed_for_a_number_instead() -> None:
    rule = rule_of(**_ECHO, any_of=["谢谢"])
    assert judged(rule, "坐席: 请报账号\n客户: 12345678\n坐席: 谢谢您")["outcome"] == "pass"
    assert judged(rule, "坐席: 请报账号\n客户: 12345678\n坐席: 12345678对吗")["outcome"] == "violation"


# --- address ----------------------------------------------------------------------------------------------------------

_LISTED = {"used_in": ["used"], "given_in": ["given"], "answers_in": ["answers"], "requests_in": ["requests"]}
_ADDRESS = {"kind": "address", **_LISTED, "declined_in": ["declined"], "called_in": ["called"]}
_CHAT = "客户: 查余额吧\n坐席: {}三百元\n客户: 还有吗\n坐席: {}没有了\n客户: 那好吧\n坐席: {}再见"


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        (("王先生", "", "王先生"), "pass"),
        (("汪先生", "", "王先生"), "pass"),
        (("王先生", "", ""), "unsure"),
        (("先生", "", ""), "violation"),
        (("李先生", "李先生", ""), "violation"),
    ],
)
def test_surname_and_title_are_owed_twice(names: tuple[str, str, str], outcome: str) -> None:
    entry = judged(rule_of(**_ADDRESS), _CHAT.format(*names), metadata={"customer_surname": "王"})
    assert entry["outcome"] == outcome


def test_the_name_is_known_once_the_customer_says_it() -> None:
    rule = rule_of(**_ADDRESS)
    assert judged(rule, "坐席: 您贵姓\n客户: 王\n" + _CHAT.format("", "", ""))["outcome"] == "violation"
    assert judged(rule, "客户: 我姓王\n" + _CHAT.format("王先生", "王先生", ""))["outcome"] == "pass"
    assert judged(rule, _CHAT.format("", "", "") + "\n客户: 我姓王\n坐席: 好了")["outcome"] == "not_applicable"
    assert judged(rule, _CHAT.format("", "", ""))["outcome"] == "not_applicable"


def test_pressing_a_customer_who_declined_violates() -> None:
    rule = rule_of(**_ADDRESS)
    declined = "坐席: 您贵姓\n客户: 不方便说\n"
    assert quotes(judged(rule, declined + "坐席: 那您贵姓呢")) == ["贵姓"]
    assert judged(rule, declined + "坐席: 好没关系")["outcome"] == "not_applicable"


def test_the_right_surname_and_one_sex() -> None:
    rule = rule_of(**_ADDRESS, demands="accuracy")
    known = {"metadata": {"customer_surname": "王"}}
    assert judged(rule, "坐席: 王先生，到了", **known)["outcome"] == "pass"
    assert quotes(judged(rule, "坐席: 李先生，到了", **known)) == ["李先生"]
    assert quotes(judged(rule, "坐席: 王先生，到了\n坐席: 王女士，再见", **known)) == ["王女士"]


# --- turn -------------------------------------------------------------------------------------------------------------

_STORY = "我上个月买的洗衣机坏了修了两次"


def test_a_long_turn_owes_words_in_the_next() -> None:
    rule = rule_of(kind="turn", of="customer", min_characters=12, within_turns=1, any_of=["您的意思"])
    assert judged(rule, f"客户: {_STORY}\n坐席: 您的意思是要退")["outcome"] == "pass"
    entry = judged(rule, f"客户: {_STORY}\n坐席: 不能退的")
    assert (entry["outcome"], entry["findings"][0]["turn"]) == ("violation", 1)
    assert judged(rule, "客户: 坏了吧\n坐席: 不能退的")["outcome"] == "not_applicable"
    assert judged(rule, f"客户: {_STORY}")["outcome"] == "not_applicable"


def test_back_channel_in_a_long_turn_counts_and_does_not_end_it() -> None:
    rule = rule_of(kind="turn", of="customer", min_ms=8_000, within_turns=1, any_of=["^^嗯"])
    call = "00:00.0-00:05.0 客户: 洗衣机坏了\n00:05.1 坐席: 嗯\n00:05.8-00:09.0 客户: 修了两次\n00:10.0 坐席: 订单号"
    assert judged(rule, call)["outcome"] == "pass"
    assert judged(rule, call.replace("嗯", "订单号呢"))["outcome"] == "not_applicable"


def test_without_owed_words_a_long_turn_is_the_breach() -> None:
    rule = rule_of(kind="turn", of="agent", min_characters=12)
    assert judged(rule, f"坐席: {_STORY}")["outcome"] == "violation"
    assert judged(rule, "坐席: 到了吧")["outcome"] == "pass"
    assert judged(rule, "客户: 到了吧")["outcome"] == "not_applicable"


@pytest.mark.parametrize(
    ("which", "outcome"), [("each", "violation"), ("any", "pass"), ("first", "pass"), ("last", "violation")]
)
def test_which_of_the_turns_count(which: str, outcome: str) -> None:
    rule = rule_of(kind="turn", of="customer", which=which, min_characters=6, within_turns=1, any_of=["对吗"])
    call = "客户: 洗衣机坏了两次\n坐席: 坏了两次对吗\n客户: 师傅说要换零件\n坐席: 那就换吧"
    assert judged(rule, call)["outcome"] == outcome


# --- the rules that stand in every pack -------------------------------------------------------------------------------


def test_low_confidence_makes_ni_unsure_and_its_absence_sure() -> None:
    pack = load_pack()

    def outcome(line: str) -> str:
        return str(rule_entry(analyze(read_case(line).transcript, pack), "nin_not_ni")["outcome"])

    assert [outcome("坐席 (0.7): 你的订单"), outcome("坐席 (0.7): 订单到了"), outcome("坐席 (0.3): 订单到了")] == [
        "unsure",
        "pass",
        "unsure",
    ]
