"""The `demo` network: Whisper's architecture, small, in PyTorch, with two teachers Whisper does not have.

The synthesiser tells when each phoneme and character is spoken, so the encoder is also taught the phoneme and tone of
every 20 ms frame, and two cross-attention heads of every decoder layer are taught where to look: those of the first
layer at the character just written (its sound can be searched for), those of the others at the one to write next. Both
teachers are dropped on conversion; the taught heads of the last layer become the model's alignment heads.

A third part, ``Reader``, learns to imitate the encoder's output from phonemes and tones alone. Through it the decoder
practises spelling on text that nobody had to speak, at a tenth of the cost of audio: which of several characters with
the same sound is meant is a matter of text, not of sound.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.training.corpus import PHONEME_CLASSES

TONE_CLASSES = 6
GUIDED_HEADS = (0, 1)


@dataclass(frozen=True, slots=True)
class Geometry:
    vocabulary: int
    mels: int = 80
    width: int = 192
    heads: int = 4
    encoder_layers: int = 3
    decoder_layers: int = 5
    audio_positions: int = 1500
    text_positions: int = 448

    as_dict = asdict


def deepened(state: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The state with `layers` decoder layers: new ones before the last, copies of one that at first add nothing.

    What was learnt is kept to the bit, and the heads of a copy already look where theirs should.
    """
    present = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("decoder."))
    order = [*range(present - 1), *[present - 2] * (layers - present), present - 1]
    grown = {name: value for name, value in state.items() if not name.startswith("decoder.")}
    for new, old in enumerate(order):
        for name, value in state.items():
            if not name.startswith(f"decoder.{old}."):
                continue
            part = name.removeprefix(f"decoder.{old}.")
            adds = present - 1 <= new < layers - 1 and part.startswith(
                ("attention.out", "cross.out", "feed_forward.down")
            )
            grown[f"decoder.{new}.{part}"] = torch.zeros_like(value) if adds else value.clone()
    return grown


def sinusoids(length: int, channels: int) -> Tensor:
    step = math.log(10_000) / (channels // 2 - 1)
    angles = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(channels // 2))[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, memory: Tensor | None = None, causal: bool = False) -> tuple[Tensor, Tensor | None]:
        """Returns the residual update and, for cross-attention, the log weights (batch, heads, text, frames)."""
        y = self.norm(x)
        source = y if memory is None else memory
        q, k, v = self._split(self.query(y)), self._split(self.key(source)), self._split(self.value(source))
        if memory is None:
            mixed, log_weights = F.scaled_dot_product_attention(q, k, v, is_causal=causal), None
        else:
            log_weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).log_softmax(-1)
            mixed = log_weights.exp() @ v
        return self.out(mixed.transpose(1, 2).flatten(2)), log_weights


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(self.norm(x))))


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)[0]
        return x + self.feed_forward(x)


class DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.cross = Attention(width, heads)
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        x = x + self.attention(x, causal=True)[0]
        update, log_weights = self.cross(x, memory)
        x = x + update
        assert log_weights is not None
        return x + self.feed_forward(x), log_weights


class Reader(nn.Module):
    """Frame labels (batch, frames) -> what the encoder would have heard, (batch, frames, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.phoneme = nn.Embedding(PHONEME_CLASSES, width)
        self.tone = nn.Embedding(TONE_CLASSES, width)
        self.conv1 = nn.Conv1d(width, width, 7, padding=3)
        self.conv2 = nn.Conv1d(width, width, 7, padding=3)
        self.position = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, phoneme: Tensor, tone: Tensor, position: Tensor) -> Tensor:
        x = (self.phoneme(phoneme) + self.tone(tone)).transpose(1, 2)
        x = F.gelu(self.conv1(x))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        return self.out(x + self.position(position))


class Network(nn.Module):
    """mel (batch, frames, 80), normalised as Whisper does; tokens (batch, n)."""

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = g = geometry
        self.conv1 = nn.Conv1d(g.mels, g.width, 3, padding=1)
        self.conv2 = nn.Conv1d(g.width, g.width, 3, stride=2, padding=1)
        self.register_buffer("audio_position", sinusoids(g.audio_positions, g.width))
        self.encoder = nn.ModuleList(EncoderLayer(g.width, g.heads) for _ in range(g.encoder_layers))
        self.encoder_norm = nn.LayerNorm(g.width)
        self.embedding = nn.Embedding(g.vocabulary, g.width)
        self.text_position = nn.Parameter(torch.randn(g.text_positions, g.width) * 0.01)
        self.decoder = nn.ModuleList(DecoderLayer(g.width, g.heads) for _ in range(g.decoder_layers))
        self.decoder_norm = nn.LayerNorm(g.width)
        self.phoneme_head = nn.Linear(g.width, PHONEME_CLASSES)
        self.tone_head = nn.Linear(g.width, TONE_CLASSES)
        self.reader = Reader(g.width)
        nn.init.normal_(self.embedding.weight, std=0.03)

    def encode(self, mel: Tensor, offset: int = 0) -> Tensor:
        """`offset` shifts the position table: speech may stand anywhere in a 30 s window."""
        x = F.gelu(self.conv1(mel.transpose(1, 2)))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        x = x + self.audio_position[offset : offset + x.shape[1]]
        for layer in self.encoder:
            x = layer(x)
        return self.encoder_norm(x)

    def read(self, phoneme: Tensor, tone: Tensor, offset: int = 0) -> Tensor:
        """The reader's imitation of ``encode`` for these frame labels."""
        position = self.audio_position[offset : offset + phoneme.shape[1]]
        return self.reader(phoneme.clamp(min=0), tone.clamp(min=0), position)

    def decode(self, tokens: Tensor, memory: Tensor, first: int | None = None) -> tuple[Tensor, list[Tensor]]:
        """Logits (batch, n, `first` tokens of the vocabulary) and every layer's cross-attention log weights."""
        x = self.embedding(tokens) + self.text_position[: tokens.shape[1]]
        log_weights = []
        for layer in self.decoder:
            x, weights = layer(x, memory)
            log_weights.append(weights)
        return self.decoder_norm(x) @ self.embedding.weight[:first].T, log_weights
