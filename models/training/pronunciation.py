"""How espeak-ng pronounces each character, so that text can be turned into frame labels without speaking it."""

from __future__ import annotations

import random

from models.training.corpus import _PHONEME_ID, OTHER
from models.training.espeak import Espeak, is_han

FRAME_MS = 20
MISTAKEN_TONES = 0.3  # of characters: what the encoder makes of the tones of telephone speech
FULL_TONES, NEUTRAL = (1, 2, 3, 4), 5
Labels = tuple[list[int], list[int], list[tuple[int, int] | None]]


class Pronouncer:
    """Phonemes, their usual lengths and the tone of every character of an alphabet."""

    def __init__(self, characters: str) -> None:
        speaker = Espeak()
        self._sounds: dict[str, list[tuple[int, int]]] = {}
        self._tone: dict[str, int] = {}
        for character in filter(is_han, characters):
            speech = speaker.say(character, wpm=175)
            self._sounds[character] = [
                (_PHONEME_ID.get(p.name, OTHER), p.end_ms - p.start_ms) for p in speech.phonemes if p.name[:1] != "_"
            ]
            self._tone[character] = speaker.tone(character)

    def sound(self, character: str) -> tuple[list[int], int]:
        """Phonemes and tone."""
        return [phoneme for phoneme, _ in self._sounds[character]], self._tone[character]

    def labels(self, text: str, draw: random.Random) -> Labels:
        """Phoneme and tone per 20 ms frame, and each character's frames (None for punctuation).

        Some tones are wrong, as they are in what the encoder hears: which character is meant is for the text to say.
        """
        pace = draw.uniform(0.2, 0.4)  # brief: what matters is which sounds, not how long
        phoneme, tone = [0] * draw.randint(0, 4), []
        tone += [0] * len(phoneme)
        spans: list[tuple[int, int] | None] = []
        for character in text:
            if character not in self._sounds:
                pause = draw.randint(3, 12)
                phoneme += [0] * pause
                tone += [0] * pause
                spans.append(None)
                continue
            first = len(phoneme)
            for sound, length_ms in self._sounds[character]:
                phoneme += [sound] * max(1, round(length_ms * pace * draw.uniform(0.8, 1.2) / FRAME_MS))
            heard = self._tone[character]
            if heard != NEUTRAL and draw.random() < MISTAKEN_TONES:
                heard = draw.choice(FULL_TONES)
            tone += [heard] * (len(phoneme) - first)
            spans.append((first, len(phoneme)))
        tail = draw.randint(1, 8)
        return phoneme + [0] * tail, tone + [0] * tail, spans
