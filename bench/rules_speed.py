"""How long the rules take: microseconds per utterance, and stored calls judged per minute, as the pack grows.

    python -m bench.rules_speed [--times 1 10 100] [--calls 76]

The calls are those of the tuning part. ``--times 100`` adds synthetic phrases, words of jieba's dictionary put together
at random, to the word list of ``banned_phrase`` until the pack has a hundred times its phrases. Beside the pack, the
same utterances go through what people write first: every spelling of every phrase looked for with ``in``, with ``re``,
and with one plain Aho-Corasick automaton. These find strings and no more: no pauses, variants, sounds, word edges,
exemptions, turns or verdicts. Times are CPU time of one process, after one round that warms it up.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import ahocorasick_rs
import jieba
from rich.console import Console
from rich.table import Table

from analyzer.catalog import STANDARD, load_pack
from analyzer.engine import CallAnalyzer
from analyzer.report import analyze
from analyzer.rules import Pack, Pattern, Phrase, PhraseSet
from analyzer.rules.forbid import Forbid
from analyzer.rules.phrases import Vocabulary, phrase_sets
from analyzer.transcripts import read_call
from analyzer.types import Transcript

CALLS = Path(__file__).parent / "data" / "rules" / "calls_tuning.jsonl"
GROWN = "banned_phrase"
STORED = 10_000
NAIVE_UTTERANCES = 100  # the loops are slow; a sample is enough
SEED = 1


@dataclass(frozen=True, slots=True)
class Times:
    """CPU time of each utterance, in microseconds."""

    all_us: Sequence[float]

    def at(self, percent: int) -> float:
        ordered = sorted(self.all_us)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

    def __str__(self) -> str:
        return f"{self.at(50):,.0f} / {self.at(99):,.0f}"


def microseconds(work: Callable[[], object]) -> float:
    start = time.process_time_ns()
    work()
    return (time.process_time_ns() - start) / 1000


def read_calls(limit: int) -> list[Transcript]:
    lines = CALLS.read_text(encoding="utf-8").splitlines()[:limit]
    fields = (json.loads(line) for line in lines)
    return [read_call({key: value for key, value in call.items() if key != "expected"}, CALLS.name) for call in fields]


def distinct_phrases(pack: Pack) -> list[Phrase]:
    sets = phrase_sets([(rule.check, rule.not_applicable_when) for rule in pack.rules])
    return list({id(phrase.pattern): phrase for phrases in sets for phrase in phrases.phrases}.values())


def synthetic(count: int) -> Iterator[Phrase]:
    """Different phrases of two to three dictionary words, four to eight characters long."""
    source = random.Random(SEED)
    jieba.initialize()
    words = sorted(word for word, uses in jieba.dt.FREQ.items() if uses > 50 and re.fullmatch("[一-鿿]{2,4}", word))
    seen: set[str] = set()
    while len(seen) < count:
        text = "".join(source.choices(words, k=source.choice((2, 3))))
        if len(text) <= 8 and text not in seen:
            seen.add(text)
            yield Phrase(Pattern(text), category="推诿", term=text)


def grown(pack: Pack, times: int) -> Pack:
    """The pack with ``times`` its phrases, the new ones in one list."""
    rule = pack.rule(GROWN)
    if not isinstance(rule.check, Forbid):
        raise TypeError(f"{GROWN} is no 'forbid' rule")
    own = rule.check.phrases
    more = synthetic((times - 1) * len(distinct_phrases(pack)))
    check = replace(rule.check, phrases=PhraseSet([*own.phrases, *more], own.allow))
    rules = tuple(replace(rule, check=check) if other is rule else other for other in pack.rules)
    Vocabulary.shared_by(phrase_sets([[(r.check, r.not_applicable_when) for r in rules], pack.back_channel]))
    return replace(pack, rules=rules)


def utterance_times(pack: Pack, calls: Sequence[Transcript]) -> Times:
    """What each utterance costs until every rule has heard it."""
    taken = []
    for call in calls:
        roles = {utterance.role for utterance in call.utterances}
        analyzer = CallAnalyzer(pack, direction=call.direction, metadata=call.metadata, roles=roles, is_live=False)
        for utterance in sorted(call.utterances, key=lambda utterance: utterance.span):
            start = time.process_time_ns()
            for role in roles:
                analyzer.settled(role, utterance.span.start_ms)
            analyzer.feed(utterance)
            taken.append((time.process_time_ns() - start) / 1000)
    return Times(taken)


def call_ms(pack: Pack, calls: Sequence[Transcript]) -> float:
    """A whole call with verdicts, score and report, on average."""
    return sum(microseconds(partial(analyze, call, pack)) for call in calls) / len(calls) / 1000


def naive_times(pack: Pack, calls: Sequence[Transcript]) -> dict[str, Times]:
    spellings = sorted({text for phrase in distinct_phrases(pack) for text in phrase.pattern.spellings if text})
    compiled = [re.compile(text) for text in spellings]
    automaton = ahocorasick_rs.AhoCorasick(spellings)
    texts = [utterance.text for call in calls for utterance in call.utterances][:NAIVE_UTTERANCES]
    ways: dict[str, Callable[[str], object]] = {
        "`in`, one by one": lambda text: [spelling for spelling in spellings if spelling in text],
        "`re`, one by one": lambda text: [one for one in compiled if one.search(text)],
        "plain automaton": lambda text: automaton.find_matches_as_indexes(text, overlapping=True),
    }
    return {name: Times([microseconds(partial(find, text)) for text in texts]) for name, find in ways.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--calls", type=int, default=76)
    parser.add_argument("--pack", default=STANDARD)
    options = parser.parse_args()
    calls = read_calls(options.calls)
    pack = load_pack(options.pack)
    rows = Table("phrases", "way", "µs per utterance, p50 / p99", "ms per call", f"{STORED:,} stored calls")
    for times in options.times:
        judged = grown(pack, times) if times > 1 else pack
        count = f"{len(distinct_phrases(judged)):,}"
        call_ms(judged, calls)  # patterns are compiled when first needed
        gc.freeze()  # as ``check_transcripts`` does
        heard, whole = utterance_times(judged, calls), call_ms(judged, calls)
        rows.add_row(count, "the pack", str(heard), f"{whole:.1f}", f"{whole * STORED / 1000:,.0f} s")
        for name, taken in naive_times(judged, calls).items():
            rows.add_row(count, name, str(taken), "", "")
    Console().print(rows)


if __name__ == "__main__":
    main()
