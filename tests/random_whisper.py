"""Whisper folders that nobody trained: right in shape, spelling a planted sentence at planted times.

The real engine loads them, so a test can hold every character of the result against what was planted. A decoder
position carries the direction of the token it must spell; one rotating pair of dimensions, shared by the encoder's
and the decoder's positions, carries time, so cross-attention (and ``align``) points at the planted moment. Everything
else is small noise. The audio changes nothing but the noise.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ctranslate2.specs import whisper_spec
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

POSITIONS = 1500  # encoder positions of 20 ms in 30 s
FIRST_TEXT_POSITION = 3  # <|startoftranscript|> <|zh|> <|transcribe|> <|notimestamps|>: the fourth predicts the first
DECODER_POSITIONS = 448
SECOND = 50  # encoder positions
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Geometry:
    mels: int = 80
    width: int = 64
    encoder_layers: int = 2
    decoder_layers: int = 2
    heads: int = 2


TINY = Geometry(mels=80, width=384, encoder_layers=4, decoder_layers=4, heads=6)


def byte_level_tokenizer(whole: Iterable[str] = (), extra_tokens: int = 0) -> Tokenizer:
    """Byte-level BPE: a 汉字 is three tokens, unless it (or a whole word) is listed in ``whole``.

    extra_tokens  more tokens, which no text is made of
    """
    to_unicode = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate(to_unicode)}
    merges: list[tuple[str, str]] = []
    for word in whole:
        symbols = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(word)[0][0]
        for end in range(2, len(symbols) + 1):
            pair = (symbols[: end - 1], symbols[end - 1])
            if pair not in merges:
                merges.append(pair)
                vocabulary.setdefault("".join(pair), len(vocabulary))
    for number in range(extra_tokens):
        vocabulary[f"unused{number}"] = len(vocabulary)
    vocabulary[""] = len(vocabulary)  # CTranslate2 takes a model with this token for multilingual
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special_tokens()])
    return tokenizer


def special_tokens() -> list[str]:
    head = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|translate|>", "<|transcribe|>"]
    head += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    return head + [f"<|{number * 0.02:.2f}|>" for number in range(POSITIONS + 1)]


def build(
    folder: Path,
    text: str | None = "您好，这里是云岭银行。",
    *,
    geometry: Geometry = Geometry(),
    whole: Iterable[str] = (),
    token_times: Sequence[float] | None = None,
    alignment: bool = True,
    after_prompt: str = "",
    only_in_full_windows: bool = False,
    extra_tokens: int = 0,
    quantization: str | None = None,
    seed: int = 1,
) -> list[int]:
    """Write the five files of a model that spells ``text`` (None: noise without end); return the tokens it spells.

    token_times   start of each token, and the end of the last, in seconds of the window; default: 0.1 s a token
    alignment     name the alignment heads in config.json, as converted models do
    after_prompt  spell it after this prompt, which must have at least as many tokens as the text
    only_in_full_windows  spell it only if the window is 30 s long: a model that shorter ones would ruin
    extra_tokens  more vocabulary, to reach the size of a real model
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_level_tokenizer(whole, extra_tokens)
    end = tokenizer.token_to_id("<|endoftext|>")
    vocabulary = [tokenizer.id_to_token(number) for number in range(tokenizer.get_vocab_size())]
    spoken = tokenizer.encode(text, add_special_tokens=False).ids if text else []
    times = list(token_times) if token_times is not None else [0.1 * (number + 1) for number in range(len(spoken) + 1)]
    if len(times) != len(spoken) + 1:
        raise ValueError(f"{len(spoken)} tokens need {len(spoken) + 1} times, got {len(times)}")

    shift = len(tokenizer.encode(" " + after_prompt).ids) + 1 if after_prompt else 0
    if 0 < shift <= len(spoken):
        raise ValueError("the text is longer than the prompt: its two places would overlap")
    spelled = [*spoken, end] if spoken else []
    spec = _fill(geometry, len(vocabulary), spelled, times, sorted({0, shift}), np.random.default_rng(seed))
    if only_in_full_windows:
        _need_the_end(spec, geometry, wrong=tokenizer.encode("嗯", add_special_tokens=False).ids[0])
    spec.register_vocabulary(vocabulary)
    spec.config.lang_ids = [tokenizer.token_to_id("<|en|>"), tokenizer.token_to_id("<|zh|>")]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    if alignment:
        spec.config.alignment_heads = [(geometry.decoder_layers - 1, head) for head in range(geometry.heads)]
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    preprocessor = {"feature_size": geometry.mels, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400}
    (folder / "preprocessor_config.json").write_text(json.dumps({**preprocessor, "chunk_length": 30}))
    return spoken


def _fill(  # noqa: PLR0917
    geometry: Geometry,
    n_tokens: int,
    spelled: list[int],
    times: Sequence[float],
    shifts: Sequence[int],
    random: np.random.Generator,
) -> whisper_spec.WhisperSpec:
    width = geometry.width
    spec = whisper_spec.WhisperSpec(geometry.encoder_layers, geometry.heads, geometry.decoder_layers, geometry.heads)

    def noise(*shape: int, scale: float = 0.02) -> Array:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    def linear(layer: object, n_out: int, n_in: int, scale: float = 0.02) -> None:
        layer.weight, layer.bias = noise(n_out, n_in, scale=scale), np.zeros(n_out, np.float32)  # type: ignore[attr-defined]

    def norm(layer: object) -> None:
        layer.gamma, layer.beta = np.ones(width, np.float32), np.zeros(width, np.float32)  # type: ignore[attr-defined]

    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = noise(width, geometry.mels, 3), np.zeros(width, np.float32)
    encoder.conv2.weight, encoder.conv2.bias = noise(width, width, 3), np.zeros(width, np.float32)
    encoder.position_encodings.encodings = _clock(np.arange(POSITIONS) / SECOND, width)
    decoder.embeddings.weight = noise(n_tokens, width)
    decoder.projection.weight = noise(n_tokens, width, scale=1.0)
    decoder.projection.weight[:, :2] = 0  # time spells nothing
    decoder.position_encodings.encodings = noise(DECODER_POSITIONS, width)
    for offset, (token, time) in enumerate(zip(spelled, times[: len(spelled)], strict=True)):
        row = decoder.projection.weight[token] * 3 + _clock(np.array([time]), width)[0] * 1.5
        for shift in shifts:
            decoder.position_encodings.encodings[FIRST_TEXT_POSITION + shift + offset] = row
    norm(encoder.layer_norm)
    norm(decoder.layer_norm)
    for layer in [*encoder.layer, *decoder.layer]:
        for part in [layer.self_attention.layer_norm, layer.ffn.layer_norm]:
            norm(part)
        linear(layer.self_attention.linear[0], 3 * width, width)
        linear(layer.self_attention.linear[1], width, width, scale=0.005)
        linear(layer.ffn.linear_0, 4 * width, width)
        linear(layer.ffn.linear_1, width, 4 * width, scale=0.005)
    for layer in decoder.layer:
        norm(layer.attention.layer_norm)
        linear(layer.attention.linear[0], width, width, scale=0.0)
        linear(layer.attention.linear[1], 2 * width, width, scale=0.005)
        linear(layer.attention.linear[2], width, width, scale=0.005)
        for head in range(0, width, width // geometry.heads):  # every head reads the clock
            for place in range(2):
                layer.attention.linear[0].weight[head + place, place] = 25.0
                layer.attention.linear[1].weight[head + place, place] = 25.0
    return spec


def _need_the_end(spec: whisper_spec.WhisperSpec, geometry: Geometry, wrong: int) -> None:
    """Let the first head look at the end of 30 s, and speak the wrong token with all its might where that is missing.

    Late in a full window the cosine of the clock is negative, early it is positive; it is carried straight into the
    direction of the wrong token.
    """
    layer = spec.decoder.layer[0].attention
    away = spec.decoder.projection.weight[wrong] / np.linalg.norm(spec.decoder.projection.weight[wrong])
    layer.linear[0].weight[:2] = 0
    layer.linear[0].bias[:2] = (-2000.0, 0.0)  # whatever is asked, look where the cosine is least
    layer.linear[1].weight[geometry.width] = 0
    layer.linear[1].weight[geometry.width, 0] = 1.0  # the value is that cosine, times 8 by the layer norm,
    layer.linear[1].bias[geometry.width] = 6.0  # and below zero only after 23 s
    layer.linear[2].weight[:, 0] = away * 5


def _clock(seconds: NDArray[np.float64], width: int) -> Array:
    """Time as an angle in the first two dimensions: half a turn in 30 s. Shape (n_times, width)."""
    angle = np.pi * seconds / 30
    table = np.zeros((len(seconds), width), np.float32)
    table[:, 0], table[:, 1] = np.cos(angle) * 20, np.sin(angle) * 20
    return table
