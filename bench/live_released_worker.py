"""whisper-streaming as it is released, for one policy of ``bench.live``: run by the environment that holds it.

    python live_released_worker.py PIPE MODEL COMPUTE_TYPE THREADS

Asked (key, samples, ends), it feeds the samples (float32, 16 kHz) to the key's processor and answers what is
committed: the words two passes agree on, and with ``ends`` all others too; then the key's next stretch begins anew.
Nothing of the package is changed, but that all processors share one model instead of loading one each.

Settings: those of the package, but Chinese, no timestamp tokens (the demo model knows none), no temperatures to fall
back to, and 15 s of buffer. Where the last word of a pass ends before the buffer does, the package decodes the rest as
another window; random weights, whose words end anywhere, would so be decoded three times, and are not served.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import whisper_streaming.backend as backends
from whisper_streaming import ASRProcessor, AudioReceiver, Backend, TimeTrimming, Word

RATE = 16_000
BUFFER_S = 15


class NoReceiver(AudioReceiver):  # type: ignore[misc]
    """Audio comes by another way."""

    def _do_receive(self) -> None:
        return None

    def _do_close(self) -> None: ...


class OneModel(backends.FasterWhisperASR):  # type: ignore[misc]
    """The package's back end; the first one loads the model, for all."""

    loaded: Any = None

    def _load_model(self, model_config: Any) -> Any:
        OneModel.loaded = OneModel.loaded or super()._load_model(model_config)
        return OneModel.loaded


class Worker:
    def __init__(self, model: str, compute_type: str, threads: int) -> None:
        backends.FasterWhisperASR = OneModel
        self._model = backends.FasterWhisperModelConfig(
            model, device="cpu", compute_type=compute_type, cpu_threads=threads, local_files_only=True
        )
        self._plain = backends.FasterWhisperTranscribeConfig(temperature=[0.0], without_timestamps=True)
        self._processors: dict[Hashable, Any] = {}

    def hear(self, key: Hashable, samples: Any, ends: bool) -> str:
        processor = self._processors.get(key) or self._begin(key)
        word = processor._process(samples) if len(samples) else None
        said = word.word if word else ""
        if ends:
            rest = self._processors.pop(key)._transcription_buffer.transcriptions_in_limbo
            said += Word.join(rest).word if rest else ""
        return said

    def _begin(self, key: Hashable) -> Any:
        config = ASRProcessor.ProcessorConfig(
            sampling_rate=RATE, prompt_size=200, audio_receiver_timeout=1.0, audio_trimming=TimeTrimming(BUFFER_S),
            language="zh",
        )  # fmt: skip
        self._processors[key] = ASRProcessor(
            config, NoReceiver(), [], Backend.FASTER_WHISPER, self._model, self._plain,
            backends.FasterWhisperFeatureExtractorConfig(),
        )  # fmt: skip
        return self._processors[key]


def main() -> None:
    pipe, model, compute_type, threads = sys.argv[1:]
    worker = Worker(model, compute_type, int(threads))
    worker.hear("warm", np.zeros(RATE, np.float32), True)
    with Connection(int(pipe)) as line:
        line.send("ready")
        while (asked := line.recv()) is not None:
            line.send(worker.hear(*asked))


if __name__ == "__main__":
    main()
