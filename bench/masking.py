"""How many personal identifiers are masked, and what is masked that is none.

    python -m bench.masking [--number 100] [--list]

Identifiers are made here from a seed: mobile numbers of every prefix the carriers use, landlines with area code, ID
cards and bank cards with right checksums, plates of petrol and electric cars, e-mail addresses, house numbers. Each is
put into a sentence of the kind that callers and agents say (bench/data/masking), as it would be typed (in groups or
not) or spoken: digits as Han characters, 幺 and 一, in groups with commas, pauses and fillers between, groups said
twice, 三个八, 双零, a mixture of Arabic and Han digits as recognisers write, or over two or more turns with the other
side reading it back.

* Recall: share of identifiers of which every character is masked, with Wilson's 95 % interval, by kind and way of
  saying; what was missed is listed with --list.
* Wrong checksums: what happens to ID and bank cards with one digit changed, named as such before (believed: a digit
  was misheard) and not named (left).
* False masks: everything masked in sentences full of amounts, dates, order and staff numbers and hotlines made here,
  and in the ordinary turns and labelled calls of bench/data.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analyzer.privacy import Kind, Masked, mask, mask_turns
from analyzer.privacy.numbers import has_luhn, id_check_digit

DATA = Path(__file__).parent / "data"
SENTENCES = DATA / "masking" / "sentences.tsv"
Turns = list[tuple[str, str]]

# ---- identifiers

MOBILE_PREFIXES = [
    *range(130, 140), 145, 147, 149, *range(150, 154), *range(155, 160), 165, 166, 167, *range(170, 174),
    *range(175, 179),
    *range(180, 194), *range(195, 200),
]  # fmt: skip
AREAS = [
    "010", "020", "021", "022", "023", "024", "025", "027", "028", "029", "0311", "0371", "0451", "0512", "0531",
    "0571", "0574", "0591", "0755", "0769", "0871", "0898", "0991",
]  # fmt: skip
REGIONS = [
    110105,
    310104,
    320583,
    330106,
    340123,
    350203,
    370181,
    410102,
    420106,
    440305,
    500112,
    510107,
    610113,
    650104,
]
BINS_16 = ["625965", "622155", "622588", "436742", "552599", "356839"]
BINS_19 = ["622202", "621700", "622848", "621661", "621226", "623052", "955880"]
HOSTS = ["qq.com", "163.com", "126.com", "gmail.com", "sina.cn", "mail.example.com.cn", "139.com"]


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def mobile(rng: random.Random) -> str:
    return str(rng.choice(MOBILE_PREFIXES)) + telling(rng, 8)


def telling(rng: random.Random, count: int) -> str:
    """Digits as people get them: often with the same one two or three times in a row."""
    made = ""
    while len(made) < count:
        made += rng.choice("0123456789") * rng.choice((1, 1, 1, 1, 2, 3))
    return made[:count]


def landline(rng: random.Random) -> str:
    area = rng.choice(AREAS)
    return area + rng.choice("2345678") + digits(rng, 7 if len(area) == 3 or rng.random() < 0.5 else 6)


def id_card(rng: random.Random) -> str:
    born = f"{rng.randint(1945, 2010)}{rng.randint(1, 12):02}{rng.randint(1, 28):02}"
    body = f"{rng.choice(REGIONS)}{born}{digits(rng, 3)}"
    return body + id_check_digit(body)


def bank_card(rng: random.Random) -> str:
    prefix = rng.choice(BINS_16 + BINS_19)
    body = prefix + digits(rng, (15 if prefix in BINS_16 else 18) - len(prefix))
    return next(body + last for last in "0123456789" if has_luhn(body + last))


def plate(rng: random.Random) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    start = rng.choice("京津沪渝冀豫云辽黑湘皖鲁苏浙赣鄂桂甘晋蒙陕吉闽贵粤青川宁琼") + rng.choice("ABCDEFGH")
    if rng.random() < 0.3:
        return start + rng.choice("DF") + digits(rng, 5)
    symbols = list(digits(rng, 5))
    for place in rng.sample(range(5), rng.choice((0, 1, 2))):
        symbols[place] = rng.choice(letters)
    return start + "".join(symbols)


def email(rng: random.Random) -> str:
    name = rng.choice(("zhangwei", "li.na", "wang_fang", "liuyang", "chen", "xiaomei")) + digits(
        rng, rng.choice((0, 2, 4))
    )
    name = rng.choice((name, digits(rng, 9), mobile(rng)))
    return f"{name}@{rng.choice(HOSTS)}"


def house(rng: random.Random) -> str:
    street = rng.choice(
        ("人民路", "建设大街", "滨江路", "幸福巷", "中山东路", "解放大道", "和平里小区", "锦绣花园", "柳树村")
    )
    number = str(rng.randint(1, 988))
    form = rng.choice(("{}号", "{}号{}栋{}单元{}室", "{}弄{}号{}室", "{}号楼{}单元{}", "{}栋{}"))
    rest = [str(rng.randint(1, 30)), str(rng.randint(1, 6)), f"{rng.randint(1, 28)}0{rng.randint(1, 9)}"]
    if form.count("{}") == 3:
        rest = rest[1:]
    elif form.count("{}") == 2:
        rest = rest[2:]
    return street + form.format(number, *rest[: form.count("{}") - 1])


# ---- ways of saying

HAN = dict(zip("0123456789", "零一二三四五六七八九", strict=True))
FILLED = (
    "，",
    "，",
    "、",
    " ",
    "。",
    "呀，",
    "嗯，",
    "，嗯，",
    "，那个，",
    "啊",
    "，然后，",
    "，后面是，",
    "呃",
    "…",
    "，再，",
)
GROUPS = {
    10: ((3, 7), (10,)),
    11: ((3, 4, 4), (3, 8), (3, 4, 2, 2), (7, 4), (3, 2, 2, 4), (11,)),
    12: ((4, 8), (4, 4, 4)),
    16: ((4, 4, 4, 4), (6, 4, 6), (16,)),
    18: ((6, 8, 4), (3, 3, 4, 4, 4), (6, 4, 4, 4), (18,)),
    19: ((4, 4, 4, 4, 3), (6, 4, 4, 5), (19,)),
}


def cut(rng: random.Random, number: str) -> list[str]:
    pieces, at = [], 0
    for length in rng.choice(GROUPS[len(number)]):
        pieces.append(number[at : at + length])
        at += length
    return pieces


def spoken(rng: random.Random, number: str, *, one: str, counted: bool = False) -> str:
    """Digits as Han characters. counted: 三个八 and 双零 where a digit is said more than once."""
    said, at = "", 0
    while at < len(number):
        length = next(n for n in range(len(number) - at, 0, -1) if number[at : at + n] == number[at] * n)
        digit = {"1": one, "X": rng.choice("X叉")}.get(number[at]) or HAN[number[at]]
        if counted and 2 <= length <= 5 and number[at] != "X":
            said += rng.choice(("双", "两个")) + digit if length == 2 else "二三四五"[length - 2] + "个" + digit
        else:
            said += digit * length
        at += length
    return said


def in_groups(rng: random.Random, groups: Sequence[str], between: Sequence[str]) -> str:
    made = groups[0]
    for group in groups[1:]:
        made += rng.choice(between) + group
    return made


def written_plain(rng: random.Random, number: str) -> str:
    return number


def written_grouped(rng: random.Random, number: str) -> str:
    return in_groups(rng, cut(rng, number), (rng.choice("- "),))


def spoken_plain(rng: random.Random, number: str) -> str:
    return spoken(rng, number, one=rng.choice("一幺"))


def spoken_grouped(rng: random.Random, number: str) -> str:
    one = rng.choice("一幺")
    return in_groups(rng, [spoken(rng, group, one=one) for group in cut(rng, number)], FILLED)


def spoken_counted(rng: random.Random, number: str) -> str:
    one = rng.choice("一幺")
    return in_groups(rng, [spoken(rng, group, one=one, counted=True) for group in cut(rng, number)], FILLED)


def spoken_repeated(rng: random.Random, number: str) -> str:
    groups = [spoken(rng, group, one="幺") for group in cut(rng, number)]
    place = rng.randrange(len(groups))
    return in_groups(rng, groups[: place + 1] + groups[place:], FILLED)


def mixed(rng: random.Random, number: str) -> str:
    groups = [group if rng.random() < 0.5 else spoken(rng, group, one="一") for group in cut(rng, number)]
    return in_groups(rng, groups, ("", " ", "，", "-"))


def digit_by_digit(rng: random.Random, number: str) -> str:
    return " ".join(number if rng.random() < 0.5 else spoken(rng, number, one=rng.choice("一幺")))


WAYS = (
    written_plain,
    written_grouped,
    spoken_plain,
    spoken_grouped,
    spoken_counted,
    spoken_repeated,
    mixed,
    digit_by_digit,
)
NUMBERS = {Kind.MOBILE: mobile, Kind.LANDLINE: landline, Kind.ID_CARD: id_card, Kind.BANK_CARD: bank_card}


@cache
def read_sentences() -> dict[str, list[str]]:
    rows = [line.split("\t") for line in SENTENCES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    sentences: dict[str, list[str]] = defaultdict(list)
    for kind, sentence in rows[1:]:
        sentences[kind].append(sentence)
    return sentences


@dataclass(frozen=True)
class Case:
    """turns  what was said; secret: (turn, start, end) of the characters that must be masked"""

    kind: Kind
    way: str
    turns: Turns
    secret: list[tuple[int, int, int]]


def cases(rng: random.Random, each: int) -> Iterator[Case]:
    for kind, make in NUMBERS.items():
        for way in WAYS:
            for _ in range(each):
                yield embedded(rng, kind, way.__name__, way(rng, make(rng)))
        for _ in range(each):
            yield over_turns(rng, kind, make(rng))
    for kind, make in ((Kind.PLATE, plate), (Kind.EMAIL, email)):
        for _ in range(each * 2):
            yield embedded(rng, kind, "written", make(rng))
            yield embedded(rng, kind, "spoken", said(rng, kind, make(rng)))
    for _ in range(each * 2):
        yield house_case(rng, house(rng), "written")
        yield house_case(rng, in_han(house(rng)), "spoken")


def embedded(rng: random.Random, kind: Kind, way: str, text: str) -> Case:
    before, after = rng.choice(read_sentences()[kind]).split("{}")
    return Case(kind, way, [("customer", before + text + after)], [(0, len(before), len(before) + len(text))])


def over_turns(rng: random.Random, kind: Kind, number: str) -> Case:
    groups = [spoken(rng, group, one="幺", counted=rng.random() < 0.3) for group in cut(rng, number)]
    while len(groups) < 2:
        groups = [spoken(rng, group, one="幺") for group in cut(rng, number)]
    turns: Turns = [("agent", rng.choice(("您说，我记一下。", "好的，您报一下号码。")))]
    secret = []
    before = rng.choice(("", "好，", "嗯，是"))
    for group in groups:
        turns.append(("customer", before + group + rng.choice(("，", "。", ""))))
        secret.append((len(turns) - 1, len(before), len(before) + len(group)))
        before = rng.choice(("", "然后", "嗯，"))
        turns.append(("agent", rng.choice(("嗯。", "好的。", "您接着说。", group + "，嗯。"))))
    return Case(kind, "over turns", turns, secret)


def said(rng: random.Random, kind: Kind, text: str) -> str:
    han = "".join(HAN.get(character, character) for character in text)
    if kind is Kind.PLATE:
        return in_groups(rng, [han[:2], han[2:]], ("", " ", "，"))
    return han.replace("@", rng.choice(("艾特", " at ", "@", "圈a"))).replace(".", "点")


def in_han(address: str) -> str:
    import cn2an  # noqa: PLC0415

    def say(found: re.Match[str]) -> str:
        if len(found.group()) >= 3:
            return "".join(HAN[digit] for digit in found.group())
        return str(cn2an.an2cn(found.group(), "low"))

    return re.sub(r"\d+", say, address)


def house_case(rng: random.Random, address: str, way: str) -> Case:
    before, after = rng.choice(read_sentences()[Kind.HOUSE_NUMBER]).split("{}")
    numerals = "0123456789零一二三四五六七八九十百"
    start = next(at for at, one in enumerate(address) if one in "号弄栋")  # the street's own name may hold a numeral
    while start and address[start - 1] in numerals:
        start -= 1
    secret = [
        (0, len(before) + at, len(before) + at + 1) for at in range(start, len(address)) if address[at] in numerals
    ]
    return Case(Kind.HOUSE_NUMBER, way, [("customer", before + address + after)], secret)


def is_hidden(case: Case) -> bool:
    masked = mask_turns(case.turns)
    return all(_stars_only(masked[turn], start, end) for turn, start, end in case.secret)


def _stars_only(masked: Masked, start: int, end: int) -> bool:
    """Whether nothing but pauses and fillers can be read there."""
    return not any(
        (one.isascii() and one.isalnum()) or one in "零〇一幺二三四五六七八九叉" for one in masked.text[start:end]
    )


# ---- what is none


def harmless(rng: random.Random, count: int) -> Iterator[str]:
    """Sentences full of digits that are nobody's."""
    sentences = read_sentences()["none"]

    def filled(place: re.Match[str]) -> str:
        how, number = place[1], int(place[2])
        if how == "n":
            return str(rng.randint(1, number))
        return digits(rng, number) if how == "d" else spoken_plain(rng, digits(rng, number))

    for number in range(count):
        yield re.sub(r"\{([dns])(\d+)\}", filled, sentences[number % len(sentences)])


def bench_calls() -> Iterator[Turns]:
    for path in sorted((DATA / "rules").glob("calls_*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            call = json.loads(line)
            yield [(turn["role"], turn["text"]) for turn in call["turns"]]


# ---- report


def wilson(hits: int, count: int) -> str:
    if not count:
        return "–"
    share, z = hits / count, 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5 / (1 + z * z / count)
    return f"{share:.4f} [{max(0, middle - half):.4f}-{min(1, middle + half):.4f}]"


def show_recall(console: Console, made: Sequence[Case], listing: bool) -> None:
    hidden: dict[tuple[str, str], list[bool]] = defaultdict(list)
    missed = []
    for case in made:
        result = is_hidden(case)
        for kind in (case.kind.value, "all"):
            for way in (case.way, "all"):
                hidden[kind, way].append(result)
        if not result:
            missed.append(case)
    table = Table("identifier", "said", "masked whole [95 %]", "n", title="Recall")
    for (kind, way), results in sorted(hidden.items(), key=lambda item: (item[0][0] == "all", item[0])):
        table.add_row(kind, way, wilson(sum(results), len(results)), str(len(results)))
    console.print(table)
    for case in missed if listing else missed[:10]:
        console.print(
            f"missed {case.kind} ({case.way}): {case.turns} -> {[one.text for one in mask_turns(case.turns)]}"
        )


def show_wrong_checksums(console: Console, rng: random.Random, each: int) -> None:
    table = Table("one digit wrong", "named before", "masked", "n", title="Wrong checksums")
    for kind, make, named in ((Kind.ID_CARD, id_card, "身份证号是{}"), (Kind.BANK_CARD, bank_card, "卡号是{}")):
        for sentence in (named, "我这个是{}"):
            masked = 0
            for _ in range(each):
                number = make(rng)
                place = rng.randrange(10, len(number) - 1)
                wrong = (
                    number[:place] + rng.choice([d for d in "0123456789" if d != number[place]]) + number[place + 1 :]
                )
                masked += bool(mask(sentence.format(rng.choice((written_plain, spoken_grouped))(rng, wrong))).spans)
            table.add_row(kind.value, "yes" if sentence == named else "no", f"{masked / each:.3f}", str(each))
    console.print(table)


def show_false(console: Console, rng: random.Random, count: int) -> None:
    sentences = list(harmless(rng, count))
    turns = [
        [("agent", line)] for line in (DATA / "rules" / "ordinary_turns.txt").read_text(encoding="utf-8").splitlines()
    ]
    calls = list(bench_calls())
    table = Table("text", "turns", "masks", title="What is masked where nothing was planted")
    examples: list[tuple[str, str, str]] = []
    for name, said_here in (
        ("made here", [[("agent", s)] for s in sentences]),
        ("ordinary turns", turns),
        ("labelled calls", calls),
    ):
        found = Counter[str]()
        n_turns = 0
        for call in said_here:
            n_turns += len(call)
            for (_, text), masked in zip(call, mask_turns(call), strict=True):
                found.update(span.kind.value for span in masked.spans)
                if masked.spans:
                    examples.append((name, masked.text, text))
        table.add_row(name, str(n_turns), ", ".join(f"{kind} {number}" for kind, number in found.items()) or "0")
    console.print(table)
    for name, masked_text, text in examples:
        console.print(f"{name}: {masked_text} <- {text}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--number", type=int, default=100, help="identifiers per kind and way of saying")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--list", action="store_true", help="everything that was missed, not the first ten")
    given = options.parse_args()
    rng, console = random.Random(given.seed), Console(width=140, highlight=False)
    made = list(cases(rng, given.number))
    show_recall(console, made, given.list)
    show_wrong_checksums(console, rng, given.number)
    show_false(console, rng, given.number * 20)
    texts = [text for call in bench_calls() for _, text in call]
    start = time.process_time()
    for text in texts:
        mask(text)
    spent = time.process_time() - start
    console.print(
        f"{sum(map(len, texts)) / spent / 1e6:.2f} M characters per CPU second, {len(texts)} turns one by one"
    )


if __name__ == "__main__":
    main()
