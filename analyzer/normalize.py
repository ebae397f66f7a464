"""Raw words to text that can be compared, with the way back.

A transcript may be traditional, full-width, punctuated or cut anywhere; rules compare ``Folded.text``, and
``Folded.origin`` leads every character of it back to the raw text, which findings quote. Folding never reorders:
``origin`` does not step back, and folding twice changes nothing. Dictionaries (OpenCC, jieba, pypinyin) load on first
use and are kept.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

CLAUSE, SENTENCE = 1, 2  # strength of a break before a character
_FEWEST_SPACED, _SPACED_SHARE = 3, 0.6  # words, and how many of them single characters, of text that is spaced out
_JOINED = frozenset("您你我他她它们的了吗呢吧啊")

_SENTENCE_ENDS = frozenset("。！？!?；;\n")
_NOISE = re.compile(
    r"\[[^\[\]]{0,20}\]|【[^【】]{0,20}】|<[^<>]{0,20}>"
    r"|[（(][^()（）]{0,12}(?:声|音|笑|咳|沉默|停顿|叹气|听不清|无语|铃|按键)[^()（）]{0,4}[)）]"
)
# Two spellings of one word. Same length, so positions survive.
_SPELLINGS = {
    "帐号": "账号", "其它": "其他", "罗嗦": "啰嗦", "至电": "致电", "干吗": "干嘛", "呆会": "待会", "打搅": "打扰",
    "壹": "一", "妳": "你",
}  # fmt: skip
_SPELLING = re.compile("|".join(_SPELLINGS))


@dataclass(frozen=True, slots=True)
class Folded:
    """Text to match and the way back.

    text     NFKC, lower case, simplified; punctuation, spaces and bracketed noises dropped
    origin   index in ``raw`` of each character of ``text``
    breaks   one number per character of ``text`` plus one for its end: 0, CLAUSE or SENTENCE stands before it
    """

    raw: str = field(repr=False)
    text: str = field(repr=False)
    origin: tuple[int, ...] = field(repr=False)
    breaks: tuple[int, ...] = field(repr=False)

    def raw_range(self, start: int, end: int) -> tuple[int, int]:
        """Code points of ``raw`` that ``text[start:end]`` came from, end exclusive."""
        return self.origin[start], self.origin[end - 1] + 1


@lru_cache(maxsize=1024)
def fold(raw: str) -> Folded:
    """Fold ``raw`` for comparison.

    >>> fold("您好，請問…").text
    '您好请问'
    """
    noise = _noise_positions(raw)
    spaces_separate = _spaces_separate(raw)
    characters: list[str] = []
    origin: list[int] = []
    breaks: list[int] = []
    pending = CLAUSE
    for index, character in enumerate(raw):
        kept = "" if index in noise else _fold_character(character)
        if not kept:
            pending = max(pending, _break_strength(raw, index, spaces_separate))
        for folded in kept:
            characters.append(folded)
            origin.append(index)
            breaks.append(pending)
            pending = 0
    text = _same_spelling(simplify("".join(characters)))
    return Folded(raw, text, tuple(origin), (*breaks, SENTENCE))


def simplify(text: str) -> str:
    """Traditional to simplified characters, nothing else, same length.

    >>> simplify("請問您的帳號")
    '请问您的帐号'
    """
    converter = _opencc()
    whole: str = converter.convert(text)
    if len(whole) == len(text):
        return whole
    return "".join(_one_to_one(converter, character) for character in text)


def fold_source(pattern: str) -> str:
    """Fold the characters of a pattern and keep its ASCII operators and ``…``."""
    kept = (c if c.isascii() or c == "…" else _fold_character(c) for c in pattern)
    return _same_spelling(simplify("".join(kept).lower()))


def _one_to_one(converter: Any, character: str) -> str:
    simplified: str = converter.convert(character)
    return simplified if len(simplified) == 1 else character


def _same_spelling(text: str) -> str:
    return _SPELLING.sub(lambda found: _SPELLINGS[found.group()], text)


@lru_cache(maxsize=65536)
def _fold_character(character: str) -> str:
    if unicodedata.category(character)[0] in "PZCS":
        return ""
    folded = unicodedata.normalize("NFKC", character).lower()
    return "".join(c for c in folded if unicodedata.category(c)[0] not in "PZCSM")


def _break_strength(raw: str, index: int, spaces_separate: bool) -> int:
    """How much a dropped character separates: a full stop more than a comma, a quotation mark or hyphen not at all."""
    character = raw[index]
    if character in _SENTENCE_ENDS:
        return SENTENCE
    if character.isspace():
        return CLAUSE if spaces_separate and _is_between_han(raw, index) else 0
    if character in "\"'“”‘’「」『』《》·-—_/\\%&+#@*=~()（）[]【】<>":
        return 0
    return CLAUSE if unicodedata.category(character)[0] == "P" else 0


def _spaces_separate(raw: str) -> bool:
    """A space is a pause, unless it stands after every character, as some recognisers write."""
    words = raw.split()
    single = sum(len(word) == 1 for word in words)
    return len(words) < _FEWEST_SPACED or single < _SPACED_SHARE * len(words)


def _is_between_han(raw: str, index: int) -> bool:
    """Spaces around Latin words and numbers say nothing about clauses."""
    around = raw[max(0, index - 1) : index] + raw[index + 1 : index + 2]
    return len(around) == 2 and all(map(_is_han, around))


def _is_han(character: str) -> bool:
    return "\u3400" <= character <= "\u9fff" or character == "〇" or "\U00020000" <= character <= "\U0003ffff"


def _noise_positions(raw: str) -> frozenset[int]:
    if not any(opener in raw for opener in "[【<（("):
        return frozenset()
    return frozenset(index for found in _NOISE.finditer(raw) for index in range(*found.span()))


@lru_cache(maxsize=1)
def _opencc() -> Any:
    from opencc import OpenCC  # noqa: PLC0415

    # tw2s: one character to one character, and 著→着 right; tw2sp would rewrite words and change lengths
    return OpenCC("tw2s")


# --- words ------------------------------------------------------------------------------------------------------------


def is_word_edge(folded: Folded, position: int) -> bool:
    """Whether a word starts or ends (jieba) at ``position`` of ``folded.text``. Where clauses do, words do.

    Dictionary words only: a guessed word (the HMM's 好云岭 in 您好云岭银行) would hide a phrase; a known one (申请)
    rightly does.
    """
    if position in (0, len(folded.text)) or folded.breaks[position]:
        return True
    start = max(i for i in range(position) if folded.breaks[i])
    end = next(i for i in range(position, len(folded.breaks)) if folded.breaks[i])
    return position - start in _edges_of_clause(folded.text[start:end])


@lru_cache(maxsize=4096)
def _edges_of_clause(text: str) -> frozenset[int]:
    edges, position = set[int](), 0
    for word in _jieba().cut(text, HMM=False):
        edges.update(position + edge for edge in _edges_inside(word))
        position += len(word)
    return frozenset(edges)


def _edges_inside(word: str) -> Iterator[int]:
    """A dictionary word's ends, and the seam of one that only joins a word and a pronoun or particle (感谢您)."""
    yield len(word)
    if len(word) >= 3 and word[-1] in _JOINED:
        yield len(word) - 1
    if len(word) >= 3 and word[0] in _JOINED:
        yield 1


@lru_cache(maxsize=1)
def _jieba() -> Any:
    import logging  # noqa: PLC0415

    import jieba  # noqa: PLC0415
    from platformdirs import user_cache_dir  # noqa: PLC0415

    jieba.setLogLevel(logging.WARNING)
    words = jieba.Tokenizer()
    # jieba would keep its cache in the shared temp folder, where anybody may have put another one
    cache = user_cache_dir("analyzer")
    try:
        os.makedirs(cache, mode=0o700, exist_ok=True)
        words.tmp_dir = cache
    except OSError:
        logging.getLogger(__name__).debug("no private cache folder; jieba rebuilds its dictionary each time")
    words.initialize()
    return words


# --- sounds -----------------------------------------------------------------------------------------------------------

_FIRST_SYLLABLE_CODE = 0xF0000  # private use, one code point per toneless syllable


def sound(text: str) -> str:
    """``text`` with each Han character replaced by one private code point that stands for its toneless syllable.

    >>> sound("不关我的事") == sound("不管我的是")
    True
    """
    first = _readings()
    return "".join(first[c][0] if c in first else c for c in text)


def sounds(text: str, limit: int = 32) -> list[str]:
    """Every way ``text`` may sound, for characters of several readings; at most ``limit`` ways."""
    ways = [""]
    readings = _readings()
    for character in text:
        choices: Iterable[str] = readings.get(character, character)
        grown = [way + choice for way in ways for choice in choices]
        ways = grown if len(grown) <= limit else [way + next(iter(choices)) for way in ways]
    return ways


@lru_cache(maxsize=1)
def _readings() -> dict[str, str]:
    """Character to the codes of its toneless readings, the commonest first."""
    codes: dict[str, str] = {}
    return {
        character: "".join(codes.setdefault(s, chr(_FIRST_SYLLABLE_CODE + len(codes))) for s in syllables)
        for character, syllables in toneless_readings().items()
    }


@lru_cache(maxsize=1)
def toneless_readings() -> dict[str, tuple[str, ...]]:
    """Han character to the toneless syllables it may be read as, the commonest first: 还 -> hai, huan, fu."""
    from pypinyin.constants import PINYIN_DICT  # noqa: PLC0415

    return {
        chr(point): tuple(dict.fromkeys(_toneless(reading) for reading in pinyin.split(",")))
        for point, pinyin in PINYIN_DICT.items()
    }


@cache  # some 1,500 readings serve 40,000 characters
def _toneless(reading: str) -> str:
    plain = unicodedata.normalize("NFD", reading.strip())
    umlaut = plain.replace("u\u0308", "v")
    return "".join(c for c in umlaut if not unicodedata.combining(c))


# --- syllables --------------------------------------------------------------------------------------------------------

_DIGITWISE_BEFORE = re.compile(
    r"(?:工号|编号|电话|号码|手机号?|热线|尾号|卡号|单号|证号|账号|帐号|验证码|密码|身份证|邮编|代码|房间|分机|转)(?:号码?)?(?:是|为|：|:|\s)*$"
)
_COUNTED_AFTER = re.compile(
    r"^\s*(?:[元块毛角万亿千百个次天日月点分秒小岁米公里斤克度期笔张台件条位名套单页倍折楼层成兆周]|人民币|号(?!客|坐|为|工|话))"
)
_TOKEN = re.compile(
    r"(?P<time>\d{1,2}[:：]\d{2}(?!\d))|(?P<number>\d+(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\d+)(?P<percent>%?)"
    r"|(?P<word>[A-Za-z]+(?:'[A-Za-z]+)?)"
)
_VOWELS = re.compile(r"[aeiouy]+", re.IGNORECASE)
_LONGEST_INITIALISM = 5
_LONGEST_VALUE = 16  # digits that cn2an reads as a number


@lru_cache(maxsize=1024)
def syllables(raw: str) -> tuple[int, ...]:
    """How many syllables a listener hears for each character of ``raw``.

    A number's syllables lie on its characters from the left, so that they sum to the reading: 200元 → 二百元. Staff and
    phone numbers are read digit by digit, amounts, counts and dates as numbers, years digit by digit; capitals one
    each, other Latin words by vowel groups; punctuation and bracketed noises are silent.

    >>> sum(syllables("工号3017，为您服务")), sum(syllables("一共200元"))
    (10, 5)
    """
    plain = "".join(_narrow(character) for character in raw)
    heard = [1 if unicodedata.category(c) == "Lo" or c == "〇" else 0 for c in plain]
    for found in _TOKEN.finditer(plain):
        _spread(heard, found.start(), found.end(), _token_syllables(plain, found))
    for index in _noise_positions(raw):
        heard[index] = 0
    return tuple(heard)


def _narrow(character: str) -> str:
    narrow = unicodedata.normalize("NFKC", character)
    return narrow if len(narrow) == 1 else character


def _spread(heard: list[int], start: int, end: int, count: int) -> None:
    share, rest = divmod(count, end - start)
    for index in range(start, end):
        heard[index] = share + (index - start < rest)


def _token_syllables(text: str, found: re.Match[str]) -> int:
    if found["word"]:
        return _word_syllables(found["word"])
    if found["time"]:
        hours, minutes = re.split("[:：]", found["time"])
        return _value_syllables(str(int(hours))) + 1 + _minute_syllables(minutes)
    number = found["number"].replace(",", "")
    spoken = len(number) if _is_digitwise(text, found, number) else _value_syllables(number)
    return spoken + (3 if found["percent"] else 0)  # 百分之


def _minute_syllables(minutes: str) -> int:
    """十点, 十点零五, 十点三十."""
    if minutes == "00":
        return 0
    return 2 if minutes.startswith("0") else _value_syllables(minutes)


def _word_syllables(word: str) -> int:
    groups = len(_VOWELS.findall(word))
    if not groups or (word.isupper() and len(word) <= _LONGEST_INITIALISM):
        return len(word.replace("'", ""))
    return groups


def _is_digitwise(text: str, found: re.Match[str], number: str) -> bool:
    after = text[found.end() : found.end() + 4]
    if found["percent"] or "." in number or "," in found["number"]:
        return False
    if number.startswith("0") and len(number) > 1:
        return True
    if after.startswith("年"):
        return len(number) == 4
    if _DIGITWISE_BEFORE.search(text[max(0, found.start() - 12) : found.start()]):
        return True
    if _COUNTED_AFTER.match(after) and not (after.startswith("号") and len(number) > 2):
        return False
    return len(number) > 4 or (len(number) > 2 and not number.endswith("00"))


def _value_syllables(number: str) -> int:
    if len(number) > _LONGEST_VALUE:
        return len(number)
    import cn2an  # noqa: PLC0415

    return len(cn2an.an2cn(number, "low")) if number else 1
