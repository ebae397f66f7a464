"""The recogniser that calls are scored with: Whisper, its windows, its gates, and the second look.

A window is decoded once. Where the result trips a gate (a loop, an impossible speed, a runaway, nothing where there
was clearly a voice) the segments concerned are decoded once more, each alone in 30 s and with a wider beam; what still
trips is dropped, except a loop, of which two rounds are kept with a confidence low enough that a human decides.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analyzer.asr import gates
from analyzer.asr.calibration import SAFE, read_calibration
from analyzer.asr.engine import Draft, Engine, Task, frames
from analyzer.asr.recogniser import Plan
from analyzer.asr.spelling import Character, TimedPiece
from analyzer.asr.windows import Filling, OneByOne, Packer, Window, hand_out
from analyzer.models import ModelFolder
from analyzer.types import Span, Utterance

if TYPE_CHECKING:
    from analyzer.vad import Segment

SECOND_LOOK_BEAM = 5  # Whisper's own default
OWED_SPEECH_MS = 700  # this much voice and no text is worth a second look; less may be a cough
LOOP_CONFIDENCE = 0.3  # below every threshold a rule judges at


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one segment is taken to say."""

    segment: Segment
    characters: tuple[Character, ...]
    no_speech: float
    exhausted: bool

    @property
    def text(self) -> str:
        return "".join(character.text for character in self.characters)

    @property
    def voiced_ms(self) -> int:
        return sum(span.duration_ms for span in self.segment.speech)

    @property
    def mean_log_prob(self) -> float:
        return sum(character.log_prob for character in self.characters) / (len(self.characters) or 1)


class WhisperRecogniser:
    """Whisper through faster-whisper and CTranslate2, behind the ``Recogniser`` door.

    device        auto | cpu | cuda
    compute_type  CTranslate2's name; default int8 on a CPU, float16 on a GPU
    workers       batches decoded at once; threads: cores per batch. Default: all cores, at most four batches at once
    beam_size     1 is greedy; default: the one this very model was calibrated with, else 1
    prompt        fixed text before every window; default: the manifest's for this model
    window        "auto": exact if a calibration of this very model says so, else safe; "safe"; or the ms of silence
                  after each segment, for measuring
    raises        ModelError if the model does not load, ConfigError for an impossible option
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        device: str = "auto",
        compute_type: str | None = None,
        workers: int | None = None,
        threads: int | None = None,
        beam_size: int | None = None,
        batch_size: int = 8,
        prompt: str | None = None,
        window: str | int = "auto",
    ) -> None:
        self._prompt = folder.prompt if prompt is None else prompt
        self._engine = Engine(
            folder,
            device=device,
            compute_type=compute_type,
            workers=workers,
            threads=threads,
            batch_size=batch_size,
            prompt=self._prompt,
        )
        calibration = read_calibration(folder)
        self._beam_size = calibration.beam_size if beam_size is None else beam_size
        self._tail_ms = calibration.tail_ms if window == "auto" else _tail(window)
        self._simplify = _simplifier()

    def with_window(self, window: str | int) -> WhisperRecogniser:
        """The same loaded model with other windows, e.g. to compare them."""
        twin = copy(self)
        twin._tail_ms = _tail(window)
        return twin

    @property
    def info(self) -> Mapping[str, Any]:
        folder = self._engine.folder
        return {
            "name": folder.name,
            "digest": folder.digest,
            "notice": folder.notice,
            "window": "30s" if self._tail_ms is None else f"exact+{self._tail_ms}ms",
            "compute_type": self._engine.compute_type,
            "beam_size": self._beam_size,
            "prompt": self._prompt,
        }

    @property
    def plan(self) -> Plan:
        engine = self._engine
        return Plan(engine.device, engine.workers, engine.threads, engine.batch_size)

    @property
    def spent_s(self) -> Mapping[str, float]:
        """Seconds spent so far, per step of the engine."""
        return self._engine.spent_s

    @property
    def own_cpu_s(self) -> Mapping[str, float]:
        """See ``Recogniser.own_cpu_s``."""
        return self._engine.own_cpu_s

    def packer(self) -> Packer:
        if self._tail_ms is not None or not self._engine.times_characters:  # text without times cannot be cut
            return OneByOne()
        return Filling(self._engine.longest_ms)

    def kind(self, window: Window) -> Hashable:
        """The length its encoder sees; None for a window that is not decoded at all."""
        return frames(window.n_samples, self._tail_ms) if window.heard else None

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        """See ``Recogniser.recognise``."""
        drafts = iter(self._engine.decode([self._task(window) for window in windows if window.heard]))
        readings = [self._read(window, next(drafts)) if window.heard else [] for window in windows]
        seconds = iter(self._look_again([reading for window in readings for reading in window]))
        results = []
        for window in windows:
            spoken = {id(segment): next(seconds) for segment in window.heard}
            results.append(tuple(spoken.get(id(segment)) for segment in window.segments))
        return results

    def first_look(self, segments: Sequence[Segment]) -> list[tuple[str, bool]]:
        """Each segment alone, decoded once: its text before any gate, and whether one would want a second look."""
        windows = [Window((segment,)) for segment in segments if not segment.gated]
        drafts = self._engine.decode([self._task(window) for window in windows])
        readings = [self._read(window, draft)[0] for window, draft in zip(windows, drafts, strict=True)]
        return [(reading.text, self._is_doubtful(reading)) for reading in readings]

    def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
        """See ``Recogniser.glance``: greedy and decoded once, by one worker: the others are for finals."""
        windows = [Window((segment,)) for segment in segments]
        drafts = self._engine.decode([self._task(window, beam_size=1) for window in windows], at_once=1)
        return [self._judge(self._read(window, draft)[0]) for window, draft in zip(windows, drafts, strict=True)]

    def _task(self, window: Window, beam_size: int | None = None) -> Task:
        return Task(window.samples(), self._tail_ms, beam_size or self._beam_size)

    def _read(self, window: Window, draft: Draft) -> list[_Reading]:
        """Cut a window's draft into its heard segments."""
        pieces = draft.pieces if draft.pieces is not None else (_untimed(draft, window.heard[0]),)
        return [
            _Reading(segment, self._polish(share), draft.no_speech, draft.exhausted)
            for segment, share in zip(window.heard, hand_out(pieces, window), strict=True)
        ]

    def _polish(self, characters: Sequence[Character]) -> tuple[Character, ...]:
        """Simplified characters, no space at the ends."""
        text = "".join(character.text for character in characters)
        simplified = self._simplify(text)
        kept = [
            Character(letter, old.start_ms, old.end_ms, old.log_prob, old.interpolated)
            for letter, old in zip(simplified, characters, strict=True)
        ]
        first = len(text) - len(text.lstrip())
        return tuple(kept[first : len(text.rstrip())])

    def _look_again(self, readings: Sequence[_Reading]) -> list[Utterance | None]:
        """Judge every reading, after a second one where the first trips a gate."""
        doubtful = [place for place, reading in enumerate(readings) if self._is_doubtful(reading)]
        alone = [Window((readings[place].segment,)) for place in doubtful]
        tasks = [Task(window.samples(), None, max(SECOND_LOOK_BEAM, self._beam_size)) for window in alone]
        judged = list(readings)
        for place, window, draft in zip(doubtful, alone, self._engine.decode(tasks), strict=True):
            judged[place] = self._read(window, draft)[0]
        return [self._judge(reading) for reading in judged]

    def _is_doubtful(self, reading: _Reading) -> bool:
        if not reading.characters:
            return reading.voiced_ms >= OWED_SPEECH_MS
        return (
            reading.exhausted
            or gates.is_too_fast(reading.text, reading.voiced_ms)
            or gates.loop_cut(reading.text) is not None
        )

    def _judge(self, reading: _Reading) -> Utterance | None:
        if not gates.significant(reading.text) or self._is_nothing(reading):
            return None
        cut = gates.loop_cut(reading.text)
        if cut is None and reading.exhausted:
            return None
        return _utterance(reading, cut)

    def _is_nothing(self, reading: _Reading) -> bool:
        """Text that nobody said."""
        span_ms = reading.segment.span.duration_ms
        return (
            gates.is_silence(reading.no_speech, reading.mean_log_prob)
            or gates.is_too_fast(reading.text[: gates.loop_cut(reading.text)], reading.voiced_ms)
            or gates.significant(reading.text) == gates.significant(self._prompt)
            or (gates.is_weak_voice(reading.voiced_ms, span_ms) and gates.is_invention(reading.text))
        )


def _tail(window: str | int) -> int | None:
    return SAFE if isinstance(window, str) else window


def _untimed(draft: Draft, segment: Segment) -> TimedPiece:
    """The whole text over the whole voiced time, from a model that cannot time it. In ms from the segment's start."""
    voices = segment.speech or (segment.span,)
    begin, end = voices[0].start_ms - segment.span.start_ms, voices[-1].end_ms - segment.span.start_ms
    return TimedPiece(draft.text, begin, end, draft.mean_log_prob)


def _utterance(reading: _Reading, cut: int | None) -> Utterance:
    characters = reading.characters[:cut]
    confidence = math.exp(sum(character.log_prob for character in characters) / len(characters))
    if cut is not None:
        confidence = min(confidence, LOOP_CONFIDENCE)
    return Utterance(
        role=reading.segment.role,
        span=Span(characters[0].start_ms, characters[-1].end_ms),
        text="".join(character.text for character in characters),
        confidence=round(min(1.0, confidence), 3),
        characters=tuple(Span(character.start_ms, character.end_ms) for character in characters),
        interpolated=any(character.interpolated for character in characters),
        level_db=round(reading.segment.level_db, 1),
    )


def _simplifier() -> Any:
    """Traditional to simplified, one character for one, so that times stay with their characters."""
    from opencc import OpenCC  # noqa: PLC0415

    convert = OpenCC("tw2s").convert

    def simplify(text: str) -> str:
        whole: str = convert(text)
        if len(whole) == len(text):
            return whole
        letters = [convert(letter) for letter in text]
        return "".join(new if len(new) == 1 else old for new, old in zip(letters, text, strict=True))

    return simplify
