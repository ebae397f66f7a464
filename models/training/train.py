"""Train the `demo` network on a corpus for a given number of minutes, then write averaged weights.

Three stages, each starting from the weights of the one before: ``encoder`` learns what every frame sounds like;
``decoder`` learns, over a resting encoder, where to look and how to spell; ``joint`` learns all of it, at last on 30 s
windows too. A fourth one, ``teachers``, comes before ``joint`` where training goes on from a converted model: only the
parts that such a model lacks learn, over a resting network.

Batches hold about the same number of mel frames each. Most are single clips with some real tail; a share is padded
with zeros in log-mel (as faster-whisper pads), a share joins clips into windows of up to 30 s with pauses, half of
those with timestamp tokens and some after a previous-text prompt. The learning rate follows a cosine over the wall
clock, so the schedule ends where the time does.
"""

from __future__ import annotations

import argparse
import itertools
import math
import queue
import random
import re
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed
import torch.multiprocessing
import torch.nn.functional as F
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from models.training import restore
from models.training.corpus import PHONEME_CLASSES
from models.training.espeak import is_han
from models.training.model import GUIDED_HEADS, Geometry, Network, deepened
from models.training.muon import Muon
from models.training.pronunciation import Pronouncer
from models.training.text import Composer as TextComposer
from models.training.vocabulary import Vocabulary

BATCH_FRAMES = 1_500  # per process; small batches, many steps: the time is short
IGNORE = -100
_CLAUSE = re.compile(r"[^，。？]+[，。？]?")
AVERAGE_EVERY = 4  # steps
WINDOW = 3_000  # frames: Whisper's 30 s
SHORTEST_CUT = 80  # frames of a window's rest that may hold the beginning of speech that goes on after it
GUIDE = 0.3  # weight of the attention teacher
BLUR = 0.4  # share of the reader's error that is added to it as noise: most of the error is voice and line, not sound
Array = NDArray[np.float32]


@dataclass(slots=True)
class Clip:
    mel: NDArray[np.float16]
    phoneme: NDArray[np.uint8]
    tone: NDArray[np.uint8]
    text: str
    spans: NDArray[np.int32]  # (n_han, 2) frames from the clip's start


def short_text(text: str, draw: random.Random) -> tuple[int, int]:
    """Bounds of a clause of `text`, or of two to six characters in it: short examples teach where to look sooner."""
    start, end = draw.choice([piece.span() for piece in _CLAUSE.finditer(text)])
    if draw.random() < 0.5 and end - start > 3:
        size = draw.randint(2, min(6, end - start - 1))
        start += draw.randint(0, end - start - 1 - size)
        end = start + size
    return start, end


def short_clip(clip: Clip, draw: random.Random) -> Clip:
    """The part of the clip in which a short part of its text is spoken."""
    begin, finish = short_text(clip.text, draw)
    first = sum(map(is_han, clip.text[:begin]))
    last = first + sum(map(is_han, clip.text[begin:finish]))
    if first == last:
        return clip
    spans = clip.spans[first:last]
    earliest = int(clip.spans[first - 1][1]) if first else 0
    latest = int(clip.spans[last][0]) if last < len(clip.spans) else len(clip.mel)
    start = max(earliest, int(spans[0][0]) - draw.randint(2, 30))
    end = min(latest, int(spans[-1][1]) + draw.randint(2, 30))
    text = clip.text[begin:finish]
    return Clip(clip.mel[start:end], clip.phoneme[start:end], clip.tone[start:end], text, spans - start)


@dataclass(slots=True)
class Example:
    """One training window: raw log10 mel, frame labels, tokens and the frames each next token stands for."""

    mel: Array
    phoneme: NDArray[np.int64]
    tone: NDArray[np.int64]
    tokens: list[int]
    trained: list[bool]  # does the loss count the prediction of token i+1
    looks_at: list[tuple[int, int] | None]  # mel frames of token i+1


@dataclass(slots=True)
class Reading:
    """A batch of unspoken text: frame labels instead of mel."""

    phoneme: Tensor
    tone: Tensor
    tokens: Tensor
    targets: Tensor
    guide: Tensor
    guided: Tensor


@dataclass(slots=True)
class Batch:
    mel: Tensor
    phoneme: Tensor
    tone: Tensor
    tokens: Tensor
    targets: Tensor
    guide: Tensor  # (batch, text, frames) 1 where the next character is spoken
    guided: Tensor  # (batch, text)
    offset: int


class Corpus:
    """The clips of every shard present; call ``refresh`` to take in new ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: set[Path] = set()
        self.clips: list[Clip] = []
        self.refresh()

    def refresh(self) -> None:
        for path in sorted(self._folder.glob("*.npz")):
            if path in self._seen or path.name.endswith(".tmp.npz"):
                continue
            self._seen.add(path)
            shard = np.load(path)
            mel, phoneme, tone, spans = shard["mel"], shard["phoneme"], shard["tone"], shard["spans"]
            at = 0
            for (first, last), text in zip(shard["clip"], shard["text"], strict=True):
                n = sum(map(is_han, text))
                self.clips.append(
                    Clip(mel[first:last], phoneme[first:last], tone[first:last], str(text), spans[at : at + n])
                )
                at += n


class Composer:
    """Clips -> batches."""

    def __init__(self, corpus: Corpus, vocabulary: Vocabulary, seed: int, short: float = 0.0) -> None:
        self._corpus, self._vocabulary = corpus, vocabulary
        self._short = short
        self._draw = random.Random(seed)
        self._rng = np.random.default_rng(seed)

    def batch(self, long_share: float, shape: random.Random) -> Batch:
        """`shape` decides how long the batch is; one seed for all processes, or the quicker waits for the slower."""
        draw = self._draw
        kind = shape.random()
        if kind < long_share:
            full = shape.random() < 0.5
            examples = [self._window(3000 if full else shape.randint(1000, 2900))]
            pad_to = 3000 if full or shape.random() < 0.5 else 0
        else:
            # clips of similar length keep the padding of a batch small
            sample = draw.sample(self._corpus.clips, min(len(self._corpus.clips), 200))
            if shape.random() < self._short:
                sample = [short_clip(clip, draw) for clip in sample]
            sample.sort(key=lambda clip: len(clip.mel))
            start = int(shape.random() * len(sample))
            size = max(1, min(32, BATCH_FRAMES // (len(sample[start].mel) + 60)))
            start = max(0, min(start, len(sample)) - size)
            examples = [self._single(clip) for clip in sample[start : start + size]]
            if draw.random() < 0.15:
                examples.append(self._silence(draw.randint(30, 400)))
            longest = max(len(e.mel) for e in examples)
            pad_to = longest + shape.choice([0, 0, 0, 0, 0, 50, 100, 200, 400])
            if shape.random() < long_share / 4:
                examples, pad_to = examples[:2], 3000
        return self._collate(examples, pad_to)

    def _prefix(self, timestamps: bool) -> list[int]:
        v = self._vocabulary
        prefix = [v["<|startoftranscript|>"], v["<|zh|>"], v["<|transcribe|>"]]
        return prefix if timestamps else [*prefix, v["<|notimestamps|>"]]

    def _single(self, clip: Clip) -> Example:
        draw = self._draw
        head, tail = draw.choice([0, 0, 5, 15, 30]), draw.choice([0, 10, 25, 50, 100])
        return self._join([clip], [head], tail, timestamps=draw.random() < 0.12, prompt="")

    def _window(self, frames: int) -> Example:
        """Utterances with pauses up to `frames` mel frames."""
        draw = self._draw
        chosen: list[Clip] = []
        gaps: list[int] = []
        used = 0
        while True:
            clip, gap = draw.choice(self._corpus.clips), draw.choice([10, 30, 60, 100, 200, 350, 600])
            if used + gap + len(clip.mel) > frames:
                break
            chosen.append(clip)
            gaps.append(gap)
            used += gap + len(clip.mel)
        if not chosen:
            return self._silence(frames)
        prompt = draw.choice(self._corpus.clips).text if draw.random() < 0.35 else ""
        if draw.random() < 0.4:
            return self._join(chosen, gaps, draw.randint(0, frames - used), timestamps=False, prompt=prompt)
        rest = frames - used
        if frames < WINDOW or rest < SHORTEST_CUT or draw.random() < 0.3:
            return self._join(chosen, gaps, draw.randint(0, rest), timestamps=True, prompt=prompt)
        clip = draw.choice(self._corpus.clips)
        kept = draw.randint(SHORTEST_CUT // 2, min(rest - 10, max(SHORTEST_CUT // 2, int(clip.spans[-1][0]))))
        return self._join([*chosen, clip], [*gaps, rest - kept], 0, timestamps=True, prompt=prompt, cut=kept)

    def _silence(self, frames: int) -> Example:
        v = self._vocabulary
        mel = np.full((frames, 80), -9.0, np.float32)
        zeros = np.zeros(frames, np.int64)
        tokens = [
            v["<|startoftranscript|>"],
            v["<|zh|>"],
            v["<|transcribe|>"],
            v["<|notimestamps|>"],
            v["<|endoftext|>"],
        ]
        return Example(
            self._normalise(self._noise(mel, silent=True)), zeros, zeros, tokens, [True, False, False, True], [None] * 4
        )

    def _join(
        self, clips: list[Clip], gaps: list[int], tail: int, *, timestamps: bool, prompt: str, cut: int | None = None
    ) -> Example:
        """`cut`: frames of the last clip that the window holds. Of speech that goes on beyond it Whisper writes nothing
        but when it begins: the next window is to begin there."""
        v = self._vocabulary
        floor = float(self._draw.choice([-10.0, -8.0, -7.0, -6.0]))
        mel: list[Array] = []
        phoneme: list[NDArray[np.uint8]] = []
        tone: list[NDArray[np.uint8]] = []
        tokens = [v["<|startofprev|>"], *v.encode(prompt)] if prompt else []
        looks: list[tuple[int, int] | None] = [None] * len(tokens)
        not_trained = len(tokens)
        prefix = self._prefix(timestamps)
        tokens += prefix
        looks += [None] * len(prefix)
        at = 0
        level = self._draw.uniform(-1.5, 1.0)
        for clip, gap in zip(clips, gaps, strict=True):
            mel += [
                np.full((gap, 80), floor, np.float32),
                clip.mel.astype(np.float32) + (level if len(clips) > 1 else 0),
            ]
            phoneme += [np.zeros(gap, np.uint8), clip.phoneme]
            tone += [np.zeros(gap, np.uint8), clip.tone]
            at += gap
            if timestamps:
                tokens.append(v.timestamp((at + int(clip.spans[0][0])) / 100))
                looks.append(None)
            if cut and clip is clips[-1]:
                mel[-1], phoneme[-1], tone[-1] = mel[-1][:cut], phoneme[-1][:cut], tone[-1][:cut]
                if cut <= int(clip.spans[0][0]):  # nothing of it can be heard
                    del tokens[-1], looks[-1]
                break
            spans = iter(clip.spans)
            for character in clip.text:
                tokens.append(v[character])
                looks.append(tuple(at + next(spans)) if is_han(character) else None)  # type: ignore[arg-type]
            if timestamps:
                tokens.append(v.timestamp((at + int(clip.spans[-1][1])) / 100))
                looks.append(None)
            at += len(clip.mel)
        mel.append(np.full((tail, 80), floor, np.float32))
        silence = np.zeros(tail, np.uint8)
        tokens.append(v["<|endoftext|>"])
        looks.append(None)
        joined = self._normalise(self._warp(self._noise(np.concatenate(mel))))
        trained = [i >= not_trained for i in range(len(tokens) - 1)]
        for i in range(not_trained, not_trained + len(prefix) - 1):
            trained[i] = i == not_trained  # only the language after <|startoftranscript|> is predicted
        return Example(
            joined,
            np.concatenate([*phoneme, silence]).astype(np.int64),
            np.concatenate([*tone, silence]).astype(np.int64),
            tokens[:440],
            trained[:439],
            looks[1:440],
        )

    def _noise(self, mel: Array, silent: bool = False) -> Array:
        """Add a random noise floor in mel power: random colour, chi-square fluctuation."""
        draw, rng = self._draw, self._rng
        if not silent and draw.random() < 0.4:
            return mel
        speech = float(np.log10(np.mean(10 ** mel[:, 5:40]) + 1e-12)) if not silent else draw.uniform(-3, 1)
        snr = draw.uniform(1.6, 5.0)  # log10 power: 16 to 50 dB
        tilt = np.linspace(draw.uniform(-0.6, 1.0), draw.uniform(-1.5, 0.5), 80)
        if draw.random() < 0.5:
            tilt = np.where(np.arange(80) > 58, -3.0, tilt)  # the line's own band limit
        fluctuation = np.log10(rng.gamma(2.0, 0.5, mel.shape) + 1e-6)
        noise = (speech - snr if not silent else speech - draw.uniform(0, 4)) + tilt + fluctuation
        return np.logaddexp(mel * math.log(10), noise * math.log(10)).astype(np.float32) / np.float32(math.log(10))

    def _warp(self, mel: Array) -> Array:
        """Stretch the mel axis by a few percent: other vocal tracts."""
        if self._draw.random() < 0.7:
            return mel
        at = np.clip(np.arange(80) * self._draw.uniform(0.95, 1.05), 0, 79)
        low = np.floor(at).astype(int)
        share = (at - low).astype(np.float32)
        return mel[:, low] * (1 - share) + mel[:, np.minimum(low + 1, 79)] * share

    def _normalise(self, mel: Array) -> Array:
        mel = np.maximum(mel, -10)
        mel = np.maximum(mel, mel.max() - 8)
        return ((mel + 4) / 4).astype(np.float32)

    def _collate(self, examples: list[Example], pad_to: int) -> Batch:
        frames = min(3000, max([pad_to, *(len(e.mel) for e in examples)]))
        frames += frames % 2
        length = max(len(e.tokens) for e in examples) - 1
        n = len(examples)
        mel = np.zeros((n, frames, 80), np.float32)
        phoneme = np.full((n, frames // 2), IGNORE, np.int64)
        tone = phoneme.copy()
        tokens = np.zeros((n, length), np.int64)
        targets = np.full((n, length), IGNORE, np.int64)
        guide = np.zeros((n, length, frames // 2), np.float32)
        guided = np.zeros((n, length), np.float32)
        for row, e in enumerate(examples):
            mel[row, : len(e.mel)] = e.mel[:frames]
            half = e.phoneme[:frames:2]
            phoneme[row, : len(half)] = half
            tone[row, : len(half)] = e.tone[:frames:2]
            tokens[row, : len(e.tokens) - 1] = e.tokens[:-1]
            for i, (counts, span) in enumerate(zip(e.trained, e.looks_at, strict=True)):
                if counts:
                    targets[row, i] = e.tokens[i + 1]
                if span is not None:
                    guide[row, i, span[0] // 2 : span[1] // 2 + 1] = 1
                    guided[row, i] = 1
        room = 1500 - frames // 2
        offset = self._draw.randint(0, room) if room > 0 and self._draw.random() < 0.3 else 0
        return Batch(*map(torch.from_numpy, (mel, phoneme, tone, tokens, targets, guide, guided)), offset)


class ReadingComposer:
    """Unspoken training text as frame labels of made-up but plausible lengths."""

    def __init__(self, vocabulary: Vocabulary, seed: int, short: float = 0.0) -> None:
        self._vocabulary = vocabulary
        self._short = short
        self._text = TextComposer(seed, set(vocabulary.characters))
        self._pronounce = Pronouncer(vocabulary.characters)
        self._draw = random.Random(seed)

    def batch(self, size: int, shape: random.Random) -> Reading:
        v, draw = self._vocabulary, self._draw
        rows = []
        sentences = [self._text.sentence() for _ in range(4 * size)]
        if shape.random() < self._short:
            sentences = [sentence[slice(*short_text(sentence, draw))] for sentence in sentences]
        texts = sorted(sentences, key=len)
        start = shape.randrange(3 * size)
        prefix = [v["<|startoftranscript|>"], v["<|zh|>"], v["<|transcribe|>"], v["<|notimestamps|>"]]
        for text in texts[start : start + size]:
            phoneme, tone, spans = self._pronounce.labels(text, draw)
            rows.append((phoneme, tone, spans, [*prefix, *v.encode(text), v["<|endoftext|>"]]))
        frames = max(len(row[0]) for row in rows)
        length = max(len(row[3]) for row in rows) - 1
        phonemes = np.zeros((size, frames), np.int64)
        tones = np.zeros((size, frames), np.int64)
        tokens = np.zeros((size, length), np.int64)
        targets = np.full((size, length), IGNORE, np.int64)
        guide = np.zeros((size, length, frames), np.float32)
        guided = np.zeros((size, length), np.float32)
        for i, (phoneme, tone, spans, ids) in enumerate(rows):
            phonemes[i, : len(phoneme)] = phoneme
            tones[i, : len(tone)] = tone
            tokens[i, : len(ids) - 1] = ids[:-1]
            targets[i, 3 : len(ids) - 1] = ids[4:]
            for j, span in enumerate(spans):
                if span is not None:
                    guide[i, 3 + j, span[0] : span[1]] = 1
                    guided[i, 3 + j] = 1
        return Reading(*map(torch.from_numpy, (phonemes, tones, tokens, targets, guide, guided)))


Ready = tuple[Batch, Reading | None]


@dataclass(frozen=True, slots=True)
class Losses:
    total: Tensor
    text: float
    phoneme: float
    tone: float
    guide: float
    phoneme_right: float
    imitation: float
    reading: float


def _missed(log_weights: Tensor, guide: Tensor, guided: Tensor) -> Tensor:
    """-log of the attention that falls on the frames of `guide`."""
    masked = log_weights[:, list(GUIDED_HEADS)] + (guide[:, None] + 1e-9).log()
    return -(torch.logsumexp(masked, -1).mean(1) * guided).sum() / guided.sum().clamp(min=1)


def _attention_guide(log_weights: list[Tensor], guide: Tensor, guided: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of all guided heads, and of the last layer's alone. The first layer looks at the token it was given."""
    given = F.pad(guide, (0, 0, 1, 0))[:, :-1], F.pad(guided, (1, 0))[:, :-1]
    last = _missed(log_weights[-1], guide, guided)
    others = [_missed(weights, guide, guided) for weights in log_weights[1:-1]]
    return torch.stack([_missed(log_weights[0], *given), *others, last]).sum(), last


def _text_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE, label_smoothing=0.05)


def reading_loss(network: Network, reading: Reading, spread: float, text_tokens: int) -> tuple[Tensor, float]:
    """Spelling practice: the decoder alone learns, from the reader's imitation blurred by the imitation's own error."""
    with torch.no_grad():
        phoneme = reading.phoneme.clone()
        confused = torch.rand(phoneme.shape) < 0.03
        phoneme[confused] = torch.randint(0, PHONEME_CLASSES, (int(confused.sum()),))
        memory = network.read(phoneme, reading.tone)
        memory = memory + spread * torch.randn_like(memory)
    logits, log_weights = network.decode(reading.tokens, memory, text_tokens)
    text = _text_loss(logits, reading.targets)
    return text + GUIDE * _attention_guide(log_weights, reading.guide, reading.guided)[0], text.item()


def frame_losses(network: Network, memory: Tensor, batch: Batch) -> tuple[Tensor, Tensor, float]:
    """Phoneme and tone cross-entropy of the frames, and the share of phonemes that are right."""
    spoken = network.phoneme_head(memory)
    phoneme = F.cross_entropy(spoken.flatten(0, 1), batch.phoneme.flatten(), ignore_index=IGNORE)
    tone = F.cross_entropy(network.tone_head(memory).flatten(0, 1), batch.tone.flatten(), ignore_index=IGNORE)
    right = (spoken.argmax(-1) == batch.phoneme)[batch.phoneme != IGNORE].float().mean()
    return phoneme, tone, right.item()


def decoder_losses(network: Network, memory: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Next-character cross-entropy, attention guide (all, last layer), and the reader's squared error of imitation."""
    logits, log_weights = network.decode(batch.tokens, memory)
    text = _text_loss(logits, batch.targets)
    guides, guide = _attention_guide(log_weights, batch.guide, batch.guided)
    return text, guides, guide, imitation_loss(network, memory, batch)


def imitation_loss(network: Network, memory: Tensor, batch: Batch) -> Tensor:
    """The reader's mean squared error where the batch has labels."""
    real = (batch.phoneme != IGNORE).unsqueeze(-1)
    imitated = network.read(batch.phoneme, batch.tone, batch.offset)
    return (((imitated - memory.detach()) ** 2) * real).sum() / (real.sum() * memory.shape[-1])


def losses(
    network: Network, batch: Batch, *, stage: str, reading: Reading | None, spread: float, text_tokens: int
) -> Losses:
    """The loss of one step; `stage` says which part of the network learns."""
    with torch.set_grad_enabled(stage in ("encoder", "joint")):
        memory = network.encode(batch.mel, batch.offset)
    phoneme, tone, right = frame_losses(network, memory, batch)
    if stage == "encoder":
        return Losses(phoneme + tone, 0.0, phoneme.item(), tone.item(), 0.0, right, 0.0, 0.0)
    if stage == "teachers":
        imitation = imitation_loss(network, memory, batch)
        total = phoneme + tone + imitation
        return Losses(total, 0.0, phoneme.item(), tone.item(), 0.0, right, imitation.item(), 0.0)
    text, guides, guide, imitation = decoder_losses(network, memory, batch)
    total = text + GUIDE * guides + imitation
    if stage == "joint":
        total = total + 0.5 * (phoneme + tone)
    read = 0.0
    if reading is not None:
        practice, read = reading_loss(network, reading, spread, text_tokens)
        total = total + practice
    return Losses(total, text.item(), phoneme.item(), tone.item(), guide.item(), right, imitation.item(), read)


@torch.no_grad()
def greedy(network: Network, mel: Tensor, vocabulary: Vocabulary, longest: int = 60) -> list[str]:
    memory = network.encode(mel)
    prefix = [vocabulary[t] for t in ("<|startoftranscript|>", "<|zh|>", "<|transcribe|>", "<|notimestamps|>")]
    tokens = torch.tensor([prefix] * len(mel))
    done = torch.zeros(len(mel), dtype=torch.bool)
    end = vocabulary["<|endoftext|>"]
    for _ in range(longest):
        logits, _ = network.decode(tokens, memory)
        last = logits[:, -1, : end + 1].argmax(-1)
        last[done] = end
        done |= last == end
        tokens = torch.cat([tokens, last[:, None]], 1)
        if done.all():
            break
    return [vocabulary.decode(row[4:].tolist()) for row in tokens]


def evaluate(network: Network, clips: list[Clip], vocabulary: Vocabulary, composer: Composer) -> float:
    """CER over Han characters of single clips, greedy, exact windows."""
    network.eval()
    wrong = total = 0
    for clip in clips:
        mel = torch.from_numpy(composer._normalise(clip.mel.astype(np.float32)))[None]
        mel = mel[:, : mel.shape[1] // 2 * 2]
        spoken = "".join(filter(is_han, clip.text))
        heard = "".join(filter(is_han, greedy(network, mel, vocabulary, len(clip.text) + 5)[0]))
        wrong += Levenshtein.distance(heard, spoken)
        total += len(spoken)
    network.train()
    return wrong / max(1, total)


def prepare(
    given: argparse.Namespace, rank: int, vocabulary: Vocabulary, corpus: Corpus, clock: Clock
) -> queue.Queue[Ready]:
    """Compose batches in a thread of their own; the queue ends with the process."""
    seed = given.seed * 100 + rank
    composer = Composer(corpus, vocabulary, seed, given.short)
    reads = given.reading and given.stage in ("decoder", "joint")
    readings = ReadingComposer(vocabulary, seed, given.short) if reads else None
    ready: queue.Queue[Ready] = queue.Queue(6)

    def compose() -> None:
        for number in itertools.count():
            long_share = 0.0 if clock.spent() < given.long_from else given.long_share
            shape = random.Random(given.seed * 1_000_000 + number)
            ready.put((composer.batch(long_share, shape), readings.batch(given.reading, shape) if readings else None))

    threading.Thread(target=compose, daemon=True).start()
    return ready


def average_gradients(network: Network, processes: int) -> None:
    gradients = [p.grad for p in network.parameters() if p.grad is not None]  # the same ones in every process
    flat = torch.cat([g.flatten() for g in gradients])
    torch.distributed.all_reduce(flat)
    flat /= processes
    at = 0
    for gradient in gradients:
        gradient.copy_(flat[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()


class Clock:
    """Share of the training time that has passed; all processes read the first one's, so they stop together."""

    def __init__(self, minutes: float) -> None:
        self._started = time.monotonic()
        self._seconds = 60 * minutes
        self._agreed = 0.0

    def agree(self) -> float:
        now = torch.tensor([(time.monotonic() - self._started) / self._seconds])
        torch.distributed.broadcast(now, 0)
        self._agreed = now.item()
        return self._agreed

    def spent(self) -> float:
        return self._agreed

    @property
    def minutes(self) -> float:
        return self._agreed * self._seconds / 60


@torch.no_grad()
def sound_alike(network: Network, vocabulary: Vocabulary) -> None:
    """Start characters of one sound from nearly one embedding: syllables are learnt sooner than characters."""
    pronounce = Pronouncer(vocabulary.characters)
    random_part = torch.Generator().manual_seed(0)
    width = network.geometry.width
    sounds = torch.randn(4, PHONEME_CLASSES, width, generator=random_part)
    tones = torch.randn(6, width, generator=random_part)
    for character in filter(is_han, vocabulary.characters):
        phonemes, tone = pronounce.sound(character)
        vector = sum(sounds[min(place, 3), phoneme] for place, phoneme in enumerate(phonemes))
        vector = vector / len(phonemes) ** 0.5 + 0.4 * tones[tone] + 0.4 * torch.randn(width, generator=random_part)
        network.embedding.weight[vocabulary[character]] = 0.05 * vector


def optimisers(network: Network, rate: float) -> tuple[Muon, torch.optim.AdamW]:
    """Muon for the hidden layers' matrices, AdamW for all else."""
    hidden = [p for p in [*network.encoder.parameters(), *network.decoder.parameters()] if p.ndim == 2]
    others = [p for p in network.parameters() if all(p is not matrix for matrix in hidden)]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return Muon(hidden), torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def starting_network(given: argparse.Namespace, vocabulary: Vocabulary) -> Network:
    """New, or with the weights of ``--start``."""
    network = Network(Geometry(len(vocabulary.tokens)))
    if given.start and given.start.is_dir():
        network.load_state_dict(restore.weights(given.start, network.geometry), strict=False)
    elif given.start:
        trained = torch.load(given.start)["weights"]
        network.load_state_dict(deepened(trained, network.geometry.decoder_layers), strict=False)
    if given.sound_alike:
        sound_alike(network, vocabulary)
    return network


def work(rank: int, given: argparse.Namespace) -> None:
    """One training process; every process holds the same weights and sees other clips."""
    torch.set_flush_denormal(True)
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{given.rendezvous}", rank=rank, world_size=given.processes
    )
    vocabulary = Vocabulary((given.corpus / "alphabet.txt").read_text(encoding="utf-8"))
    network = starting_network(given, vocabulary)
    corpus = Corpus(given.corpus)
    first = rank == 0
    check = Corpus(given.check).clips[:30] if given.check and first else []
    torch.manual_seed(given.seed + rank)
    matrices, others = optimisers(network, given.rate)
    average = {k: v.clone() for k, v in network.state_dict().items()}
    clock = Clock(given.minutes)
    ready = prepare(given, rank, vocabulary, corpus, clock)
    progress = Progress(given, network, average=average, vocabulary=vocabulary, corpus=corpus, check=check)
    spread, text_tokens = 1.0, vocabulary["<|endoftext|>"] + 1
    step = 0
    while (spent := clock.agree()) < 1:
        batch, reading = ready.get()
        warm = min(1.0, (step + 1) / 150)
        rate = given.rate * warm * (given.last + (1 - given.last) * 0.5 * (1 + math.cos(math.pi * spent)))
        for group in others.param_groups:
            group["lr"] = rate
        # the reader first learns to imitate; after that its error is the blur it adds
        practice = reading if spent > given.reading_from else None
        got = losses(network, batch, stage=given.stage, reading=practice, spread=spread, text_tokens=text_tokens)
        spread = 0.98 * spread + 0.02 * BLUR * math.sqrt(got.imitation)
        network.zero_grad(set_to_none=False)
        got.total.backward()
        average_gradients(network, given.processes)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        others.step()
        matrices.step(rate)
        step += 1
        if step % AVERAGE_EVERY == 0:
            keep = 0.0 if step < 300 else 0.998**AVERAGE_EVERY
            with torch.no_grad():
                for name, value in network.state_dict().items():
                    average[name].lerp_(value, 1 - keep)
        if first:
            progress.note(step, batch, got, clock, rate)
        if step % 1000 == 0:
            corpus.refresh()
    if first:
        progress.save(final=True)
    torch.distributed.destroy_process_group()


class Progress:
    """What the first process prints and saves."""

    def __init__(
        self,
        given: argparse.Namespace,
        network: Network,
        *,
        average: dict[str, Tensor],
        vocabulary: Vocabulary,
        corpus: Corpus,
        check: list[Clip],
    ) -> None:
        self._given, self._network, self._average = given, network, average
        self._vocabulary, self._corpus, self._check = vocabulary, corpus, check
        self._normalise = Composer(corpus, vocabulary, 0)
        self._seen: list[Losses] = []
        self._clips = self._frames = 0
        self._next_report, self._next_save = 0.5, given.check_every

    def note(self, step: int, batch: Batch, got: Losses, clock: Clock, rate: float) -> None:
        self._clips += len(batch.mel) * self._given.processes
        self._frames += batch.mel.shape[0] * batch.mel.shape[1] * self._given.processes
        self._seen.append(got)
        if clock.minutes >= self._next_report:
            self._next_report = clock.minutes + 1
            names = ("text", "phoneme", "tone", "guide", "phoneme_right", "imitation", "reading")
            mean = {k: round(sum(getattr(s, k) for s in self._seen) / len(self._seen), 3) for k in names}
            self._seen.clear()
            print(
                f"{clock.minutes:5.1f} min step {step} clips {self._clips} audio {self._frames / 360_000:.1f} h "
                f"lr {rate:.1e} corpus {len(self._corpus.clips)}",
                mean,
                flush=True,
            )
        if clock.minutes >= self._next_save:
            self._next_save = clock.minutes + self._given.check_every
            self.save()

    def save(self, final: bool = False) -> None:
        torch.save({"weights": self._average, "characters": self._vocabulary.characters}, self._given.out)
        if self._check and self._given.stage != "encoder":
            averaged = Network(self._network.geometry)
            averaged.load_state_dict(self._average)
            cer = evaluate(averaged, self._check, self._vocabulary, self._normalise)
            print(
                f"      {'final ' if final else ''}CER of {len(self._check)} held-out sentences {cer:.3f}", flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--check", type=Path, help="folder with shards to report CER on while training")
    parser.add_argument("--stage", choices=("teachers", "encoder", "decoder", "joint"), default="joint")
    parser.add_argument("--sound-alike", action="store_true", help="start characters of one sound from one embedding")
    parser.add_argument("--short", type=float, default=0.0, help="share of batches that hold clauses and less")
    parser.add_argument("--check-every", type=float, default=8, help="minutes")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="continue from these weights, or from a converted model folder")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--rate", type=float, default=1.3e-3)
    parser.add_argument("--last", type=float, default=0.01, help="learning rate at the end, as a share of --rate")
    parser.add_argument("--reading", type=int, default=24, help="unspoken sentences per step and process")
    parser.add_argument("--reading-from", type=float, default=0.12, help="share of the time after which reading begins")
    parser.add_argument(
        "--long-from", type=float, default=0.65, help="share of the time after which 30 s windows begin"
    )
    parser.add_argument("--long-share", type=float, default=0.2)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="per process")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given.rendezvous = Path(folder) / "rendezvous"
        torch.multiprocessing.spawn(work, (given,), nprocs=given.processes)


if __name__ == "__main__":
    main()
