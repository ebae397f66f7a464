"""The Silero model (v6, 1.2 MB) that faster-whisper ships: how likely each 32 ms window of 16 kHz audio is speech.

faster-whisper's own door takes a whole file. Here the session is driven window by window: the recurrent state and the
64 samples before a window are ours to keep, so audio can come as it is recorded.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analyzer.errors import ModelError

if TYPE_CHECKING:
    import onnxruntime

WINDOW = 512  # samples, 32 ms
CONTEXT = 64  # samples before it that the model sees too
_MODEL = Path("assets", "silero_vad_v6.onnx")


@functools.cache
def _session() -> onnxruntime.InferenceSession:
    """One session per process; it keeps no state between runs and may be used by many threads."""
    import onnxruntime  # noqa: PLC0415 - heavy

    package = importlib.util.find_spec("faster_whisper")  # not imported: that would load the whole recogniser
    if package is None or package.origin is None:
        raise ModelError("faster-whisper, which ships the speech detector's model, is not installed")
    model = Path(package.origin).parent / _MODEL
    if not model.is_file():
        raise ModelError(f"{model}: missing; install faster-whisper >= 1.2.1, < 2 again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # a window is too small to share among cores
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


class SpeechModel:
    """Silero on one stream of audio; it remembers what it heard until ``forget``."""

    def __init__(self) -> None:
        self._session = _session()
        self.forget()

    def forget(self) -> None:
        """Start afresh, as at the beginning of a recording."""
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)

    def probabilities(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        """How likely each window is speech, 0..1.

        samples   int16, shape (CONTEXT + n * WINDOW,): n windows that follow those of the last call, and before them
                  the end of the one before
        returns   float32, shape (n,)
        """
        heard = samples.astype(np.float32) / np.float32(32_768)
        windows = np.empty((len(heard) // WINDOW, CONTEXT + WINDOW), np.float32)
        windows[:, CONTEXT:] = heard[CONTEXT:].reshape(-1, WINDOW)
        windows[:, :CONTEXT] = heard[:-CONTEXT].reshape(-1, WINDOW)[:, :CONTEXT]
        out, self._hidden, self._cell = self._session.run(None, {"input": windows, "h": self._hidden, "c": self._cell})
        return np.asarray(out, np.float32).reshape(-1)
