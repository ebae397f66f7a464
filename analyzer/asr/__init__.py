"""Speech segments in, utterances with character times out.

Theory of operation. The VAD cuts a channel into segments. A ``Packer`` groups them, channel by channel, into
windows: what the model hears at once. ``Recogniser.recognise`` takes windows of any number of channels and calls, and
answers with one utterance, or None, per segment. A window is a pure function of its own channel's segments and a
result a pure function of its window; so whatever else is in the batch, and in whatever order, the bytes are the same.
(On CUDA the kernels a batch size selects may differ in the last bit; see ``docs/models.md``.)

How long a window is depends on the model. Stock Whisper is trained on 30 s and may fall apart on less, so by default
each window is padded to 30 s, and several neighbouring segments share one ("safe": ``windows.Filling``). A model that
``model calibrate`` found to stand it hears each segment alone at its own length ("exact"), which is up to ten times
cheaper.

    engine       the loaded model: length-sorted batches, encode, generate, align
    spelling     tokens to characters with times, over tokenizers that split a 汉字
    windows      packing segments into windows and cutting the text back into segments
    gates        loops, too fast, silence, well-known inventions
    whisper      WhisperRecogniser: the policy over those
    calibration  which window a model stands, measured, beside the model
"""

from analyzer.asr.calibration import Calibration, Sample, calibrate, label, write_calibration
from analyzer.asr.recogniser import Plan, Recogniser
from analyzer.asr.whisper import WhisperRecogniser
from analyzer.asr.windows import Packer, Window, windows

__all__ = [
    "Calibration",
    "Packer",
    "Plan",
    "Recogniser",
    "Sample",
    "WhisperRecogniser",
    "Window",
    "calibrate",
    "label",
    "windows",
    "write_calibration",
]
