"""Which window a model stands: measured on the operator's own audio, written beside the model.

Padding every utterance to 30 s costs about ten times an encoder pass over its own length. Some models do not mind the
shorter one, many fall apart (stock large-v3-turbo goes from 15 to 63 % word errors), and nothing in a model folder says
which. So windows are exact only where a ``calibration.json`` made for this very digest says so, and it says so only if
the cheapest window that passes loses at most 0.3 points against 30 s and trips the gates no more often.

Loss is measured on first drafts, before any second look: with transcripts, as the rise of the character error rate;
without, as disagreement with the 30 s text beyond what 30 s shows against itself when the audio begins 100 ms later.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from analyzer.asr import gates
from analyzer.errors import ConfigError, ModelError
from analyzer.models import ModelFolder
from analyzer.types import Span, Transcript, Utterance

if TYPE_CHECKING:
    from analyzer.asr.whisper import WhisperRecogniser
    from analyzer.vad import Segment

SCHEMA = "analyzer.calibration/1"
SAFE = None  # as a tail: fill up to 30 s
TAILS_MS = (500, 1_280, 3_000, 10_000)  # silence after the audio; 1 280 ms is what models tuned for this are tuned with
MOST_LOSS = 0.003  # of all characters
FEWEST_CHARACTERS = 1_000  # so that the loss allowed is three characters, not chance
_SHIFT_MS = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sample:
    """A segment to calibrate on, with what is said in it if somebody wrote that down."""

    segment: Segment
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One window tried. tail_ms: silence after the audio, None for 30 s. Rates are of characters, 0..1."""

    tail_ms: int | None
    error_rate: float
    loss: float
    gated: int
    cpu_s_per_audio_s: float

    @property
    def name(self) -> str:
        return "30 s" if self.tail_ms is None else f"exact + {self.tail_ms / 1000:g} s"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured and what follows: the tail to use, None if only 30 s is safe.

    labelled  errors were counted against transcripts, not against the model's own 30 s text
    floor     error rate of 30 s against itself, 100 ms later (0 if labelled)
    """

    tail_ms: int | None = None
    model: str = ""
    compute_type: str = ""
    beam_size: int = 1
    labelled: bool = False
    segments: int = 0
    characters: int = 0
    floor: float = 0.0
    table: tuple[Row, ...] = ()

    @property
    def fit(self) -> bool:
        """The model stands windows shorter than 30 s."""
        return self.tail_ms is not None


def calibrate(recogniser: WhisperRecogniser, samples: Sequence[Sample]) -> Calibration:
    """Measure every window on ``samples``; either all of them carry a text or none counts.

    raises  ConfigError if there is too little to tell 0.3 points from chance
    """
    kept = [sample for sample in samples if not sample.segment.gated]
    labelled = bool(kept) and all(sample.text is not None for sample in kept)
    segments = [sample.segment for sample in kept]
    full, full_gated, full_cost = _measure(recogniser, segments, SAFE)
    references = [_comparable(sample.text or "") for sample in kept] if labelled else full
    n_characters = sum(map(len, references))
    if n_characters < FEWEST_CHARACTERS:
        raise ConfigError(
            f"calibration needs {FEWEST_CHARACTERS} recognised characters (about five minutes of speech), got "
            f"{n_characters} from {len(segments)} segments; add recordings"
        )
    floor = 0.0 if labelled else _error_rate(_measure(recogniser, [_later(one) for one in segments], SAFE)[0], full)
    base = _error_rate(full, references) if labelled else floor
    rows = []
    for tail_ms in TAILS_MS:
        texts, gated, cost = _measure(recogniser, segments, tail_ms)
        error_rate = _error_rate(texts, references)
        rows.append(Row(tail_ms, round(error_rate, 5), round(error_rate - base, 5), gated, cost))
    passing = [row for row in rows if row.loss <= MOST_LOSS and row.gated <= full_gated]
    info = recogniser.info
    return Calibration(
        tail_ms=min((row.tail_ms for row in passing if row.tail_ms is not None), default=None),
        model=info["digest"],
        compute_type=info["compute_type"],
        beam_size=info["beam_size"],
        labelled=labelled,
        segments=len(segments),
        characters=n_characters,
        floor=round(floor, 5),
        table=(*rows, Row(SAFE, round(base if labelled else 0.0, 5), 0.0, full_gated, full_cost)),
    )


def label(segments: Iterable[Segment], transcript: Transcript) -> list[Sample]:
    """Each segment of a recording with what its transcript says was said in it: "" where it says nothing.

    A character belongs to the segment that holds its middle. Where the transcript times only utterances, their
    characters are spread evenly over the voiced time that the role's segments have in the utterance's span: one at a
    cut may fall on the wrong side, and does so for every window alike. Words outside every segment count nowhere.
    """
    kept = list(segments)
    texts = ["" for _ in kept]
    for utterance in sorted(transcript.utterances, key=lambda utterance: utterance.span):
        own = [(place, one) for place, one in enumerate(kept) if one.role is utterance.role and not one.gated]
        for character, at_ms in zip(utterance.text, _middles(utterance, [one for _, one in own]), strict=True):
            for place, one in own:
                if one.span.start_ms <= at_ms < one.span.end_ms:
                    texts[place] += character
                    break
    return [Sample(one, text) for one, text in zip(kept, texts, strict=True)]


def _middles(utterance: Utterance, segments: Sequence[Segment]) -> list[float]:
    """The middle of each character, in ms of the call."""
    if utterance.characters is not None and not utterance.interpolated:
        return [(span.start_ms + span.end_ms) / 2 for span in utterance.characters]
    start, end = utterance.span.start_ms, utterance.span.end_ms
    spans = [(max(s.start_ms, start), min(s.end_ms, end)) for one in segments for s in one.speech]
    voiced = [(begin, until) for begin, until in spans if begin < until] or [(start, end)]
    edges = np.concatenate([[0], np.cumsum([until - begin for begin, until in voiced])])
    middles = []
    for spoken in (np.arange(len(utterance.text)) + 0.5) / len(utterance.text) * edges[-1]:
        place = min(int(np.searchsorted(edges, spoken, side="right")) - 1, len(voiced) - 1)
        middles.append(float(voiced[place][0] + spoken - edges[place]))
    return middles


def write_calibration(folder: ModelFolder, calibration: Calibration) -> None:
    """Put the measurement beside the model, where the recogniser looks for it."""
    fields = {"schema": SCHEMA, "fit": calibration.fit, **asdict(calibration)}
    try:
        folder.calibration.write_text(json.dumps(fields, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise ModelError(
            f"{folder.calibration}: cannot be written ({error}); copy the model to a folder of yours"
        ) from error


def read_calibration(folder: ModelFolder) -> Calibration:
    """The calibration beside the model; an empty one (30 s) if there is none, or it was made for other weights.

    raises  ModelError if the file is damaged
    """
    if not folder.calibration.is_file():
        return Calibration()
    try:
        fields: dict[str, Any] = json.loads(folder.calibration.read_text(encoding="utf-8"))
        if fields.pop("schema") != SCHEMA:
            raise ValueError(f"not {SCHEMA}")
        del fields["fit"]
        rows = tuple(Row(**row) for row in fields.pop("table"))
        calibration = Calibration(**fields, table=rows)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder.calibration}: not a calibration ({error}); delete it or run `analyzer model calibrate` again"
        ) from error
    if calibration.model != folder.digest:
        log.warning("%s was made for other weights: 30 s windows; run `analyzer model calibrate`", folder.calibration)
        return Calibration()
    return calibration


def _measure(
    recogniser: WhisperRecogniser, segments: Sequence[Segment], tail_ms: int | None
) -> tuple[list[str], int, float]:
    """First drafts at one window: comparable texts, how many trip a gate, CPU seconds per second of audio."""
    twin = recogniser.with_window("safe" if tail_ms is None else tail_ms)
    began = time.process_time()
    drafts = twin.first_look(segments)
    seconds = sum(segment.span.duration_ms for segment in segments) / 1000
    cost = (time.process_time() - began) / (seconds or 1)
    return [_comparable(text) for text, _ in drafts], sum(gated for _, gated in drafts), round(cost, 4)


def _comparable(text: str) -> str:
    return gates.significant(text).lower()


def _error_rate(texts: Sequence[str], references: Sequence[str]) -> float:
    from rapidfuzz.distance import Levenshtein  # noqa: PLC0415

    edits = sum(Levenshtein.distance(text, reference) for text, reference in zip(texts, references, strict=True))
    return edits / (sum(map(len, references)) or 1)


def _later(segment: Segment) -> Segment:
    """The same segment with a little silence before it: what changes then is the model's own wavering."""
    silence = np.zeros(_SHIFT_MS * 16, np.int16)
    span = Span(segment.span.start_ms, segment.span.end_ms + _SHIFT_MS)
    speech = tuple(Span(voice.start_ms + _SHIFT_MS, voice.end_ms + _SHIFT_MS) for voice in segment.speech)
    return replace(segment, span=span, samples=np.concatenate([silence, segment.samples]), speech=speech)
