"""What runs on a node: one model, one pipeline, calls in and results out. Knows nothing of Ray.

The pipeline is the one of a single machine and runs as long as the worker: recordings that arrive lot by lot are one
endless supply to it, so its batches form over all calls at hand, whatever lots they came in.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer import __version__
from analyzer.errors import ConfigError
from analyzer.runs import Failure, Standing, failure_of

if TYPE_CHECKING:
    from analyzer.asr import Recogniser
    from analyzer.audio import Recording
    from analyzer.pipeline import Scored

NEWS_EVERY_S = 1.0  # how long progress may wait to be told


@dataclass(frozen=True, slots=True)
class Order:
    """How a run is scored, the same on every node.

    load     called once on each node; must be importable there
    pack     the pack's files, as ``catalog.pack_bytes``
    digest   of the pack
    jobs     calls listened to at once; None: the worker's share of cores
    """

    load: Callable[[], Recogniser]
    pack: Mapping[str, bytes] = field(repr=False)
    digest: str
    profile: str
    jobs: int | None = None
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Assignment:
    """A call for a worker, and what the run folder has of it."""

    recording: Recording
    standing: Standing


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a call; with ``report`` unless it failed or its report stands already."""

    outcome: Scored | Failure
    input_digest: str = ""
    report: str | None = field(default=None, repr=False)
    recording: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class News:
    """audio_ms: listened to since last told; wanted: calls there is room for."""

    results: Sequence[Result]
    audio_ms: int
    wanted: int


class Worker:
    """Lives in a process of its own. Its methods are called one after the other."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arrived: deque[Recording] = deque()
        self._results: list[Result] = []
        self._audio_ms = 0
        self._error: BaseException | None = None
        self._is_closed = False
        self._jobs = 1
        self._sink = _Outbox()

    def prepare(self, order: Order, cores: int) -> Mapping[str, Any]:
        """Load model and pack, start the pipeline. Returns what the report says of the recogniser.

        raises ConfigError, ModelError if this node cannot do what is asked
        """
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in analyzer.cli
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        from analyzer.catalog import load_pack  # noqa: PLC0415 - heavy, and only after the environment is set

        if order.version != __version__:
            raise ConfigError(
                f"the analyzer here is {__version__}, and {order.version} where the run was started; "
                "install the same on every node"
            )
        self._jobs = order.jobs or cores
        with tempfile.TemporaryDirectory(prefix="analyzer-pack-") as folder:
            _lay_out(order.pack, Path(folder))
            pack = load_pack(folder, order.profile)
        if pack.digest != order.digest:
            raise ConfigError(
                f"the pack has the digest {pack.digest} here, and {order.digest} where the run was started; "
                "it was edited meanwhile: give the same command again"
            )
        recogniser = order.load()
        threading.Thread(target=self._score, args=(recogniser, pack), daemon=True).start()
        return dict(recogniser.info)

    def exchange(self, lot: Sequence[Assignment], *, has_more: bool) -> News:
        """Take a lot; answer as soon as there is a result, or room while ``has_more``, or some progress to tell.

        raises what ended the pipeline
        """
        with self._changed:
            self._sink.standings.update((one.recording.call_id, one.standing) for one in lot)
            self._arrived.extend(one.recording for one in lot)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._has_news(has_more=has_more), NEWS_EVERY_S)
            if self._error is not None:
                raise self._error
            results, self._results = self._results, []
            audio_ms, self._audio_ms = self._audio_ms, 0
            return News(results, audio_ms, max(0, 2 * self._jobs - len(self._arrived)))

    def close(self) -> None:
        """Let the pipeline end when what it has begun is done."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has_news(self, *, has_more: bool) -> bool:
        is_hungry = has_more and len(self._arrived) < self._jobs
        return bool(self._results) or is_hungry or self._error is not None

    def _score(self, recogniser: Recogniser, pack: Any) -> None:
        from analyzer.pipeline import score_recordings  # noqa: PLC0415 - see prepare

        try:
            arriving = self._arriving()
            for outcome in score_recordings(
                arriving, recogniser, pack, self._sink, jobs=self._jobs, on_audio=self._listened
            ):
                result = self._sink.result(outcome)
                with self._changed:
                    self._results.append(result)
                    self._changed.notify_all()
        except BaseException as error:  # told to whoever asks next
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _arriving(self) -> Iterator[Recording | None]:
        while not self._is_closed:
            with self._changed:
                self._changed.wait_for(lambda: self._arrived or self._is_closed, NEWS_EVERY_S)
                recording = self._arrived.popleft() if self._arrived else None
                self._changed.notify_all()
            yield recording

    def _listened(self, ms: int) -> None:
        with self._changed:
            self._audio_ms += ms


class _Outbox:
    """A ``ResultSink`` that keeps results until they are told."""

    def __init__(self) -> None:
        self.standings: dict[str, Standing] = {}
        self._reports: dict[str, tuple[str, str, Sequence[Mapping[str, Any]]]] = {}

    def why_score(self, call_id: str, input_digest: str) -> str | None:
        return self.standings[call_id].why_score(input_digest)

    def record(
        self, call_id: str, input_digest: str, report: str, *, recording: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._reports[call_id] = (input_digest, report, recording)

    def record_failure(self, call_id: str, error: Exception) -> Failure:
        return failure_of(call_id, error)

    def result(self, outcome: Scored | Failure) -> Result:
        self.standings.pop(outcome.call_id)
        return Result(outcome, *self._reports.pop(outcome.call_id, ()))


def _lay_out(files: Mapping[str, bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
