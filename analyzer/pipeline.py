"""Many calls at once: decode and detect speech in threads, recognise in batches over all of them, judge, record.

Theory of operation.

    listeners (jobs of them)     recogniser (the caller's thread)      analyst (one thread)
    digest, decode, VAD,    ──►  batches of windows of any calls  ──►  rules, report, run folder
    windows

A listener works on one call at a time and hands its windows to a backlog that holds a bounded stretch of audio; when
the recogniser is behind, listeners wait, so memory depends on ``jobs`` and not on how long or how many the calls are.
The recogniser takes what is there, whatever call and channel it belongs to. That grouping follows load; results must
not: a window is a function of its own channel, a result a function of its window (``analyzer.asr``), and utterances are
put in order of call time before anything reads them. So a report is the same whatever ``jobs`` and the batches were.

One bad call never stops the rest: an error in any step belongs to its call, is recorded with it, and the run goes on.
Only what concerns every call ends the run: the model, the store, the configuration.
"""

from __future__ import annotations

import gc
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from analyzer.asr import Recogniser, Window
from analyzer.audio import Block, Decoder, Recording, at_hand, recording_digest
from analyzer.engine import likely_swapped
from analyzer.errors import ConfigError, InputError, ModelError, StoreError
from analyzer.report import analyze, dump
from analyzer.rules import Pack
from analyzer.runs import Failure, ResultSink, describe
from analyzer.transcripts import read_transcripts
from analyzer.types import Role, Span, Transcript, Utterance
from analyzer.vad import CallDetector, Segment

BATCH_MS = 480_000  # audio handed to the recogniser at once, 15 MB: 16 windows of 30 s, or some 120 of its own choosing
BACKLOG_MS = BATCH_MS  # audio that may wait; listeners pause beyond it

_ENDS_THE_RUN = (ConfigError, ModelError, StoreError)


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
) -> Generator[Scored | Failure, None, None]:
    """Score what the run does not hold yet; yield every call once, as soon as it is finished, in no fixed order.

    recordings  taken one by one as listeners come free, so they may still be arriving; one thread at a time asks.
                Who has none yet should give None after a second, so that a run that fails meanwhile can end
    jobs        calls listened to at once
    on_audio    told of every stretch of recording that was listened to, in ms; called from any thread

    Closing the iterator, or an exception in it (Ctrl-C included), stops all threads before it returns; what was
    recorded by then is on disk.

    raises ModelError, StoreError, ConfigError when going on is of no use
    """
    backlog = _Backlog(BACKLOG_MS, producers=jobs)
    listener = _Listener(recogniser, run, backlog, on_audio)
    analyst = _Analyst(recogniser, pack, run)
    with ThreadPoolExecutor(jobs, "listener") as listeners, ThreadPoolExecutor(1, "analyst") as analysts:
        try:
            supply = _Supply(recordings)
            listening = [listeners.submit(listener.listen_all, supply) for _ in range(jobs)]
            judged: set[Future[Scored | Failure]] = set()
            for calls in _recognised(recogniser, backlog):
                for call in calls:
                    judged.add(future := analysts.submit(analyst.judge, call))
                    future.add_done_callback(backlog.wake)  # or the last one would wait for news of another
                yield from _finished(judged)
            yield from (future.result() for future in judged)
            for over in listening:
                over.result()  # raises what the supply of recordings raised
        finally:
            backlog.close()
            listeners.shutdown(wait=False, cancel_futures=True)
            analysts.shutdown(wait=False, cancel_futures=True)


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


def doubting_sides(transcript: Transcript) -> Transcript:
    """The transcript with a warning if its two sides look swapped. Nothing is corrected: it is a guess."""
    reason = likely_swapped(transcript.utterances)
    if reason is None:
        return transcript
    warning = f"{reason}；请核对角色（score --channels customer,agent 可对调）"
    return replace(transcript, warnings=tuple(dict.fromkeys((*transcript.warnings, warning))))


def _finished(judged: set[Future[Scored | Failure]]) -> Iterator[Scored | Failure]:
    for future in [future for future in judged if future.done()]:
        judged.remove(future)
        yield future.result()


@dataclass(eq=False, slots=True)
class _Call:
    """One call on its way, the listener's until it is heard and then the analyst's; ``utterances`` and ``error`` are
    also the recogniser's in between."""

    recording: Recording
    input_digest: str = ""
    why: str | None = None
    duration_ms: int = 0
    truncated: bool = False
    warnings: tuple[str, ...] = ()
    activity: dict[Role, list[Span]] = field(default_factory=dict)
    utterances: list[Utterance] = field(default_factory=list)
    error: Exception | None = None


# ---- listeners


class _StoppedError(Exception):
    """The run is over: whoever wants to hand something over gives up."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A window of a call, or with None the news that the call has no more."""

    call: _Call
    window: Window | None

    @property
    def audio_ms(self) -> int:
        return sum(segment.span.duration_ms for segment in self.window.segments) if self.window else 0


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


class _Backlog:
    """What listeners have found and the recogniser has not taken yet, first in, first out.

    producers  listeners that may still put something
    """

    def __init__(self, limit_ms: int, producers: int) -> None:
        self._limit_ms = limit_ms
        self._producers = producers
        self._items: deque[_Item] = deque()
        self._held_ms = 0
        self._closed = False
        self._woken = False
        self._changed = threading.Condition()

    def put(self, item: _Item) -> None:
        """Add an item; waits while too much audio is held. raises _StoppedError once closed"""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._held_ms < self._limit_ms)
            self.check()
            self._items.append(item)
            self._held_ms += item.audio_ms
            self._changed.notify_all()

    def take(self, most_ms: int) -> list[_Item] | None:
        """What waits, up to about ``most_ms`` of audio; waits for something or for ``wake``. None: no more comes."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._woken or not self._producers)
            if not (self._items or self._woken):
                return None
            self._woken = False
            taken: list[_Item] = []
            taken_ms = 0
            while self._items and taken_ms < most_ms:
                taken.append(self._items.popleft())
                taken_ms += taken[-1].audio_ms
            self._held_ms -= taken_ms
            self._changed.notify_all()
            return taken

    def wake(self, _: object = None) -> None:
        """Let ``take`` return, if only with nothing."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def producer_left(self) -> None:
        with self._changed:
            self._producers -= 1
            self._changed.notify_all()

    def check(self) -> None:
        if self._closed:
            raise _StoppedError

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class _Listener:
    """Recording in, windows out."""

    def __init__(
        self, recogniser: Recogniser, run: ResultSink, backlog: _Backlog, on_audio: Callable[[int], None]
    ) -> None:
        self._recogniser = recogniser
        self._run = run
        self._backlog = backlog
        self._on_audio = on_audio

    def listen_all(self, supply: Iterable[Recording | None]) -> None:
        """Listen to one recording after the other until there is none, or the run is over."""
        try:
            for recording in supply:
                self._backlog.check()
                if recording is not None:
                    self.listen(recording)
        except _StoppedError:
            return
        finally:
            self._backlog.producer_left()

    def listen(self, recording: Recording) -> None:
        """Hand over all windows of a recording that has to be scored; an error becomes the call's.

        raises _StoppedError
        """
        call = _Call(recording)
        try:
            with at_hand(recording) as here:
                call.input_digest = recording_digest(here)
                call.why = self._run.why_score(recording.call_id, call.input_digest)
                if call.why is not None:
                    self._decode(call, here)
        except _StoppedError:
            raise
        except Exception as error:  # whatever it is, it concerns this call
            call.error = error
        self._backlog.put(_Item(call, None))

    def _decode(self, call: _Call, here: Recording) -> None:
        decoder = Decoder(here)
        packers = {role: self._recogniser.packer() for role in call.recording.roles}
        for segment in _detect_speech(call.recording.roles, self._watched(decoder, call)):
            if not segment.gated:
                call.activity.setdefault(segment.role, []).extend(segment.speech)
            self._hand_over(call, packers[segment.role].feed(segment))
        for packer in packers.values():
            self._hand_over(call, packer.finish())
        call.truncated, call.warnings = decoder.truncated, decoder.warnings

    def _hand_over(self, call: _Call, windows: Iterable[Window]) -> None:
        for window in windows:
            self._backlog.put(_Item(call, window))

    def _watched(self, decoder: Decoder, call: _Call) -> Iterator[Block]:
        for block in decoder.blocks():
            self._backlog.check()
            yield block
            self._on_audio(decoder.duration_ms - call.duration_ms)
            call.duration_ms = decoder.duration_ms


def find_speech(recording: Recording) -> Iterator[Segment]:
    """The speech of a recording, of all its roles, each role's in order of time. raises InputError"""
    return _detect_speech(recording.roles, Decoder(recording).blocks())


def _detect_speech(roles: Sequence[Role], blocks: Iterable[Block]) -> Iterator[Segment]:
    detector = CallDetector(roles)
    for block in blocks:
        yield from detector.feed(block.channels)
    yield from detector.finish()


# ---- recogniser


def _recognised(recogniser: Recogniser, backlog: _Backlog) -> Iterator[list[_Call]]:
    """Take and recognise until nothing more comes; yields, time and again, the calls heard to their end since."""
    while (items := backlog.take(BATCH_MS)) is not None:
        _recognise(recogniser, [item for item in items if item.window is not None])
        yield [item.call for item in items if item.window is None]  # what came before its last item is recognised now


def _recognise(recogniser: Recogniser, items: Sequence[_Item]) -> None:
    """Give each call its utterances; where a batch fails, find the calls it fails for."""
    windows = [(item.call, item.window) for item in items if item.window is not None and item.call.error is None]
    if not windows:
        return
    try:
        results = recogniser.recognise([window for _, window in windows])
    except _ENDS_THE_RUN:
        raise
    except Exception as error:
        if len(windows) == 1:
            windows[0][0].error = error
            return
        for item in items:
            _recognise(recogniser, [item])
        return
    for (call, _), utterances in zip(windows, results, strict=True):
        call.utterances.extend(utterance for utterance in utterances if utterance is not None)


# ---- analyst


class _Analyst:
    """A heard call to its report in the run folder."""

    def __init__(self, recogniser: Recogniser, pack: Pack, run: ResultSink) -> None:
        self._recogniser = recogniser
        self._pack = pack
        self._run = run

    def judge(self, call: _Call) -> Scored | Failure:
        """raises only what ends the run"""
        try:
            if call.error is not None:
                raise call.error
            if call.why is not None:
                report = analyze(doubting_sides(self._transcript(call)), self._pack)
                self._run.record(
                    call.recording.call_id, call.input_digest, dump(report) + "\n", recording=_tracks(call.recording)
                )
        except _ENDS_THE_RUN:
            raise
        except Exception as error:  # recorded with the call; the rest go on
            return self._run.record_failure(call.recording.call_id, error)
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
            recogniser=dict(self._recogniser.info),
            warnings=call.recording.warnings + call.warnings,
        )


def _tracks(recording: Recording) -> list[dict[str, Any]]:
    return [
        {"path": track.url or os.path.abspath(track.path), "channels": [role.value for role in track.roles]}
        for track in recording.tracks
    ]
