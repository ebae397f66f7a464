"""Two voices on one channel, told apart by nothing but each other.

Theory of operation.

    traits ─► runs ─► windows ─► what sets runs apart ─► two groups of runs ─► discriminant ─► per tenth: first voice,
              between   0.8 s     more than their own     (several guesses,     between them    second, or both ─► spans
              pauses              windows differ           the clearest wins)

A *run* is speech without a pause of 150 ms: nearly always one speaker's. It is measured in pieces of about three
seconds. What varies between windows of one piece is what is said; what varies between pieces beyond that is who says
it. So directions in which the means of pieces differ most, measured by how much windows differ inside them, show the
speaker (Fisher's discriminant with pieces for classes). There the pieces are parted in two: Ward's tree, then each to
the nearer mean. Spectrum, spectrum with its spread, and pitch alone each give a guess; the guess whose voices lie
furthest apart and both have much to say is taken.

Runs may hold both speakers where one cuts in. So in the end every tenth of a second is placed on the line between
the two voices, by the window around it, and Viterbi's algorithm finds the best sequence of three states (first voice,
second voice, in between: both at once or neither) in which a change costs much inside a run and little between runs.
All this is done twice: the second time pieces end where the first found a change, so that what cuts in does not blur
the measure.

How sure that is: with one voice alone, pieces fall apart in two groups too. But then windows left out of the measuring
do not fall in with their own piece (``kept``), and the groups lie close together (``distance``). docs/speakers.md has
the measurements behind the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from analyzer.speakers.traits import BIN_MS, CEPSTRA, TRAITS, Traits
from analyzer.types import Span

_PAUSE_MS = 150  # parts two runs; within a turn of one speaker many pauses are longer, and that does no harm
_REACH = 4  # tenths on either side of the one a window stands for
_HOP = 2  # tenths between the windows that are measured
_LEAST_VOICED = 12  # frames of 10 ms, for a window's means to say anything
_SHRINK = 0.2  # of the scatter inside runs towards that of unrelated traits: a short call has few windows
_LARGEST_TREE = 2000  # pieces, the longest: Ward's tree takes 8 bytes per pair
_ROUNDS = 20
_PIECE = 30  # tenths: long enough for many sounds, short enough to be one speaker's where two talk at once
_LEAST_PIECES = 4
_PASSES = 2
_UNDECIDED = -1  # the state of a tenth that nothing was said of yet

_VIEWS = (slice(0, CEPSTRA), slice(0, 2 * TRAITS), slice(CEPSTRA, CEPSTRA + 1))  # spectrum; all; pitch
_DEPTHS = (1, 4)  # directions looked at

_TIE = 0.15  # neighbouring windows share nine tenths of their frames: what one tenth adds to the evidence
_MOST = 4.0  # standard deviations beyond which a window counts no more: an outlier proves little
_CHANGE_IN_RUN, _CHANGE_BETWEEN = 5.0, 0.5  # costs, natural logarithm
_BOTH = 0.4  # of the way from the middle to either mean: so far both at once may lean to the louder one
_IN_BETWEEN = 2.5  # half of what it costs to be in between

_TWO = (2.5, 16.0, -22.5)  # logistic regressions on generated calls, docs/speakers.md: of distance and kept share,
_ENOUGH_S, _PER_MISSING_S = 60, 0.08  # of speech; with less, one voice falls apart further by what it happens to say
_LESSER_S, _PER_LACKING_S = 5, 2.0  # of the voice that says less: a 您好 that sounds alike each time is no second voice
_SIDE = (1.8, -0.2)  # and of standard deviations from the middle

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Voiced time of one voice.

    voice    0 or 1; None where both speak or neither is like it
    clarity  how far towards its voice's side it lies: 1 on average, 0 half-way to the other one
    """

    span: Span
    voice: int | None
    clarity: float


@dataclass(frozen=True, slots=True)
class Voices:
    """distance   squared, between the two voices, in variances of a window of 0.8 s (Mahalanobis)
    kept       share of windows that fall in with their piece when it is left out of the measuring
    stretches  all voiced time, in order
    """

    distance: float
    kept: float
    stretches: tuple[Stretch, ...]

    @property
    def confidence(self) -> float:
        """How surely these are two voices and not one that varies."""
        weight, of_kept, offset = _TWO
        evidence = weight * math.log(max(self.distance, 1e-9)) + of_kept * self.kept + offset
        evidence -= _PER_MISSING_S * max(0.0, _ENOUGH_S - sum(map(self._spoken_s, (0, 1))))
        evidence -= _PER_LACKING_S * max(0.0, _LESSER_S - min(map(self._spoken_s, (0, 1))))
        return _odds(evidence)

    def _spoken_s(self, voice: int) -> float:
        return sum(stretch.span.duration_ms for stretch in self.stretches if stretch.voice == voice) / 1000

    def confidence_of(self, stretch: Stretch) -> float:
        """How surely a stretch is of the voice it is put down to, if there are two; 0.5 where it is in between."""
        if stretch.voice is None:
            return 0.5
        weight, offset = _SIDE
        return _odds(weight * stretch.clarity * math.sqrt(self.distance) / 2 + offset)


def _odds(logarithm: float) -> float:
    return 1 / (1 + math.exp(-logarithm))


@dataclass(frozen=True, slots=True, eq=False)
class _Speech:
    """All tenths of a call. ``totals`` are running sums over them, so that a window is a difference of two rows."""

    tenths: Ints
    run_of: Ints  # number of the run each tenth is in, rising
    first: Ints  # of the run of each tenth: its first tenth, and the one after its last
    after: Ints
    counts: Ints
    totals: Floats

    @classmethod
    def of(cls, traits: Sequence[Traits]) -> _Speech:
        tenths = np.concatenate([own.tenths for own in traits])
        counts = np.concatenate([own.counts for own in traits])
        sums = np.concatenate([own.sums for own in traits]).reshape(len(tenths), 2 * TRAITS).astype(np.float64)
        starts = np.array([run.start_ms for run in _runs(traits)])
        run_of = np.searchsorted(starts, tenths * BIN_MS + BIN_MS // 2, "right")
        edges = np.flatnonzero(np.diff(run_of)) + 1
        firsts, afters = np.concatenate([[0], edges]), np.concatenate([edges, [len(tenths)]])
        lengths = afters - firsts
        numbers = np.repeat(np.arange(len(firsts)), lengths)
        totals = np.concatenate([np.zeros((1, 2 * TRAITS)), np.cumsum(sums, axis=0)])
        running = np.concatenate([[0], np.cumsum(counts)])
        return cls(tenths, numbers, np.repeat(firsts, lengths), np.repeat(afters, lengths), running, totals)

    def pieces(self, states: Ints) -> Ints:
        """Number of the piece of a run that each tenth is in: runs in equal parts of about _PIECE, cut once more where
        the state changes."""
        length = self.after - self.first
        parts = np.maximum(1, np.round(length / _PIECE)).astype(np.int64)
        part = (np.arange(len(self.tenths)) - self.first) * parts // length
        is_new = (np.diff(part) != 0) | (np.diff(self.run_of) != 0) | (np.diff(states) != 0)
        return np.concatenate([[0], np.cumsum(is_new)])

    def windows(self, at: Ints) -> tuple[Floats, NDArray[np.bool_]]:
        """Means and spreads of the traits around the tenths ``at``, inside their runs; and which hold enough voice."""
        start = np.maximum(self.first[at], at - _REACH)
        end = np.minimum(self.after[at], at + _REACH + 1)
        frames = self.counts[end] - self.counts[start]
        sums = (self.totals[end] - self.totals[start]) / np.maximum(frames, 1)[:, None]
        means, squares = sums[:, :TRAITS], sums[:, TRAITS:]
        return np.hstack([means, np.sqrt(np.maximum(squares - np.square(means), 0))]), frames >= _LEAST_VOICED


def _runs(traits: Sequence[Traits]) -> Iterator[Span]:
    """Speech without a longer pause, over all segments, in order."""
    current: Span | None = None
    for span in (span for own in traits for span in own.speech):
        if current is not None and current.gap_to(span) <= _PAUSE_MS:
            current = Span(current.start_ms, max(current.end_ms, span.end_ms))
            continue
        if current is not None:
            yield current
        current = span
    if current is not None:
        yield current


def tell_apart(traits: Sequence[Traits]) -> Voices | None:
    """The two voices of a call, from the traits of its segments in order. None where too little was said to part it."""
    traits = [own for own in traits if len(own.tenths)]
    if not traits:
        return None
    speech = _Speech.of(traits)
    at = np.flatnonzero((np.arange(len(speech.tenths)) - speech.first) % _HOP == 0)
    windows, enough = speech.windows(at)
    at, windows = at[enough], windows[enough]
    every, known = speech.windows(np.arange(len(speech.tenths)))
    if len(set(speech.pieces(np.zeros_like(speech.tenths))[at].tolist())) < _LEAST_PIECES:
        return None
    centre, scale = windows.mean(axis=0), windows.std(axis=0) + 1e-9
    windows, every = (windows - centre) / scale, (every - centre) / scale
    states = np.full(len(speech.tenths), _UNDECIDED)
    for _ in range(_PASSES):
        measured = _measure(windows, speech.pieces(states)[at])
        labels = max(measured.guesses(states[at]), key=measured.apart, default=None)
        if labels is None:
            return None
        line = measured.line(labels)
        places = line.place(every)
        states = _follow(np.where(known, places, 0.0), line, speech.run_of)
        if not {0, 1} <= set(states[at].tolist()):
            return None
    return Voices(line.distance, measured.kept(states[at]), tuple(_stretches(traits, speech.tenths, states, places)))


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """The discriminant between two voices: -1 is the first one's mean, 1 the second one's."""

    direction: Floats
    middle: float
    half: float  # from the middle to either mean, along the direction: half the squared distance

    @property
    def distance(self) -> float:
        return 2 * self.half

    def place(self, windows: Floats) -> Floats:
        return np.asarray((windows @ self.direction - self.middle) / max(self.half, 1e-9), np.float64)


def _measure(windows: Floats, pieces: Ints) -> _Measured:
    numbers, piece_of = np.unique(pieces, return_inverse=True)
    return _Measured(windows, piece_of, len(numbers))


class _Measured:
    """Windows of a call, and what is known of how they vary.

    windows   standardised, shape (n, 2 * TRAITS)
    piece_of  the piece of a run that each is in, 0 … n_pieces - 1
    """

    def __init__(self, windows: Floats, piece_of: Ints, n_pieces: int) -> None:
        self.windows, self.piece_of = windows, piece_of
        self.sizes = np.bincount(piece_of, minlength=n_pieces).astype(np.float64)
        self.means = self._sums(windows) / self.sizes[:, None]
        self.scatter = self._inside(windows - self.means[piece_of])

    def _sums(self, windows: Floats) -> Floats:
        sums = np.zeros((len(self.sizes), windows.shape[1]))
        np.add.at(sums, self.piece_of, windows)
        return sums

    def _inside(self, deviations: Floats) -> Floats:
        """How windows vary inside pieces, drawn towards unrelated traits of equal variance."""
        scatter = deviations.T @ deviations / max(1, len(deviations) - len(self.sizes))
        size = len(scatter)
        return np.asarray((1 - _SHRINK) * scatter + _SHRINK * np.eye(size) * np.trace(scatter) / size, np.float64)

    # --- guesses

    def guesses(self, before: Ints) -> Iterator[Ints]:
        """Ways to part the windows in two, 0 or 1 for each; ``before``: the one that was taken before."""
        from scipy.linalg import eigh  # noqa: PLC0415 - heavy, and only mono recordings need it

        for view in _VIEWS:
            overall = np.cov(self.windows[:, view], rowvar=False).reshape(-1, self.windows[:, view].shape[1])
            _, directions = eigh(overall, self.scatter[view, view])
            for depth in _DEPTHS[: directions.shape[1]]:
                points = self.means[:, view] @ directions[:, ::-1][:, :depth]
                groups = self._parted(points)
                if 0 < groups.sum() < len(groups):
                    yield groups[self.piece_of]
        if {0, 1} <= set(before.tolist()):
            yield before

    def _parted(self, points: Floats) -> Ints:
        """Two groups of pieces: Ward's tree of the longest, then each run to the nearer mean, by their length."""
        from scipy.cluster.hierarchy import fcluster, linkage  # noqa: PLC0415 - heavy

        longest = np.sort(np.argsort(-self.sizes, kind="stable")[:_LARGEST_TREE])
        tree = fcluster(linkage(points[longest], "ward"), 2, "maxclust") - 1
        groups = np.full(len(points), -1, np.int64)
        groups[longest] = tree
        for _ in range(_ROUNDS):
            if not ((groups == 0).any() and (groups == 1).any()):
                break
            means = [np.average(points[groups == one], axis=0, weights=self.sizes[groups == one]) for one in (0, 1)]
            nearer = np.argmin([np.square(points - mean).sum(axis=1) for mean in means], axis=0)
            if np.array_equal(nearer, groups):
                break
            groups = nearer
        return groups

    # --- how good a parting is

    def apart(self, labels: Ints) -> float:
        """Hotelling's measure: squared distance of the groups, less where one of them is small."""
        share = float((labels == 1).mean())
        return math.sqrt(self.line(labels).distance) * share * (1 - share)

    def line(self, labels: Ints, left_out: int | None = None) -> _Line:
        """The discriminant between windows labelled 0 and 1; other labels count for neither."""
        used = np.ones(len(labels), bool) if left_out is None else self.piece_of != left_out
        first, second = (self.windows[used & (labels == one)].mean(axis=0) for one in (0, 1))
        direction = np.linalg.solve(self.scatter, second - first)
        half = float(direction @ (second - first)) / 2
        return _Line(direction, float(direction @ (first + second)) / 2, half)

    def kept(self, labels: Ints) -> float:
        """Share of windows that fall to their own side when their piece is left out of the measuring."""
        right = 0
        decided = (labels == 0) | (labels == 1)
        for piece in range(len(self.sizes)):
            rest = labels[self.piece_of != piece]
            own = decided & (self.piece_of == piece)
            if (rest == 0).any() and (rest == 1).any():
                right += int(((self.line(labels, piece).place(self.windows[own]) > 0) == (labels[own] == 1)).sum())
        return right / max(1, int(decided.sum()))


def _follow(places: Floats, line: _Line, run_of: Ints) -> Ints:
    """The likeliest sequence of states of all tenths: 0, 1, or 2 for in between (Viterbi)."""
    beyond = np.maximum(0, np.abs(places) - _BOTH)
    deviations = np.stack([places + 1, places - 1, beyond]) * math.sqrt(line.distance) / 2
    evidence = -_TIE * np.square(np.clip(deviations, -_MOST, _MOST)).T / 2
    inside = np.array([[0, 2, 1], [2, 0, 1], [1, 1, 0]]) * (_CHANGE_IN_RUN / 2) + [0, 0, _IN_BETWEEN / 10]
    between = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * _CHANGE_BETWEEN + [0, 0, _IN_BETWEEN]
    inside[:2, 2] += _IN_BETWEEN
    best, origin = evidence[0].copy(), np.zeros((len(places), 3), np.int64)
    for tenth in range(1, len(places)):
        cost = inside if run_of[tenth] == run_of[tenth - 1] else between
        ways = best[:, None] - cost
        origin[tenth] = ways.argmax(axis=0)
        best = ways.max(axis=0) + evidence[tenth]
    states = np.zeros(len(places), np.int64)
    states[-1] = best.argmax()
    for tenth in range(len(places) - 1, 0, -1):
        states[tenth - 1] = origin[tenth, states[tenth]]
    return states


def _stretches(traits: Sequence[Traits], tenths: Ints, states: Ints, places: Floats) -> Iterator[Stretch]:
    """Voiced spans cut where the state changes. A tenth without voiced frames belongs to the nearest that has some."""
    for own in traits:
        for span in own.speech:
            yield from _cut(span, tenths, states, places)


def _cut(span: Span, tenths: Ints, states: Ints, places: Floats) -> Iterator[Stretch]:
    numbers = np.arange(span.start_ms // BIN_MS, max(span.start_ms, span.end_ms - 1) // BIN_MS + 1)
    after = np.clip(np.searchsorted(tenths, numbers), 1, len(tenths) - 1) if len(tenths) > 1 else np.zeros_like(numbers)
    before = np.maximum(after - 1, 0)
    nearest = np.where(numbers - tenths[before] <= tenths[after] - numbers, before, after)
    own = states[nearest]
    edges = [0, *(np.flatnonzero(np.diff(own)) + 1).tolist(), len(own)]
    for first, last in pairwise(edges):
        start_ms = span.start_ms if first == 0 else int(numbers[first]) * BIN_MS
        end_ms = span.end_ms if last == len(own) else int(numbers[last]) * BIN_MS
        state, place = int(own[first]), float(places[nearest[first:last]].mean())
        voice = state if state < 2 else None
        clarity = abs(place) if voice is None else (place if voice else -place)
        yield Stretch(Span(start_ms, end_ms), voice, round(clarity, 4))
