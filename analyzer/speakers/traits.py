"""What a stretch of speech sounds like, in numbers small enough to keep for a whole call.

Per tenth of a second of voiced speech: how many frames were voiced, and of those the sum and the sum of squares of 19
cepstral coefficients (the shape of the spectrum: vocal tract, headset, line) and of the pitch. Any longer stretch is
the sum of its tenths, so means and spreads over any window come from these alone: 164 bytes a tenth, 6 MB for an hour
of unbroken speech, where the samples would take 115 MB.

Mel cepstra as in Davis & Mermelstein 1980, over 200–3800 Hz only, which is what every telephone line carries; the
coefficient of the level is left out, it follows the distance to the microphone. Pitch by normalised autocorrelation
(Boersma 1993): the shortest lag that comes near the best one.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analyzer.types import Span
from analyzer.vad import SAMPLE_RATE, Segment

BIN_MS = 100
CEPSTRA = 19
TRAITS = CEPSTRA + 1  # and pitch, the last, in octaves

_STEP = SAMPLE_RATE // 100  # 10 ms between frames
_FRAME = SAMPLE_RATE // 40  # 25 ms of signal
_SIZE = 512
_PITCH_FRAME = SAMPLE_RATE // 25  # 40 ms: three periods of 75 Hz
_PITCH_SIZE = 2048
_PITCH_HZ = (70, 400)
_VOICED = 0.5  # autocorrelation at the pitch, of 1
_NEAR_BEST = 0.88  # a shorter lag that comes so near is the pitch, not its octave below
_BAND_HZ = (200, 3800)
_BANDS = 24
_QUIET = 10.0  # energy of a band (int16 scale) below which it counts as silent
_AT_ONCE = 1000  # frames worked on together, 10 s: bounds memory

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """What is kept of a segment.

    speech  its voiced spans
    tenths  number of each tenth of a second (call ms // BIN_MS) that holds voiced frames, rising
    counts  voiced frames in each
    sums    shape (len(tenths), 2, TRAITS): sum and sum of squares over those frames, float32
    """

    speech: tuple[Span, ...]
    tenths: NDArray[np.int64] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    sums: NDArray[np.float32] = field(repr=False)


def listen(segment: Segment) -> Traits:
    """The traits of a segment's voiced frames."""
    frames = 1 + max(0, len(segment.samples) - _PITCH_FRAME) // _STEP
    at_ms = segment.span.start_ms + (np.arange(frames) * _STEP + _PITCH_FRAME // 2) * 1000 // SAMPLE_RATE
    spoken = np.zeros(frames, bool)
    for span in segment.speech:
        spoken |= (at_ms >= span.start_ms) & (at_ms < span.end_ms)
    tenths, places = np.unique(at_ms // BIN_MS, return_inverse=True)
    counts = np.zeros(len(tenths), np.int64)
    sums = np.zeros((len(tenths), 2, TRAITS))
    for first in range(0, frames, _AT_ONCE):
        chunk = slice(first, min(frames, first + _AT_ONCE))
        traits, is_voiced = _traits(segment.samples, chunk)
        kept = is_voiced & spoken[chunk]
        np.add.at(counts, places[chunk][kept], 1)
        np.add.at(sums, places[chunk][kept], np.stack([traits[kept], np.square(traits[kept])], axis=1))
    heard = counts > 0
    return Traits(segment.speech, tenths[heard], counts[heard], sums[heard].astype(np.float32))


def _traits(samples: NDArray[np.int16], frames: slice) -> tuple[Floats, NDArray[np.bool_]]:
    """Cepstra and pitch of some frames, shape (n, TRAITS), and which of them are voiced."""
    first, last = frames.start * _STEP, (frames.stop - 1) * _STEP + _PITCH_FRAME
    heard = np.zeros(last - first)
    part = samples[first:last]
    heard[: len(part)] = part
    long = np.lib.stride_tricks.sliding_window_view(heard, _PITCH_FRAME)[::_STEP]
    margin = (_PITCH_FRAME - _FRAME) // 2
    power = np.square(np.abs(np.fft.rfft(long[:, margin : margin + _FRAME] * np.hamming(_FRAME), _SIZE)))
    cepstra = np.log(power @ _mel_bank().T + _QUIET) @ _cosines().T
    octaves, strength = _pitch(long)
    return np.column_stack([cepstra, octaves]), strength > _VOICED


def _pitch(frames: Floats) -> tuple[Floats, Floats]:
    """Pitch in octaves (log2 Hz) and how periodic each frame is, 0..1."""
    window = np.hanning(_PITCH_FRAME)
    longest, shortest = SAMPLE_RATE // _PITCH_HZ[0], SAMPLE_RATE // _PITCH_HZ[1]
    centred = (frames - frames.mean(axis=1, keepdims=True)) * window
    likeness = _autocorrelation(centred, longest) / _autocorrelation(window[None], longest)
    likeness /= likeness[:, :1] + 1e-9
    likeness = likeness[:, shortest:]
    best = likeness.max(axis=1)
    middle = likeness[:, 1:-1]
    peaks = (middle >= likeness[:, :-2]) & (middle >= likeness[:, 2:]) & (middle > _NEAR_BEST * best[:, None])
    lag = shortest + np.where(peaks.any(axis=1), peaks.argmax(axis=1) + 1, likeness.argmax(axis=1))
    return np.log2(SAMPLE_RATE / lag), best


def _autocorrelation(frames: Floats, lags: int) -> Floats:
    power = np.square(np.abs(np.fft.rfft(frames, _PITCH_SIZE)))
    return np.asarray(np.fft.irfft(power)[:, :lags], np.float64)


@functools.cache
def _mel_bank() -> Floats:
    """Triangles of equal width on the mel scale, shape (_BANDS, _SIZE // 2 + 1)."""
    low, high = (2595 * np.log10(1 + hertz / 700) for hertz in _BAND_HZ)
    edges = 700 * (10 ** (np.linspace(low, high, _BANDS + 2) / 2595) - 1)
    hertz = np.arange(_SIZE // 2 + 1) * SAMPLE_RATE / _SIZE
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling))


@functools.cache
def _cosines() -> Floats:
    """The cosine transform from bands to cepstra 1 … CEPSTRA, shape (CEPSTRA, _BANDS)."""
    orders = np.arange(1, CEPSTRA + 1)[:, None]
    return np.asarray(np.sqrt(2 / _BANDS) * np.cos(np.pi * orders * (np.arange(_BANDS) + 0.5) / _BANDS), np.float64)
