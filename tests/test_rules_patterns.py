"""The pattern language, and phrases found in what was said."""

from __future__ import annotations

import re
from functools import lru_cache

import pytest

from analyzer.rules import Pattern, PatternError, PhraseSet, RuleFaults, Said, patterns
from analyzer.rules.patterns import parse
from analyzer.rules.phrases import read_phrase
from analyzer.rules.said import Stretch, character_times
from analyzer.types import Match, Role, Span, Utterance

SLOTS = {"姓氏": parse("王|李|欧阳", {}), "公司": parse("{汉字:2-10}(银行|公司)", {})}


def said(text: str, confidence: float | None = None) -> Said:
    span = Span(0, 250 * len(text))
    utterance = Utterance(Role.AGENT, span, text, confidence)
    return Said(Role.AGENT, [Stretch(utterance, 0, len(text), span)])


def quotes(text: str, *phrases: str, **columns: str) -> list[str]:
    rows = PhraseSet([read_phrase({"phrase": phrase, "boundary": "none", **columns}, SLOTS) for phrase in phrases])
    return [hit.quote for hit in rows.find(said(text))]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("不关我的事", "这不关我的事。", ["不关我的事"]),
        ("不关我的事", "不关，我的呃事", ["不关，我的呃事"]),
        ("不关我的事", "不关那个我的事", ["不关那个我的事"]),
        ("不关我的事", "不管你的事", []),
        ("(跟|和|与)我无关", "这和我无关", ["和我无关"]),
        ("[你您]着急什么", "您着急什么", ["您着急什么"]),
        ("[^好]再见", "好再见", []),
        ("[^好]再见", "您再见", ["您再见"]),
        ("这?(个|件)?事没办法", "这件事没办法", ["这件事没办法"]),
        ("这?(个|件)?事没办法", "事没办法", ["事没办法"]),
        ("怎么…办", "怎么给您办", ["怎么给您办"]),
        ("怎么…办", "怎么。给您办", []),
        ("怎么…{0-1}办", "怎么给您办", []),
        ("^不知道$", "不知道。", ["不知道"]),
        ("^不知道$", "不知道啊，您再问问", ["不知道"]),
        ("^不知道$", "我不知道您的意思", []),
        ("^不知道$", "好的，不知道", ["不知道"]),
        ("^^您好", "喂，您好", []),
        ("再见$$", "再见，谢谢", []),
        ("再见$$", "谢谢，再见啊。", ["再见"]),
        ("您好$^{汉字:2-8}$^很高兴", "您好，好胎屋，很高兴为您服务", ["您好，好胎屋，很高兴"]),
        ("您好$^{汉字:2-8}$^很高兴", "您好好胎屋很高兴为您服务", []),
        ("{姓氏}(先生|女士)", "欧阳先生您好", ["欧阳先生"]),
        ("工号{数字:4}", "工号3017", ["工号3017"]),
        ("工号{数字:4}", "工号三零幺七", ["工号三零幺七"]),
        ("工号{数字:4}", "工号30", []),
        ("我是{公司}", "我是云岭银行的客服", ["我是云岭银行"]),
        ("{字母:2-4}卡", "办VIP卡", ["VIP卡"]),
        ("帳號", "您的賬號是", ["賬號"]),
        ("帐号", "您的账号是", ["账号"]),
        ("你着急什么呀", "你着急什么", ["你着急什么"]),
        ("说吧", "说", []),
    ],
)
def test_a_pattern_finds_what_it_says(pattern: str, text: str, found: list[str]) -> None:
    assert quotes(text, pattern) == found


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(不关", "'(' without ')'"),
        ("不关)", "')' without '('"),
        ("?不关", "needs a character"),
        ("[]", "no character"),
        ("不{姓市}", "did you mean '姓氏'"),
        ("怎么…{9-2}办", "must rise"),
        ("怎么…{1000}办", "at or below"),
        ("，。", "would match nothing"),
        ("不?", "would match nothing"),
        ("不[关", "has no partner"),
        ("不+关", "'+' is no part"),
        ("(不|没)*关", "'*' is no part"),
    ],
)
def test_a_pattern_that_makes_no_sense_says_why(pattern: str, problem: str) -> None:
    with pytest.raises(PatternError, match=re.escape(problem)):
        Pattern(pattern, SLOTS)


def test_every_match_contains_one_of_the_keys() -> None:
    for source, text in (
        ("(跟|和)我无关", "和我无关"),
        ("[你您]说话", "您说话"),
        ("不?关我的事", "关我的事"),
        ("工号{数字}", "工号12"),
    ):
        keys = Pattern(source).keys
        assert keys is not None
        assert any(key in text for key in keys)


def test_the_spellings_of_a_pattern_are_what_it_stands_for() -> None:
    assert set(Pattern("(跟|和)我们?无关").spellings) == {"跟我无关", "跟我们无关", "和我无关", "和我们无关"}
    assert Pattern("工号{数字}").spellings == ()


# --- how a hit matched ------------------------------------------------------------------------------------------------


def match_of(text: str, phrase: str, **columns: str) -> tuple[Match, float] | None:
    hits = PhraseSet([read_phrase({"phrase": phrase, **columns}, SLOTS)]).find(said(text))
    return (hits[0].match, hits[0].confidence) if hits else None


def test_a_hit_says_how_it_matched() -> None:
    assert match_of("这不归我管", "不归我管") == (Match.EXACT, 1.0)
    assert match_of("这不归，嗯，我管", "不归我管") == (Match.VARIANT, 1.0)
    assert match_of("怎么给您办", "怎么…办") == (Match.VARIANT, 1.0)
    assert match_of("这不贵我管", "不归我管") == (Match.HOMOPHONE, 0.9)


def test_sound_needs_four_characters_or_the_asking_for_three_and_never_two() -> None:
    assert match_of("不贵我", "不归我") is None
    assert match_of("不贵我", "不归我", sound="toneless", boundary="none") == (Match.HOMOPHONE, 0.5)
    with pytest.raises(RuleFaults, match="too short"):
        read_phrase({"phrase": "你好", "sound": "toneless"}, {})
    assert match_of("这不贵我管", "不归我管", sound="off") is None


def test_sound_respects_anchors_and_other_phrases_found_by_spelling() -> None:
    assert match_of("可是这不贵我管的", "^不归我管$") is None
    assert match_of("嗯，不贵我管啊。", "^不归我管$") == (Match.HOMOPHONE, 0.9)


def test_near_sounds_count_where_the_list_asks_for_them() -> None:
    assert match_of("这不归我们关的", "不归我们管的", sound="fuzzy") == (Match.HOMOPHONE, 0.9)
    assert match_of("里自己不会看吗", "你自己不会看吗") is None
    assert match_of("里自己不会看吗", "你自己不会看吗", sound="fuzzy") == (Match.HOMOPHONE, 0.8)
    with pytest.raises(RuleFaults, match="too short"):
        read_phrase({"phrase": "不归我", "sound": "fuzzy"}, {})


def test_alternatives_and_open_stretches_are_heard_too() -> None:
    assert match_of("这不贵我们关", "不(归|由)(我|我们|我们这边)管") is None  # two of five: too much misheard
    assert match_of("这不归我们关", "不(归|由)(我|我们|我们这边)管") == (Match.HOMOPHONE, 0.9)
    assert match_of("您头诉到哪里都没有用", "投诉…{0-4}都没有用") == (Match.HOMOPHONE, 0.9)


def test_a_hit_by_sound_does_not_cut_a_word() -> None:
    assert match_of("请您稍微大声一点", "喂大声一点") is None


def test_short_literals_must_stand_on_word_edges_unless_the_list_says_otherwise() -> None:
    assert match_of("我要申请", "请") is None
    assert match_of("请您稍等", "请") == (Match.EXACT, 1.0)
    assert match_of("我要申请", "请", boundary="none") == (Match.EXACT, 1.0)
    assert match_of("我要申请", "请", boundary="right") == (Match.EXACT, 1.0)


def test_a_longer_legitimate_phrase_wins() -> None:
    assert match_of("喂养宝宝", "^喂", allow="喂养;喂食", boundary="none") is None
    assert match_of("喂，喂养宝宝", "^喂", allow="喂养;喂食", boundary="none") == (Match.EXACT, 1.0)


def test_a_hit_is_as_sure_as_its_least_sure_words() -> None:
    assert match_of("不归我管", "不归我管") == (Match.EXACT, 1.0)
    span = Span(0, 500)
    parts = [Utterance(Role.AGENT, span, "不归", 0.9), Utterance(Role.AGENT, Span(500, 900), "我管", 0.4)]
    spoken = Said(Role.AGENT, [Stretch(part, 0, 2, part.span) for part in parts])
    hit = PhraseSet([read_phrase({"phrase": "不归我管"}, {})]).find(spoken)[0]
    assert hit.confidence == 0.4
    assert [(place.utterance, place.char_start, place.char_end) for place in hit.places] == [
        (parts[0], 0, 2),
        (parts[1], 0, 2),
    ]
    assert hit.quote == "不归我管"
    assert hit.span == Span(0, 900)


def test_faults_of_a_row_are_told_together() -> None:
    with pytest.raises(RuleFaults) as faults:
        read_phrase({"phrase": "(不关", "severity": "mayor", "boundary": "booth", "sound": "fuzy"}, {})
    messages = str(faults.value)
    assert "'(' without ')'" in messages
    assert "did you mean 'major'" in messages
    assert "did you mean 'both'" in messages
    assert "'toneless', 'fuzzy' or 'off'" in messages


# --- time -------------------------------------------------------------------------------------------------------------


def test_untimed_words_are_spread_over_their_syllables_from_edge_to_edge() -> None:
    times = character_times(Utterance(Role.AGENT, Span(1000, 2000), "，您好22。"))
    assert times == (
        Span(1000, 1000), Span(1000, 1200), Span(1200, 1400), Span(1400, 1800), Span(1800, 2000), Span(2000, 2000),
    )  # fmt: skip


def test_a_pause_separates_clauses_but_even_slow_speech_does_not() -> None:
    def spoken(*starts: int) -> Said:
        times = tuple(Span(start, start + 200) for start in starts)
        utterance = Utterance(Role.AGENT, Span(starts[0], starts[-1] + 200), "好不知道", None, times)
        return Said(Role.AGENT, [Stretch(utterance, 0, 4, utterance.span)])

    answer = PhraseSet([read_phrase({"phrase": "^不知道$"}, {})])
    assert answer.find(spoken(0, 550, 750, 950))
    assert not answer.find(spoken(0, 200, 400, 600))
    assert not answer.find(spoken(0, 600, 1200, 1800))


def test_an_expression_is_compiled_again_once_others_took_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    one_at_a_time = lru_cache(maxsize=1)(patterns._compile.__wrapped__)
    monkeypatch.setattr(patterns, "_compile", one_at_a_time)
    phrases = [Pattern(source) for source in ("不关我的事", "您着急什么")]
    for _ in range(2):
        assert [phrase.search("这不关我的事") for phrase in phrases] == [(1, 6), None]
    assert one_at_a_time.cache_info().misses == 4, "no pattern keeps its own"
