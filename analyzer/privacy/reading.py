"""Digits as people say them and recognisers write them, read out of talk in groups.

幺三八, 138, 三个八, 双零, 八千 (for 8000), 三十一 (31) and any mixture are digits. A run is groups with nothing between
them but punctuation, line ends, and what people say while they read a number out (呀, 嗯, 那个, 然后, 杠). A number
begins and ends at the edge of a group, so an order number that happens to contain eleven fitting digits stays whole. A
digit that may belong to the next word (一会儿, 三天) or the last one (第一, 周三) is a group of its own: in or out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

HAN = "零〇一幺二三四五六七八九壹贰叁肆伍陆柒捌玖"
VALUES = dict(zip(HAN, "00112345678912345" + "6789", strict=True)) | {"两": "2", "洞": "0", "拐": "7", "勾": "9"}
_DIGIT = f"[0-9{HAN}]"
_UNITS = "个天年月日块元毛角次位遍点分秒岁米斤度笔张台件条名套些小公"
_WORDS_ON = "下会样直起定般切共旦边种家步口"  # 一 begins these words: 一下, 一会儿, 一共
_TIMES = {"双": 2, "俩": 2, "两个": 2} | {f"{n}个": value for value, n in enumerate("二三四五六七八", 2)}
_TIMES |= {f"{value}个": value for value in range(2, 9)}

FILLERS = (
    "那个", "这个", "然后", "就是", "后面", "后边", "前面", "接着", "接下来", "最后", "中间", "开头",
    "横杠", "减号", "空格", *"呀啊嗯恩呃额哦噢喔唔嘛呢吧哈哎诶欸唉是对好再杠加了",
)  # fmt: skip
_GAP = rf"(?:[\s\-—–―－·•,，、.。…~～()（）;；'\"“”‘’!?！？*]|{'|'.join(FILLERS)})"
_LONGEST_GAP = 24  # characters
_ONLY_GAP = re.compile(rf"{_GAP}*")

_TOKEN = re.compile(
    rf"""
      (?P<amount>(?<!\d)\d{{1,3}}(?:,\d{{3}})+(?!{_GAP}{{0,3}}{_DIGIT})           # 12,345
               |\d+\.\d+(?=\s*[元块万亿%折])
               |\d{{1,3}}(?:\.\d{{1,3}}){{3}}                          # 192.168.10.101
               |[{HAN}两][百千万亿][{HAN}两十百千万亿]+|[{HAN}两]?[十百千万亿][{HAN}两十百千万亿]*(?=[{_UNITS}多来几]))
    | (?P<times>双|俩|两个|[二三四五六七八2-8]个)\s*(?P<repeated>{_DIGIT})(?![十百千万亿个])
    | (?P<scaled>[{HAN}两])(?P<scale>[百千])
    | (?P<tens>[二三四五六七八九]?)十(?P<ones>[一二三四五六七八九]?)(?![{_UNITS}{HAN}十百千万亿])
    | (?P<arabic>[0-9]+)
    | (?P<loose>(?<=[第周期拜唯统每])[{HAN}]|[{HAN}](?=[{_UNITS}])|一(?=[{_WORDS_ON}])|两)
    | (?P<han>[{HAN}]|(?<={_DIGIT})[洞拐勾])
    | (?P<cross>(?:叉|艾克斯|埃克斯|x(?![a-z])))
    """,
    re.VERBOSE,
)
_ZEROS = {"百": "00", "千": "000"}


@dataclass(frozen=True, slots=True)
class Group:
    """Digits that were said in one breath: ``digits`` (0-9, at the end of an ID card X), from ``start`` to ``end``."""

    digits: str
    start: int
    end: int
    is_spoken: bool
    is_loose: bool = False


Run = list[Group]


def read_runs(text: str) -> list[Run]:
    """The runs of digit groups in ``text`` (simplified, narrow, lower case), in order."""
    runs: list[Run] = []
    for group in _merged(_groups(text)):
        if runs and _is_gap(text, runs[-1][-1].end, group.start):
            runs[-1].append(group)
        elif group.digits != "X":
            runs.append([group])
    return runs


def _is_gap(text: str, start: int, end: int) -> bool:
    return end - start <= _LONGEST_GAP and _ONLY_GAP.fullmatch(text, start, end) is not None


def _groups(text: str) -> Iterator[Group]:
    for token in _TOKEN.finditer(text):
        digits = _digits(token)
        if digits and not _is_part_of_a_code(text, token):
            is_spoken = token.lastgroup != "arabic"
            yield Group(digits, token.start(), token.end(), is_spoken, token["loose"] is not None)


def _digits(token: re.Match[str]) -> str:
    if token["amount"]:
        return ""
    if token["times"]:
        return _value(token["repeated"]) * _TIMES[token["times"]]
    if token["scale"]:
        return _value(token["scaled"]) + _ZEROS[token["scale"]]
    if token["tens"] is not None:
        return (_value(token["tens"]) or "1") + (_value(token["ones"]) or "0")
    if token["cross"]:
        return "X"
    return token["arabic"] or _value(token.group())


def _value(spoken: str) -> str:
    return VALUES.get(spoken, spoken)


def _is_part_of_a_code(text: str, token: re.Match[str]) -> bool:
    """JD0012345678: letters directly before make a code, of no person."""
    before = text[max(0, token.start() - 6) : token.start()]
    is_lettered = token["arabic"] is not None and re.search("[a-z_]$", before) is not None
    return is_lettered and not re.search(r"(?:tel|phone|mobile|(?<![a-z])id|(?<![a-z])no)$", before)


def _merged(groups: Iterator[Group]) -> Iterator[Group]:
    """Han digits that touch are one group."""
    last: Group | None = None
    for group in groups:
        if last and _belong_together(last, group):
            last = Group(last.digits + group.digits, last.start, group.end, is_spoken=True)
            continue
        if last:
            yield last
        last = group
    if last:
        yield last


def _belong_together(last: Group, group: Group) -> bool:
    if last.end != group.start or last.is_loose or group.is_loose or group.digits == "X":
        return False
    return last.is_spoken and group.is_spoken
