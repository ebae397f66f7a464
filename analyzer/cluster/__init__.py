"""One run on many machines: ``score --engine ray``.

    driver                                           node: one worker for its cores, or one per GPU
    Schedule, run folder   ── lots of calls ──►      Worker: the pipeline of one machine
    the only writer        ◄── results, progress ──

    schedule   pure: which worker scores which call, deaths survived, poison found
    worker     what runs on a node; knows nothing of Ray
    crew       Ray: workers started, asked, lost

Theory of operation. A worker asks, gets a lot, and keeps asking while it works. What it has scored the driver puts into
the run folder before it counts: ``RunFolder`` alone decides what is finished, here as on one machine, so a driver that
dies is resumed by the same command, and a result that was lost with a node is made again, to the same bytes. A call is
answered for by one worker at a time, and only that worker's answer is taken: each call has exactly one result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.cluster.crew import Crew, Hand
from analyzer.cluster.schedule import Schedule
from analyzer.cluster.worker import Assignment, News, Order, Result
from analyzer.errors import AnalyzerError, InputError
from analyzer.runs import Failure, RunFolder

if TYPE_CHECKING:
    from types import TracebackType

    from analyzer.audio import Recording
    from analyzer.pipeline import Scored

__all__ = ["Order", "RayCluster"]


class RayCluster:
    """Workers on the nodes of a Ray cluster while a ``with`` block runs.

    address  ``auto`` (the cluster this machine belongs to), ``host:port`` or ``ray://host:port``
    order    how to score
    device   auto | cpu | cuda. With auto, nodes that have a GPU do it alone if there are any: reports of one run are
             made with one compute type
    workers  at most so many; None: every node, or every GPU
    tell     is told, a line at a time, what an operator should know: workers lost, nodes set aside

    raises ConfigError without Ray or a cluster, or where a node's analyzer is another; ModelError where a node has no
    model or another one. Both name the node.
    """

    def __init__(
        self,
        address: str,
        order: Order,
        *,
        device: str = "auto",
        workers: int | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._crew = Crew(address, order, device=device, most=workers, tell=tell)
        self.info = self._crew.info

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crew.close()

    def score(
        self, recordings: Sequence[Recording], run: RunFolder, on_audio: Callable[[int], None] = lambda ms: None
    ) -> Generator[Scored | Failure, None, None]:
        """As ``pipeline.score_recordings``: each call once, as soon as its result is in the run folder.

        raises ConfigError, ModelError, StoreError when going on is of no use
        """
        calls = {recording.call_id: _anchored(recording) for recording in recordings}
        schedule = Schedule(calls)
        while not schedule.is_over:
            self._crew.look()
            for hand in self._crew.idle:
                self._hand_out(hand, schedule, calls, run)
            for hand, answer in self._crew.answers():
                if isinstance(answer, News):
                    on_audio(answer.audio_ms)
                    yield from _kept(answer.results, hand, schedule, run)
                elif isinstance(answer, AnalyzerError):
                    schedule.withdrawn(hand)
                else:
                    for call_id in schedule.died(hand):
                        yield run.record_failure(call_id, _poison(calls[call_id], schedule.deaths(call_id), answer))

    def _hand_out(self, hand: Hand, schedule: Schedule, calls: dict[str, Recording], run: RunFolder) -> None:
        lot = schedule.hand_out(hand, hand.wanted, workers=self._crew.size)
        if lot or schedule.held(hand):
            assignments = [Assignment(calls[call_id], run.standing(call_id)) for call_id in lot]
            self._crew.ask(hand, assignments, has_more=schedule.has_more(hand))


def _kept(results: Sequence[Result], hand: Hand, schedule: Schedule, run: RunFolder) -> Iterator[Scored | Failure]:
    """Put a worker's results into the run folder; yields what is new."""
    for result in results:
        call_id = result.outcome.call_id
        if not schedule.finished(hand, call_id):
            continue
        if isinstance(result.outcome, Failure):
            run.note_failure(result.outcome)
        elif result.report is not None:
            run.record(call_id, result.input_digest, result.report, recording=result.recording)
        yield result.outcome


def _anchored(recording: Recording) -> Recording:
    """With paths that mean the same on every node that has the same folders."""
    tracks = tuple(
        track if track.url else replace(track, path=Path(os.path.abspath(track.path))) for track in recording.tracks
    )
    return replace(recording, tracks=tracks)


def _poison(recording: Recording, deaths: int, last: Exception) -> InputError:
    where = recording.tracks[0].url or recording.tracks[0].path
    return InputError(
        f"{where}: {deaths} workers died over this recording, at last with no other call in hand "
        f"({last}); it is set aside; score it by itself to see why"
    )
