"""What flows through the analyzer. Frozen values, integer milliseconds, no behaviour beyond arithmetic.

Call time is integer milliseconds since the call was answered (suffix ``_ms``). Text positions are code points of the
raw text, end exclusive. Imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Role(StrEnum):
    """Who is speaking."""

    AGENT = "agent"
    CUSTOMER = "customer"
    SYSTEM = "system"
    UNKNOWN = "unknown"


class Direction(StrEnum):
    """Who called whom."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    CRITICAL = "critical"
    MAJOR = "major"
    MINOR = "minor"
    INFO = "info"


class Outcome(StrEnum):
    """What a rule says of a finished call."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    VIOLATION = "violation"
    UNSURE = "unsure"
    NOT_APPLICABLE = "not_applicable"


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    REVIEW = "review"


class Match(StrEnum):
    """How a hit was recognised; ``ABSENT`` for something owed and not said."""

    EXACT = "exact"
    VARIANT = "variant"
    HOMOPHONE = "homophone"
    MODEL = "model"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open stretch of call time [start_ms, end_ms).

    >>> Span(0, 900).gap_to(Span(2400, 3000))
    1500
    """

    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_ms <= self.end_ms:
            raise ValueError(f"need 0 <= start <= end, got [{self.start_ms}, {self.end_ms}) ms")

    @property
    def duration_ms(self) -> int:
        return self.end_ms - self.start_ms

    @property
    def midpoint_ms(self) -> int:
        return (self.start_ms + self.end_ms) // 2

    def gap_to(self, later: Span) -> int:
        return max(0, later.start_ms - self.end_ms)

    def overlap_ms(self, other: Span) -> int:
        return max(0, min(self.end_ms, other.end_ms) - max(self.start_ms, other.start_ms))


@dataclass(frozen=True, slots=True)
class Utterance:
    """Something one role said, as the recogniser (or a transcript) gives it: one *turn* of the report.

    characters    one span per character of ``text``, or None when the source times the whole utterance only;
                  consumers then spread characters evenly over ``span``
    interpolated  the character times were spread inside words, not measured
    confidence    0..1; None means certain (a human transcript)
    level_db      mean level in dB relative to full scale, if audio was seen
    estimated     where it begins or ends was reckoned from its text, not measured: nothing is known of its pace
    role_confidence  0..1, that the role is right, where it was inferred from a channel that both speakers share; of an
                  unknown role how sure the likelier one would be. None: the role is given

    ``repr`` hides the words: logs may carry it.
    """

    role: Role
    span: Span
    text: str = field(repr=False)
    confidence: float | None = None
    characters: tuple[Span, ...] | None = field(default=None, repr=False)
    interpolated: bool = False
    level_db: float | None = None
    role_confidence: float | None = None
    estimated: bool = False

    def __post_init__(self) -> None:
        if self.characters is not None and len(self.characters) != len(self.text):
            raise ValueError(f"{len(self.characters)} character times for {len(self.text)} characters")


@dataclass(frozen=True, slots=True)
class Transcript:
    """One call as text and time: what ``analyzer check`` reads and what ``score`` produces before the rules run.

    activity   voiced spans per role, unmerged, if audio was seen (None: use the turns' spans)
    metadata   call attributes (ring_ms, hung_up_by, company, agent_id, customer_surname, …), see docs/metadata.md
    """

    call_id: str
    utterances: tuple[Utterance, ...] = field(repr=False)
    direction: Direction = Direction.UNKNOWN
    duration_ms: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    activity: Mapping[Role, tuple[Span, ...]] | None = field(default=None, repr=False)
    truncated: bool = False
    recording_offset_ms: int = 0
    recogniser: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
