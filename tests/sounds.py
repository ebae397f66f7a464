"""Recordings for tests: tones at known places, in any container and codec that PyAV writes."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

RATE = 8_000
Sound = NDArray[np.float64]


def chirps(seconds: float, at: list[float], *, rate: int = RATE) -> Sound:
    """A quiet hum with 100 ms of a rising tone at each of these seconds; float in [-1, 1]."""
    time = np.arange(int(seconds * rate)) / rate
    sound = 0.01 * np.sin(2 * np.pi * 60 * time)
    burst = np.arange(rate // 10) / rate
    for start in at:
        place = int(start * rate)
        sound[place : place + len(burst)] += 0.5 * np.sin(2 * np.pi * (500 + 5_000 * burst) * burst)
    return sound


def write_sound(
    path: Path, *channels: Sound, codec: str = "pcm_s16le", rate: int = RATE, bit_rate: int = 64_000
) -> Path:
    """One file with these channels; its container by its ending."""
    layout = "mono" if len(channels) == 1 else "stereo"
    samples = (np.stack(channels, axis=1) * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.reshape(1, -1)), format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(stream.format, layout, rate, stream.frame_size or None)
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return path
