"""Folding, word edges, sounds and syllables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.normalize import CLAUSE, SENTENCE, fold, fold_source, is_word_edge, simplify, sound, sounds, syllables

RAW = st.text(st.sampled_from("您好請問帳號，。！ 　ＡｂＣ12３…①㎏[笑](噪音)“”喂\n幹嘛其它"), max_size=40)


@pytest.mark.parametrize(
    ("raw", "folded"),
    [
        ("您好，請問…", "您好请问"),
        ("ＡＢＣ　１２３", "abc123"),
        ("帳號、其它、至電、幹嗎、囉嗦", "账号其他致电干嘛啰嗦"),
        ("著急什麼", "着急什么"),
        ("您好[笑声]，再见（背景噪音）", "您好再见"),
        ("（二）号线", "二号线"),
        ("", ""),
        ("……！", ""),
    ],
)
def test_folding_drops_what_is_not_said_and_unifies_spelling(raw: str, folded: str) -> None:
    assert fold(raw).text == folded


@given(RAW)
def test_folding_twice_changes_nothing(raw: str) -> None:
    once = fold(raw).text
    assert fold(once).text == once


@given(RAW)
def test_the_way_back_never_steps_back_and_stays_inside(raw: str) -> None:
    folded = fold(raw)
    assert len(folded.origin) == len(folded.text) == len(folded.breaks) - 1
    assert list(folded.origin) == sorted(folded.origin)
    assert all(0 <= index < len(raw) for index in folded.origin)


def test_the_way_back_leads_to_the_raw_words() -> None:
    raw = "您好，這個「不歸我管」。"
    folded = fold(raw)
    start = folded.text.index("不归我管")
    first, last = folded.raw_range(start, start + 4)
    assert raw[first:last] == "不歸我管"


def test_a_comma_breaks_a_clause_and_a_full_stop_a_sentence() -> None:
    assert fold("您好，请讲。好").breaks == (CLAUSE, 0, CLAUSE, 0, SENTENCE, SENTENCE)


def test_spaces_break_clauses_unless_they_follow_every_character_or_a_latin_word() -> None:
    assert fold("您好 请讲").breaks[2] == CLAUSE
    assert fold("您好 喂 不关我的事").breaks[2:4] == (CLAUSE, CLAUSE)
    assert fold("您 好 请 讲").breaks[1:4] == (0, 0, 0)
    assert fold("用 VIP 卡").breaks[1] == 0


def test_simplifying_keeps_the_length_and_nothing_else_changes() -> None:
    assert simplify("請問您的 ＶＩＰ 帳號，乾隆") == "请问您的 ＶＩＰ 帐号，乾隆"


def test_the_operators_of_a_pattern_survive_folding() -> None:
    assert fold_source("（請）[你您]…{0-4}帳號？$") == "请[你您]…{0-4}账号$"


@pytest.mark.parametrize(
    ("raw", "position", "is_edge"),
    [
        ("我要申请假期", 3, False),
        ("感谢您的来电", 2, True),
        ("您好云岭银行", 2, True),
        ("喂养宝宝", 1, False),
        ("请，假", 1, True),
    ],
)
def test_words_of_the_dictionary_have_edges_and_guessed_ones_do_not(raw: str, position: int, is_edge: bool) -> None:
    assert is_word_edge(fold(raw), position) is is_edge


def test_characters_of_one_syllable_sound_alike_and_tones_do_not_matter() -> None:
    assert sound("不关我的事") == sound("不管我的是")
    assert sound("您") != sound("你")


def test_a_character_of_several_readings_sounds_in_all_of_them() -> None:
    assert sound("行") in sounds("行")
    assert len(set(sounds("还行"))) > 2
    assert len(sounds("行" * 20)) <= 32


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        ("您好，请讲。", 4),
        ("工号3017为您服务", 10),
        ("电话13812345678", 13),
        ("一共200元", 5),
        ("1,000元", 3),
        ("3.5%", 6),  # 百分之三点五
        ("11月22日", 7),  # 十一月二十二日
        ("2026年", 5),
        ("365天", 6),  # 三百六十五天
        ("10:30", 4),  # 十点三十
        ("10:05", 4),  # 十点零五
        ("10:00", 2),
        ("3017号为您服务", 9),
        ("12号", 3),
        ("请拨打95588", 8),
        ("尾号6688", 6),
        ("VIP客户", 5),
        ("wifi", 2),
        ("用App登录", 4),
        ("一会儿", 3),
        ("您好[笑]（背景噪音）", 2),
        ("１２３元", 6),
        ("幺三八", 3),
        ("", 0),
    ],
)
def test_syllables_are_counted_as_a_listener_hears_them(raw: str, count: int) -> None:
    assert sum(syllables(raw)) == count
    assert len(syllables(raw)) == len(raw)
