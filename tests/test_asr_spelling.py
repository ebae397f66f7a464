"""Tokens to characters: any vocabulary, any split, times that only go forward."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.asr.spelling import TimedPiece, divide, split_pieces, time_pieces
from tests.random_whisper import byte_level_tokenizer

TEXTS = st.text(st.sampled_from("您好，银行谢的是a1 😀é。"), max_size=30)
vocabulary = cache(byte_level_tokenizer)  # 1 500 timestamp tokens make each a tenth of a second
VOCABULARIES = st.sampled_from([(), ("您好", "银行"), ("谢谢", "a", "。"), ("😀", "的", "您好")])


@given(TEXTS, VOCABULARIES)
def test_the_pieces_spell_the_text_whatever_the_vocabulary(text: str, whole: tuple[str, ...]) -> None:
    tokenizer = vocabulary(whole)
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    pieces = split_pieces(tokens, tokenizer.decode)
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.first for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])][: len(pieces)]
    assert not pieces or pieces[-1].end == len(tokens)


def test_a_character_of_three_tokens_is_one_piece_and_a_word_of_one_token_too() -> None:
    tokenizer = vocabulary(("您好",))
    tokens = tokenizer.encode("您好银", add_special_tokens=False).ids
    assert [(piece.text, piece.end - piece.first) for piece in split_pieces(tokens, tokenizer.decode)] == [
        ("您好", 1),
        ("银", 3),
    ]


@given(TEXTS, st.binary(min_size=1, max_size=6), TEXTS)
def test_bytes_that_make_no_character_cost_at_most_their_neighbours(before: str, noise: bytes, after: str) -> None:
    tokenizer = vocabulary()
    symbols = tokenizer.encode("".join(map(chr, range(128))), add_special_tokens=False).ids
    assert len(symbols) == 128
    stray = [tokenizer.token_to_id(_byte_symbol(byte | 0x80)) for byte in noise]
    tokens = [
        *tokenizer.encode(before, add_special_tokens=False).ids,
        *stray,
        *tokenizer.encode(after, add_special_tokens=False).ids,
    ]
    text = "".join(piece.text for piece in split_pieces(tokens, tokenizer.decode))
    assert "\ufffd" not in text
    assert text.startswith(before)
    assert text.endswith(after[1:])


def _byte_symbol(byte: int) -> str:
    """The printable stand-in of a byte in byte-level vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return chr(byte) if byte in printable else chr(256 + [b for b in range(256) if b not in printable].index(byte))


def spell(text: str, starts_ms: list[float], whole: tuple[str, ...] = ()) -> list[tuple[str, int, int, bool]]:
    tokenizer = vocabulary(whole)
    tokens = tokenizer.encode(text, add_special_tokens=False).ids
    assert len(starts_ms) == len(tokens) + 1
    pieces = time_pieces(split_pieces(tokens, tokenizer.decode), starts_ms, [-0.1] * len(tokens))
    characters = [character for piece in pieces for character in divide(piece)]
    return [(one.text, one.start_ms, one.end_ms, one.interpolated) for one in characters]


def test_a_character_of_several_tokens_lasts_from_its_first_to_the_next_ones_first() -> None:
    assert spell("您好", [100, 120, 140, 300, 320, 340, 500]) == [("您", 100, 300, False), ("好", 300, 500, False)]


def test_a_word_of_one_token_is_divided_evenly_and_says_so() -> None:
    assert spell("您好吗", [0, 400, 500, 520, 600], ("您好",)) == [
        ("您", 0, 200, True),
        ("好", 200, 400, True),
        ("吗", 400, 600, False),
    ]


def test_characters_the_aligner_could_not_tell_apart_share_their_time() -> None:
    assert spell("您好吗", [0, 0, 400, 600], ("您", "好", "吗")) == [
        ("您", 0, 200, True),
        ("好", 200, 400, True),
        ("吗", 400, 600, False),
    ]


def test_a_word_without_time_takes_that_of_the_comma_after_it() -> None:
    assert spell("好，吗", [0, 0, 400, 600], ("好", "，", "吗")) == [
        ("好", 0, 400, False),
        ("，", 400, 400, False),
        ("吗", 400, 600, False),
    ]


@given(st.lists(st.integers(0, 50), min_size=4, max_size=4), st.integers(0, 10))
def test_times_never_go_back(steps: list[int], first: int) -> None:
    starts = [float(first)]
    for step in steps:
        starts.append(starts[-1] + step * 20)
    spelled = spell("好，的吗", starts, ("好", "，", "的", "吗"))
    assert "".join(one[0] for one in spelled) == "好，的吗"
    edges = [edge for one in spelled for edge in one[1:3]]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (starts[0], starts[-1])


@pytest.mark.parametrize("text", ["，", "好", "您好", "您，好"])
def test_dividing_loses_no_time(text: str) -> None:
    characters = divide(TimedPiece(text, 1000, 1601, -0.5))
    assert "".join(one.text for one in characters) == text
    assert characters[0].start_ms == 1000
    assert characters[-1].end_ms == (1601 if text != "，" else 1000)
