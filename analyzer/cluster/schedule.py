"""Which worker scores which call: lots handed out on asking, deaths survived, poison found. Pure: no Ray, no clock.

Theory of operation. A worker asks and gets a lot; it keeps asking while it works, so nobody is planned for and a slow
machine simply asks less often. Lots shrink as the calls run out, so that all end at about the same time.

When a worker dies, every call it held is a suspect, because a dead process cannot say which of them it was. Suspects go
out again in two lots of half the size, each to a worker that holds nothing else; whatever dies again is halved again.
So a call that kills is alone after about log2(lot) deaths, and only a call that was alone is ever blamed: when it has
been there at ``tries`` deaths. The others of its lot come back with results. A node that was lost costs its calls
nothing but a second hearing.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable

TRIES = 3  # deaths over a call before it is given up; two may be the machine's fault


class Schedule:
    """The calls of a run between waiting, held by a worker, and out of the way.

    >>> schedule = Schedule(["a", "b", "c"])
    >>> schedule.hand_out("w1", 2, workers=1)
    ('a', 'b')
    >>> schedule.finished("w1", "a"), schedule.finished("w1", "a")
    (True, False)
    """

    def __init__(self, calls: Iterable[str], *, tries: int = TRIES) -> None:
        self._waiting = deque(calls)
        self._suspects: deque[tuple[str, ...]] = deque()
        self._held: dict[Hashable, list[str]] = {}
        self._apart: set[Hashable] = set()  # workers with a lot of suspects, who get nothing beside it
        self._deaths: Counter[str] = Counter()
        self._tries = tries

    @property
    def is_over(self) -> bool:
        return not (self._waiting or self._suspects or any(self._held.values()))

    def held(self, worker: Hashable) -> tuple[str, ...]:
        """What the worker was given and has not answered for, in the order in which it was given."""
        return tuple(self._held.get(worker, ()))

    def has_more(self, worker: Hashable) -> bool:
        """Whether asking again now may get this worker another lot."""
        return bool(self._waiting) and worker not in self._apart

    def deaths(self, call_id: str) -> int:
        """How many workers died while they held this call."""
        return self._deaths[call_id]

    def hand_out(self, worker: Hashable, wanted: int, *, workers: int) -> tuple[str, ...]:
        """The next lot of a worker who has room for ``wanted`` calls; empty if there is none for it now.

        workers  how many share what is left
        """
        held = self._held.setdefault(worker, [])
        if not held:
            self._apart.discard(worker)
            if self._suspects:
                self._apart.add(worker)
                held.extend(self._suspects.popleft())
                return tuple(held)
        if worker in self._apart:
            return ()
        share = -(-len(self._waiting) // (2 * workers))
        lot = tuple(self._waiting.popleft() for _ in range(min(wanted, share)))
        held.extend(lot)
        return lot

    def finished(self, worker: Hashable, call_id: str) -> bool:
        """A call is out of the way. False: it is not this worker's to answer for, and its answer must not count."""
        held = self._held.get(worker, [])
        if call_id not in held:
            return False
        held.remove(call_id)
        return True

    def died(self, worker: Hashable) -> tuple[str, ...]:
        """A worker is gone, perhaps because of what it held. Returns the calls that are given up now: one or none."""
        held = self._leave(worker)
        self._deaths.update(held)
        if len(held) == 1 and self._deaths[held[0]] >= self._tries:
            return held
        half = (len(held) + 1) // 2
        self._suspects.extend(lot for lot in (held[:half], held[half:]) if lot)
        return ()

    def withdrawn(self, worker: Hashable) -> None:
        """A worker is gone for a reason that is none of its calls' fault."""
        is_suspect = worker in self._apart
        held = self._leave(worker)
        if held and is_suspect:
            self._suspects.appendleft(held)
        else:
            self._waiting.extendleft(reversed(held))

    def _leave(self, worker: Hashable) -> tuple[str, ...]:
        self._apart.discard(worker)
        return tuple(self._held.pop(worker, ()))
