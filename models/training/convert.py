"""Write trained weights as a CTranslate2 folder that ``faster_whisper.WhisperModel(path)`` loads, int8 by default.

python -m models.training.convert build/demo.pt models/demo
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch
from ctranslate2.specs import whisper_spec
from torch import nn

from models.training.model import GUIDED_HEADS, Attention, FeedForward, Geometry, Network
from models.training.vocabulary import SPECIAL, Vocabulary

PREPROCESSOR = {
    "chunk_length": 30,
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 80,
    "hop_length": 160,
    "n_fft": 400,
    "n_samples": 480000,
    "nb_max_frames": 3000,
    "sampling_rate": 16000,
}


def array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy().astype(np.float32))


def _norm(spec: object, norm: nn.LayerNorm) -> None:
    spec.gamma, spec.beta = array(norm.weight), array(norm.bias)  # type: ignore[attr-defined]


def _linear(spec: object, *parts: nn.Linear) -> None:
    """One linear layer from several stacked ones; Whisper's key projection has no bias, so zeros stand in."""
    spec.weight = np.concatenate([array(p.weight) for p in parts])  # type: ignore[attr-defined]
    biases = [array(p.bias) if p.bias is not None else np.zeros(p.out_features, np.float32) for p in parts]
    spec.bias = np.concatenate(biases)  # type: ignore[attr-defined]


def _self_attention(spec: object, part: Attention) -> None:
    _norm(spec.layer_norm, part.norm)  # type: ignore[attr-defined]
    _linear(spec.linear[0], part.query, part.key, part.value)  # type: ignore[attr-defined]
    _linear(spec.linear[1], part.out)  # type: ignore[attr-defined]


def _cross_attention(spec: object, part: Attention) -> None:
    _norm(spec.layer_norm, part.norm)  # type: ignore[attr-defined]
    _linear(spec.linear[0], part.query)  # type: ignore[attr-defined]
    _linear(spec.linear[1], part.key, part.value)  # type: ignore[attr-defined]
    _linear(spec.linear[2], part.out)  # type: ignore[attr-defined]


def _feed_forward(spec: object, part: FeedForward) -> None:
    _norm(spec.layer_norm, part.norm)  # type: ignore[attr-defined]
    _linear(spec.linear_0, part.up)  # type: ignore[attr-defined]
    _linear(spec.linear_1, part.down)  # type: ignore[attr-defined]


def specification(network: Network, vocabulary: Vocabulary) -> whisper_spec.WhisperSpec:
    g = network.geometry
    spec = whisper_spec.WhisperSpec(g.encoder_layers, g.heads, g.decoder_layers, g.heads)
    spec.encoder.conv1.weight, spec.encoder.conv1.bias = array(network.conv1.weight), array(network.conv1.bias)
    spec.encoder.conv2.weight, spec.encoder.conv2.bias = array(network.conv2.weight), array(network.conv2.bias)
    spec.encoder.position_encodings.encodings = array(network.audio_position)
    _norm(spec.encoder.layer_norm, network.encoder_norm)
    for layer, part in zip(spec.encoder.layer, network.encoder, strict=True):
        _self_attention(layer.self_attention, part.attention)
        _feed_forward(layer.ffn, part.feed_forward)
    spec.decoder.embeddings.weight = array(network.embedding.weight)
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    spec.decoder.position_encodings.encodings = array(network.text_position)
    _norm(spec.decoder.layer_norm, network.decoder_norm)
    for layer, part in zip(spec.decoder.layer, network.decoder, strict=True):
        _self_attention(layer.self_attention, part.attention)
        _cross_attention(layer.attention, part.cross)
        _feed_forward(layer.ffn, part.feed_forward)
    spec.register_vocabulary(list(vocabulary.tokens))
    spec.config.suppress_ids = [vocabulary["<unk>"], *(vocabulary[t] for t in SPECIAL if t != "<|endoftext|>")]
    spec.config.suppress_ids_begin = [vocabulary[" "], vocabulary["<|endoftext|>"]]
    spec.config.lang_ids = [vocabulary["<|zh|>"]]
    spec.config.alignment_heads = [(g.decoder_layers - 1, head) for head in GUIDED_HEADS]
    return spec


def convert(checkpoint: Path, out: Path, quantization: str = "int8") -> None:
    saved = torch.load(checkpoint)
    vocabulary = Vocabulary(saved["characters"])
    network = Network(Geometry(len(vocabulary.tokens)))
    network.load_state_dict(saved["weights"])
    spec = specification(network, vocabulary)
    spec.validate()
    spec.optimize(quantization=quantization)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        spec.save(folder)
        for path in Path(folder).iterdir():
            shutil.move(path, out / path.name)
    (out / "tokenizer.json").write_text(vocabulary.tokenizer_json(), encoding="utf-8")
    (out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quantization", default="int8")
    given = parser.parse_args()
    convert(given.checkpoint, given.out, given.quantization)


if __name__ == "__main__":
    main()
