"""Packets of a call to its sample clock: 16 kHz samples per role, each at its place, silence where one is missing.

Pure: the time of arrival is an input, in ms of one monotonic clock.

Theory of operation. Each role has a lane. A lane is complete up to ``placed``; what came from beyond a hole waits:

    0 ─────────────────── placed ─ ─ hole ─ ─ ▓▓ waiting ▓▓ ─ hole ─ ▓▓▓▓
      given out                                   ▲ follows: where a chunk that names no position goes

A hole is waited for 300 ms from the moment something from beyond it came; then it becomes silence and is stated as a
gap, for good: what comes for it later is late. A lane that gets nothing at all for a second while another goes on is
filled to 300 ms behind that one. Chunks without a position simply follow, so for them a second of nothing is a leg that
was mute or cut off: the first chunk afterwards goes where the other lane is, and should a whole burst follow (a stalled
connection catches up) what lies ahead of the other lane by more than the patience is dropped, else the two sides would
stay apart for the rest of the call.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from analyzer.audio import FULL_SCALE, SAMPLE_RATE, Resampler
from analyzer.labels import ROLES
from analyzer.live.refusal import Refusal
from analyzer.types import Role

Samples = NDArray[np.int16]

PATIENCE_MS = 300  # of arrival time that a hole is waited for
SILENT_AFTER_MS = 1_000  # a role that gets nothing for so long, while another goes on, is filled with silence
AHEAD_MS = 60_000  # a position further ahead than this and the time that has passed is not believed
LONGEST_HOLE_MS = 600_000  # not even if that much time has passed
WAITING_MS = 10_000  # audio beyond a hole that is kept; more ends the patience
WAITING_PIECES = 1_000
RUN_AHEAD_MS = 1_000  # how far the clock runs on when no audio comes: by then the sender is pausing
DAMAGING_GAP_MS = 400  # two syllables
DAMAGING_SHARE = 0.01
MOST_GAPS = 200  # per role; beyond it the nearest ones are told as one

Loss = Literal["late", "duplicate", "overlapping", "implausible", "missing"]


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Audio of some roles as it came.

    roles     one per column of ``samples``
    samples   int16 at the stream's rate, shape (n, len(roles))
    position  of the first sample since the start of the call, at the stream's rate; None: follows the last one
    """

    roles: tuple[Role, ...]
    samples: Samples = field(repr=False)
    position: int | None = None


class Intake:
    """Places the chunks of one call. Memory: at most 10 s of each role's audio."""

    def __init__(self, rate: int, roles: Sequence[Role], awaited: Collection[Role] = ()) -> None:
        """
        rate     Hz of every chunk
        awaited  roles that are put through later: until then nothing of them is lost, unless they never come
        """
        self.rate = rate
        self.roles = tuple(roles)
        self._lanes = {role: _Lane(rate, is_awaited=role in awaited) for role in roles}
        self._origin = 0  # sample of the call that positions count from
        self._counts: Counter[Loss] = Counter()
        self._began_ms: int | None = None
        self._told_ms = 0

    def add(self, chunk: Chunk, now_ms: int) -> dict[Role, Samples]:
        """Samples at 16 kHz that are complete now, per role, each role's without a gap from the last time on.

        raises Refusal if the chunk is of a role that the call does not have
        """
        if strangers := set(chunk.roles) - set(self._lanes):
            raise Refusal(
                "bad_channels",
                f"this call has no {', '.join(sorted(strangers))}; begin it with all its channels, or send as "
                f"{', '.join(self.roles)}",
            )
        faults = {self._receive(role, chunk, column, now_ms) for column, role in enumerate(chunk.roles)}
        self._counts.update(fault for fault in faults if fault)
        return self.flush(now_ms)

    def flush(self, now_ms: int) -> dict[Role, Samples]:
        """What patience has run out for: silence where packets did not come in time, or where a role sends nothing."""
        for lane in self._lanes.values():
            lane.give_up_holes(now_ms)
        for lane in self._lanes.values():
            if self._is_silent(lane, now_ms):
                lane.fill_silent(self._lead(lane) - lane.samples_in(PATIENCE_MS))
        return self._given_out()

    def end(self, roles: Collection[Role]) -> None:
        """These roles hung up: what they do not send from now on is silence and no loss, unless they come back."""
        for role in roles:
            self._lanes[role].has_ended = True

    def finish(self) -> dict[Role, Samples]:
        """No more packets: what is left, all roles to the same length, resamplers drained."""
        for lane in self._lanes.values():
            lane.give_up_all_holes()
        end = max(lane.placed for lane in self._lanes.values())
        for lane in self._lanes.values():
            lane.pad(end)
        return self._given_out(last=True)

    def resume(self, roles: Collection[Role], now_ms: int, away_ms: int | None = None) -> None:
        """The sender of these roles is back. Other roles may follow; one that hung up is still gone.

        away_ms  how long it was away, if what was said meanwhile is lost: a gap, and positions count from its end.
                 None: it sends that, going on from ``acked_ms``
        """
        if away_ms is None:
            position = self.acked_ms * self.rate // 1000
            for lane in self._lanes.values():
                lane.resume(position, now_ms)
        else:
            for lane in self._lanes.values():
                lane.give_up_all_holes()
            furthest = max(lane.placed for lane in self._lanes.values())
            self._origin = furthest + away_ms * self.rate // 1000
            for lane in self._lanes.values():
                lane.go_on(self._origin, now_ms)
        for role, lane in self._lanes.items():
            lane.has_ended = lane.has_ended and role not in roles

    def clock_ms(self, now_ms: int) -> int:
        """Call time now: how far the audio is, or would be had it come in time. Never goes back.

        It runs at most a second ahead of the audio: a sender that pauses stops it.
        """
        arrivals = [lane.arrived_ms for lane in self._lanes.values() if lane.arrived_ms is not None]
        if arrivals:
            passed_ms = min(now_ms - max(arrivals), RUN_AHEAD_MS)
            furthest = max(lane.received for lane in self._lanes.values())
            self._told_ms = max(self._told_ms, furthest * 1000 // self.rate + passed_ms)
        return self._told_ms

    @property
    def acked_ms(self) -> int:
        """Call time up to which all roles' audio has its place."""
        return min(lane.placed for lane in self._lanes.values()) * 1000 // self.rate

    @property
    def silent_roles(self) -> tuple[Role, ...]:
        """Roles that send nothing just now, while another does: nothing can be heard of them."""
        return tuple(role for role, lane in self._lanes.items() if lane.is_silent and not lane.has_ended)

    @property
    def losses(self) -> dict[str, Any]:
        """``gaps`` and ``lost`` of a ``CallEvent``.

        gaps  [start_ms, end_ms] per role, whole milliseconds around what is missing
        lost  packets: ``late`` (its place was silence already), ``duplicate``, ``overlapping`` (in part a duplicate),
              ``implausible`` (a position that cannot be), ``missing`` (that would fill the holes)
        """
        counts = self._counts + Counter(missing=round(sum(lane.missing for lane in self._lanes.values())))
        gaps = {role.value: list(lane.gaps_ms()) for role, lane in self._lanes.items() if lane.gaps}
        return {"gaps": gaps, "lost": dict(sorted(counts.items()))}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the call is not there to be judged, in Chinese; empty if nothing."""
        missing = [
            f"{ROLES[role]}声道缺失 {lane.lost / self.rate:.2f} 秒，已用静音补齐；请检查线路是否丢包"
            for role, lane in self._lanes.items()
            if lane.lost
        ]
        if count := self._counts["implausible"]:
            missing.append(f"有 {count} 个数据包的时间位置不可信，已丢弃；请检查发送端的时间戳")
        return tuple(missing)

    @property
    def is_damaged(self) -> bool:
        """Enough is missing that something owed may have been said in it; a lost packet now and then hides nothing."""
        if self._counts["implausible"]:
            return True
        longest = max((end - start for lane in self._lanes.values() for start, end in lane.gaps), default=0)
        lost, heard = (max(getattr(lane, n) for lane in self._lanes.values()) for n in ("lost", "placed"))
        return longest * 1000 >= DAMAGING_GAP_MS * self.rate or lost > DAMAGING_SHARE * heard

    # ---- inside

    def _receive(self, role: Role, chunk: Chunk, column: int, now_ms: int) -> Loss | None:
        lane, samples = self._lanes[role], chunk.samples[:, column]
        lane.packet = len(samples), len(chunk.roles)
        if chunk.position is not None:
            start = self._origin + chunk.position
        elif lane.is_silent or self._joins_late(lane, now_ms):
            start = lane.come_in(self._lead(lane) - len(samples), now_ms)
        else:
            start = lane.follows
            if lane.catches_up(start + len(samples) - self._lead(lane), len(samples), now_ms):
                return "late"
        if self._began_ms is None:
            self._began_ms = now_ms
        return lane.receive(start, samples, now_ms)

    def _lead(self, lane: _Lane) -> int:
        """How far the furthest other lane is."""
        return max((other.received for other in self._lanes.values() if other is not lane), default=0)

    def _joins_late(self, lane: _Lane, now_ms: int) -> bool:
        return lane.arrived_ms is None and self._began_ms is not None and now_ms - self._began_ms > PATIENCE_MS

    def _is_silent(self, lane: _Lane, now_ms: int) -> bool:
        if lane.is_silent:
            return True
        since_ms = self._began_ms if lane.arrived_ms is None else lane.arrived_ms
        if since_ms is None or now_ms - since_ms < SILENT_AFTER_MS:
            return False
        return self._lead(lane) - lane.placed >= lane.samples_in(SILENT_AFTER_MS)

    def _given_out(self, *, last: bool = False) -> dict[Role, Samples]:
        given = {role: lane.give_out(last=last) for role, lane in self._lanes.items()}
        return {role: samples for role, samples in given.items() if len(samples)}


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Audio from beyond a hole."""

    start: int
    samples: Samples
    arrived_ms: int

    @property
    def end(self) -> int:
        return self.start + len(self.samples)


class _Lane:
    """One role's audio, positions in samples of the stream."""

    def __init__(self, rate: int, *, is_awaited: bool = False) -> None:
        self.is_awaited = is_awaited
        self.placed = 0
        self.follows = 0
        self.waiting: list[_Piece] = []  # in order, without overlap, all beyond ``placed``
        self.arrived_ms: int | None = None
        self.is_silent = False
        self.has_ended = False
        self.packet = 0, 1  # samples per role and roles of the last chunk: what a hole is counted in
        self.gaps: list[tuple[int, int]] = []
        self.lost = 0  # samples in gaps
        self.missing = 0.0  # packets
        self._rate = rate
        self._resampler = Resampler(rate, 1)
        self._ready: list[Samples] = []
        self._held = 0  # samples waiting
        self._sent_again = 0  # a sender that came back may send again what is before this
        self._owed = 0  # samples that were filled in while the lane was silent and may still come in a burst
        self._came_in_ms = 0

    def samples_in(self, ms: int) -> int:
        return ms * self._rate // 1000

    @property
    def received(self) -> int:
        """How far anything has come."""
        return self.waiting[-1].end if self.waiting else self.placed

    # ---- what comes

    def receive(self, start: int, samples: Samples, now_ms: int) -> Loss | None:
        """Audio for [start, start + n): what is new of it is kept. returns what is wrong with it"""
        if not self._is_plausible(start, now_ms):
            return "implausible"
        self.arrived_ms = now_ms
        self.is_silent = self.has_ended = self.is_awaited = False
        end = self.follows = start + len(samples)
        if start == self.placed and not self.waiting:  # as nearly all audio comes
            self._ready.append(samples)
            self.placed = end
            return None
        kept = 0
        for new_start, new_end in list(self._new(start, end)):
            piece = _Piece(new_start, samples[new_start - start : new_end - start], now_ms)
            insort(self.waiting, piece, key=attrgetter("start"))
            kept += new_end - new_start
        self._held += kept
        self._advance()
        if kept == len(samples) or start < self._sent_again:
            return None
        if any(gap_start < end and start < gap_end for gap_start, gap_end in self.gaps):
            return "late"
        return "overlapping" if kept else "duplicate"

    def come_in(self, start: int, now_ms: int) -> int:
        """Where audio goes that names no position and comes after silence, or after the other lane began."""
        start = max(start, self.placed)
        if self.is_silent:
            self._lose(self.placed, start)
            self._came_in_ms = now_ms
        if self.is_awaited:
            self._owed = 0  # it had nothing to say yet
        self._silence(start)
        return start

    def catches_up(self, ahead: int, n_samples: int, now_ms: int) -> bool:
        """Whether this audio was given up while its connection stalled, being ``ahead`` of the other lane."""
        if now_ms - self._came_in_ms > SILENT_AFTER_MS:
            self._owed = 0
        if not self._owed or ahead <= self.samples_in(PATIENCE_MS):
            return False
        self._owed = max(0, self._owed - n_samples)
        return True

    def resume(self, position: int, now_ms: int) -> None:
        """What waited is sent again, from ``position`` on."""
        self.waiting.clear()
        self._held = 0
        self.follows = position
        self._sent_again = self.placed
        if self.arrived_ms is not None:
            self.arrived_ms = now_ms

    def go_on(self, position: int, now_ms: int) -> None:
        """Nothing came up to ``position``, and nothing will."""
        self._lose(self.placed, position)
        self._silence(position)
        self.follows = position
        self._owed = 0
        if self.arrived_ms is not None:
            self.arrived_ms = now_ms

    def _is_plausible(self, start: int, now_ms: int) -> bool:
        passed_ms = now_ms - (self.arrived_ms or 0)
        return 0 <= start <= self.placed + self.samples_in(min(AHEAD_MS + passed_ms, LONGEST_HOLE_MS))

    def _new(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The stretches of [start, end) that nothing came for yet."""
        at = max(start, self.placed)
        for piece in self.waiting:
            if piece.start >= end:
                break
            if at < piece.start:
                yield at, piece.start
            at = max(at, piece.end)
        if at < end:
            yield at, end

    # ---- what does not come

    def give_up_holes(self, now_ms: int) -> None:
        """Those that were waited for long enough, or beyond which too much waits."""
        while self.waiting and (
            now_ms - min(piece.arrived_ms for piece in self.waiting) >= PATIENCE_MS
            or self._held > self.samples_in(WAITING_MS)
            or len(self.waiting) > WAITING_PIECES
        ):
            self._give_up_hole()

    def give_up_all_holes(self) -> None:
        while self.waiting:
            self._give_up_hole()

    def fill_silent(self, end: int) -> None:
        """The role sends nothing: silence up to ``end``."""
        self.is_silent = True
        if end > self.placed:
            self._owed += end - self.placed
            self._lose(self.placed, end)
            self._silence(end)

    def pad(self, end: int) -> None:
        """To the length of the call. Roles do not end on the same sample: less than a second is no loss."""
        if self.is_awaited:  # and never came: who knows what was said
            self.is_awaited = False
            self.gaps, self.lost = [(0, end)], end
        elif self.is_silent or end - self.placed >= self.samples_in(SILENT_AFTER_MS):
            self._lose(self.placed, end)
        self._silence(end)

    def _give_up_hole(self) -> None:
        hole_end = self.waiting[0].start
        if not self.has_ended:
            n_samples, n_roles = self.packet
            self.missing += max(1, round((hole_end - self.placed) / max(1, n_samples))) / n_roles
        self._lose(self.placed, hole_end)
        self._silence(hole_end)
        self._advance()

    def _lose(self, start: int, end: int) -> None:
        if self.has_ended or self.is_awaited or end <= start:
            return
        self.lost += end - start
        if self.gaps and self.gaps[-1][1] == start:
            start = self.gaps.pop()[0]
        self.gaps.append((start, end))
        if len(self.gaps) > MOST_GAPS:
            self._merge_nearest_gaps()

    def _merge_nearest_gaps(self) -> None:
        nearest = min(range(1, len(self.gaps)), key=lambda index: self.gaps[index][0] - self.gaps[index - 1][1])
        self.gaps[nearest - 1 : nearest + 1] = [(self.gaps[nearest - 1][0], self.gaps[nearest][1])]

    def gaps_ms(self) -> Iterator[tuple[int, int]]:
        for start, end in self.gaps:
            yield start * 1000 // self._rate, -(-end * 1000 // self._rate)

    # ---- what goes out

    def give_out(self, *, last: bool) -> Samples:
        """What was placed since the last time, at 16 kHz."""
        pieces, self._ready = self._ready, []
        if self._rate == SAMPLE_RATE:  # it passes as it is
            return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int16)
        given = [
            self._resampler.feed(np.divide(piece[:, np.newaxis], FULL_SCALE, dtype=np.float32)) for piece in pieces
        ]
        if last:
            given.append(self._resampler.finish())
            del self._resampler  # nothing follows; it weighs 90 KiB, and ended calls are remembered for a while
        return np.concatenate(given)[:, 0] if given else np.zeros(0, dtype=np.int16)

    def _advance(self) -> None:
        """Place what waits no longer for anything."""
        n_placed = 0
        for piece in self.waiting:
            if piece.start != self.placed:
                break
            self._ready.append(piece.samples)
            self.placed = piece.end
            self._held -= len(piece.samples)
            n_placed += 1
        del self.waiting[:n_placed]

    def _silence(self, end: int) -> None:
        while self.placed < end:
            n_samples = min(end - self.placed, self.samples_in(WAITING_MS))  # resampled one by one: little memory
            self._ready.append(np.zeros(n_samples, dtype=np.int16))
            self.placed += n_samples
