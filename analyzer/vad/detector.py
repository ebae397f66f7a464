"""One role's audio in, its stretches of speech out.

Theory of operation.

    frames ─► webrtcvad ─ 3 of the last 10 voiced? ─► Silero, from 300 ms before ─► voice? ─► Endpointer ─► Segment
     of 30 ms  0.1 ms/s    no: nothing more to do    3 ms/s                        ▲
                                                     tones ─────── not a voice ────┘

webrtcvad costs next to nothing and lets almost no speech through its fingers, but calls music and noise speech; Silero
is seldom wrong and thirty times as dear. So webrtcvad opens a gate, and while it is open Silero decides. The gate stays
open as long as a stretch is (pauses between words are judged by Silero too). While it is shut, decisions lag 300 ms
behind the audio: opening it lets Silero hear the onset, and the silence before it, from a fresh state.

Everything happens in steps of 128 ms of this role's own audio, counted from its start. How the audio was cut into
calls of `feed` therefore changes nothing, nor does anything on another channel.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from analyzer.types import Role, Span
from analyzer.vad import silero, tones
from analyzer.vad.endpoint import FRAME_MS, Endpointer, State, Stretch
from analyzer.vad.segment import SAMPLE_RATE, SAMPLES_PER_MS, Segment
from analyzer.vad.tape import Tape

FRAME = FRAME_MS * SAMPLES_PER_MS
STEP = 4 * silero.WINDOW  # samples heard at once: four windows in one run cost half of what four runs do
AGGRESSIVENESS = 2  # of webrtcvad, 0 to 3: 3 misses quiet speech
RECENT = 10  # frames the gate looks at, and the lag while it is shut
OPENS_AT = 3  # voiced ones among them
ENTER, STAY = 0.4, 0.15  # Silero's probability that starts a stretch, and that counts as voice once it is open
TONE_FRAMES = (tones.REACH + 2 * tones.FRAME) // FRAME - 1  # whole frames a steady tone has lasted when it is noticed
_MARGIN = tones.REACH + (RECENT + 8) * FRAME  # audio kept behind the step: what tones and a gate that opens look at
_SILENCE_DB = -120.0


class SpeechDetector:
    """Finds one role's speech in audio that arrives in pieces of any size. Memory: the open stretch, at most 15 s."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._tape = Tape()
        self._quick = webrtcvad.Vad(AGGRESSIVENESS)
        self._model = silero.SpeechModel()
        self._endpointer = Endpointer()
        self._stepped = 0  # samples
        self._quick_frame = 0  # next for webrtcvad
        self._recent: deque[bool] = deque(maxlen=RECENT)
        self._open = False
        self._first_window = 0  # place of _probabilities[0]
        self._probabilities: NDArray[np.float32] = np.zeros(0, np.float32)

    @property
    def settled_ms(self) -> int:
        """Every segment that begins before this moment has been given out."""
        return self._endpointer.start * FRAME_MS

    def feed(self, samples: NDArray[np.int16]) -> Iterator[Segment]:
        """Hear the next samples (int16, 16 kHz, any number); exhaust the iterator before the next call."""
        self._tape.append(samples)
        while self._tape.end - self._stepped >= STEP:
            for stretch in self._step():
                yield self._segment(stretch, self._tape.end)

    def finish(self) -> Iterator[Segment]:
        """No more audio: what is still open ends here."""
        end = self._tape.end
        if missing := -end % STEP:
            self._tape.append(np.zeros(missing, np.int16))
            for stretch in self._step():
                yield self._segment(stretch, end)
        for stretch in self._endpointer.finish():
            yield self._segment(stretch, end)

    def _step(self) -> Iterator[Stretch]:
        self._stepped += STEP
        if self._gate():
            yield from self._judge()
        else:
            while self._endpointer.frame < self._quick_frame - RECENT:
                yield from self._endpointer.feed(voiced=False, loudness=0.0)
        self._tape.forget(min(self._endpointer.start * FRAME, self._stepped - _MARGIN))

    def _gate(self) -> bool:
        """Let webrtcvad hear the step; is it worth Silero's time?"""
        knock = False
        while (self._quick_frame + 1) * FRAME <= self._stepped:
            frame = self._tape.read(self._quick_frame * FRAME, FRAME)
            self._recent.append(self._quick.is_speech(frame.tobytes(), SAMPLE_RATE))
            knock = knock or sum(self._recent) >= OPENS_AT
            self._quick_frame += 1
        was_open, self._open = self._open, knock or self._endpointer.state is not State.QUIET
        if self._open and not was_open:
            self._model.forget()
            self._first_window = self._endpointer.frame * FRAME // silero.WINDOW
            self._probabilities = np.zeros(0, np.float32)
        return self._open

    def _judge(self) -> Iterator[Stretch]:
        """Decide all frames the step completes."""
        self._hear_windows()
        first, until = self._endpointer.frame, self._stepped // FRAME
        reach = tones.REACH + tones.FRAME
        heard = self._tape.read((first + 1) * FRAME - reach - FRAME, reach + (until - first) * FRAME)
        steady = tones.unforeseen(heard) < tones.STEADY
        if steady.all():
            self._model.forget()  # after seconds of a tone it would take the first word for more of it
        energies = np.square(heard[reach:].astype(np.float64)).reshape(-1, FRAME).mean(axis=1)
        for frame, is_tone, energy in zip(range(first, until), steady.tolist(), energies.tolist(), strict=True):
            window = (frame * FRAME + FRAME // 2) // silero.WINDOW
            probability = float(self._probabilities[window - self._first_window])
            voiced = probability >= (ENTER if self._endpointer.state is State.QUIET else STAY)
            yield from self._endpointer.feed(voiced, energy, frame - TONE_FRAMES + 1 if is_tone else None)

    def _hear_windows(self) -> None:
        heard_until = self._first_window + len(self._probabilities)
        n = self._stepped // silero.WINDOW - heard_until
        samples = self._tape.read(heard_until * silero.WINDOW - silero.CONTEXT, silero.CONTEXT + n * silero.WINDOW)
        new = self._model.probabilities(samples)
        keep_from = self._endpointer.frame * FRAME // silero.WINDOW
        self._probabilities = np.concatenate([self._probabilities, new])[keep_from - self._first_window :]
        self._first_window = keep_from

    def _segment(self, stretch: Stretch, end: int) -> Segment:
        """Cut a stretch out of the audio; nothing lies behind sample `end`."""
        last_ms = end // SAMPLES_PER_MS
        span = _span(stretch.start, stretch.end, last_ms)
        speech = tuple(_span(start, end, last_ms) for start, end in stretch.speech if start * FRAME_MS < last_ms)
        samples = self._tape.read(span.start_ms * SAMPLES_PER_MS, span.duration_ms * SAMPLES_PER_MS)
        samples.flags.writeable = False
        return Segment(self._role, span, samples, speech, _level_db(samples, speech, span.start_ms))


def _span(start: int, end: int, last_ms: int) -> Span:
    return Span(min(start * FRAME_MS, last_ms), min(end * FRAME_MS, last_ms))


def _level_db(samples: NDArray[np.int16], speech: tuple[Span, ...], start_ms: int) -> float:
    """Mean level of the voiced spans in dB relative to full scale."""
    places = [slice((s.start_ms - start_ms) * SAMPLES_PER_MS, (s.end_ms - start_ms) * SAMPLES_PER_MS) for s in speech]
    voiced = np.concatenate([samples[place] for place in places]).astype(np.float64) / 32_768
    power = float(np.mean(np.square(voiced))) if len(voiced) else 0.0
    return round(10 * math.log10(power), 1) if power > 0 else _SILENCE_DB
