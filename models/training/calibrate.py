"""Find the shortest window the `demo` model stands, on sentences it was not trained on, with their text known.

    python -m models.training.calibrate models/demo

`analyzer model calibrate` compares windows with the model's own 30 s text, because a buyer's recordings have no
transcript. Here the text is known, so errors are counted against it. Writes ``calibration.json`` into the folder.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from analyzer.asr import Sample, WhisperRecogniser, calibrate, write_calibration
from analyzer.models import resolve
from analyzer.types import Role, Span
from analyzer.vad import Segment
from models.training.corpus import TRAINING_VOICES, telephone, to_16_khz
from models.training.espeak import Espeak
from models.training.text import Composer, alphabet

UNUSED_SEED = 2026  # no shard of the corpus has it
SENTENCES = 160
BEAM = 5  # the model is small: what it mishears, the likelier continuation often mends


def spoken() -> Iterator[Sample]:
    """Sentences as the recogniser gets them: one segment each, over the telephone, a little silence at both ends."""
    draw = random.Random(UNUSED_SEED)
    speaker, composer = Espeak(), Composer(UNUSED_SEED, set(alphabet()))
    for _ in range(SENTENCES):
        speech = speaker.say(composer.sentence(), draw.choice(TRAINING_VOICES), draw.randint(100, 240))
        heard = telephone(np.pad(0.4 * to_16_khz(speech), (3200, 3200)), draw)
        samples = (np.clip(heard, -1, 1) * 32767).astype(np.int16)
        samples = samples[: len(samples) // 16 * 16]
        end_ms = len(samples) // 16
        voice = Span(200, end_ms - 200)
        yield Sample(Segment(Role.AGENT, Span(0, end_ms), samples, (voice,), -20.0), speech.text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    folder = resolve(str(parser.parse_args().model), offline=True)
    folder.calibration.unlink(missing_ok=True)
    recogniser = WhisperRecogniser(folder, device="cpu", window="safe", beam_size=BEAM)
    calibration = calibrate(recogniser, list(spoken()))
    write_calibration(folder, calibration)
    for row in calibration.table:
        print(f"{row.name:16} CER {row.error_rate:6.2%}  loss {row.loss:7.2%}  gated {row.gated}")
    print("window:", f"exact + {calibration.tail_ms} ms" if calibration.fit else "30 s")


if __name__ == "__main__":
    main()
