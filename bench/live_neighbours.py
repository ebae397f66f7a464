"""Four calls, and one beside them that behaves badly: does it slow the others?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from analyzer.types import Role
from bench.live_callers import Material, Play, Samples

CALLS = 4
TOO_FAST = 8
NOISE_DBFS = -20
BADLY: Mapping[str, str] = {
    "alone": "nothing",
    "ordinary": "a fifth like them",
    "restless": "both sides speak without a pause",
    "noise": f"white noise at {NOISE_DBFS} dBFS on both sides",
    "flood": f"a sender {TOO_FAST} times too fast",
    "stuck": "a sender that stops in the middle of a word and stays",
}


def four_calls(material: Material, beside: str, seconds: int) -> tuple[list[Play], list[Play]]:
    """The same four whatever ``beside`` (of ``BADLY``) is, and who disturbs them."""
    return [material.caller(number, seconds) for number in range(CALLS)], _disturbers(material, beside, seconds)


def _disturbers(material: Material, beside: str, seconds: int) -> list[Play]:
    fifth = material.caller(CALLS, seconds)
    length = len(fifth.channels[Role.AGENT])
    match beside:
        case "ordinary":
            return [fifth]
        case "restless":
            return [_with(fifth, {role: _speech_only(fifth, role, length) for role in fifth.channels})]
        case "noise":
            loud = np.random.default_rng(5).normal(0, 32768 * 10 ** (NOISE_DBFS / 20), (len(fifth.channels), length))
            return [_with(fifth, dict(zip(fifth.channels, loud.clip(-32768, 32767).astype(np.int16), strict=True)))]
        case "flood":
            often = {role: np.tile(samples, TOO_FAST) for role, samples in fifth.channels.items()}
            return [replace(_with(fifth, often), speed=TOO_FAST)]
        case "stuck":
            first = next(iter(fifth.segments.values()))
            until = (first.start_ms + first.voice_end_ms) // 2 * 16
            return [replace(_with(fifth, {role: s[:until] for role, s in fifth.channels.items()}), hangs=True)]
    return []


def _with(play: Play, channels: Mapping[Role, Samples]) -> Play:
    return replace(play, channels=channels, segments={})


def _speech_only(play: Play, role: Role, length: int) -> Samples:
    """What this role says, without its pauses, again and again."""
    own = [one for one in play.segments.values() if one.role is role]
    said = np.concatenate([play.channels[role][one.start_ms * 16 : one.voice_end_ms * 16] for one in own])
    return np.resize(said, length)
