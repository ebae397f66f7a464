"""The `demo` model's tokens: one per Han character, in the order CTranslate2 and faster-whisper expect."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

# "" makes CTranslate2 treat the model as multilingual; " ", "-" and "'" are asked for by faster-whisper's tokenizer
LEADING = ("", "<unk>", " ", "-", "'", "，", "。", "？")
SPECIAL = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|zh|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
TIMESTAMPS = tuple(f"<|{i * 0.02:.2f}|>" for i in range(1501))


@dataclass(frozen=True)
class Vocabulary:
    characters: str
    tokens: tuple[str, ...] = field(init=False)
    ids: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        tokens = (*LEADING, *self.characters, *SPECIAL, *TIMESTAMPS)
        object.__setattr__(self, "tokens", tokens)
        object.__setattr__(self, "ids", {token: i for i, token in enumerate(tokens)})

    def encode(self, text: Iterable[str]) -> list[int]:
        return [self.ids[c] for c in text]

    def timestamp(self, seconds: float) -> int:
        return self.ids["<|0.00|>"] + min(1500, round(seconds / 0.02))

    def decode(self, ids: Iterable[int]) -> str:
        text = self.ids["<|endoftext|>"]
        return "".join(self.tokens[i] for i in ids if len(LEADING) - 3 <= i < text)

    def __getitem__(self, token: str) -> int:
        return self.ids[token]

    def tokenizer_json(self) -> str:
        """A ``tokenizers`` file: characters are tokens, nothing is merged."""
        added = [
            {
                "id": self.ids[t],
                "content": t,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for t in (*SPECIAL, *TIMESTAMPS)
        ]
        special = {*SPECIAL, *TIMESTAMPS}
        # `tokenizers` numbers special tokens from the size of this table, so every id below them must be in it
        text = {t or "<nothing>": i for t, i in self.ids.items() if t not in special}
        model = {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": text,
            "merges": [],
        }
        return json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "added_tokens": added,
                "normalizer": None,
                "pre_tokenizer": None,
                "post_processor": None,
                "decoder": {"type": "Fuse"},
                "model": model,
            },
            ensure_ascii=False,
        )
