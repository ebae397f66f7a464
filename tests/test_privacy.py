"""Identifiers are masked however they are said, and numbers that are nobody's stay."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.privacy import Kind, mask, mask_report, mask_turns
from analyzer.privacy.numbers import has_luhn, id_check_digit, is_id_card
from bench.masking import bank_card, cases, harmless, id_card, is_hidden

ID_CARD = "11010519491231002X"
CARD = "6222020200112233445"


def kinds(text: str) -> list[Kind]:
    return [span.kind for span in mask(text).spans]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("我的手机是13800138000。", "我的手机是***********。"),
        ("138-0013-8000", "*************"),
        ("\uff0b\uff18\uff16\uff11\uff13\uff18\uff10\uff10\uff11\uff13\uff18\uff10\uff10\uff10", "\uff0b*************"),
        ("電話是一三八零零一三八零零零", "電話是***********"),
        ("幺三八，零零幺三，八千", "***********"),
        ("一三八零零一三八零零零一会儿打给我", "***********一会儿打给我"),
        ("号码幺三九呀，双零幺三，那个，九三个零，三天内回电", "号码*****************，三天内回电"),
        ("139零零一三9000", "***********"),
        ("一三八，一三八零零一三八零零零", "***，***********"),
        ("010-66228801", "************"),
        (f"身份证{ID_CARD}", "身份证" + "*" * 18),
        ("幺幺零幺零五，幺九四九幺二三幺，零零二叉", "*" * 20),
        ("京A·12345的车主", "********的车主"),
        ("苏B六七K九零", "*******"),
        ("沪A D12345", "*********"),
        ("写到zhang.san@example.com吧", "写到*********************吧"),
        ("邮箱是lisi艾特幺六三点com", "邮箱是*************"),
        ("住人民路一百二十号，3栋二单元501", "住人民路****号，*栋*单元***"),
    ],
)
def test_an_identifier_is_masked_whole(text: str, masked: str) -> None:
    assert mask(text).text == masked


@pytest.mark.parametrize(
    "text",
    [
        "工号3017，很高兴为您服务",
        "请拨打10086",
        "客服热线400-820-8820",
        "一共是一万两千三百零六块五毛",
        "余额1,380,013,800元",
        "2024年3月15日10:30",
        "订单号13800138000",
        "订单号我看一下啊，是一三八零零一三八零零零",
        "您的快递单号SF138001380001",
        "服务器192.168.10.101",
        "地铁2号线三号口",
        "网点在人民路12号",
        "请按一二三四五六七八九",
        "我们公司电话是010-66228801",
        "验证码382910",
        "最后四位是七七三九",
        "下周三五点",
    ],
)
def test_numbers_that_are_nobodys_stay(text: str) -> None:
    assert mask(text).spans == ()


def test_the_companys_own_numbers_stay() -> None:
    assert mask("打13800138000找我们", own=["13800138000"]).spans == ()


def test_a_wrong_checksum_is_believed_only_where_the_number_was_named() -> None:
    wrong = ID_CARD[:-1] + "1"
    assert kinds(f"我的身份证号是{wrong}") == [Kind.ID_CARD]
    assert kinds(f"我这个是{wrong}") == []
    assert kinds(f"卡号{CARD[:-1]}{(int(CARD[-1]) + 1) % 10}") == [Kind.BANK_CARD]


def test_the_question_of_the_other_side_names_the_number() -> None:
    wrong = ID_CARD[:-1] + "1"
    masked = mask_turns([("agent", "请报一下您的身份证号"), ("customer", wrong)])
    assert masked[1].text == "*" * 18


def test_a_number_over_several_turns_is_masked_and_so_are_the_groups_read_back() -> None:
    said = [("agent", "您的号码？"), ("customer", "幺三八"), ("agent", "幺三八，嗯"), ("customer", "零零幺三"),
            ("agent", "好"), ("customer", "八千"), ("agent", "零零幺三，八千，对吗")]  # fmt: skip
    texts = [masked.text for masked in mask_turns(said)]
    assert texts == ["您的号码？", "***", "***，嗯", "****", "好", "**", "*******，对吗"]


def test_two_roles_never_make_one_number() -> None:
    masked = mask_turns([("agent", "一三八零零"), ("customer", "一三八零零零")])
    assert [one.spans for one in masked] == [(), ()]


@given(st.text(alphabet="零幺一三八两十百千万双个2138，、 。号路栋AX京a@点嗯的\n", max_size=60))
def test_masking_keeps_the_length_and_changes_nothing_but_its_spans(text: str) -> None:
    masked = mask(text)
    assert len(masked.text) == len(text)
    at = 0
    for span in masked.spans:
        assert at <= span.start < span.end
        assert masked.text[at : span.start] == text[at : span.start]
        assert set(masked.text[span.start : span.end]) == {"*"}
        at = span.end
    assert masked.text[at:] == text[at:]


def test_generated_identifiers_are_masked_and_harmless_sentences_left() -> None:
    rng = random.Random(3)
    made = list(cases(rng, 10))
    missed = [case for case in made if not is_hidden(case)]
    assert len(missed) <= 0.02 * len(made), missed
    assert [sentence for sentence in harmless(rng, 200) if mask(sentence).spans] == []


def test_checksums() -> None:
    rng = random.Random(5)
    for _ in range(50):
        card, person = bank_card(rng), id_card(rng)
        assert has_luhn(card)
        assert not has_luhn(card[:-1] + str((int(card[-1]) + 1) % 10))
        assert is_id_card(person)
        assert person[-1] == id_check_digit(person[:-1])
    assert not is_id_card("11010519491331002X")  # the thirteenth month


def test_a_masked_report_holds_no_identifier_anywhere() -> None:
    text = "我的电话幺三八零零幺三八零零零。"
    quote = text[4:9]  # half of the number
    report = {
        "call_id": "0001",
        "metadata": {"caller": "13800138000", "ring_ms": 4000},
        "rules": [
            {
                "rule": "echo",
                "measured": {"heard": "13800138000", "count": 1},
                "elements": {"number": {"present": True, "at_ms": 5, "quote": quote}},
                "findings": [
                    {
                        "quote": quote, "message": f"客户报了“{quote}”", "suggestion": None,
                        "spans": [{"turn": 0, "char_start": 4, "char_end": 9}],
                    }
                ],
            }
        ],
        "turns": [{"role": "customer", "text": text, "folded": text, "start_ms": 0, "end_ms": 9000}],
    }  # fmt: skip
    masked = mask_report(report)
    finding = masked["rules"][0]["findings"][0]
    assert masked["turns"][0]["text"] == masked["turns"][0]["folded"] == "我的电话***********。"
    assert (finding["quote"], finding["message"]) == ("*****", "客户报了“*****”")
    assert masked["rules"][0]["elements"]["number"]["quote"] == "*****"
    assert masked["metadata"] == {"caller": "***********", "ring_ms": 4000}
    assert masked["rules"][0]["measured"] == {"heard": "***********", "count": 1}
    assert report["turns"][0]["text"] == text  # the original is the truth and stays
