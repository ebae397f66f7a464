"""Chinese text as a recogniser might have misheard it, at a given share of wrong characters.

    python -m bench.error_simulator                                      # what it does to the tuning utterances
    python -m bench.error_simulator FILE --rate 0.1 [--seed 1]           # FILE garbled, to standard output

FILE is plain text (a sentence per line), `.tsv` with columns `text`, `next`, `customer_before`, or `.jsonl` of calls.

The rate counts wrong Han characters (substituted, deleted, or followed by an inserted one) over all Han characters of
the sentence: exactly rate x count, the fraction decided by the seed. Digits, letters and spaces stay. Punctuation goes
on top and outside the rate. The same text, rate and seed give the same result, whatever was garbled before it.

The shares are chosen, not measured on one recogniser; they follow what is known of Mandarin on the telephone:

* 75 % substitutions: a Mandarin recogniser rarely loses a syllable, it picks another character for it. Of these 60 %
  sound the same, tone included or not (the language model chose wrongly), 30 % nearly the same (zh/z, ch/c, sh/s, n/l,
  r/l, f/h, -ng/-n: accents and the 300-3,400 Hz band), 10 % are any common character (noise).
* 15 % deletions: unstressed particles are swallowed first, so they are drawn five times as often as the rest.
* 10 % insertions: half repeat the syllable (stutter), half are fillers heard in breath and noise.
* Candidates are drawn by how frequent they are in jieba's dictionary: a recogniser errs towards common characters.
* Half of the punctuation is lost at 10 % and all of it from 20 % on: marks come from grammar, which errors break.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import random
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jieba
from pypinyin import Style, lazy_pinyin

DATA = Path(__file__).parent / "data" / "rules"
RATES = (0.05, 0.1, 0.2, 0.3)

SUBSTITUTION, DELETION, INSERTION = 0.75, 0.15, 0.10
SAME_SOUND, NEAR_SOUND, ANY_SOUND = 0.60, 0.30, 0.10
PARTICLES = frozenset("啊呀呢吧嘛吗的了哦嗯就")
PARTICLE_WEIGHT = 5
STUTTER = 0.5
INSERTED = "嗯啊呃那个的"
COMMON = 3_500  # characters a recogniser is likely to write: about the list of common characters (现代汉语常用字表)
ALL_PUNCTUATION_LOST_AT = 0.2

HAN = re.compile(r"[\u4e00-\u9fff]")
PUNCTUATION = re.compile('[，。？！、；：,.?!;:“”"…]')
ACCENTS = (("zh", "z"), ("ch", "c"), ("sh", "s"))
INITIALS = {"n": "l", "r": "l", "f": "h"}
TEXT_COLUMNS = ("text", "next", "customer_before")


# ---- which characters sound alike


def near(syllable: str) -> str:
    """The toneless syllable with the contrasts levelled that accents and telephones level."""
    for long, short in ACCENTS:
        syllable = syllable.replace(long, short, 1) if syllable.startswith(long) else syllable
    syllable = INITIALS.get(syllable[:1], syllable[:1]) + syllable[1:]
    return syllable[:-1] if syllable.endswith("ng") else syllable


@cache
def common_characters() -> dict[str, int]:
    """The most frequent Han characters and how often they stand in the words of jieba's dictionary."""
    jieba.initialize()
    counts: Counter[str] = Counter()
    for word, frequency in jieba.dt.FREQ.items():
        for character in word if frequency else "":
            if HAN.match(character):
                counts[character] += frequency
    return dict(counts.most_common(COMMON))


@cache
def by_sound() -> tuple[Mapping[str, list[str]], Mapping[str, list[str]]]:
    """Common characters by toneless syllable, and by near syllable."""
    same: dict[str, list[str]] = defaultdict(list)
    alike: dict[str, list[str]] = defaultdict(list)
    for character in common_characters():
        for syllable in lazy_pinyin(character, style=Style.NORMAL):
            same[syllable].append(character)
            alike[near(syllable)].append(character)
    return same, alike


def syllables(text: str) -> list[str]:
    """One toneless syllable per Han character, read in context, "" for everything else."""
    readings = [""] * len(text)
    for run in re.finditer(f"{HAN.pattern}+", text):
        heard = lazy_pinyin(run.group(), style=Style.NORMAL)
        if len(heard) != len(run.group()):  # characters without a reading come back in one piece
            heard = [lazy_pinyin(character, style=Style.NORMAL)[0] for character in run.group()]
        readings[run.start() : run.end()] = heard
    return readings


# ---- errors


@cache
def candidates(syllable: str, group: int) -> tuple[Sequence[str], Sequence[int]]:
    """Characters with this sound (group 0), with a near but different one (1), all (2); with summed frequencies."""
    same, alike = by_sound()
    own = same.get(syllable, [])
    found = (own, [other for other in alike.get(near(syllable), ()) if other not in own], list(common_characters()))[
        group
    ]
    return found, list(itertools.accumulate(common_characters()[character] for character in found))


def substitute(character: str, syllable: str, source: random.Random) -> str:
    """Another character for this one; a syllable no other character shares falls back to the next wider group."""
    group = source.choices(range(3), (SAME_SOUND, NEAR_SOUND, ANY_SOUND))[0]
    while group < 2 and not set(candidates(syllable, group)[0]) - {character}:
        group += 1
    found, summed = candidates(syllable, group)
    other = character
    while other == character:
        other = source.choices(found, cum_weights=summed)[0]
    return other


def weighted_sample(places: Sequence[int], weights: Sequence[int], count: int, source: random.Random) -> list[int]:
    """`count` places without repetition, heavier ones likelier (Efraimidis and Spirakis' keys)."""
    keys = {place: source.random() ** (1 / weight) for place, weight in zip(places, weights, strict=True)}
    return sorted(places, key=lambda place: -keys[place])[:count]


def errors_in(text: str, rate: float, source: random.Random) -> dict[int, str]:
    """The character positions that go wrong and what is written there instead."""
    places = [index for index, character in enumerate(text) if HAN.match(character)]
    wanted = rate * len(places)
    count = int(wanted) + (source.random() < wanted - int(wanted))
    kinds = Counter(source.choices("sdi", (SUBSTITUTION, DELETION, INSERTION), k=count))
    weights = [PARTICLE_WEIGHT if text[place] in PARTICLES else 1 for place in places]
    wrong = dict.fromkeys(weighted_sample(places, weights, kinds["d"], source), "")
    others = [place for place in places if place not in wrong]
    chosen = source.sample(others, kinds["s"] + kinds["i"])
    readings = syllables(text)
    for place in chosen[: kinds["s"]]:
        wrong[place] = substitute(text[place], readings[place], source)
    for place in chosen[kinds["s"] :]:
        extra = text[place] if source.random() < STUTTER else source.choice(INSERTED)
        wrong[place] = text[place] + extra
    return wrong


def garble(text: str, rate: float, seed: int = 0) -> str:
    """`text` with about `rate` (0 to 1) of its Han characters wrong; rate 0 gives it back unchanged.

    Raises ValueError for a rate outside 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate {rate} is not between 0 and 1")
    source = random.Random(f"{seed} {rate} {text}")  # a string seed hashes alike in every process
    wrong = errors_in(text, rate, source)
    kept = 1 - min(1.0, rate / ALL_PUNCTUATION_LOST_AT)
    heard = []
    for index, character in enumerate(text):
        if PUNCTUATION.match(character) and source.random() >= kept:
            continue
        heard.append(wrong.get(index, character))
    return "".join(heard)


def garble_call(call: Mapping[str, Any], rate: float, seed: int = 0) -> dict[str, Any]:
    """A transcript (design of `analyzer check`) with every turn garbled; character times no longer fit and go."""
    turns = [
        {key: value for key, value in turn.items() if key != "chars"} | {"text": garble(turn["text"], rate, seed)}
        for turn in call["turns"]
    ]
    return {**call, "turns": turns}


# ---- command


def garbled_lines(path: Path, rate: float, seed: int) -> Iterator[str]:
    """The file's lines, garbled where they hold speech, without line ends."""
    lines = path.read_text("utf-8").splitlines()
    if path.suffix == ".jsonl":
        yield from (json.dumps(garble_call(json.loads(line), rate, seed), ensure_ascii=False) for line in lines if line)
    elif path.suffix == ".tsv":
        table = csv.DictReader(io.StringIO("\n".join(lines)), delimiter="\t", quoting=csv.QUOTE_NONE)
        columns = list(table.fieldnames or ())
        yield "\t".join(columns)
        for row in table:
            yield "\t".join(garble(row[name], rate, seed) if name in TEXT_COLUMNS else row[name] for name in columns)
    else:
        yield from (garble(line, rate, seed) for line in lines)


def demonstrate() -> None:
    """Print, per rate, the share of wrong characters on the tuning utterances and two of them garbled."""
    with (DATA / "utterances_tuning.tsv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    total = sum(len(HAN.findall(text)) for text in texts)
    for rate in RATES:
        wrong = sum(len(errors_in(text, rate, random.Random(text))) for text in texts)
        print(f"rate {rate:.2f}: {wrong} of {total} characters wrong ({wrong / total:.3f})")
        for text in itertools.islice(texts, 2):
            print(f"  {text} -> {garble(text, rate)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Garble Chinese text the way a recogniser does.")
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--rate", type=float, default=0.1, help="share of wrong characters, 0 to 1")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.file is None:
        demonstrate()
        return
    for line in garbled_lines(arguments.file, arguments.rate, arguments.seed):
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
