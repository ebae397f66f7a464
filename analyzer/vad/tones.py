"""Tell generated tones (ring-back, busy, dial tone, DTMF, held notes) from voices.

A sinusoid can be foretold: from the phase it had 60 ms and 30 ms ago follows the one it has now. So can a sum of a few,
if the spectrum resolves them. A voice cannot: half a percent of jitter in a pitch of 220 Hz puts its fourth harmonic a
third of a turn off. The share of the energy that was *not* foretold therefore separates the two, at any pitch and level
and with any number of partials, where a bank of Goertzel filters would know only the tones it was given.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analyzer.vad.segment import SAMPLE_RATE

FRAME = 480  # samples, 30 ms: the step from one spectrum to the next
REACH = 2_048  # samples, 128 ms, of one spectrum: resolves 440 + 480 Hz; three of them, two steps apart, span 188 ms
BAND_HZ = (300, 3_400)  # what a telephone carries
STEADY = 0.06  # energy not foretold, at most: see docs/vad.md for tones and voices on either side

_BINS = slice(BAND_HZ[0] * REACH // SAMPLE_RATE, BAND_HZ[1] * REACH // SAMPLE_RATE + 1)
_WINDOW = np.hanning(REACH + 1)[:-1].astype(np.float32)
_SILENT = 1.0  # energy per bin below which nothing is a tone


def unforeseen(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Per frame the share of its energy in the telephone band that the two spectra before do not foretell.

    samples   int16, shape (REACH + (n + 1) * FRAME,): ends with the last of n frames
    returns   float32, shape (n,): 0 for steady tones, about 1 or more for voices and noise
    """
    heard = samples.astype(np.float32)
    spans = np.lib.stride_tricks.sliding_window_view(heard, REACH)[::FRAME]
    spectra = np.fft.rfft(spans * _WINDOW)[:, _BINS]
    power = np.square(spectra.real) + np.square(spectra.imag)
    # c was foretold as a * turn, turn = a conj(b) / |a b|; |c - a turn|² = |c|² + |a|² - 2 Re(c conj(a) conj(turn))
    turned = spectra[1:] * np.conj(spectra[:-1])
    agreed = (turned[1:] * np.conj(turned[:-1])).real / (np.sqrt(power[1:-1] * power[:-2]) + _SILENT)
    energy = power.sum(axis=1)
    missed = energy[2:] + energy[1:-1] - 2 * agreed.sum(axis=1)
    return np.asarray(missed / (energy[2:] + _SILENT * power.shape[1]), np.float32)
