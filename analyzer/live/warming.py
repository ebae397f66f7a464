"""Everything done once before a call begins, so that the first minute of the first call is not the slow one; and how
much of this machine a call will take."""

from __future__ import annotations

import gc
import time

import numpy as np
from numpy.typing import NDArray

from analyzer.asr import Recogniser, Window
from analyzer.asr.windows import OneByOne
from analyzer.audio import SAMPLE_RATE
from analyzer.live.admission import BESIDES
from analyzer.report import analyze
from analyzer.rules import Pack
from analyzer.types import Direction, Role, Span, Transcript, Utterance
from analyzer.vad import CallDetector, Segment

_SAID = (
    Utterance(Role.AGENT, Span(0, 2_000), "您好，请问有什么可以帮您？"),
    Utterance(Role.CUSTOMER, Span(2_500, 4_000), "我想查一下话费。"),
)
SAID_S = 3  # an ordinary utterance,
EVERY_S = 5  # and one begins so often, of either side
PIECE = SAMPLE_RATE // 10  # as audio comes


def warm_up(recogniser: Recogniser, pack: Pack) -> None:
    """Hear, recognise and judge something; then keep what was loaded out of the garbage collector's way."""
    noise = np.random.default_rng(0).integers(-800, 800, 16_000).astype(np.int16)
    span = Span(0, 1_000)
    segment = Segment(Role.AGENT, span, noise, (span,), -30.0)
    list(CallDetector((Role.AGENT,)).feed({Role.AGENT: noise}))
    recogniser.recognise([Window((segment,))])
    recogniser.glance([segment])
    for direction in (Direction.INBOUND, Direction.OUTBOUND):
        analyze(Transcript("warm-up", _SAID, direction, duration_ms=5_000), pack)
    gc.collect()
    gc.freeze()


def call_cost(recogniser: Recogniser) -> float:
    """CPU seconds of this process that a second of an ordinary call takes: two sides heard, an utterance now and then
    recognised, twice where several share a window. Call it after ``warm_up``; it takes a second or two itself."""
    sound = _voice(EVERY_S)
    span = Span(0, SAID_S * 1_000)
    said = Segment(Role.AGENT, span, sound[: SAID_S * SAMPLE_RATE], (span,), -20.0)
    began = time.process_time()
    detector = CallDetector((Role.AGENT, Role.CUSTOMER))
    for start in range(0, len(sound), PIECE):
        piece = sound[start : start + PIECE]
        list(detector.feed({Role.AGENT: piece, Role.CUSTOMER: piece // 2}))
    recogniser.recognise([Window((said,))])
    if not isinstance(recogniser.packer(), OneByOne):
        recogniser.glance([said])
    return BESIDES * (time.process_time() - began) / EVERY_S


def _voice(seconds: int) -> NDArray[np.int16]:
    """Something that a detector takes for speech: a hum of many tones that rises and falls five times a second."""
    at = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    pitch = 2 * np.pi * (140 * at + 4 * np.sin(2 * np.pi * 0.7 * at))
    hum = np.sum([np.sin(number * pitch) / number for number in range(1, 20)], axis=0)
    swell = 0.2 + np.sin(2 * np.pi * 2.5 * at) ** 2
    sound: NDArray[np.int16] = np.rint(4_000 * hum * swell).astype(np.int16)
    return sound
