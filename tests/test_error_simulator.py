"""The recogniser-like errors of bench/error_simulator.py: as many as asked for, of the kinds promised, repeatable."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from pypinyin import lazy_pinyin

from bench.error_simulator import HAN, RATES, errors_in, garble, garble_call, garbled_lines, near, substitute

SENTENCE = "您的快递今天下午三点之前会送到小区门口的驿站，请您带好身份证去取。"
SENTENCES = [f"{SENTENCE}{number}" for number in range(120)]


@pytest.mark.parametrize("rate", RATES)
def test_the_share_of_wrong_characters_is_the_rate_asked_for(rate: float) -> None:
    wrong = sum(len(errors_in(text, rate, random.Random(text))) for text in SENTENCES)
    total = sum(len(HAN.findall(text)) for text in SENTENCES)
    assert wrong / total == pytest.approx(rate, rel=0.03)


def test_a_rate_of_zero_changes_nothing() -> None:
    assert garble(SENTENCE, 0) == SENTENCE


def test_a_rate_of_one_is_possible_and_a_higher_one_is_refused() -> None:
    assert garble(SENTENCE, 1) != SENTENCE
    with pytest.raises(ValueError, match="not between"):
        garble(SENTENCE, 1.2)


def test_an_empty_sentence_stays_empty() -> None:
    assert garble("", 0.3) == ""


def test_the_same_seed_gives_the_same_errors_and_another_seed_others() -> None:
    assert garble(SENTENCE, 0.3, 1) == garble(SENTENCE, 0.3, 1)
    assert len({garble(SENTENCE, 0.3, seed) for seed in range(5)}) > 1


def test_another_process_hears_the_same() -> None:
    program = f"from bench.error_simulator import garble; print(garble({SENTENCE!r}, 0.2, 7))"
    root = Path(__file__).parent.parent
    environment = {"PYTHONIOENCODING": "utf-8", "PYTHONHASHSEED": "99", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", program]
    heard = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True, env=environment)
    assert heard.stdout.strip() == garble(SENTENCE, 0.2, 7)


def test_digits_and_letters_stay() -> None:
    assert [character for character in garble("工号3017，VIP客户", 0.3) if character.isascii()] == list("3017VIP")


def test_punctuation_is_all_lost_from_twenty_percent_on() -> None:
    assert "，" not in garble(SENTENCE, 0.2)


def test_substitutions_dominate_then_deletions_then_insertions() -> None:
    kinds = Counter[int]()
    for text in SENTENCES:
        kinds.update(len(written) for written in errors_in(text, 0.3, random.Random(text)).values())
    total = kinds.total()
    assert kinds[1] / total == pytest.approx(0.75, abs=0.03)
    assert kinds[0] / total == pytest.approx(0.15, abs=0.03)
    assert kinds[2] / total == pytest.approx(0.10, abs=0.03)


def test_most_substitutes_sound_the_same_or_nearly() -> None:
    source = random.Random(1)
    sounds = [lazy_pinyin(substitute("是", "shi", source))[0] for _ in range(400)]
    same = sum(sound == "shi" for sound in sounds)
    alike = sum(near(sound) == near("shi") for sound in sounds)
    assert 200 <= same <= 280
    assert 330 <= alike < 400


def test_a_substitute_is_never_the_character_itself() -> None:
    source = random.Random(2)
    assert all(substitute("是", "shi", source) != "是" for _ in range(300))


@pytest.mark.parametrize(
    ("one", "other"), [("zhong", "zon"), ("lan", "nan"), ("shi", "si"), ("fu", "hu"), ("xing", "xin")]
)
def test_syllables_that_accents_confuse_are_near(one: str, other: str) -> None:
    assert near(one) == near(other)


@pytest.mark.parametrize(("one", "other"), [("ma", "ba"), ("si", "ci"), ("hao", "gao")])
def test_clearly_different_syllables_are_not_near(one: str, other: str) -> None:
    assert near(one) != near(other)


def test_particles_are_swallowed_more_often_than_other_words() -> None:
    text = "好吧那我就这样写下来给他看清楚吧"
    lost = Counter[str]()
    for seed in range(300):
        wrong = errors_in(text, 0.3, random.Random(seed))
        lost.update(text[place] for place, written in wrong.items() if not written)
    assert lost["吧"] / 2 > 2 * lost["写"]


def test_a_garbled_call_keeps_its_turns_and_drops_character_times() -> None:
    call = {"call_id": "c1", "turns": [{"role": "agent", "start_ms": 0, "end_ms": 900, "text": SENTENCE, "chars": []}]}
    heard = garble_call(call, 0.3)
    assert heard["turns"][0] == {"role": "agent", "start_ms": 0, "end_ms": 900, "text": garble(SENTENCE, 0.3)}
    assert "chars" in call["turns"][0]


def test_tables_keep_labels_and_ids(tmp_path: Path) -> None:
    table = tmp_path / "utterances.tsv"
    table.write_text(f"id\ttext\tlabel\tnext\nu1\t{SENTENCE}\t推诿\t\n", "utf-8")
    header, row = garbled_lines(table, 0.3, 0)
    assert header == "id\ttext\tlabel\tnext"
    assert row == f"u1\t{garble(SENTENCE, 0.3)}\t推诿\t"


def test_files_of_calls_and_of_plain_lines_are_garbled_line_by_line(tmp_path: Path) -> None:
    calls = tmp_path / "calls.jsonl"
    calls.write_text(json.dumps({"call_id": "c1", "turns": [{"text": SENTENCE}]}, ensure_ascii=False) + "\n", "utf-8")
    assert [json.loads(line)["turns"][0]["text"] for line in garbled_lines(calls, 0.2, 3)] == [garble(SENTENCE, 0.2, 3)]
    plain = tmp_path / "turns.txt"
    plain.write_text(f"{SENTENCE}\n{SENTENCE}\n", "utf-8")
    assert list(garbled_lines(plain, 0.2, 3)) == [garble(SENTENCE, 0.2, 3)] * 2
