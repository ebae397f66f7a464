"""Many calls at once: decode and detect speech in threads, recognise in batches over all of them, judge, record.

Theory of operation.

    listeners (jobs)   ──► backlog ──►   hearers (workers + 1)    ──► heard ──►   analyst (one)         ──► results
    digest, decode,        windows       batches of one kind of       calls       rules, report,            to the
    VAD, windows           of any call   window, of any calls                     run folder                caller

Every arrow is a line of bounded length: who is ahead waits, so memory depends on ``jobs`` and the limits below, not on
how long or how many the calls are. A hearer takes windows that are cheap together (``Recogniser.kind``), of whatever
call and channel. There is one more of them than the recogniser works on batches at once: while those are computed, the
next batch's features are made and the last one's tokens become text, so the recogniser never waits for Python.

The grouping follows load; results must not: a window is a function of its own channel, a result a function of its
window (``analyzer.asr``), and utterances are put in order of call time before anything reads them. So a report is the
same whatever ``jobs`` and the batches were.

One bad call never stops the rest: an error in any step belongs to its call, is recorded with it, and the run goes on.
Only what concerns every call ends the run: the model, the store, the configuration.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from analyzer.asr import Recogniser, Window
from analyzer.audio import Block, Decoder, Recording, at_hand, recording_digest
from analyzer.errors import ConfigError, InputError, ModelError, StoreError
from analyzer.report import analyze, doubting_sides, dump
from analyzer.rules import Pack
from analyzer.runs import Failure, ResultSink, describe
from analyzer.speakers import Traits, attribute, listen
from analyzer.stages import Stages
from analyzer.transcripts import read_transcripts
from analyzer.types import Role, Span, Transcript, Utterance
from analyzer.vad import CallDetector, Segment

BACKLOG_MS = 960_000  # audio that may wait, 31 MB: some 250 windows, enough for full batches of most lengths
HEARD_CALLS = 64  # that may wait for the analyst: text and times, no audio
RESULTS = 1_000  # that may wait for the caller
LINGER_S = 0.1  # a hearer that has nothing else to do waits so long for a fuller batch
PATIENCE = 8  # rounds of waiting weigh as much as one window more in the batch

_ENDS_THE_RUN = (ConfigError, ModelError, StoreError)
_Thing = TypeVar("_Thing")


@dataclass(frozen=True, slots=True)
class Scored:
    """A call whose report is in the run folder.

    duration_ms  of the recording; 0 if the report was there already
    why          why it was scored now (``RunFolder.why_score``), None if the report was there already
    """

    call_id: str
    duration_ms: int
    why: str | None


def score_recordings(
    recordings: Iterable[Recording | None],
    recogniser: Recogniser,
    pack: Pack,
    run: ResultSink,
    *,
    jobs: int,
    on_audio: Callable[[int], None] = lambda ms: None,
    stages: Stages | None = None,
) -> Generator[Scored | Failure, None, None]:
    """Score what the run does not hold yet; yield every call once, as soon as it is finished, in no fixed order.

    recordings  taken one by one as listeners come free, so they may still be arriving; one thread at a time asks.
                Who has none yet should give None after a second, so that a run that fails meanwhile can end
    jobs        calls listened to at once
    on_audio    told of every stretch of recording that was listened to, in ms; called from any thread
    stages      counts where the time goes

    Closing the iterator, or an exception in it (Ctrl-C included), stops all threads before it returns; what was
    recorded by then is on disk.

    raises ModelError, StoreError, ConfigError when going on is of no use
    """
    stages = stages or Stages(recogniser)
    n_hearers = recogniser.plan.workers + 1
    backlog = _Backlog(recogniser, BACKLOG_MS, producers=jobs)
    heard: _Line[_Call] = _Line(HEARD_CALLS, producers=jobs + n_hearers)
    results: _Line[Scored | Failure] = _Line(RESULTS, producers=1)
    lines = (backlog, heard, results)
    listener = _Listener(_Supply(recordings), recogniser, run, backlog, heard, stages, on_audio)
    hearer = _Hearer(recogniser, backlog, heard, stages)
    analyst = _Analyst(recogniser, pack, run, heard, results, stages)
    work = [*[listener.work] * jobs, *[hearer.work] * n_hearers, analyst.work]
    with ThreadPoolExecutor(len(work), "score") as threads:
        try:
            for one in work:
                threads.submit(_until_stopped, one, lines)
            yield from results
        finally:
            for line in lines:
                line.close()


def check_transcripts(sources: Iterable[str | Path], pack: Pack) -> Iterator[str | InputError]:
    """Judge transcripts (files, folders, patterns): for each, in order, its report as JSON text, or what is wrong."""
    is_warm = False
    for transcript in read_transcripts(*sources):
        if isinstance(transcript, InputError):
            yield transcript
            continue
        try:
            yield dump(analyze(doubting_sides(transcript), pack))
        except Exception as error:  # of this transcript alone
            yield InputError(f"{transcript.call_id}: {describe(error)}")
        if not is_warm:
            gc.freeze()  # rules and dictionaries stay; looking for garbage among them costs a fifth of the time
            is_warm = True


@dataclass(eq=False, slots=True)
class _Call:
    """One call on its way: its listener's, then the analyst's; ``utterances`` and ``error`` are also the hearers' in
    between. ``open`` counts who still has to do with it: its listener, and every window of it that is not heard yet."""

    recording: Recording
    open: int = 1
    input_digest: str = ""
    why: str | None = None
    duration_ms: int = 0
    truncated: bool = False
    warnings: tuple[str, ...] = ()
    activity: dict[Role, list[Span]] = field(default_factory=dict)
    utterances: list[Utterance] = field(default_factory=list)
    traits: list[Traits] = field(default_factory=list)  # of a mixed channel's voices
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class _Item:
    """A window of a call."""

    call: _Call
    window: Window

    @property
    def audio_ms(self) -> int:
        return sum(segment.span.duration_ms for segment in self.window.segments)


# ---- lines between threads


class _StoppedError(Exception):
    """The run is over: whoever wants to hand something over, or waits for something, gives up."""


class _Line(Generic[_Thing]):
    """Things on their way from threads to threads, in order; who puts more than fits waits.

    limit      how much may wait, in what ``put`` is told of
    producers  threads that may still put something
    """

    def __init__(self, limit: int, producers: int) -> None:
        self._limit = limit
        self._producers = producers
        self._held = 0
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._things: deque[_Thing] = deque()

    def put(self, thing: _Thing) -> None:
        """Add one; waits while the line is full. raises _StoppedError once closed"""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._held < self._limit)
            self.check()
            self._add(thing)
            self._changed.notify_all()

    def _add(self, thing: _Thing) -> None:
        self._things.append(thing)
        self._held += 1

    def __iter__(self) -> Iterator[_Thing]:
        """What was put, until no more comes. raises _StoppedError once closed, and what the line failed with"""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._things or self._closed or not self._producers)
                self.check()
                if not self._things:
                    return
                thing = self._things.popleft()
                self._held -= 1
                self._changed.notify_all()
            yield thing

    def producer_left(self) -> None:
        with self._changed:
            self._producers -= 1
            self._changed.notify_all()

    def check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise _StoppedError

    def close(self, error: BaseException | None = None) -> None:
        """End the run, with an error if there is one; the first counts."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()


def _until_stopped(work: Callable[[], None], lines: Sequence[_Line[Any]]) -> None:
    """Work; what stops it stops the run, and the last line tells the caller why."""
    try:
        work()
    except _StoppedError:
        return
    except BaseException as error:  # whatever it is, nobody else would learn of it
        *others, last = lines
        last.close(error)
        for line in others:
            line.close()


class _Backlog(_Line[_Item]):
    """What listeners have found and nobody has heard yet, held by kind; ``limit`` is in ms of audio."""

    def __init__(self, recogniser: Recogniser, limit: int, producers: int) -> None:
        super().__init__(limit, producers)
        self._recogniser = recogniser
        self._batch_size = recogniser.plan.batch_size
        self._kinds: dict[Hashable, deque[tuple[int, _Item]]] = {}  # with the round in which each came
        self._round = 0

    def _add(self, item: _Item) -> None:
        kind = self._recogniser.kind(item.window)
        self._kinds.setdefault(kind, deque()).append((self._round, item))
        self._held += item.audio_ms
        item.call.open += 1

    def take(self) -> list[_Item] | None:
        """Windows of one kind, a batch at most; waits for some, and a little for a batch. None: no more comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._kinds or self._closed or not self._producers)
            self._changed.wait_for(self._is_worth_taking, timeout=LINGER_S)
            self.check()
            if not self._kinds:
                return None if not self._producers else []
            kind = max(self._kinds, key=self._urgency)
            waiting = self._kinds[kind]
            taken = [waiting.popleft()[1] for _ in range(min(self._batch_size, len(waiting)))]
            if not waiting:
                del self._kinds[kind]
            self._held -= sum(item.audio_ms for item in taken)
            self._round += 1
            self._changed.notify_all()
            return taken

    def let_go(self, call: _Call, heard: _Line[_Call]) -> None:
        """One less has to do with the call; after the last one it is heard."""
        with self._changed:
            call.open -= 1
            is_heard = not call.open
        if is_heard:
            heard.put(call)

    def _is_worth_taking(self) -> bool:
        return (
            self._closed
            or not self._producers
            or self._held >= self._limit
            or any(len(waiting) >= self._batch_size for waiting in self._kinds.values())
        )

    def _urgency(self, kind: Hashable) -> int:
        """Full batches first, but nothing waits for ever."""
        waiting = self._kinds[kind]
        return PATIENCE * min(len(waiting), self._batch_size) + self._round - waiting[0][0]


# ---- listeners


class _Supply:
    """Recordings for many threads: each goes to one of them."""

    def __init__(self, recordings: Iterable[Recording | None]) -> None:
        self._recordings = iter(recordings)
        self._asking = threading.Lock()

    def __iter__(self) -> _Supply:
        return self

    def __next__(self) -> Recording | None:
        with self._asking:
            return next(self._recordings)


@dataclass(frozen=True, slots=True)
class _Listener:
    """Recordings in, windows out. Many threads work with one."""

    supply: Iterable[Recording | None]
    recogniser: Recogniser
    run: ResultSink
    backlog: _Backlog
    heard: _Line[_Call]
    stages: Stages
    on_audio: Callable[[int], None]

    def work(self) -> None:
        """Listen to one recording after the other until there is none, or the run is over."""
        for recording in self.supply:
            self.backlog.check()
            if recording is not None:
                self._listen(recording)
        self.backlog.producer_left()
        self.heard.producer_left()

    def _listen(self, recording: Recording) -> None:
        """Hand over all windows of a recording that has to be scored; an error becomes the call's.

        raises _StoppedError
        """
        call = _Call(recording)
        try:
            with at_hand(recording) as here:
                with self.stages.count("decode"):
                    call.input_digest = recording_digest(here)
                    call.why = self.run.why_score(recording.call_id, call.input_digest)
                if call.why is not None:
                    self._decode(call, here)
        except _StoppedError:
            raise
        except Exception as error:  # whatever it is, it concerns this call
            call.error = error
        self.backlog.let_go(call, self.heard)

    def _decode(self, call: _Call, here: Recording) -> None:
        decoder = Decoder(here)
        packers = {role: self.recogniser.packer() for role in call.recording.roles}
        for segment in self.stages.counted("vad", _detect_speech(call.recording.roles, self._watched(decoder, call))):
            if not segment.gated:
                call.activity.setdefault(segment.role, []).extend(segment.speech)
            if call.recording.mixed:
                call.traits.append(listen(segment))
            self._hand_over(call, packers[segment.role].feed(segment))
        for packer in packers.values():
            self._hand_over(call, packer.finish())
        call.truncated, call.warnings = decoder.truncated, decoder.warnings

    def _hand_over(self, call: _Call, windows: Iterable[Window]) -> None:
        for window in windows:
            self.backlog.put(_Item(call, window))

    def _watched(self, decoder: Decoder, call: _Call) -> Iterator[Block]:
        for block in self.stages.counted("decode", decoder.blocks(), inside="vad"):
            self.backlog.check()
            yield block
            more_ms = decoder.duration_ms - call.duration_ms
            self.stages.heard(more_ms)
            self.on_audio(more_ms)
            call.duration_ms = decoder.duration_ms


def find_speech(recording: Recording) -> Iterator[Segment]:
    """The speech of a recording, of all its roles, each role's in order of time. raises InputError"""
    return _detect_speech(recording.roles, Decoder(recording).blocks())


def _detect_speech(roles: Sequence[Role], blocks: Iterable[Block]) -> Iterator[Segment]:
    detector = CallDetector(roles)
    for block in blocks:
        yield from detector.feed(block.channels)
    yield from detector.finish()


# ---- hearers


@dataclass(frozen=True, slots=True)
class _Hearer:
    """Windows in, utterances to their calls. Many threads work with one."""

    recogniser: Recogniser
    backlog: _Backlog
    heard: _Line[_Call]
    stages: Stages

    def work(self) -> None:
        """Hear batch after batch until no more comes. raises what ends the run"""
        while (items := self.backlog.take()) is not None:
            with self.stages.count("text"):
                self._hear(items)
            for item in items:
                self.backlog.let_go(item.call, self.heard)
        self.heard.producer_left()

    def _hear(self, items: Sequence[_Item]) -> None:
        """Give each call its utterances; where a batch fails, find the calls it fails for."""
        items = [item for item in items if item.call.error is None]
        if not items:
            return
        try:
            results = self.recogniser.recognise([item.window for item in items])
        except _ENDS_THE_RUN:
            raise
        except Exception as error:
            if len(items) == 1:
                items[0].call.error = error
                return
            for item in items:
                self._hear([item])
            return
        for item, utterances in zip(items, results, strict=True):
            item.call.utterances.extend(utterance for utterance in utterances if utterance is not None)


# ---- analyst


@dataclass(frozen=True, slots=True)
class _Analyst:
    """Heard calls to their reports in the run folder. One thread: a run folder takes one at a time."""

    recogniser: Recogniser
    pack: Pack
    run: ResultSink
    heard: _Line[_Call]
    results: _Line[Scored | Failure]
    stages: Stages

    def work(self) -> None:
        """Judge call after call until no more comes. raises what ends the run"""
        is_warm = False
        for call in self.heard:
            self.results.put(self._judge(call))
            if not is_warm and call.utterances:
                gc.freeze()  # rules and dictionaries stay; looking for garbage among them costs a fifth of the time
                is_warm = True
        self.results.producer_left()

    def _judge(self, call: _Call) -> Scored | Failure:
        """raises only what ends the run"""
        try:
            if call.error is not None:
                raise call.error
            if call.why is not None:
                transcript = self._transcript(call)
                with self.stages.count("rules"):
                    if call.recording.mixed:
                        transcript = attribute(transcript, call.traits)
                    report = analyze(doubting_sides(transcript), self.pack)
                with self.stages.count("record"):
                    text = dump(report) + "\n"
                    self.run.record(call.recording.call_id, call.input_digest, text, recording=_tracks(call.recording))
        except _ENDS_THE_RUN:
            raise
        except Exception as error:  # recorded with the call; the rest go on
            return self.run.record_failure(call.recording.call_id, error)
        return Scored(call.recording.call_id, call.duration_ms, call.why)

    def _transcript(self, call: _Call) -> Transcript:
        return Transcript(
            call_id=call.recording.call_id,
            utterances=tuple(sorted(call.utterances, key=lambda utterance: (utterance.span, utterance.role))),
            direction=call.recording.direction,
            duration_ms=call.duration_ms,
            metadata=call.recording.metadata,
            activity={role: tuple(spans) for role, spans in call.activity.items()},
            truncated=call.truncated,
            recogniser=dict(self.recogniser.info),
            warnings=call.recording.warnings + call.warnings,
        )


def _tracks(recording: Recording) -> list[dict[str, Any]]:
    return [
        {"path": track.url or os.path.abspath(track.path), "channels": [role.value for role in track.roles]}
        for track in recording.tracks
    ]
