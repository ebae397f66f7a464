"""One role's audio in, its stretches of speech out.

Theory of operation.

    frames ─► webrtcvad ─ heard something? ─► Silero, from 300 ms before ─► voice? ─► Endpointer ─► Segment
     of 30 ms  0.2 ms/s    no: silence         3 to 4 ms/s                   ▲
                                               tones ─────── not a voice ────┘

webrtcvad opens the gate (three voiced frames among the last ten; a single one while a stretch is open) and shuts it
when it has heard nothing for 300 ms; only while it is open does Silero decide. Once a stretch is believed Silero does
not decide alone: it remembers a voice for longer than webrtcvad, so what it is not sure of webrtcvad must hear too.
While the gate is shut between stretches, decisions lag 300 ms behind the audio: opening it lets Silero hear the onset,
and the silence before it, from a fresh state. Tone spectra are made only where they can matter: where Silero is not
sure of silence, and where webrtcvad hears voice all the time and Silero none, which is what a tone is like.

Everything is decided in steps of 128 ms of this role's own audio, counted from its start. How the audio was cut into
calls of `feed` therefore changes nothing, nor does anything on another channel. Silero is run over as many steps at
once as have come and are sure to be wanted, because a run costs as much as two windows; tone spectra are made of as
many. What either says of a window or frame does not depend on that (tests hold them to it).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from analyzer.types import Role, Span
from analyzer.vad import silero, tones
from analyzer.vad.endpoint import FRAME_MS, Endpointer, State, Stretch
from analyzer.vad.gate import FRAME, RECENT, Gate
from analyzer.vad.segment import SAMPLES_PER_MS, Segment
from analyzer.vad.tape import Tape

STEP = 4 * silero.WINDOW  # samples decided at once
AHEAD = 8  # steps that Silero hears in one run at most: more gain nothing
ENTER, STAY = 0.4, 0.15  # Silero's probability that starts a stretch, and that counts as voice once it is open
SURE = 0.5  # and from which on webrtcvad, that misses soft voices, is not asked
TONE_FRAMES = (tones.REACH + 2 * tones.FRAME) // FRAME - 1  # whole frames a steady tone has lasted when it is noticed
_MARGIN = tones.REACH + (RECENT + 8) * FRAME  # audio kept behind the step: what tones and a gate that opens look at
_SILENCE_DB = -120.0


class SpeechDetector:
    """Finds one role's speech in audio that arrives in pieces of any size. Memory: the open stretch, at most 15 s."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._tape = Tape()
        self._gate = Gate()
        self._model = silero.SpeechModel()
        self._endpointer = Endpointer()
        self._stepped = 0  # samples
        self._open = False
        self._first_window = 0  # place of _probabilities[0]
        self._probabilities: NDArray[np.float32] = np.zeros(0, np.float32)
        self._last_likely = -TONE_FRAMES  # last frame in which Silero was not sure of silence
        self._first_tone = 0  # frame of _is_tone[0]
        self._is_tone: list[bool] = []

    @property
    def settled_ms(self) -> int:
        """Every segment that begins before this moment has been given out."""
        return self._endpointer.start * FRAME_MS

    def feed(self, samples: NDArray[np.int16]) -> Iterator[Segment]:
        """Hear the next samples (int16, 16 kHz, any number); exhaust the iterator before the next call."""
        self._tape.append(samples)
        yield from self._steps(self._tape.end)

    def finish(self) -> Iterator[Segment]:
        """No more audio: what is still open ends here."""
        end = self._tape.end
        self._tape.append(np.zeros(-end % STEP, np.int16))
        yield from self._steps(end)
        for stretch in self._endpointer.finish():
            yield self._segment(stretch, end)

    @property
    def is_open(self) -> bool:
        """Somebody speaks."""
        return self._endpointer.open_stretch is not None

    @property
    def open_speech(self) -> Sequence[Span]:
        """The span of the speech that goes on, as far as it is decided, and those voiced in it. Empty while nobody
        speaks."""
        stretch = self._endpointer.open_stretch
        return _spans(stretch, self._stepped) if stretch else ()

    def open_segment(self) -> Segment | None:
        """The speech that goes on, as far as it is decided: it will be cut elsewhere. None while nobody speaks."""
        stretch = self._endpointer.open_stretch
        return self._segment(stretch, self._stepped) if stretch else None

    @property
    def foreseen_span(self) -> Span | None:
        """The span of ``foreseen_segment``, which takes more to cut out."""
        stretch = self._endpointer.foreseen
        return _spans(stretch, self._stepped)[0] if stretch else None

    def foreseen_segment(self) -> Segment | None:
        """The open speech as it will be given out if the silence that has begun goes on."""
        stretch = self._endpointer.foreseen
        return self._segment(stretch, self._stepped) if stretch else None

    def _steps(self, end: int) -> Iterator[Segment]:
        """Decide what has come; no sample from `end` on is the role's own."""
        heard = self._gate.heard
        self._gate.hear(self._tape.read(heard * FRAME, (self._tape.end // FRAME - heard) * FRAME))
        while self._tape.end - self._stepped >= STEP:
            for stretch in self._step():
                yield self._segment(stretch, end)

    def _step(self) -> Iterator[Stretch]:
        first, until = self._stepped // FRAME, (self._stepped + STEP) // FRAME
        self._stepped += STEP
        was_open, self._open = self._open, self._is_wanted(first, until)
        if self._open:
            if not was_open:
                self._model.forget()
                self._first_window = max(0, first - RECENT) * FRAME // silero.WINDOW
                self._probabilities = np.zeros(0, np.float32)
            yield from self._judge(until)
        else:
            yield from self._pass_over(until)
        self._tape.forget(min(self._endpointer.start * FRAME, self._stepped - _MARGIN))
        self._gate.forget(until - 2 * RECENT)

    def _is_wanted(self, first: int, until: int) -> bool:
        """Are these frames worth Silero's time?"""
        if self._gate.knocks(first, until):
            return True
        return self._endpointer.state is not State.QUIET and self._gate.heard_something(until - RECENT, until)

    def _pass_over(self, until: int) -> Iterator[Stretch]:
        """Call it silence: in an open stretch all of it, else up to where a gate that opens looks back."""
        if self._endpointer.state is State.QUIET:
            until -= RECENT
        for energy in self._energies(self._endpointer.frame, until):
            yield from self._endpointer.feed(voiced=False, loudness=energy)

    def _judge(self, until: int) -> Iterator[Stretch]:
        """Decide all frames before `until`."""
        self._hear_windows()
        first = self._endpointer.frame
        windows = (np.arange(first, until) * FRAME + FRAME // 2) // silero.WINDOW
        probabilities = self._probabilities[windows - self._first_window].tolist()
        steady = self._tones(first, until, probabilities)
        if all(steady):  # after seconds of a tone Silero would take the first word for more of it
            self._model.forget()
            self._probabilities = self._probabilities[: self._stepped // silero.WINDOW - self._first_window]
        energies = self._energies(first, until)
        for frame, p, is_tone, energy in zip(range(first, until), probabilities, steady, energies, strict=True):
            voiced = self._is_voice(frame, p)
            yield from self._endpointer.feed(voiced, energy, frame - TONE_FRAMES + 1 if is_tone else None)

    def _is_voice(self, frame: int, probability: float) -> bool:
        """Silero goes on for 200 ms or more after a voice has ended, webrtcvad for 100: both must still hear it, unless
        Silero is sure or there is not enough voice yet to believe it."""
        if self._endpointer.state is State.QUIET:
            return probability >= ENTER
        if self._endpointer.state is State.STARTING or probability >= SURE:
            return probability >= STAY
        return probability >= STAY and self._gate.heard_something(frame, frame + 1)

    def _hear_windows(self) -> None:
        """Let Silero hear the step, if it has not yet, and those after it that will be wanted in any case."""
        keep_from = self._endpointer.frame * FRAME // silero.WINDOW
        heard_until = self._first_window + len(self._probabilities)
        new = np.zeros(0, np.float32)
        if heard_until * silero.WINDOW < self._stepped:
            until = self._sure_until()
            start = heard_until * silero.WINDOW - silero.CONTEXT
            new = self._model.probabilities(self._tape.read(start, until - start))
        self._probabilities = np.concatenate([self._probabilities, new])[max(0, keep_from - self._first_window) :]
        self._first_window = max(self._first_window, keep_from)

    def _sure_until(self) -> int:
        """End of the steps, in samples, from the one being decided on, that have come and in which webrtcvad knocks."""
        until = self._stepped
        latest = min(self._tape.end, self._stepped + (AHEAD - 1) * STEP)
        while until + STEP <= latest and self._gate.knocks(until // FRAME, (until + STEP) // FRAME):
            until += STEP
        return until

    def _tones(self, first: int, until: int, probabilities: list[float]) -> list[bool]:
        """Which of these frames are part of a steady tone, where that can matter."""
        was_likely = first - self._last_likely <= TONE_FRAMES
        likely = [frame for frame, p in zip(range(first, until), probabilities, strict=True) if p >= STAY]
        self._last_likely = likely[-1] if likely else self._last_likely
        if not (likely or was_likely or self._gate.all_voiced(first, until)):
            return [False] * (until - first)
        if not self._first_tone <= first < until <= self._first_tone + len(self._is_tone):
            self._hear_tones(first)
        return self._is_tone[first - self._first_tone : until - self._first_tone]

    def _hear_tones(self, first: int) -> None:
        """From this frame on, as far as webrtcvad knocks: there Silero will mostly be unsure."""
        until = self._sure_until() // FRAME
        start = (first + 1) * FRAME - tones.REACH - 2 * FRAME
        heard = self._tape.read(start, until * FRAME - start)
        self._first_tone, self._is_tone = first, (tones.unforeseen(heard) < tones.STEADY).tolist()

    def _energies(self, first: int, until: int) -> list[float]:
        """Mean square of each frame, for the place of a forced cut."""
        if until <= first:
            return []
        heard = self._tape.read(first * FRAME, (until - first) * FRAME).astype(np.float32).reshape(-1, FRAME)
        energies: list[float] = np.einsum("ij,ij->i", heard, heard).tolist()
        return energies

    def _segment(self, stretch: Stretch, end: int) -> Segment:
        """Cut a stretch out of the audio; nothing lies behind sample `end`."""
        span, *speech = _spans(stretch, end)
        samples = self._tape.read(span.start_ms * SAMPLES_PER_MS, span.duration_ms * SAMPLES_PER_MS)
        samples.flags.writeable = False
        return Segment(self._role, span, samples, tuple(speech), level_db(samples, speech, span.start_ms))


def _spans(stretch: Stretch, end: int) -> list[Span]:
    """In call time: the stretch, and what is voiced in it; nothing lies behind sample `end`."""
    last_ms = end // SAMPLES_PER_MS
    voiced = [_span(start, end, last_ms) for start, end in stretch.speech if start * FRAME_MS < last_ms]
    return [_span(stretch.start, stretch.end, last_ms), *voiced]


def _span(start: int, end: int, last_ms: int) -> Span:
    return Span(min(start * FRAME_MS, last_ms), min(end * FRAME_MS, last_ms))


def level_db(samples: NDArray[np.int16], speech: Sequence[Span], start_ms: int) -> float:
    """Mean level of the voiced spans in dB relative to full scale."""
    places = [slice((s.start_ms - start_ms) * SAMPLES_PER_MS, (s.end_ms - start_ms) * SAMPLES_PER_MS) for s in speech]
    voiced = np.concatenate([samples[place] for place in places]).astype(np.float64) / 32_768
    power = float(np.mean(np.square(voiced))) if len(voiced) else 0.0
    return round(10 * math.log10(power), 1) if power > 0 else _SILENCE_DB
