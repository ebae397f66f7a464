"""Everything done once before a call begins, so that the first minute of the first call is not the slow one."""

from __future__ import annotations

import gc

import numpy as np

from analyzer.asr import Recogniser, Window
from analyzer.report import analyze
from analyzer.rules import Pack
from analyzer.types import Direction, Role, Span, Transcript, Utterance
from analyzer.vad import CallDetector, Segment

_SAID = (
    Utterance(Role.AGENT, Span(0, 2_000), "您好，请问有什么可以帮您？"),
    Utterance(Role.CUSTOMER, Span(2_500, 4_000), "我想查一下话费。"),
)


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
