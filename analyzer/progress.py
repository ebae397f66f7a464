"""How far a run is: audio-hours per hour and the time left, on standard error.

A terminal gets one line that moves; a log file gets a line now and then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analyzer.language import either

LOG_EVERY_S = 30.0


@dataclass(slots=True)
class Meter:
    """The arithmetic. Calls are weighed by their bytes on disk, because how long a file sounds is known only once it
    has been decoded; files of one run mostly share their format.

    >>> meter = Meter(sizes={"a": 1000, "b": 3000}, clock=iter([0.0, 10.0, 10.0]).__next__)
    >>> meter.listened(60_000)
    >>> meter.finished("a", 60_000)
    >>> meter.speed, meter.left_s
    (6.0, 30.0)
    """

    sizes: dict[str, int]
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    failed: int = 0
    audio_ms: int = 0
    _started: float = field(init=False)
    _open: set[str] = field(init=False)
    _measured_bytes: int = 0
    _measured_ms: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._open = set(self.sizes)

    def listened(self, ms: int) -> None:
        """So much more recording was decoded; from any thread."""
        with self._lock:
            self.audio_ms += ms

    def finished(self, call_id: str, duration_ms: int = 0, *, failed: bool = False) -> None:
        """A call is out of the way. duration_ms is 0 for one that cost nothing."""
        with self._lock:
            self.done += 1
            self.failed += failed
            self._open.discard(call_id)
            if duration_ms:
                self._measured_bytes += self.sizes[call_id]
                self._measured_ms += duration_ms

    @property
    def speed(self) -> float:
        """Audio seconds per second, which is audio-hours per hour."""
        elapsed = self.clock() - self._started
        return self.audio_ms / 1000 / elapsed if elapsed > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this speed; None until a call has been measured."""
        with self._lock:
            if not self._measured_bytes:
                return None
            ms_per_byte = self._measured_ms / self._measured_bytes
            ahead_ms = max(0, self.audio_ms - self._measured_ms)  # of the calls in work
            left_ms = max(0.0, sum(self.sizes[call] for call in self._open) * ms_per_byte - ahead_ms)
        speed = self.speed
        return left_ms / 1000 / speed if speed else None


class RunProgress:
    """Shows a Meter while a ``with`` block runs. ``console`` writes to standard error."""

    def __init__(self, meter: Meter, console: Console) -> None:
        self._meter = meter
        self._console = console
        self._live = Live(get_renderable=self._line, console=console, refresh_per_second=4, transient=True)
        self._next_log = meter.clock() + LOG_EVERY_S
        self._logging = threading.Lock()

    def __enter__(self) -> RunProgress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def listened(self, ms: int) -> None:
        """See ``Meter.listened``; a log gets its line if it is time."""
        self._meter.listened(ms)
        self._log()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Room to print something else: the moving line steps aside."""
        self._live.stop()
        yield
        if self._console.is_terminal:
            self._live.start()

    def _log(self) -> None:
        if self._console.is_terminal:
            return
        with self._logging:
            now = self._meter.clock()
            if now < self._next_log:
                return
            self._next_log = now + LOG_EVERY_S
        self._console.print(describe(self._meter), soft_wrap=True, highlight=False)

    def _line(self) -> Table:
        line = Table.grid(padding=(0, 1))
        line.add_row(ProgressBar(len(self._meter.sizes), self._meter.done, width=20), Text(describe(self._meter)))
        return line


def describe(meter: Meter) -> str:
    """One line: calls, speed, time left."""
    parts = [either(f"{meter.done}/{len(meter.sizes)} calls", f"{meter.done}/{len(meter.sizes)} 通")]
    if meter.failed:
        parts.append(either(f"{meter.failed} failed", f"失败 {meter.failed}"))
    speed = f"{meter.speed:.1f}"
    parts.append(either(f"{speed} audio-hours per hour", f"每小时处理录音 {speed} 小时"))
    left = meter.left_s
    if left is not None:
        clock = f"{int(left) // 3600}:{int(left) // 60 % 60:02d}:{int(left) % 60:02d}"
        parts.append(either(f"{clock} left", f"剩余 {clock}"))
    return ", ".join(parts)
