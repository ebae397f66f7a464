"""The policies our scheduler is measured against: own re-implementations, each behind the scheduler's own door.

They get the same speech detector, the same decoding loop and the same model as ours; only what is decoded when, and how
long the windows are, differs. Each is given the benefit of the doubt:

LocalAgreement-2 (own re-implementation, after ufal/whisper_streaming)
    Each side of a call is a growing buffer, decoded anew for every second of new speech, padded to 30 s, beam 5, with
    alignment; what two passes agree on is committed, the rest follows when speech ends. One lock. In its favour: it is
    not asked to decode silence; a buffer holds one stretch of speech and never a whole call; there are no timestamp
    tokens and no fallback temperatures; no pass where the last one had heard all there was; a pass that waits takes
    all that has come by then; the lock is fair, and its model has all cores.
pad to 30 s
    A queue of finished stretches, first in, first out, one at a time per worker, each padded to 30 s.
endpoint only
    The same queue at each stretch's own length: no interim text. For models that stand short windows.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from analyzer.asr import Packer, Recogniser, WhisperRecogniser, Window
from analyzer.asr.engine import Engine, Task
from analyzer.asr.windows import OneByOne
from analyzer.live.agenda import Kind
from analyzer.live.scheduler import Listener
from analyzer.types import Role, Span, Utterance
from analyzer.vad import Segment

TOKENS_PER_SECOND = 4.5  # of speech, on the telephone
LA2_BEAM = 5
LA2_EVERY_MS = 1_000


# ---- recognisers


class FixedLength:
    """Random weights: as many tokens as the speech in a window is worth at 4.5 a second, whatever comes out.

    tail_ms     of the windows, None: 30 s
    packs       neighbouring segments share a 30 s window, as ours does where the model stands no other
    final_beam  of finals; interim text is greedy unless ``glance_beam`` says otherwise
    """

    def __init__(
        self, made_of: WhisperRecogniser, tail_ms: int | None, *, packs: bool = False, final_beam: int = 1,
        glance_beam: int = 1,
    ) -> None:  # fmt: skip
        self._engine = fixed_length_engine(made_of)
        self._tail_ms = tail_ms
        self._packer = made_of.with_window("safe").packer if packs else OneByOne
        self._beams = final_beam, glance_beam
        self.info = {"name": "random", "window": "30s" if packs else "exact"}

    def packer(self) -> Packer:
        return self._packer()

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        self._decode([window for window in windows if window.heard], self._beams[0])
        return [tuple(_stand_in(segment) for segment in window.segments) for window in windows]

    def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
        self._decode([Window((segment,)) for segment in segments], self._beams[1])
        return [_stand_in(segment) for segment in segments]

    def _decode(self, windows: Sequence[Window], beam: int) -> None:
        self._engine.decode([Task(window.samples(), self._tail_ms, beam) for window in windows])


def fixed_length_engine(recogniser: WhisperRecogniser) -> Engine:
    """Its engine, made to decode a number of tokens that follows from the audio alone. Twice does no harm."""
    engine = recogniser._engine
    if getattr(engine, "is_fixed", False):
        return engine
    first_time = engine._tokenizer.timestamp_begin
    never = [engine._tokenizer.eot, *range(first_time, first_time + 1501)]  # nobody stops early, nobody skips ahead
    engine.__dict__["_suppressed"] = [*engine._suppressed, *never]
    batch_of = threading.local()
    decode_batch = engine._decode_batch

    def decode(tasks: Sequence[Task], *more: Any) -> Any:
        batch_of.audio_s = sum(task.audio_frames for task in tasks) / 100 / len(tasks)
        return decode_batch(tasks, *more)

    engine._decode_batch = decode  # type: ignore[method-assign]
    engine._budget = lambda _: max(1, round(TOKENS_PER_SECOND * batch_of.audio_s))  # type: ignore[method-assign]
    engine.__dict__["is_fixed"] = True
    return engine


def _stand_in(segment: Segment) -> Utterance | None:
    """Text of that length, one character for each token, spread over the voiced time."""
    if segment.gated:
        return None
    begin, end = segment.speech[0].start_ms, segment.speech[-1].end_ms
    count = max(1, round(TOKENS_PER_SECOND * (end - begin) / 1000))
    edges = [begin + (end - begin) * place // count for place in range(count + 1)]
    characters = tuple(Span(one, other) for one, other in pairwise(edges))
    return Utterance(segment.role, Span(begin, end), "嗯" * count, confidence=0.9, characters=characters)


class Padded:
    """Every segment alone in 30 s; interim text with a beam of its own and, as ours, without a second look."""

    def __init__(self, recogniser: WhisperRecogniser, glance_beam: int = 1) -> None:
        self._recogniser = recogniser.with_window("safe")
        self._glance_beam = glance_beam
        self.info: Mapping[str, Any] = {**self._recogniser.info, "window": "30s a turn"}

    def packer(self) -> Packer:
        return OneByOne()

    def recognise(self, windows: Sequence[Window]) -> list[tuple[Utterance | None, ...]]:
        return self._recogniser.recognise(windows)

    def glance(self, segments: Sequence[Segment]) -> list[Utterance | None]:
        own = self._recogniser
        windows = [Window((segment,)) for segment in segments]
        drafts = own._engine.decode([own._task(window, self._glance_beam) for window in windows])
        return [own._judge(own._read(window, draft)[0]) for window, draft in zip(windows, drafts, strict=True)]


# ---- schedulers


class _Rival:
    """What ``LiveCall`` asks of a scheduler, with one worker loop for the subclasses."""

    interim_ms: int | None = None
    meter = None

    def __init__(self, recogniser: Recogniser, *, workers: int = 1) -> None:
        self.recogniser = recogniser
        self.counts = {"finals": 0, "partials": 0, "early": 0, "shed": 0, "batches": 0}
        self._listeners: dict[Hashable, Listener] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [threading.Thread(target=self._work, name=f"recogniser-{i}") for i in range(workers)]
        for thread in self._threads:
            thread.start()

    def enter(self, call: Hashable, listener: Listener) -> None:
        with self._changed:
            self._listeners[call] = listener

    def leave(self, call: Hashable) -> None:
        with self._changed:
            self._listeners.pop(call, None)

    def accepts(self) -> bool:
        return True

    def looks_ahead(self) -> bool:
        return False

    def spend(self, thread: str, took_s: float) -> None: ...

    def interval_ms(self) -> int | None:
        return self.interim_ms

    def stats(self) -> dict[str, Any]:
        with self._changed:
            return {**self.counts, "interval_ms": self.interim_ms}

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (job := self._take()) is None:
                    if self._closing:
                        return
                    self._changed.wait(timeout=0.2)
            job()

    def _take(self) -> Callable[[], None] | None:
        raise NotImplementedError

    def _finish(self, call: Hashable, window: Window) -> None:
        if listener := self._listeners.get(call):
            (utterances,) = self.recogniser.recognise([window])
            listener.recognised(window, utterances, None)


class FirstInFirstOut(_Rival):
    """Finals only, in the order in which they come, one at a time per worker."""

    def __init__(self, recogniser: Recogniser, *, workers: int = 1) -> None:
        self._waiting: deque[tuple[Hashable, Window]] = deque()
        super().__init__(recogniser, workers=workers)

    def submit(self, call: Hashable, role: Role, window: Window) -> None:
        with self._changed:
            self._waiting.append((call, window))
            self._changed.notify()

    def offer(self, call: Hashable, kind: Kind, segment: Segment) -> None: ...

    def _take(self) -> Callable[[], None] | None:
        if not self._waiting:
            return None
        call, window = self._waiting.popleft()
        self.counts["finals"] += 1
        return lambda: self._finish(call, window)


class LocalAgreement(_Rival):
    """A growing buffer per side of a call, decoded again and again under one lock, in turn."""

    interim_ms = LA2_EVERY_MS

    def __init__(self, recogniser: Recogniser) -> None:
        self._turns: OrderedDict[tuple[Hashable, Role], deque[Segment | Window]] = OrderedDict()
        self._heard: dict[tuple[Hashable, Role], tuple[int, int, Utterance | None]] = {}
        super().__init__(recogniser)

    def submit(self, call: Hashable, role: Role, window: Window) -> None:
        with self._changed:
            line = self._turns.setdefault((call, role), deque())
            self._drop_interim(line)  # a pass that waits takes the whole buffer, and that is now complete
            line.append(window)
            self._changed.notify()

    def offer(self, call: Hashable, kind: Kind, segment: Segment) -> None:
        with self._changed:
            line = self._turns.setdefault((call, segment.role), deque())
            self._drop_interim(line)
            line.append(segment)
            self._changed.notify()

    def _drop_interim(self, line: deque[Segment | Window]) -> None:
        if line and isinstance(line[-1], Segment):
            line.pop()
            self.counts["shed"] += 1

    def _take(self) -> Callable[[], None] | None:
        for key in [key for key, line in self._turns.items() if not line]:
            del self._turns[key]
        if not self._turns:
            return None
        key, line = next(iter(self._turns.items()))
        work = line.popleft()
        self._turns.move_to_end(key)
        return lambda: self._decode(key, work)

    def _decode(self, key: tuple[Hashable, Role], work: Segment | Window) -> None:
        call = key[0]
        listener = self._listeners.get(call)
        if listener is None:
            return
        if isinstance(work, Segment):
            self.counts["partials"] += 1
            (utterance,) = self.recogniser.glance([work])
            self._heard[key] = work.span.start_ms, work.speech[-1].end_ms, utterance
            listener.glimpsed(Kind.PARTIAL, work, utterance)
            return
        self.counts["finals"] += 1
        (segment,) = work.segments
        start_ms, end_ms, utterance = self._heard.get(key, (-1, -1, None))
        if (start_ms, end_ms) == (segment.span.start_ms, segment.speech[-1].end_ms):
            now = time.monotonic()
            note = getattr(self.recogniser, "times", {})  # a stopwatch: this one took no time
            note[id(work)] = now, now
            listener.recognised(work, [utterance], None)
        else:
            self._finish(call, work)
