"""G.711 and linear PCM decode as FFmpeg decodes them, so that a stream and its recording are the same samples."""

from __future__ import annotations

import av
import numpy as np
import pytest

from analyzer.live.codecs import decode
from analyzer.live.messages import Encoding
from analyzer.live.refusal import Refusal


@pytest.mark.parametrize(
    ("encoding", "codec"), [("mulaw", "pcm_mulaw"), ("alaw", "pcm_alaw"), ("pcm_s16le", "pcm_s16le")]
)
def test_every_byte_decodes_as_ffmpeg_decodes_it(encoding: Encoding, codec: str) -> None:
    payload = bytes(range(256)) * 4
    context = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = 8000, "mono"
    expected = np.concatenate([frame.to_ndarray()[0] for frame in context.decode(av.Packet(payload))])
    assert np.array_equal(decode(payload, encoding)[:, 0], expected)


def test_channels_are_told_apart() -> None:
    both = np.array([[1, -1], [2, -2], [3, -3]], dtype="<i2")
    assert np.array_equal(decode(both.tobytes(), "pcm_s16le", 2), both)


def test_nothing_decodes_to_no_samples() -> None:
    assert decode(b"", "mulaw", 2).shape == (0, 2)


@pytest.mark.parametrize(
    ("payload", "encoding", "channels"), [(b"abc", "pcm_s16le", 1), (b"abcdef", "pcm_s16le", 2), (b"a", "alaw", 2)]
)
def test_half_a_sample_is_refused_with_the_cure(payload: bytes, encoding: Encoding, channels: int) -> None:
    with pytest.raises(Refusal, match=r"multiple of \d bytes") as refusal:
        decode(payload, encoding, channels)
    assert refusal.value.code == "bad_frame"
