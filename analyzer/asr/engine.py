"""The loaded model: audio in, tokens with times out, in batches that do not show.

faster-whisper loads the model, its features and tokenizer; the decoding loop is ours, because its batched pipeline pads
every clip to 30 s, has no gates and keeps state between calls. CTranslate2 on a CPU gains nothing from batching the
encoder and two to four times from batching the decoder: so windows are encoded one by one at their own length, and
those of equal length are decoded together. Nothing in a batch depends on its other members: lengths, token budgets and
prompts are equal by construction, alignment is batched over equal token counts only, and int8 results are
bit-equal whatever the batch size. Once an engine is made, numpy computes its products on one thread in this process.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from analyzer.asr.spelling import TimedPiece, split_pieces, time_pieces
from analyzer.errors import ConfigError, ModelError
from analyzer.models import ModelFolder

SAMPLE_RATE = 16_000
FRAMES_PER_SECOND = 100
FULL_FRAMES = 3000  # the 30 s Whisper is trained on
FRAME_STEP = 100  # lengths are rounded up to a second, so that batches form
MS_PER_POSITION = 20  # one encoder position
CHARACTERS_PER_SECOND = 12  # more than anybody says: the budget that stops a runaway
SPARE_CHARACTERS = 8
_DECODER_POSITIONS = 448
STEPS = ("features", "encode", "generate", "align")
COMMON_TEXT = "您好请问有什么可以帮您的吗我这边给您查询一下稍等不好意思让您久等了感谢您的来电再见"

Samples = NDArray[np.int16]
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One window to decode.

    samples  int16 at 16 kHz, at most 30 s
    tail_ms  silence after it (zeros in log-mel), before rounding up; None: fill up to 30 s
    """

    samples: Samples
    tail_ms: int | None = None
    beam_size: int = 1

    @property
    def audio_frames(self) -> int:
        return audio_frames(len(self.samples))

    @property
    def frames(self) -> int:
        """Length the encoder sees."""
        return frames(len(self.samples), self.tail_ms)

    @property
    def budget_s(self) -> float:
        """Seconds of speech the token budget is made for: the whole window, the same for all of a bucket."""
        return self.frames / FRAMES_PER_SECOND

    @property
    def bucket(self) -> tuple[int, int]:
        """Windows of one bucket are decoded together."""
        return self.frames, self.beam_size


def audio_frames(n_samples: int) -> int:
    return min(FULL_FRAMES, math.ceil(n_samples * FRAMES_PER_SECOND / SAMPLE_RATE) or 1)


def frames(n_samples: int, tail_ms: int | None) -> int:
    """Length the encoder sees of so much audio: see ``Task``."""
    if tail_ms is None:
        return FULL_FRAMES
    return min(FULL_FRAMES, _up(audio_frames(n_samples) + tail_ms // 10, FRAME_STEP))


@dataclass(frozen=True, slots=True)
class Draft:
    """What the model made of a window, before any gate.

    pieces         in order, times in ms from the window's start; None if the model cannot time them
    mean_log_prob  per token, end token included
    exhausted      it was still talking when its budget ended
    """

    text: str
    pieces: tuple[TimedPiece, ...] | None
    mean_log_prob: float
    no_speech: float
    exhausted: bool


class Engine:
    """A Whisper model in memory. Safe to call from several threads.

    raises  ModelError if the folder does not load, is for English only, or contradicts itself
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        device: str = "auto",
        compute_type: str | None = None,
        workers: int | None = None,
        threads: int | None = None,
        batch_size: int = 8,
        prompt: str = "",
    ) -> None:
        # For good and for the process, set here for who uses the library: numpy's products, and with them features and
        # confidences, differ in the last digit with the number of threads that share them; and several are no faster.
        threadpool_limits(limits=1, user_api="blas")
        self.folder, self.batch_size = folder, batch_size
        self.device = choose_device(device)
        self.workers, self.threads = _share_cores(self.device, workers, threads)
        wanted = compute_type or ("int8" if self.device == "cpu" else "float16")
        self._whisper = _load(folder, self.device, wanted, self.workers, self.threads)
        self._model = self._whisper.model
        self.compute_type: str = self._model.compute_type
        _check_mels(folder, self._model.n_mels, self._whisper.feature_extractor.mel_filters.shape[0])
        self._tokenizer = _tokenizer(folder, self._whisper)
        self._task_tokens: list[int] = [*self._tokenizer.sot_sequence, self._tokenizer.no_timestamps]
        self._prompt = [*self._prompt_tokens(prompt), *self._task_tokens]
        self.times_characters = _has_alignment_heads(folder)
        self._spent_s = dict.fromkeys(STEPS, 0.0)
        self._own_cpu_s = dict.fromkeys(STEPS, 0.0)
        self._spending = threading.Lock()

    @property
    def spent_s(self) -> Mapping[str, float]:
        """Seconds that went by so far in each of ``STEPS``, added up over threads."""
        with self._spending:
            return dict(self._spent_s)

    @property
    def own_cpu_s(self) -> Mapping[str, float]:
        """CPU seconds of the calling threads in each of ``STEPS``: not what CTranslate2's own threads computed."""
        with self._spending:
            return dict(self._own_cpu_s)

    @cached_property
    def longest_ms(self) -> int:
        """How much dense speech (8 字/s) fits the decoder, at most 28 s: what a window may hold."""
        seconds = (self._most_tokens / self._tokens_per_character - SPARE_CHARACTERS) / 8
        return min(28_000, int(seconds * 1000))

    def decode(self, tasks: Sequence[Task], *, at_once: int | None = None) -> list[Draft]:
        """Decode windows; one draft per task, in order, the same whatever the others are.

        at_once  batches decoded at a time, at most; default: as many as there are workers
        """
        drafts: list[Draft | None] = [None] * len(tasks)
        batches = list(_batches(tasks, self.batch_size))
        for places, results in zip(batches, self._decoded(tasks, batches, at_once or self.workers), strict=True):
            for place, draft in zip(places, results, strict=True):
                drafts[place] = draft
        return [draft for draft in drafts if draft is not None]

    def _decoded(
        self, tasks: Sequence[Task], batches: Sequence[Sequence[int]], at_once: int
    ) -> Iterator[Sequence[Draft]]:
        """Batch by batch."""

        def decode(places: Sequence[int]) -> list[Draft]:
            return self._decode_batch([tasks[place] for place in places], at_once)

        if len(batches) < 2 or at_once < 2:
            yield from map(decode, batches)
            return
        # CTranslate2 runs one batch per worker, if as many threads call it: a pool that lives as long as this call
        with ThreadPoolExecutor(max_workers=min(at_once, len(batches))) as pool:
            yield from pool.map(decode, batches)

    # -- one batch: equal length, beam and budget -------------------------------------------------------------------

    def _decode_batch(self, tasks: Sequence[Task], at_once: int) -> list[Draft]:
        with self._counted("features"):
            features = [self._features(task) for task in tasks]
        with self._counted("encode"):
            encoded = self._encode(features, at_once)
        budget = self._budget(tasks[0].budget_s)
        with self._counted("generate"):
            results = self._model.generate(
                _storage(encoded),
                [self._prompt] * len(tasks),
                beam_size=tasks[0].beam_size,
                # the engine allows min(max_length / 2, max_length - prompt) new tokens
                max_length=max(2 * budget, len(self._prompt) + budget),
                return_scores=True,
                return_no_speech_prob=True,
                suppress_tokens=self._suppressed,
            )
        said = [[token for token in result.sequences_ids[0] if token < self._tokenizer.eot] for result in results]
        with self._counted("align"):
            timed = self._align(encoded, said, [task.audio_frames for task in tasks])
        return [
            self._draft(tokens, result, alignment, budget)
            for tokens, result, alignment in zip(said, results, timed, strict=True)
        ]

    @contextmanager
    def _counted(self, step: str) -> Iterator[None]:
        began, own = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            with self._spending:
                self._spent_s[step] += time.perf_counter() - began
                self._own_cpu_s[step] += time.thread_time() - own

    def _features(self, task: Task) -> Array:
        """Log-mel as Whisper was trained on, zeros after the audio. Shape (n_mels, frames)."""
        waveform = task.samples.astype(np.float32) / 32768.0
        if len(waveform) < SAMPLE_RATE // 10:  # the transform mirrors its edges and needs something to mirror
            waveform = np.pad(waveform, (0, SAMPLE_RATE // 10 - len(waveform)))
        # called without chunk_length it changes no state, so threads may share it
        mel: Array = self._whisper.feature_extractor(waveform)[:, : min(task.frames, FULL_FRAMES)]
        return np.pad(mel, ((0, 0), (0, task.frames - mel.shape[1])))

    def _encode(self, features: Sequence[Array], at_once: int) -> Array:
        """Encoder output, shape (n_windows, frames / 2, width). On a CPU window by window, by workers that are free."""
        if self.device != "cpu":
            return np.array(self._model.encode(_storage(np.stack(features)), to_cpu=True))
        if len(features) < 2 or at_once < 2:
            return np.concatenate(list(map(self._encode_one, features)))
        with ThreadPoolExecutor(max_workers=min(at_once, len(features))) as pool:
            return np.concatenate(list(pool.map(self._encode_one, features)))

    def _encode_one(self, mel: Array) -> Array:
        return np.array(self._model.encode(_storage(mel[np.newaxis])))

    def _align(
        self, encoded: Array, said: Sequence[list[int]], audio_frames: Sequence[int]
    ) -> list[tuple[list[float], list[float]] | None]:
        """For each window the start of every token in ms (and the last's end), and every token's log probability."""
        timed: list[tuple[list[float], list[float]] | None] = [None] * len(said)
        if not self.times_characters:
            return timed
        for count, group in groupby(
            sorted(range(len(said)), key=lambda place: len(said[place])), lambda p: len(said[p])
        ):
            places = list(group)
            if not count:
                continue
            results = self._model.align(
                _storage(encoded[places]),
                self._tokenizer.sot_sequence,
                [said[place] for place in places],
                [audio_frames[place] for place in places],
            )
            for place, result in zip(places, results, strict=True):
                timed[place] = _token_times(result, count)
        return timed

    def _draft(
        self, tokens: list[int], result: Any, alignment: tuple[list[float], list[float]] | None, budget: int
    ) -> Draft:
        pieces = split_pieces(tokens, self._tokenizer.decode)
        text = "".join(piece.text for piece in pieces)
        mean = result.scores[0] * len(result.sequences_ids[0]) / (len(result.sequences_ids[0]) + 1)
        timed = () if not pieces else tuple(time_pieces(pieces, *alignment)) if alignment else None
        return Draft(
            text=text,
            pieces=timed,
            mean_log_prob=mean,
            no_speech=result.no_speech_prob,
            exhausted=len(result.sequences_ids[0]) >= budget,
        )

    # -- tokens --------------------------------------------------------------------------------------------------------

    def _prompt_tokens(self, prompt: str) -> list[int]:
        """``<|startofprev|>`` and the fixed text, which is part of the deployment: the same for every window."""
        if not prompt:
            return []
        tokens = self._tokenizer.encode(" " + prompt.strip())
        if len(tokens) > _DECODER_POSITIONS // 4:
            raise ConfigError(
                f"the recogniser's prompt has {len(tokens)} tokens; at most {_DECODER_POSITIONS // 4} fit"
            )
        return [self._tokenizer.sot_prev, *tokens]

    @cached_property
    def _suppressed(self) -> list[int]:
        from faster_whisper.transcribe import get_suppressed_tokens  # noqa: PLC0415

        return [token for token in get_suppressed_tokens(self._tokenizer, [-1]) if token is not None]

    @cached_property
    def _tokens_per_character(self) -> float:
        """What a common 汉字 costs in this vocabulary: 1 to 3."""
        return max(1.0, len(self._tokenizer.encode(COMMON_TEXT)) / len(COMMON_TEXT))

    @property
    def _most_tokens(self) -> int:
        return _DECODER_POSITIONS - len(self._prompt) - 1

    def _budget(self, seconds: float) -> int:
        characters = CHARACTERS_PER_SECOND * seconds + SPARE_CHARACTERS
        return min(self._most_tokens, math.ceil(characters * self._tokens_per_character))


def _batches(tasks: Sequence[Task], size: int) -> Iterator[list[int]]:
    """Places of tasks that go together, longest first: at most ``size`` of one bucket."""
    order = sorted(range(len(tasks)), key=lambda place: (tasks[place].bucket, tasks[place].audio_frames), reverse=True)
    for _, group in groupby(order, key=lambda place: tasks[place].bucket):
        places = list(group)
        yield from (places[start : start + size] for start in range(0, len(places), size))


def _token_times(result: Any, count: int) -> tuple[list[float], list[float]]:
    """Start of each token and end of the last, ms; log probability of each token."""
    starts: list[float] = []
    for token, position in result.alignments:
        if token == len(starts):  # the first position of each token
            starts.append(position * MS_PER_POSITION)
    last = (result.alignments[-1][1] + 1) * MS_PER_POSITION if result.alignments else 0
    starts += [last] * (count + 1 - len(starts))
    return starts, [math.log(max(probability, 1e-10)) for probability in result.text_token_probs]


def _storage(array: NDArray[Any]) -> Any:
    import ctranslate2  # noqa: PLC0415

    return ctranslate2.StorageView.from_array(np.ascontiguousarray(array))


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


# -- loading -----------------------------------------------------------------------------------------------------------


def choose_device(device: str) -> str:
    """cpu or cuda. raises ConfigError where the one asked for cannot be had"""
    if device not in {"auto", "cpu", "cuda"}:
        raise ConfigError(f"device {device!r}: use auto, cpu or cuda")
    import ctranslate2  # noqa: PLC0415

    usable = ctranslate2.get_cuda_device_count() > 0
    if device == "cuda" and not usable:
        raise ConfigError("device cuda: no usable GPU found (driver, CUDA 12 with cuDNN 9); use --device cpu")
    return "cuda" if usable and device != "cpu" else "cpu"


def _share_cores(device: str, workers: int | None, threads: int | None) -> tuple[int, int]:
    """Batches at once and threads per batch. Volume wants more of the former: with four cores and up, up to four."""
    if device == "cuda":
        return workers or 1, threads or 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = workers or min(4, cores)
    return workers, threads or max(1, cores // workers)


def _load(folder: ModelFolder, device: str, compute_type: str, workers: int, threads: int) -> Any:
    from faster_whisper import WhisperModel  # noqa: PLC0415 - takes a second to import

    try:
        return WhisperModel(
            str(folder.path), device=device, compute_type=compute_type, cpu_threads=threads, num_workers=workers
        )
    except Exception as error:  # CTranslate2 and tokenizers raise whatever they like; all of it is a model's fault here
        raise ModelError(
            f"{folder.path}: does not load as {compute_type} on {device} ({error}); check that it is a Whisper model "
            "converted for CTranslate2, or get it again"
        ) from error


def _check_mels(folder: ModelFolder, needed: int, computed: int) -> None:
    if needed != computed:
        raise ModelError(
            f"{folder.path}/preprocessor_config.json: says {computed} mels, the model takes {needed}; copy the file of "
            "the model it was trained from (feature_size)"
        )


def _tokenizer(folder: ModelFolder, whisper: Any) -> Any:
    from faster_whisper.tokenizer import Tokenizer  # noqa: PLC0415

    missing: Iterable[str] = [
        token
        for token in ("<|zh|>", "<|transcribe|>", "<|notimestamps|>", "<|startoftranscript|>", "<|endoftext|>")
        if whisper.hf_tokenizer.token_to_id(token) is None
    ]
    if missing or not whisper.model.is_multilingual:
        lacks = f" (its tokenizer has no {', '.join(missing)})" if missing else ""
        raise ModelError(f"{folder.path}: not a multilingual Whisper model{lacks}; take one that knows Chinese")
    return Tokenizer(whisper.hf_tokenizer, multilingual=True, task="transcribe", language="zh")


def _has_alignment_heads(folder: ModelFolder) -> bool:
    return bool(json.loads((folder.path / "config.json").read_text(encoding="utf-8")).get("alignment_heads"))
