"""Read a converted model folder back into the network, so that training can go on from the shipped weights.

int8 costs a little precision and the teachers (phoneme, tone, reader) are not in the folder: they start afresh, for
which a few minutes of ``--stage teachers`` are enough.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.training.model import Geometry
from models.training.vocabulary import LEADING

_DTYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)
Array = NDArray[np.float32]


def characters(folder: Path) -> str:
    """The Han characters of the model's vocabulary, in order."""
    tokens: list[str] = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    return "".join(tokens[len(LEADING) : tokens.index("<|endoftext|>")])


def weights(folder: Path, geometry: Geometry) -> dict[str, Tensor]:
    """What ``convert`` wrote, as the network's state (the teachers' parts are missing)."""
    stored = _variables(folder / "model.bin")
    state: dict[str, Array] = {
        "conv1.weight": stored["encoder/conv1/weight"],
        "conv1.bias": stored["encoder/conv1/bias"],
        "conv2.weight": stored["encoder/conv2/weight"],
        "conv2.bias": stored["encoder/conv2/bias"],
        "audio_position": stored["encoder/position_encodings/encodings"],
        "embedding.weight": stored["decoder/embeddings/weight"],
        "text_position": stored["decoder/position_encodings/encodings"],
        **_norm("encoder_norm", stored, "encoder/layer_norm"),
        **_norm("decoder_norm", stored, "decoder/layer_norm"),
    }
    for i in range(geometry.encoder_layers):
        state |= _self_attention(f"encoder.{i}.attention", stored, f"encoder/layer_{i}/self_attention")
        state |= _feed_forward(f"encoder.{i}.feed_forward", stored, f"encoder/layer_{i}/ffn")
    for i in range(geometry.decoder_layers):
        state |= _self_attention(f"decoder.{i}.attention", stored, f"decoder/layer_{i}/self_attention")
        state |= _cross_attention(f"decoder.{i}.cross", stored, f"decoder/layer_{i}/attention")
        state |= _feed_forward(f"decoder.{i}.feed_forward", stored, f"decoder/layer_{i}/ffn")
    return {name: torch.from_numpy(np.array(value, np.float32)) for name, value in state.items()}


def _norm(name: str, stored: dict[str, Array], place: str) -> dict[str, Array]:
    return {f"{name}.weight": stored[f"{place}/gamma"], f"{name}.bias": stored[f"{place}/beta"]}


def _linear(names: list[str], stored: dict[str, Array], place: str) -> dict[str, Array]:
    """The stacked linear layers `names`; a key projection has no bias."""
    parts = zip(names, np.split(stored[f"{place}/weight"], len(names)), strict=True)
    biases = zip(names, np.split(stored[f"{place}/bias"], len(names)), strict=True)
    return {f"{name}.weight": part for name, part in parts} | {
        f"{name}.bias": part for name, part in biases if not name.endswith(".key")
    }


def _self_attention(name: str, stored: dict[str, Array], place: str) -> dict[str, Array]:
    return {
        **_norm(f"{name}.norm", stored, f"{place}/layer_norm"),
        **_linear([f"{name}.query", f"{name}.key", f"{name}.value"], stored, f"{place}/linear_0"),
        **_linear([f"{name}.out"], stored, f"{place}/linear_1"),
    }


def _cross_attention(name: str, stored: dict[str, Array], place: str) -> dict[str, Array]:
    return {
        **_norm(f"{name}.norm", stored, f"{place}/layer_norm"),
        **_linear([f"{name}.query"], stored, f"{place}/linear_0"),
        **_linear([f"{name}.key", f"{name}.value"], stored, f"{place}/linear_1"),
        **_linear([f"{name}.out"], stored, f"{place}/linear_2"),
    }


def _feed_forward(name: str, stored: dict[str, Array], place: str) -> dict[str, Array]:
    return {
        **_norm(f"{name}.norm", stored, f"{place}/layer_norm"),
        **_linear([f"{name}.up"], stored, f"{place}/linear_0"),
        **_linear([f"{name}.down"], stored, f"{place}/linear_1"),
    }


def _variables(path: Path) -> dict[str, Array]:
    """Every variable of a CTranslate2 ``model.bin``, int8 scaled back (``ctranslate2.specs.model_spec`` writes it)."""
    raw: dict[str, NDArray[np.generic]] = {}
    with path.open("rb") as file:
        file.read(4)  # binary version
        _string(file)  # specification
        _, count = struct.unpack("II", file.read(8))
        for _ in range(count):
            name = _string(file)
            (rank,) = struct.unpack("B", file.read(1))
            shape = struct.unpack(f"{rank}I", file.read(4 * rank))
            kind, size = struct.unpack("<BI", file.read(5))
            raw[name] = np.frombuffer(file.read(size), _DTYPES[kind]).reshape(shape)
    return {
        name: _scaled(value, raw.get(f"{name}_scale")) for name, value in raw.items() if not name.endswith("_scale")
    }


def _scaled(value: NDArray[np.generic], scale: NDArray[np.generic] | None) -> Array:
    wide = np.asarray(value, np.float32)
    if scale is None:
        return wide
    return wide / np.asarray(scale, np.float32).reshape(-1, *[1] * (wide.ndim - 1))


def _string(file: BinaryIO) -> str:
    (length,) = struct.unpack("H", file.read(2))
    return file.read(length)[:-1].decode()
