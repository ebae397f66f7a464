"""How many calls this machine carries in time: an estimate from what calls cost. Pure, told the time.

What must be done of a call keeps cores busy: hearing it, its final text, its verdicts; interim text is not counted, for
it is given up first. The mean of that per second of a call, over the last half minute, times the calls there would be,
has to leave some of the cores free: beyond it everybody's text comes later and later.

A call that has just begun has cost little yet, and when a server was away all its callers are back within seconds. So
while calls are young the estimate does not fall below the one that the server made of itself (``warming.call_cost``).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

FULL = 0.8  # of the cores
KEEP_S = 30.0
BESIDES = 1.25  # what is not told, sockets and journals for the most part: a fifth of a server's CPU time
YOUNG_S = 15.0  # mean age of calls below which what they cost is not all there yet


class _Moment(NamedTuple):
    at_s: float
    spent_s: float
    calls_s: float  # how long all calls have been here, added up


class Admission:
    """cores      what there is to share
    call_cost  CPU seconds that a second of a call takes, as far as is known before there are calls; 0: not known
    """

    def __init__(self, cores: int, call_cost: float = 0.0) -> None:
        self._cores, self._expected = cores, call_cost
        self._moments: deque[_Moment] = deque()

    def note(self, now_s: float, spent_s: float, calls: int) -> None:
        """Tell now and then, in order of time.

        spent_s  seconds of cores so far that calls needed, from any beginning
        calls    how many have been here since the last time
        """
        last = self._moments[-1] if self._moments else _Moment(now_s, spent_s, 0.0)
        self._moments.append(_Moment(now_s, spent_s, last.calls_s + (now_s - last.at_s) * calls))
        while now_s - self._moments[0].at_s > KEEP_S:
            self._moments.popleft()

    def call_cost(self, calls: int) -> float:
        """CPU seconds that a second of each of so many calls takes."""
        if not self._moments:
            return self._expected
        first, last = self._moments[0], self._moments[-1]
        calls_s = last.calls_s - first.calls_s
        if calls_s < YOUNG_S:
            return self._expected
        measured = BESIDES * (last.spent_s - first.spent_s) / calls_s
        return measured if calls_s >= YOUNG_S * calls else max(self._expected, measured)

    def accepts(self, calls: int) -> bool:
        """Whether one more than so many fits; the first always does."""
        return calls == 0 or (calls + 1) * self.call_cost(calls + 1) <= FULL * self._cores
