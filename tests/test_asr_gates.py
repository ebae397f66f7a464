"""Loops, impossible speed, silence and inventions; and what lively people really say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.asr import gates


@pytest.mark.parametrize(
    "text",
    [
        "对对对对对，是的。",
        "好的好的好的，我知道了",
        "哈哈哈哈哈",
        "我的号码是13888888888",
        "谢谢谢谢，谢谢您",
        "您好，您好，请问能听到吗？您好",
        "密码是六个零，000000",
        "不客气不客气不客气，再见再见",
    ],
)
def test_lively_speech_is_no_loop(text: str) -> None:
    assert gates.loop_cut(text) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("你只能选择两个。你只能选择两个。你只能选择两个。", "你只能选择两个。你只能选择两个。"),
        ("好的，谢谢观看谢谢观看谢谢观看谢谢观看", "好的，谢谢观看谢谢观看"),
        ("嗯嗯嗯嗯嗯嗯嗯嗯", "嗯嗯"),
        ("嗯，" * 9, "嗯，嗯，"),
        ("知道了知道了知道了知道了", "知道了知道了"),
        ("0" * 40, "00"),
    ],
)
def test_a_loop_is_cut_after_its_second_round(text: str, kept: str) -> None:
    cut = gates.loop_cut(text)
    assert cut is not None
    assert text[:cut] == kept


@given(st.text("您好请问的，吗", min_size=4, max_size=12).filter(lambda unit: len(gates.significant(unit)) >= 4))
def test_three_rounds_of_anything_longer_are_a_loop(unit: str) -> None:
    assert gates.loop_cut(unit * 3) is not None


def test_more_than_twelve_characters_a_second_are_not_speech() -> None:
    assert gates.is_too_fast("云" * 20, 1000)
    assert not gates.is_too_fast("喂，您好！", 300)
    assert not gates.is_too_fast("这边给您查询一下，", 1200)


@pytest.mark.parametrize(
    "text",
    [
        "谢谢观看",
        "感谢观看！下期再见。",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
        "字幕由Amara.org社区提供",
        "優優獨播劇場",
    ],
)
def test_closing_lines_of_videos_are_inventions(text: str) -> None:
    from opencc import OpenCC

    assert gates.is_invention(OpenCC("tw2s").convert(text))


@pytest.mark.parametrize("text", ["谢谢", "谢谢您的观看体验反馈", "我想问一下字幕怎么调", "再见", ""])
def test_ordinary_talk_is_not(text: str) -> None:
    assert not gates.is_invention(text)


def test_the_voice_is_weak_where_little_of_the_segment_is_voiced() -> None:
    assert gates.is_weak_voice(300, 900)
    assert gates.is_weak_voice(500, 3000)
    assert not gates.is_weak_voice(900, 1500)


def test_silence_needs_both_signs() -> None:
    assert gates.is_silence(0.9, -1.5)
    assert not gates.is_silence(0.9, -0.2)
    assert not gates.is_silence(0.1, -1.5)
