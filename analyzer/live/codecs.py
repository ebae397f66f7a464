"""Bytes of an audio stream -> int16 samples: linear PCM and both laws of G.711."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from analyzer.live.messages import Encoding
from analyzer.live.refusal import Refusal

Samples = NDArray[np.int16]

SAMPLE_BYTES: Mapping[Encoding, int] = {"pcm_s16le": 2, "mulaw": 1, "alaw": 1}


def decode(payload: bytes, encoding: Encoding, n_channels: int = 1) -> Samples:
    """Interleaved samples apart: int16, shape = (n_samples, n_channels).

    raises Refusal if ``payload`` ends inside a sample, or without one of every channel
    """
    whole = SAMPLE_BYTES[encoding] * n_channels
    if len(payload) % whole:
        raise Refusal(
            "bad_frame",
            f"{len(payload)} bytes of {encoding} are no whole number of samples; send a multiple of {whole} bytes "
            f"({n_channels} channel{'s' if n_channels > 1 else ''})",
        )
    if encoding == "pcm_s16le":
        samples = np.frombuffer(payload, dtype="<i2").astype(np.int16)
    else:
        samples = _LAWS[encoding][np.frombuffer(payload, dtype=np.uint8)]
    return samples.reshape(-1, n_channels)


def _mulaw() -> Samples:
    """What each byte of ITU-T G.711 μ-law stands for, in 16 bits."""
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    exponent, mantissa = code >> 4 & 7, code & 15
    size = (((mantissa << 3) + 132) << exponent) - 132
    return np.where(code & 128, -size, size).astype(np.int16)


def _alaw() -> Samples:
    """What each byte of ITU-T G.711 A-law stands for, in 16 bits."""
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent, mantissa = code >> 4 & 7, code & 15
    size = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 264) << np.maximum(exponent - 1, 0))
    return np.where(code & 128, size, -size).astype(np.int16)


_LAWS: Mapping[Encoding, Samples] = {"mulaw": _mulaw(), "alaw": _alaw()}
