"""How well the `demo` model hears: CER on held-out sentences, through our own path and plain faster-whisper.

    python -m bench.asr [--model models/demo] [--sentences 150]

Four sets, all spoken by espeak-ng over a telephone line (300-3400 Hz, 8 kHz, μ-law), eight sentences to a recording,
with pauses between them:

* known phrases, new company: clauses of the training templates strung together as they never were in training;
* unseen sentences: those of ``bench/data/asr/unseen_domain.txt`` that have at least 30 % of their character 4-grams
  nowhere in the training text;
* the same two by voice variants no training clip used;
* the same two at rates above and below every training clip.

Both readers get the same samples. "own" is VAD, windows and recogniser as ``analyzer score`` uses them; "plain" is
``WhisperModel.transcribe(audio)`` with every option at its default, one recording at a time. CER counts Han characters
only, micro-averaged.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from analyzer.asr import WhisperRecogniser, windows
from analyzer.models import resolve
from analyzer.types import Role
from analyzer.vad import SpeechDetector
from models.training.corpus import HELD_OUT_VOICES, TRAINING_VOICES, telephone, to_16_khz
from models.training.espeak import Espeak, is_han
from models.training.text import Composer, _lines, alphabet, expand, spoken_only, templates

ROOT = Path(__file__).parent.parent
# seeds and numbers of the sentences the shipped model was trained on, at most: spoken (the shards of its corpus) and
# unspoken (spelling practice); the later ones with the sentences of ``text.written`` among them. Those have become more
# since: what is drawn here is what was drawn then or more of its kind
EARLY_TEXT = {
    **dict.fromkeys(range(1, 27), 2000),
    **dict.fromkeys((200, 201, 400, 401, 500, 501), 130000),
    **dict.fromkeys((3100, 3300, 3301), 280000),
}
LATE_TEXT = {
    **dict.fromkeys(range(27, 31), 2000),
    **dict.fromkeys((3400, 3401), 140000),
    **dict.fromkeys((3500, 3501), 230000),
    **dict.fromkeys((3600, 3601), 180000),
}
PER_RECORDING = 8


@dataclass(frozen=True, slots=True)
class Recording:
    """Sentences one after the other: int16 samples at 16 kHz and what is said."""

    samples: NDArray[np.int16]
    text: str


Reader = Callable[[Recording], str]


def training_text() -> Iterator[str]:
    """Every sentence the shipped model may have met, spoken or only read, composed again from the seeds."""
    characters = set(alphabet())
    for with_written, counts in ((False, EARLY_TEXT), (True, LATE_TEXT)):
        for seed, count in counts.items():
            composer = Composer(seed, characters, with_written)
            for _ in range(count):
                yield composer.sentence()


def han(text: str) -> str:
    return "".join(filter(is_han, text))


def four_grams(text: str) -> set[str]:
    letters = han(text)
    return {letters[i : i + 4] for i in range(len(letters) - 3)}


def recombined(draw: random.Random, count: int, known: set[str]) -> list[str]:
    """Sentences of two or three known clauses that were never said together."""
    clauses = [
        c for line in templates() for c in re.split(r"[，。？！]", spoken_only(expand(line, draw))) if 3 <= len(c) <= 14
    ]
    made: list[str] = []
    while len(made) < count:
        sentence = "，".join(draw.sample(clauses, draw.choice([1, 2, 2]))) + "。"
        if sentence not in known and len(han(sentence)) >= 6:
            made.append(sentence)
    return made


def unseen(seen: set[str]) -> tuple[list[str], float]:
    """Held-out sentences with ≥ 30 % new 4-grams, and the mean share of new 4-grams among all of the file."""
    lines = [spoken_only(line) for line in _lines(ROOT / "bench" / "data" / "asr" / "unseen_domain.txt")]
    shares = [len(four_grams(line) - seen) / max(1, len(four_grams(line))) for line in lines]
    return [line for line, share in zip(lines, shares, strict=True) if share >= 0.3], sum(shares) / len(shares)


def speak(
    sentences: Sequence[str], speaker: Espeak, draw: random.Random, voices: Sequence[str], wpm: tuple[int, int]
) -> Iterator[Recording]:
    for start in range(0, len(sentences), PER_RECORDING):
        group = sentences[start : start + PER_RECORDING]
        voice, pitch, rate = draw.choice(voices), draw.randint(30, 70), draw.randint(*wpm)
        parts = [np.zeros(8000, np.float32)]
        for sentence in group:
            speech = speaker.say(sentence, voice=voice, pitch=pitch, wpm=rate)
            parts += [to_16_khz(speech)]
            parts += [np.zeros(draw.randint(12_000, 24_000), np.float32)]
        line = telephone(0.4 * np.concatenate(parts), random.Random(1))
        noise = np.random.default_rng(start).normal(0, 10 ** (-60 / 20), len(line))
        yield Recording((np.clip(line + noise, -1, 1) * 32767).astype(np.int16), "".join(group))


def cer(pairs: Iterable[tuple[str, str]]) -> tuple[float, int]:
    wrong = total = 0
    for spoken, heard in pairs:
        wrong += Levenshtein.distance(han(spoken), han(heard))
        total += len(han(spoken))
    return wrong / max(1, total), total


def own_reader(model: Path) -> Reader:
    recogniser = WhisperRecogniser(resolve(str(model), offline=True), device="cpu")

    def read(recording: Recording) -> str:
        detector = SpeechDetector(Role.AGENT)
        segments = [*detector.feed(recording.samples), *detector.finish()]
        heard = recogniser.recognise(list(windows(segments, recogniser.packer())))
        return "".join(utterance.text for window in heard for utterance in window if utterance)

    return read


def plain_reader(model: Path) -> Reader:
    whisper = WhisperModel(str(model), device="cpu", compute_type="int8")

    def read(recording: Recording) -> str:
        segments, _ = whisper.transcribe(recording.samples.astype(np.float32) / 32768)
        return "".join(segment.text for segment in segments)

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "demo")
    parser.add_argument("--sentences", type=int, default=150, help="per set")
    parser.add_argument("--show", type=int, default=0, help="print so many recordings of each set")
    given = parser.parse_args()
    draw = random.Random(2026)
    known = set(training_text())
    seen = {gram for sentence in known for gram in four_grams(sentence)}
    new_sentences, new_share = unseen(seen)
    print(
        f"training text: {len(known)} sentences, {len(seen)} different 4-grams; "
        f"unseen file: {new_share:.0%} of 4-grams new, {len(new_sentences)} sentences with ≥ 30 % new"
    )
    draw.shuffle(new_sentences)
    sets = {
        "known phrases, recombined": recombined(draw, given.sentences, known),
        "unseen sentences": new_sentences[: given.sentences],
    }
    conditions = {
        "training voices": (TRAINING_VOICES, (100, 250)),
        "unseen voices": (HELD_OUT_VOICES, (100, 250)),
        "unseen rates": (TRAINING_VOICES, (295, 320)),
    }
    readers = {"own": own_reader(given.model), "plain": plain_reader(given.model)}
    speaker = Espeak()
    print(f"{'set':<28}{'condition':<18}{'characters':>11}" + "".join(f"{'CER ' + name:>12}" for name in readers))
    for set_name, sentences in sets.items():
        for condition, (voices, wpm) in conditions.items():
            recordings = list(speak(sentences, speaker, draw, voices, wpm))
            rates = {}
            total = 0
            for name, read in readers.items():
                heard = [read(recording) for recording in recordings]
                rates[name], total = cer((r.text, h) for r, h in zip(recordings, heard, strict=True))
                for recording, text in list(zip(recordings, heard, strict=True))[: given.show]:
                    print(f"  said  {recording.text}\n  {name:<5} {text}")
            print(
                f"{set_name:<28}{condition:<18}{total:>11}" + "".join(f"{rate:>12.1%}" for rate in rates.values()),
                flush=True,
            )


if __name__ == "__main__":
    main()
