"""What the training voices say: our own sentence templates, lexicon phrases, and free word combinations.

Three sources, mixed by ``sentences()``:

* ``text/*.txt``: templates with alternatives ``(甲|乙|)`` and slots ``{姓氏}``, written for this project;
* sentences written for other parts of the project: the ordinary agent turns of ``bench/data/rules`` and the labelled
  sentences of ``wording/``;
* free text: words of jieba's dictionary drawn by frequency, so that no sentence can be learnt by heart.

Sentences of ``samples/*/script.yaml`` and ``bench/data/asr/*`` are never emitted.
"""

from __future__ import annotations

import bisect
import itertools
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import jieba

from models.training.espeak import is_han

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PUNCTUATION = "，。？"
WRITTEN_SHARE = 0.5  # of what is not free text
_GROUP = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{([^{}]+)\}")
_UNSPOKEN = re.compile(r"[0-9A-Za-z(|){}]")
_SENTENCE_END = re.compile(r"[。？！!?；;\n]")

SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤"
)
GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华建国文玉兰红梅志新海燕春晓雪婷宇浩然子轩梓涵欣怡佳俊豪思雨嘉"
    "天成立东亮鹏飞波宁琳倩慧玲萍"
)
CITIES = (
    "北京 上海 广州 深圳 成都 重庆 杭州 南京 武汉 西安 天津 苏州 长沙 郑州 青岛 大连 宁波 厦门 福州 济南 合肥 昆明 "
    "沈阳 哈尔滨 长春 石家庄 太原 南昌 贵阳 南宁 兰州 海口 无锡 温州 珠海 东莞 佛山"
).split()
COMPANY_HEAD = (
    "云岭 东海 华星 安远 明德 天和 同心 远大 金桥 新城 长江 北方 南方 众安 和顺 蓝天 阳光 万家 百汇 优选"
).split()
COMPANY_TAIL = (
    "银行 电信 商城 保险 快递 物流 科技 公司 证券 基金 航空 酒店 燃气 水务 电力 客服中心 服务中心 有限公司 热线 "
    "旅行社 家电"
).split()
TITLES = "先生 女士 小姐 老师 阿姨 叔叔 经理 大哥 大姐".split()
DIGITS = "零一二三四五六七八九"


def slot(name: str, draw: random.Random) -> str:
    """A random filling of one slot."""
    return _SLOTS[name](draw)


def _digits(draw: random.Random, low: int, high: int, alphabet: str = DIGITS) -> str:
    return "".join(draw.choice(alphabet) for _ in range(draw.randint(low, high)))


def _spoken(number: int) -> str:
    """A number below 100,000,000 as it is read.

    >>> _spoken(2080), _spoken(15), _spoken(120300)
    ('两千零八十', '十五', '十二万零三百')
    """
    if number >= 10_000:
        head, rest = divmod(number, 10_000)
        gap = "零" if 0 < rest < 1000 else ""
        front = "两" if head == 2 else _spoken(head)
        return front + "万" + (gap + _spoken(rest) if rest else "")
    text = ""
    pending_zero = False
    for unit, value in (("千", 1000), ("百", 100), ("十", 10), ("", 1)):
        digit, number = divmod(number, value)
        if digit == 0:
            pending_zero = pending_zero or bool(text)
            continue
        text += ("零" if pending_zero else "") + ("两" if digit == 2 and value >= 1000 else DIGITS[digit]) + unit
        pending_zero = False
    return (text[1:] if text.startswith("一十") else text) or "零"


def _amount(draw: random.Random) -> str:
    number = draw.choice(
        [draw.randint(1, 99), draw.randint(100, 999), draw.randint(1, 99) * 100, draw.randint(1000, 99999)]
    )
    tail = draw.choice(["元", "块", "块钱", "元钱", "元" + DIGITS[draw.randint(1, 9)] + "角"])
    return _spoken(number) + tail


def _date(draw: random.Random) -> str:
    month, day = _spoken(draw.randint(1, 12)), _spoken(draw.randint(1, 31))
    relative = [
        "今天",
        "明天",
        "昨天",
        "后天",
        "前天",
        "上周" + draw.choice("一二三四五六日"),
        "下周" + draw.choice("一二三四五六"),
        "本月" + day + "号",
    ]
    return draw.choice([f"{month}月{day}日", f"{month}月{day}号", draw.choice(relative)])


def _time(draw: random.Random) -> str:
    part = draw.choice(["", "早上", "上午", "中午", "下午", "晚上"])
    return (
        part
        + _spoken(draw.randint(1, 12))
        + "点"
        + draw.choice(["", "", "半", "钟", _spoken(draw.randint(10, 59)) + "分", "左右"])
    )


_SLOTS: dict[str, Callable[[random.Random], str]] = {
    "姓氏": lambda draw: draw.choice(SURNAMES),
    "姓名": lambda draw: draw.choice(SURNAMES) + _digits(draw, 1, 2, GIVEN),
    "工号": lambda draw: _digits(draw, 3, 6),
    "电话": lambda draw: draw.choice(["一", "幺"]) + draw.choice("三五七八九") + _digits(draw, 9, 9, DIGITS + "幺"),
    "金额": _amount,
    "日期": _date,
    "时间": _time,
    "数字": lambda draw: draw.choice([_spoken(draw.randint(1, 20)), _spoken(draw.randint(1, 999))]),
    "公司": lambda draw: draw.choice(COMPANY_HEAD) + draw.choice(COMPANY_TAIL),
    "城市": lambda draw: draw.choice(CITIES),
    "单号": lambda draw: _digits(draw, 6, 12),
    "百分比": lambda draw: "百分之" + _spoken(draw.randint(1, 100)),
    "称呼": lambda draw: draw.choice(TITLES),
}


def expand(template: str, draw: random.Random) -> str:
    """One random reading of a template.

    >>> expand("(请问|麻烦)您贵姓", random.Random(1)) in {"请问您贵姓", "麻烦您贵姓"}
    True
    """
    while "(" in template:
        template = _GROUP.sub(lambda found: draw.choice(found[1].split("|")), template)
    return _SLOT.sub(lambda found: slot(found[1], draw), template)


def spoken_only(text: str) -> str:
    """Keep Han characters and the punctuation the model writes; ！、； become 。or ，."""
    text = (
        text.replace("！", "。")
        .replace("!", "。")
        .replace("?", "？")
        .replace(",", "，")
        .replace("、", "，")
        .replace("；", "。")
    )
    kept = "".join(c for c in text if is_han(c) or c in PUNCTUATION)
    return re.sub(r"[，。？]*([，。？])", r"\1", kept).lstrip(PUNCTUATION)


def _lines(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.strip()


def templates() -> list[str]:
    found = [line for path in sorted((HERE / "text").glob("*.txt")) for line in _lines(path)]
    unknown = {name for line in found for name in _SLOT.findall(line)} - _SLOTS.keys()
    if unknown:
        raise ValueError(f"models/training/text: unknown slots {sorted(unknown)}; known: {sorted(_SLOTS)}")
    return found


def written() -> list[str]:
    """Sentences of other parts of the project, less those with digits or letters, which nobody says as written."""
    lines = list(_lines(ROOT / "bench" / "data" / "rules" / "ordinary_turns.txt"))
    for path in sorted((HERE / "wording").glob("agents_*.tsv")):
        lines += [line.split("\t")[0] for line in _lines(path)]
    return [line for line in lines if not _UNSPOKEN.search(line)]


def held_out() -> set[str]:
    """Sentences (Han only) that no training text may contain literally: samples and ASR test sets."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "samples").glob("*/script.yaml"))]
    texts += [line for path in sorted((ROOT / "bench" / "data" / "asr").glob("*.txt")) for line in _lines(path)]
    pieces = (re.sub(r"[^\u4e00-\u9fff。？！!?；;\n]", "", text) for text in texts)
    return {sentence for text in pieces for sentence in _SENTENCE_END.split(text) if len(sentence) >= 5}


class Words:
    """jieba's dictionary words of 1-4 Han characters inside a character set, drawn by flattened frequency."""

    def __init__(self, characters: set[str] | None = None, power: float = 0.8) -> None:
        words: list[tuple[str, int]] = []
        with jieba.dt.get_dict_file() as lines:
            for raw in lines:
                word, count, *_ = raw.decode("utf-8").split()
                if len(word) <= 4 and all(map(is_han, word)) and (characters is None or set(word) <= characters):
                    words.append((word, int(count)))
        self.words = [word for word, _ in words]
        # single characters appear in their own frequency; longer words carry the homophone knowledge
        weights = [count**power * (0.5 if len(word) == 1 else 1.0) for word, count in words]
        self._cumulative = list(itertools.accumulate(weights))

    def pick(self, draw: random.Random) -> str:
        return self.words[bisect.bisect(self._cumulative, draw.random() * self._cumulative[-1])]

    @staticmethod
    def character_counts() -> dict[str, int]:
        counts: dict[str, int] = {}
        with jieba.dt.get_dict_file() as lines:
            for raw in lines:
                word, count, *_ = raw.decode("utf-8").split()
                for character in word:
                    if is_han(character):
                        counts[character] = counts.get(character, 0) + int(count)
        return counts


def alphabet(size: int = 2800) -> list[str]:
    """The model's characters: every one our own text uses, filled up with the most frequent of jieba's dictionary."""
    own = {c for line in templates() for c in line if is_han(c)}
    own |= set(DIGITS + "两百千万亿幺十角分点半" + SURNAMES + GIVEN) | {
        c for w in CITIES + COMPANY_HEAD + COMPANY_TAIL for c in w
    }
    counts = Words.character_counts()
    frequent = sorted(counts, key=lambda c: -counts[c])
    for character in frequent:
        if len(own) >= size:
            break
        own.add(character)
    return sorted(own)


class Composer:
    """Endless training sentences from a seed; `with_written`: those of other parts of the project among them."""

    def __init__(self, seed: int, characters: set[str], with_written: bool = True) -> None:
        self._draw = random.Random(seed)
        self._characters = characters
        self._templates = templates()
        self._written = written() if with_written else []
        self._words = Words(characters)
        self._held_out = held_out()

    def sentence(self) -> str:
        while True:
            text = spoken_only(self._compose())
            han = "".join(filter(is_han, text))
            if 1 <= len(han) <= 40 and set(han) <= self._characters and not self._touches_held_out(text):
                return text

    def _touches_held_out(self, text: str) -> bool:
        parts = re.split(r"[。？]", re.sub("，", "", text))
        return any(part in self._held_out for part in parts)

    def _compose(self) -> str:
        draw = self._draw
        kind = draw.random()
        if kind < 0.50:
            return self._template()
        if kind < 0.60:
            return self._template() + draw.choice("，。") + self._template()
        if kind < 0.68:
            return self._fragment() + draw.choice(["", "，", "。"]) + self._fragment()
        if kind < 0.76:
            return self._free(1, 3) + self._fragment() + self._free(0, 3)
        if kind < 0.80:
            return draw.choice(["", "是", "我的号码是", "尾号", "一共", "编号"]) + slot(
                draw.choice(sorted(_SLOTS)), draw
            )
        return self._free(1, 9)

    def _template(self) -> str:
        """A template's reading as often as a written sentence, of which there are ten times as many."""
        written = self._written and self._draw.random() < WRITTEN_SHARE
        return expand(self._draw.choice(self._written if written else self._templates), self._draw)

    def _fragment(self) -> str:
        """A clause of a template: known phrases in unseen company."""
        clauses = [c for c in re.split(r"[，。？！]", self._template()) if c]
        return self._draw.choice(clauses) if clauses else ""

    def _free(self, low: int, high: int) -> str:
        draw = self._draw
        words = [self._words.pick(draw) for _ in range(draw.randint(low, high))]
        return "".join(word + ("，" if draw.random() < 0.06 else "") for word in words)
