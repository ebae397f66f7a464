"""What must not pass for speech: loops, impossible speed, silence, and the model's well-known inventions.

Whisper's own guard, the compression ratio, is tuned for English sentences and wakes too late for short Chinese ones
(你只能选择两个 must come four times), so runs are counted directly. The numbers are those of the field's practice,
chosen so that lively speech passes: 对对对对对 is said, and telephone numbers have runs of digits.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from importlib import resources

FASTEST_PER_SECOND = 12.0  # characters; hurried Mandarin is 6 to 7 syllables a second
NO_SPEECH = 0.6  # Whisper's own thresholds for "nobody spoke": probability of <|nospeech|> …
SURE_ENOUGH = -1.0  # … and mean log probability below which that is believed
WEAK_VOICE_MS = 400  # less voiced time than this, or
WEAK_VOICE_SHARE = 0.3  # a smaller share of the segment: the voice detector was not sure either

_LONGEST_UNIT = 40
_KEPT_REPEATS = 2  # of a loop that is cut: 好的好的 may well have been said


def significant(text: str) -> str:
    """Letters, digits and 汉字 only."""
    return "".join(letter for letter in text if _is_significant(letter))


def _is_significant(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LN"


def loop_cut(text: str) -> int | None:
    """Where to cut a text that runs in circles: the index in ``text`` after the second round, or None if it does not.

    >>> loop_cut("好的" + "我帮您查一下。" * 5)
    16
    """
    places = [place for place, letter in enumerate(text) if _is_significant(letter)]
    letters = "".join(text[place] for place in places)
    for start in range(len(letters)):
        for length in range(1, min(_LONGEST_UNIT, (len(letters) - start) // 2) + 1):
            unit = letters[start : start + length]
            if _rounds(letters, start, unit) >= _allowed_rounds(unit):
                after = start + _KEPT_REPEATS * length
                return places[after] if after < len(places) else len(text)
    return None


def _rounds(letters: str, start: int, unit: str) -> int:
    rounds = 1
    while letters.startswith(unit, start + rounds * len(unit)):
        rounds += 1
    return rounds


def _allowed_rounds(unit: str) -> int:
    """From how many rounds on a unit counts as a loop."""
    if unit.isdecimal():
        return 12  # the longest number people dictate in one breath
    return {1: 8, 2: 6, 3: 4}.get(len(unit), 3)  # 谢谢谢谢谢谢 is said


def is_too_fast(text: str, voiced_ms: int) -> bool:
    """More characters than a mouth can say in that time (a tenth of a second of grace for clipped edges)."""
    return len(significant(text)) > FASTEST_PER_SECOND * (voiced_ms + 100) / 1000


def is_silence(no_speech: float, mean_log_prob: float) -> bool:
    return no_speech > NO_SPEECH and mean_log_prob < SURE_ENOUGH


def is_weak_voice(voiced_ms: int, span_ms: int) -> bool:
    return voiced_ms < WEAK_VOICE_MS or voiced_ms < WEAK_VOICE_SHARE * span_ms


def is_invention(text: str) -> bool:
    """Nothing but the closing lines of a subtitled video."""
    letters = significant(text).lower()
    return bool(letters) and _inventions().fullmatch(letters) is not None


@cache
def _inventions() -> re.Pattern[str]:
    lines = resources.files(__package__).joinpath("hallucinations.txt").read_text(encoding="utf-8").splitlines()
    phrases = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    patterns = (".*".join(re.escape(significant(part)) for part in phrase.split("…")) for phrase in phrases)
    return re.compile(f"(?:{'|'.join(patterns)})+")
