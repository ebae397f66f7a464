"""Where speech begins and ends: one table of states, fed a 30 ms frame at a time. No audio in here.

    QUIET ──voice──► STARTING ──enough──► SPEAKING ◄──voice── STOPPING
      ▲                 │                    └────silence───────►│
      └─────ended───────┴───────────────◄─────────ended──────────┘

A frame brings exactly one event. STARTING has not heard enough voice to believe it and is dropped if silence ends it;
SPEAKING and STOPPING may be ``FULL``: then the stretch is cut without leaving the state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto

FRAME_MS = 30


def frames(duration_ms: int) -> int:
    """Whole frames in a duration."""
    return duration_ms // FRAME_MS


ENOUGH = frames(120)  # voiced frames to believe a start: a 200 ms 嗯 has about this many above Silero's threshold
BLIP_END = frames(300)  # silence that ends a start never believed
BRIDGED = frames(150)  # silence inside a voiced span: a stop consonant's closure, not a pause
PRE_ROLL = frames(300)  # real audio before the first voiced frame
TAIL = frames(240)  # and after the last one, at most half the silence that ended the stretch
LONGEST = frames(15_000)  # a stretch is cut here at the latest
CUT_WITHIN = frames(2_000)  # in the quietest frame of its last so many
HARD_ENDS = (  # silence that ends a stretch which is at least so long, longest first
    (frames(12_000), frames(210)),
    (frames(8_000), frames(300)),
    (0, frames(540)),  # after the 110 ms for which a voice seems to go on: under the 700 ms that part two utterances
)


class State(Enum):
    QUIET = auto()
    STARTING = auto()
    SPEAKING = auto()
    STOPPING = auto()


class Event(Enum):
    VOICE = auto()
    SILENCE = auto()
    ENOUGH = auto()  # voice, and by now enough of it
    ENDED = auto()  # silence, and by now enough of it
    FULL = auto()  # the stretch has its greatest length, whatever this frame is


class Action(Enum):
    NONE = auto()
    PUBLISH = auto()
    DROP = auto()
    CUT = auto()


TRANSITIONS: dict[tuple[State, Event], tuple[State, Action]] = {
    (State.QUIET, Event.VOICE): (State.STARTING, Action.NONE),
    (State.QUIET, Event.SILENCE): (State.QUIET, Action.NONE),
    (State.STARTING, Event.VOICE): (State.STARTING, Action.NONE),
    (State.STARTING, Event.SILENCE): (State.STARTING, Action.NONE),
    (State.STARTING, Event.ENOUGH): (State.SPEAKING, Action.NONE),
    (State.STARTING, Event.ENDED): (State.QUIET, Action.DROP),
    (State.SPEAKING, Event.VOICE): (State.SPEAKING, Action.NONE),
    (State.SPEAKING, Event.SILENCE): (State.STOPPING, Action.NONE),
    (State.SPEAKING, Event.ENDED): (State.QUIET, Action.PUBLISH),  # a tone took back the end of it
    (State.SPEAKING, Event.FULL): (State.SPEAKING, Action.CUT),
    (State.STOPPING, Event.VOICE): (State.SPEAKING, Action.NONE),
    (State.STOPPING, Event.SILENCE): (State.STOPPING, Action.NONE),
    (State.STOPPING, Event.ENDED): (State.QUIET, Action.PUBLISH),
    (State.STOPPING, Event.FULL): (State.STOPPING, Action.CUT),
}


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch to recognise, in frames since the start, ends exclusive; `speech` are its voiced runs, in order."""

    start: int
    end: int
    speech: tuple[tuple[int, int], ...]


class Endpointer:
    """Turns voiced frames into stretches; it keeps what the open stretch needs and nothing older."""

    def __init__(self) -> None:
        self.state = State.QUIET
        self.frame = 0  # the next one
        self._free_from = 0  # end of the stretch before: audio no other stretch may use
        self._silent_since = 0
        self._heard = 0  # voiced frames of the open stretch, without what was bridged
        self._runs: list[list[int]] = []  # its voiced runs [start, end)
        self._loudness: deque[float] = deque(maxlen=CUT_WITHIN)

    @property
    def start(self) -> int:
        """Where the open stretch begins, pre-roll included, or where one would that opened now."""
        voice = self._runs[0][0] if self._runs else self.frame
        return max(self._free_from, voice - PRE_ROLL)

    @property
    def open_stretch(self) -> Stretch | None:
        """The stretch that goes on, up to now, once there is enough voice to believe it."""
        if self.state not in (State.SPEAKING, State.STOPPING) or not self._runs:
            return None
        return Stretch(self.start, self.frame, tuple((start, end) for start, end in self._runs))

    @property
    def foreseen(self) -> Stretch | None:
        """What the open stretch will be if nobody speaks until it ends; None until all of that has come."""
        if self.state is not State.STOPPING or not self._runs:
            return None
        voiced_until = self._runs[-1][1]
        silence = next(n for n in range(1, LONGEST) if n >= _hard_end(voiced_until + n - self.start))
        end = voiced_until + _tail(silence)
        if end > self.frame:
            return None
        return Stretch(self.start, end, tuple((start, end) for start, end in self._runs))

    def feed(self, voiced: bool, loudness: float, steady_since: int | None = None) -> Iterator[Stretch]:
        """Hear one more frame.

        loudness       energy of the frame, for the place of a forced cut
        steady_since   first frame of the generated tone that sounds now, if one does: no voice, whatever it seemed
        """
        self._loudness.append(loudness)
        if steady_since is not None:
            voiced = False
            self._take_back(steady_since)
        elif voiced:
            self._add()
        self.frame += 1
        self.state, action = TRANSITIONS[self.state, self._event(voiced)]
        if action is Action.CUT:
            yield from self._cut()
        elif action is Action.PUBLISH:
            yield from self._publish()
        elif action is Action.DROP:
            self._forget()

    def finish(self) -> Iterator[Stretch]:
        """End the stretch that the end of the recording cut short; half the usual voice is enough to believe it."""
        if self._heard >= ENOUGH // 2:
            yield from self._publish()

    def _event(self, voiced: bool) -> Event:
        if self.state is not State.QUIET and self._ended():
            return Event.ENDED
        if self.state is State.STARTING and voiced and self._heard >= ENOUGH:
            return Event.ENOUGH
        if self.state in (State.SPEAKING, State.STOPPING) and self.frame - self.start >= LONGEST:
            return Event.FULL
        return Event.VOICE if voiced else Event.SILENCE

    def _ended(self) -> bool:
        silence = self.frame - self._silent_since
        if self.state is State.STARTING:
            return silence >= BLIP_END
        return silence >= _hard_end(self.frame - self.start)

    def _add(self) -> None:
        if self._runs and self.frame - self._runs[-1][1] <= BRIDGED:
            self._runs[-1][1] = self.frame + 1
        else:
            self._runs.append([self.frame, self.frame + 1])
        self._heard += 1
        self._silent_since = self.frame + 1

    def _take_back(self, since: int) -> None:
        """Frames from `since` on turned out to be a tone."""
        self._runs = [[start, min(end, since)] for start, end in self._runs if start < since]
        self._heard = min(self._heard, sum(end - start for start, end in self._runs))
        self._silent_since = min(self._silent_since, since)

    def _cut(self) -> Iterator[Stretch]:
        """Part the stretch in its quietest recent frame; what follows stays open."""
        quietest = min(range(len(self._loudness)), key=self._loudness.__getitem__)
        at = self.frame - len(self._loudness) + quietest
        before = tuple((start, min(end, at)) for start, end in self._runs if start < at)
        if before:
            yield Stretch(self.start, at, before)
        self._free_from = at
        self._runs = [[max(start, at), end] for start, end in self._runs if end > at]

    def _publish(self) -> Iterator[Stretch]:
        if self._runs:
            last = self._runs[-1][1]
            end = last + _tail(self.frame - last)
            yield Stretch(self.start, end, tuple((start, end) for start, end in self._runs))
            self._free_from = end
        self._forget()

    def _forget(self) -> None:
        self._runs = []
        self._heard = 0


def _hard_end(length: int) -> int:
    """Silence that ends a stretch of this length."""
    return next(end for at_least, end in HARD_ENDS if length >= at_least)


def _tail(silence: int) -> int:
    """How much of the silence that ended a stretch belongs to it."""
    return min(TAIL, silence // 2)
