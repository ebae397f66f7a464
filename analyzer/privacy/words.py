"""Identifiers that are not digits alone: number plates, e-mail addresses, and the house numbers of addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from analyzer.privacy.numbers import Kind
from analyzer.privacy.reading import FILLERS, HAN, VALUES

Written = tuple[Kind, int, int]
_SPOKEN = f"{HAN}两洞拐勾"
_TIMES = r"(?:双|两个|[二三四五六七八2-8]个)"


def find_written(text: str) -> Iterator[Written]:
    """What stands in ``text`` (simplified, narrow, lower case)."""
    for find in (_plates, _emails, _house_numbers):
        yield from find(text)


# ---- plates

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_BETWEEN = rf"(?:[\s·•.,，、\-—]|{'|'.join(FILLERS)}){{0,6}}"
_PLATE_START = re.compile(rf"[{_PROVINCES}]{_BETWEEN}[a-z](?![a-z]{{3}})")
_SYMBOL = re.compile(
    rf"{_BETWEEN}(?:(?P<n>{_TIMES})(?P<repeated>[a-z0-9{_SPOKEN}])|(?P<one>[a-z0-9{_SPOKEN}挂学警港澳]))"
)
_LOOSE = re.compile(r"[一两二三](?=[下会个天样直起次辆位点年月])")
_PLATE = re.compile(r"[a-hj-np-z0-9]{4}[a-hj-np-z0-9挂学警港澳]")
_ELECTRIC = re.compile(r"[a-hjk][a-hj-np-z0-9][0-9]{4}|[0-9]{5}[a-hjk]")


def _plates(text: str) -> Iterator[Written]:
    for start in _PLATE_START.finditer(text):
        end = _plate_end(text, start.end())
        if end:
            yield Kind.PLATE, start.start(), end


def _plate_end(text: str, at: int) -> int | None:
    """Where the five symbols of a plate end, or the six of an electric car's."""
    read = ""
    ends: list[int] = []
    while len(read) < 7 and (symbol := _SYMBOL.match(text, at)) and not _LOOSE.match(text, symbol.end() - 1):
        if read and len(read) >= 5 and symbol.start() != symbol.start("one"):
            break  # a pause after a whole plate: what follows is something else
        character = VALUES.get(symbol["one"] or symbol["repeated"], symbol["one"] or symbol["repeated"])
        read += character * _times(symbol["n"])
        at = symbol.end()
        ends += [at] * (len(read) - len(ends))
    if len(read) == 6 and _ELECTRIC.fullmatch(read):
        return ends[5]
    if len(read) == 5 and _PLATE.fullmatch(read) and re.search("[0-9]", read):
        return ends[4]
    return None


def _times(spoken: str | None) -> int:
    if spoken is None:
        return 1
    return (
        2 if spoken in ("双", "两个") else "二三四五六七八".find(spoken[0]) + 2 if spoken[0] > "9" else int(spoken[0])
    )


# ---- e-mail

_AT = r"(?:@|艾特|圈a|小老鼠|\bat\b)"
_DOT = r"(?:\.|点)"
_LOCAL = rf"(?:{_TIMES}|[a-z0-9._+\-]|[{_SPOKEN}]|下划线|横杠|杠|点|[\s,，、](?=[a-z0-9{_SPOKEN}@]))"
_HOST = rf"(?:[a-z0-9\-]|[{_SPOKEN}]|扣扣|新浪|网易|搜狐|雅虎|谷歌|[\s,，](?=[a-z0-9{_SPOKEN}.点]))"
_TOP = r"(?:com|cn|net|org|edu|gov|vip|康姆|抗姆|靠姆|卡姆)"
_EMAIL = re.compile(
    rf"(?:{_LOCAL}{{1,40}}\s*)?{_AT}\s*{_HOST}{{1,24}}?(?:\s*{_DOT}\s*{_HOST}{{1,20}}?){{0,2}}\s*{_DOT}\s*{_TOP}(?:\s*{_DOT}\s*cn)?"
)


def _emails(text: str) -> Iterator[Written]:
    if not re.search(_AT, text):
        return
    for found in _EMAIL.finditer(text):
        lead = len(found.group()) - len(found.group().lstrip(" ,，、.-"))
        yield Kind.EMAIL, found.start() + lead, found.end()


# ---- house numbers

_NUMBER = rf"(?:[0-9]+(?:\s*[-—－杠之]\s*[0-9]+)*[a-z]?|[a-z]?[{HAN}十百两]+(?:[杠之][{HAN}十百两]+)*)"
_STREET = "路|街|大道|大街|巷|胡同|弄|村|小区|花园|家园|公寓|新村|社区|大厦"  # a pause may follow
_PLACE = "苑|镇|屯|坊|庄|湾|府|城|园|里|区|道"  # ends too many other words for one
_BUILDING, _ROOM = "号楼|号院|号|弄|栋|幢|座", "单元|室|户|楼|层|门"
_NOT_UNIT = "(?!线|口|台|厅|窗|柜|店|站|键|机|码|客|公|的|前|以|之|左|到期)"
_PAUSE = r"[\s,，、]{0,2}(?:嗯|呃|那个|然后)?"
_FLAT = (
    rf"{_PAUSE}(?:[0-9]{{3,4}}(?![0-9元块年天点号])|[{HAN}]{{3,4}}(?![{HAN}十百千万元块年天点个]))"  # 501, without 室
)
_ADDRESS = re.compile(
    rf"""
    (?:  (?<=[\u4e00-\u9fff]) (?:(?:{_STREET}){_PAUSE}是?|{_PLACE}) (?P<numbered>{_NUMBER}\s*(?:{_BUILDING}){_NOT_UNIT})
      |  (?P<bare>{_NUMBER}\s*(?:号楼|弄|栋|幢|座|单元){_NOT_UNIT})
         (?= {_PAUSE}{_NUMBER}\s*(?:{_BUILDING}|{_ROOM}) | {_FLAT} )
    )
    (?: {_PAUSE}{_NUMBER}\s*(?:{_BUILDING}|{_ROOM}){_NOT_UNIT} )*
    (?: {_FLAT} )?
    """,
    re.VERBOSE,
)
_NUMERAL = re.compile(_NUMBER)
_PUBLIC = re.compile(
    "网点|门店|营业|柜台|派出所|医院|分行|支行|服务[点站]|驿站|自提|总部|大厅|公交|地铁|我们[公单店]|中心|学校"
)
_CLAUSE = re.compile("[。！？!?；;\n]")


def _house_numbers(text: str) -> Iterator[Written]:
    """Only the numerals: the street tells the reviewer what was talked about, and not who lives there."""
    for address in _ADDRESS.finditer(text):
        sentence = _CLAUSE.split(text[: address.start()])[-1]
        if _PUBLIC.search(sentence):
            continue
        begin = address.start("numbered" if address["numbered"] else "bare")
        for numeral in _NUMERAL.finditer(text, begin, address.end()):
            yield Kind.HOUSE_NUMBER, numeral.start(), numeral.end()
