"""Mandarin speech from characters, with the time of every character and phoneme.

A thin door to ``libespeak-ng`` (Debian: ``apt-get install espeak-ng``). The voice ``cmn-latn-pinyin`` reads Han
characters; a variant such as ``f3`` changes the speaker. The library keeps global state, so one process holds one
``Espeak``.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 22_050
_SYNCHRONOUS, _PHONEME_EVENTS, _UTF8 = 2, 1, 1
_WORD, _PHONEME, _END_OF_LIST = 1, 7, 0
_RATE, _PITCH, _PITCH_RANGE, _WORD_GAP = 1, 3, 4, 7
_TONES = {"55": 1, "35": 2, "214": 3, "21": 3, "51": 4, "11": 5, "22": 5}


@dataclass(frozen=True, slots=True)
class Timed:
    """One character (or phoneme) and its half-open span in ms from the start of the audio."""

    name: str
    index: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Speech:
    """What espeak-ng said: int16 samples at 22,050 Hz, Han characters (index into the text) and phonemes."""

    text: str
    samples: NDArray[np.int16]
    characters: tuple[Timed, ...]
    phonemes: tuple[Timed, ...]

    @property
    def characters_per_minute(self) -> float:
        """Syllables per minute from the first character's start to the last one's end, pauses included."""
        spoken_ms = self.characters[-1].end_ms - self.characters[0].start_ms
        return 60_000 * len(self.characters) / spoken_ms


class EspeakError(RuntimeError):
    """espeak-ng is missing, refused a voice, or did not time every character."""


def is_han(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


class Espeak:
    """The synthesiser of this process."""

    def __init__(self) -> None:
        try:
            self._lib = ctypes.CDLL("libespeak-ng.so.1")
        except OSError as missing:
            raise EspeakError("libespeak-ng.so.1 not found; apt-get install espeak-ng") from missing
        self._lib.espeak_Initialize(_SYNCHRONOUS, 500, None, _PHONEME_EVENTS)
        self._lib.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._chunks: list[NDArray[np.int16]] = []
        self._events: list[tuple[int, int, int, str]] = []
        self._keep_alive = _CALLBACK(self._receive)
        self._lib.espeak_SetSynthCallback(self._keep_alive)
        self._voice = ""

    def say(self, text: str, voice: str = "f3", wpm: int = 175, pitch: int = 50, gap: int = 0) -> Speech:
        """Speak `text`.

        voice   variant name as listed by ``espeak-ng --voices=variant`` ("f3", "m1", …)
        wpm     espeak's rate; 100 is about 110 字/分钟, 250 about 310
        pitch   0-99
        gap     extra pause after each character, in units of 10 ms at normal rate
        raises  EspeakError if the voice is unknown or a Han character got no time
        """
        self._select(voice)
        for parameter, value in ((_RATE, wpm), (_PITCH, pitch), (_WORD_GAP, gap)):
            self._lib.espeak_SetParameter(parameter, value, 0)
        self._chunks.clear()
        self._events.clear()
        raw = text.encode()
        self._lib.espeak_Synth(
            raw, ctypes.c_size_t(len(raw) + 1), ctypes.c_uint(0), 0, ctypes.c_uint(0), ctypes.c_uint(_UTF8), None, None
        )
        samples = np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.int16)
        length_ms = 1000 * len(samples) // SAMPLE_RATE
        characters = tuple(self._characters(text, length_ms))
        if len(characters) != sum(map(is_han, text)):
            raise EspeakError(f"espeak-ng timed {len(characters)} characters of {text!r}")
        return Speech(text, samples, characters, tuple(self._phonemes(length_ms)))

    @functools.lru_cache(maxsize=20_000)  # noqa: B019 - one object per process, see the module docstring
    def tone(self, character: str) -> int:
        """The tone (1-4, 5 neutral) espeak-ng gives this character by itself."""
        self._select("f3")
        pointer = ctypes.c_char_p(character.encode())
        spelled = self._lib.espeak_TextToPhonemes(ctypes.byref(pointer), _UTF8, 0) or b""
        digits = "".join(letter for letter in spelled.decode("utf-8", "replace") if letter.isdigit())
        return _TONES.get(digits, 5)

    def _select(self, variant: str) -> None:
        if variant != self._voice:
            name = f"cmn-latn-pinyin+{variant}".encode()
            if self._lib.espeak_SetVoiceByName(name) != 0:
                raise EspeakError(f"espeak-ng has no voice variant {variant!r}")
            self._voice = variant

    def _receive(self, samples: object, count: int, events: object) -> int:
        if count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())  # type: ignore[arg-type]
        i = 0
        while events[i].type != _END_OF_LIST:  # type: ignore[index]
            event = events[i]  # type: ignore[index]
            name = event.id.string.decode("utf-8", "replace") if event.type == _PHONEME else ""
            self._events.append((event.type, event.text_position, event.audio_position, name))
            i += 1
        return 0

    def _characters(self, text: str, length_ms: int) -> Iterator[Timed]:
        starts = [
            (position - 1, at)
            for kind, position, at, _ in self._events
            if kind == _WORD and 0 < position <= len(text) and is_han(text[position - 1])
        ]
        for i, (index, start) in enumerate(starts):
            until = starts[i + 1][1] if i + 1 < len(starts) else length_ms
            # the phoneme "_|" closes a syllable; what follows it is pause
            closes = (at for kind, _, at, name in self._events if kind == _PHONEME and name[:1] == "_" and at > start)
            yield Timed(text[index], index, start, min(until, next(closes, until)))

    def _phonemes(self, length_ms: int) -> Iterator[Timed]:
        sounds = [(name, position, at) for kind, position, at, name in self._events if kind == _PHONEME]
        for i, (name, position, at) in enumerate(sounds):
            yield Timed(name, position - 1, at, sounds[i + 1][2] if i + 1 < len(sounds) else length_ms)


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
