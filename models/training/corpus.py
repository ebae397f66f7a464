"""Speak the training text: shards of raw log-mel frames with the label of every frame and character.

Each shard is one ``.npz``: ``mel`` float16 (n_frames, 80), log10 mel power as Whisper computes it, not yet
normalised, 100 frames a second; ``phoneme`` and ``tone`` uint8 (n_frames,); ``clip`` int32 (n_clips, 2) first and last
frame; ``text`` the sentence of each clip; ``spans`` int32 (n_characters, 2), the frames of each Han character, in order
over all clips.

About 70 % of the clips go through a telephone: 300-3400 Hz, 8 kHz, μ-law, A-law or a low-rate codec.
"""

from __future__ import annotations

import argparse
import functools
import io
import random
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from models.training.espeak import SAMPLE_RATE, Espeak, EspeakError, Speech, is_han
from models.training.text import Composer, alphabet

TRAINING_VOICES = ("f1", "f2", "f3", "f4", "f5", "Annie", "m1", "m2", "m3", "m4", "m5", "m6", "m7")
HELD_OUT_VOICES = ("belinda", "m8")
FRAMES_PER_SECOND = 100
PHONEMES = (
    "_ ; @ @r A Au N S; X a ai ei f i i. iA iE i[ iou j k kh l m n o- ong ou p ph s s. t tS; tS;h ts ts. ts.h tsh th u "
    "uo w y y& y@ yE z. uai u@ uei ua o @n iau r o@ E e yu N-"
).split()
_PHONEME_ID = {name: i for i, name in enumerate(PHONEMES)}
OTHER = len(PHONEMES)  # a phoneme the table does not name
PHONEME_CLASSES = OTHER + 1

Samples = NDArray[np.float32]


def log_mel(samples: Samples) -> NDArray[np.float32]:
    """Whisper's log10 mel power of 16 kHz samples in [-1, 1], shape (n_frames, 80), before its normalisation."""
    window = np.hanning(401)[:-1].astype(np.float32)
    padded = np.pad(samples, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(samples) // 160]
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.log10(np.maximum(power.astype(np.float32) @ _filters().T, 1e-10))


@functools.cache
def _filters() -> NDArray[np.float32]:
    return np.asarray(FeatureExtractor().mel_filters, np.float32)


def telephone(samples: Samples, draw: random.Random) -> Samples:
    """16 kHz samples as they come out of a telephone line: 300-3400 Hz at 8 kHz, companded or coded."""
    narrow = soxr.resample(samples, 16_000, 8_000)
    size = 1 << (len(narrow) - 1).bit_length()  # a prime length would make the transform slow
    spectrum = np.fft.rfft(narrow, size)
    hertz = np.fft.rfftfreq(size, 1 / 8_000)
    low, high = draw.choice([(300, 3400), (200, 3600), (60, 3900)])
    spectrum[hertz < low] *= 0.05
    spectrum[hertz > high] *= 0.05
    narrow = np.fft.irfft(spectrum, size)[: len(narrow)].astype(np.float32)
    codec = draw.random()
    if codec < 0.6:
        narrow = _mu_law(narrow)
    elif codec < 0.72:
        narrow = _through_codec(
            narrow,
            *draw.choice(
                [
                    ("libmp3lame", "mp3", 16_000),
                    ("libopus", "ogg", 16_000),
                    ("libopus", "ogg", 24_000),
                    ("libmp3lame", "mp3", 32_000),
                    ("aac", "adts", 32_000),
                ]
            ),
        )
    return np.asarray(soxr.resample(narrow, 8_000, 16_000), np.float32)


def _mu_law(samples: Samples) -> Samples:
    squeezed = np.sign(samples) * np.log1p(255 * np.minimum(np.abs(samples), 1)) / np.log(256)
    coded = np.round(squeezed * 127) / 127
    return np.asarray(np.sign(coded) * (np.power(256, np.abs(coded)) - 1) / 255, np.float32)


def _through_codec(samples: Samples, codec: str, container: str, bit_rate: int) -> Samples:
    buffer = io.BytesIO()
    rate = 8_000
    with av.open(buffer, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bit_rate
        resampler = av.AudioResampler(stream.codec_context.format or "s16", "mono", rate)
        pcm = np.clip(samples * 32767, -32768, 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(pcm, "s16", "mono")
        frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for piece in [*resampler.resample(frame), None]:
            out.mux(stream.encode(piece))
    buffer.seek(0)
    with av.open(buffer) as coded:
        resampler = av.AudioResampler("flt", "mono", rate)
        decoded = [part.to_ndarray()[0] for frame in coded.decode(audio=0) for part in resampler.resample(frame)]
    sound = np.concatenate(decoded) if decoded else samples
    # encoder delay: align with the source so that the labels stay true
    lag = (
        int(np.argmax(np.correlate(sound[:16_000], samples[:8_000], "valid")))
        if len(sound) > 9_000 and len(samples) > 8_000
        else 0
    )
    sound = sound[lag : lag + len(samples)]
    return np.pad(sound, (0, len(samples) - len(sound))).astype(np.float32)


def speak(speaker: Espeak, text: str, draw: random.Random, voices: tuple[str, ...] = TRAINING_VOICES) -> Speech:
    """One clip at a random voice, pitch and rate: about 60-350 字/分钟, word gaps included."""
    slow = draw.random() < 0.45
    return speaker.say(
        text,
        voice=draw.choice(voices),
        wpm=draw.randint(80, 130) if slow else draw.randint(125, 290),
        pitch=draw.randint(20, 80),
        gap=draw.choice([0, 0, 1, 3, 6, 10, 15]) if slow else draw.choice([0, 0, 0, 0, 1, 2]),
    )


def to_16_khz(speech: Speech) -> Samples:
    return np.asarray(soxr.resample(speech.samples.astype(np.float32) / 32768, SAMPLE_RATE, 16_000), np.float32)


def waveform(speech: Speech, draw: random.Random) -> Samples:
    """16 kHz samples with random level and line."""
    samples = to_16_khz(speech)
    samples *= 10 ** (draw.uniform(-25, 3) / 20) / max(0.05, float(np.abs(samples).max()))
    samples = np.clip(samples, -1, 1)
    return telephone(samples, draw) if draw.random() < 0.7 else samples


def labels(
    speech: Speech, speaker: Espeak, frames: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[tuple[int, int]]]:
    """Phoneme and tone of every frame; first and last frame of every Han character."""
    phoneme, tone = np.zeros(frames, np.uint8), np.zeros(frames, np.uint8)
    for sound in speech.phonemes:
        name = "_" if sound.name[:1] == "_" else sound.name
        phoneme[sound.start_ms // 10 : sound.end_ms // 10] = _PHONEME_ID.get(name, OTHER)
    spans = []
    for character in speech.characters:
        first, last = character.start_ms // 10, max(character.start_ms // 10 + 1, character.end_ms // 10)
        tone[first:last] = speaker.tone(character.name)
        spans.append((first, last))
    return phoneme, tone, spans


def make_shard(path: Path, clips: int, seed: int, characters: set[str]) -> None:
    draw = random.Random(seed)
    speaker, composer = Espeak(), Composer(seed, characters)
    mels, phonemes, tones, spans, texts, bounds = [], [], [], [], [], []
    at = 0
    while len(texts) < clips:
        try:
            speech = speak(speaker, composer.sentence(), draw)
        except EspeakError:
            continue  # a character this espeak-ng does not pronounce
        mel = log_mel(waveform(speech, draw)).astype(np.float16)
        phoneme, tone, span = labels(speech, speaker, len(mel))
        mels.append(mel)
        phonemes.append(phoneme)
        tones.append(tone)
        spans += span
        texts.append(speech.text)
        bounds.append((at, at + len(mel)))
        at += len(mel)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        mel=np.concatenate(mels),
        phoneme=np.concatenate(phonemes),
        tone=np.concatenate(tones),
        clip=np.array(bounds, np.int32),
        text=np.array(texts),
        spans=np.array(spans, np.int32),
    )
    temporary.rename(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=90_000)
    parser.add_argument("--shard", type=int, default=2_000)
    parser.add_argument("--first-seed", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    vocabulary = given.out / "alphabet.txt"
    if not vocabulary.exists():
        vocabulary.write_text("".join(alphabet()), encoding="utf-8")
    characters = set(filter(is_han, vocabulary.read_text(encoding="utf-8")))
    for number in range(given.clips // given.shard):
        path = given.out / f"{given.first_seed + number:05d}.npz"
        started = time.monotonic()
        if not path.exists():
            make_shard(path, given.shard, given.first_seed + number, characters)
        print(path.name, f"{time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
