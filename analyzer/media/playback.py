"""A copy of a recording that every browser plays, and clips cut out of it.

The copy is made of the very blocks that were recognised (``analyzer.audio.decode``), so a time in a report is the same
time in it, whatever the original's codec, damage or clock; Opus declares its own delay and players drop it (measured:
none is left). Both channels are kept apart, so that a listener can mute a side: at 48 kbit/s nothing of one is heard on
the other (measured: below -170 dB; at 32 kbit/s -55 dB, as then they are coded as one).
"""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from analyzer.audio import SAMPLE_RATE, Block
from analyzer.types import Role, Span

Samples = NDArray[np.int16]

BIT_RATES = {1: 32_000, 2: 48_000}  # by channels
_EFFORT = "3"  # of 10: 230 times real time here, 10 is half as fast and cannot be told apart
_TONE_HZ, _TONE_LEVEL = 1_000, 3_000  # of 32768: -21 dB
_OPUS_RATE = 48_000
_WARM_UP_S = 0.3  # after a seek Opus needs 80 ms until it is exact


def write_playback(blocks: Iterable[Block], roles: tuple[Role, ...], bleeps: Sequence[Span], path: Path) -> None:
    """Write Ogg/Opus, channels in the order of ``roles``, a tone on all of them for every stretch of ``bleeps``."""
    layout = "mono" if len(roles) == 1 else "stereo"
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=SAMPLE_RATE, layout=layout)
        stream.bit_rate = BIT_RATES[len(roles)]
        stream.options = {"compression_level": _EFFORT}
        for block in blocks:
            samples = _bleeped(block, roles, bleeps)
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
            frame.sample_rate, frame.pts = SAMPLE_RATE, block.start_ms * SAMPLE_RATE // 1000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def clip_of(blocks: Iterable[Block], roles: tuple[Role, ...], span: Span, bleeps: Sequence[Span]) -> bytes:
    """That stretch of a recording as WAV, 16 bits at 16 kHz; nothing after it is decoded."""
    first, stop = (ms * SAMPLE_RATE // 1000 for ms in (span.start_ms, span.end_ms))
    pieces = [np.zeros((0, len(roles)), dtype=np.int16)]
    for block in blocks:
        at = block.start_ms * SAMPLE_RATE // 1000
        if at >= stop:
            break
        if block.start_ms + 1000 > span.start_ms:
            pieces.append(_bleeped(block, roles, bleeps)[max(0, first - at) : stop - at])
    return _wav(np.concatenate(pieces))


def _bleeped(block: Block, roles: tuple[Role, ...], bleeps: Sequence[Span]) -> Samples:
    samples = np.stack([block.channels[role] for role in roles], axis=1)
    bleep(samples, block.start_ms * SAMPLE_RATE // 1000, bleeps)
    return samples


def bleep(samples: Samples, first: int, bleeps: Sequence[Span]) -> None:
    """Put the tone over all channels, in place. first: the number of the first sample in the recording."""
    for span in bleeps:
        start = max(0, span.start_ms * SAMPLE_RATE // 1000 - first)
        stop = min(len(samples), -(-span.end_ms * SAMPLE_RATE // 1000) - first)
        if start < stop:
            at = np.arange(first + start, first + stop) / SAMPLE_RATE
            samples[start:stop] = (_TONE_LEVEL * np.sin(2 * np.pi * _TONE_HZ * at))[:, None].astype(np.int16)


def cut(path: Path, span: Span) -> bytes:
    """That stretch of a playback copy as WAV, 16 bits at 16 kHz, its channels kept; shorter where the copy ends."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        n_channels = stream.codec_context.channels
        before_s = span.start_ms / 1000 - _WARM_UP_S
        if before_s > 0:
            container.seek(int(before_s * av.time_base))
        pieces = list(_pieces(container.decode(stream), span))
    sound = np.concatenate([np.zeros((0, n_channels), dtype=np.float32), *pieces])
    narrow = soxr.resample(sound, _OPUS_RATE, SAMPLE_RATE) if len(sound) else sound
    return _wav(np.clip(np.rint(narrow * 32767), -32768, 32767).astype(np.int16))


def _pieces(frames: Iterator[Any], span: Span) -> Iterator[NDArray[np.float32]]:
    """The samples within the span, float32 in [-1, 1], shape = (n_samples, n_channels)."""
    first, stop = (ms * _OPUS_RATE // 1000 for ms in (span.start_ms, span.end_ms))
    for frame in frames:
        at = round(float(frame.pts * frame.time_base) * _OPUS_RATE)
        if at >= stop:
            return
        samples = frame.to_ndarray()
        samples = samples.T if frame.format.is_planar else samples.reshape(-1, len(frame.layout.channels))
        kept = samples[max(0, first - at) : max(0, stop - at)]
        if len(kept):
            yield kept.astype(np.float32)


def _wav(sound: Samples) -> bytes:
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(sound.astype("<i2").tobytes())
    return content.getvalue()
