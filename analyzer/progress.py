"""How far a run is: calls per second, audio-hours per hour and the time left, on standard error; how it uses the
machine, said before; and where the time went, as a table after it.

A terminal gets one line that moves; a log file gets a line now and then.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from analyzer.language import either

if TYPE_CHECKING:
    from analyzer.asr import Plan

LOG_EVERY_S = 30.0
STAGE_NAMES = {
    "decode": ("read, decode", "读取与解码"),
    "vad": ("find speech", "语音检测"),
    "features": ("features", "特征"),
    "encode": ("encode", "模型编码"),
    "generate": ("generate", "生成文字"),
    "align": ("align characters", "字时间对齐"),
    "text": ("batches, text", "成批与成文"),
    "rules": ("rules", "规则"),
    "record": ("report, journal", "报告与日志落盘"),
    "show": ("show calls", "显示通话"),
    "tables": ("tables", "表格"),
}


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

    sizes: dict[str, int]  # of the calls that are not out of the way yet
    clock: Callable[[], float] = time.monotonic
    total: int = field(init=False)
    done: int = 0
    failed: int = 0
    audio_ms: int = 0
    _started: float = field(init=False)
    _open_bytes: int = field(init=False)
    _measured: int = 0
    _measured_bytes: int = 0
    _measured_ms: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._started = self.clock()
        self.sizes = dict(self.sizes)
        self.total, self._open_bytes = len(self.sizes), sum(self.sizes.values())

    def listened(self, ms: int) -> None:
        """So much more recording was decoded; from any thread."""
        with self._lock:
            self.audio_ms += ms

    def finished(self, call_id: str, duration_ms: int = 0, *, failed: bool = False) -> None:
        """A call is out of the way. duration_ms is 0 for one that cost nothing."""
        with self._lock:
            self.done += 1
            self.failed += failed
            size = self.sizes.pop(call_id)
            self._open_bytes -= size
            if duration_ms:
                self._measured += 1
                self._measured_bytes += size
                self._measured_ms += duration_ms

    @property
    def speed(self) -> float:
        """Audio seconds per second, which is audio-hours per hour."""
        elapsed = self.clock() - self._started
        return self.audio_ms / 1000 / elapsed if elapsed > 0 else 0.0

    @property
    def calls_per_s(self) -> float:
        """Calls that were listened to, per second; those the run held already do not count."""
        elapsed = self.clock() - self._started
        return self._measured / elapsed if elapsed > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at this speed; None until a call has been measured."""
        with self._lock:
            if not self._measured_bytes:
                return None
            ms_per_byte = self._measured_ms / self._measured_bytes
            ahead_ms = max(0, self.audio_ms - self._measured_ms)  # of the calls in work
            left_ms = max(0.0, self._open_bytes * ms_per_byte - ahead_ms)
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
    def aside(self, needed: bool = True) -> Iterator[None]:
        """Room to print something else, if it is needed: the moving line steps aside."""
        if needed:
            self._live.stop()
        yield
        if needed and self._console.is_terminal:
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
        line.add_row(ProgressBar(self._meter.total, self._meter.done, width=20), Text(describe(self._meter)))
        return line


def describe(meter: Meter) -> str:
    """One line: calls, speed, time left."""
    parts = [either(f"{meter.done}/{meter.total} calls", f"{meter.done}/{meter.total} 通")]
    if meter.failed:
        parts.append(either(f"{meter.failed} failed", f"失败 {meter.failed}"))
    parts.append(either(f"{meter.calls_per_s:.2f} calls per second", f"每秒 {meter.calls_per_s:.2f} 通"))
    speed = f"{meter.speed:.1f}"
    parts.append(either(f"{speed} audio-hours per hour", f"每小时处理录音 {speed} 小时"))
    left = meter.left_s
    if left is not None:
        clock = f"{int(left) // 3600}:{int(left) // 60 % 60:02d}:{int(left) % 60:02d}"
        parts.append(either(f"{clock} left", f"剩余 {clock}"))
    return ", ".join(parts)


def describe_plan(plan: Plan, info: Mapping[str, Any], jobs: int) -> str:
    """One line: what recognises, and how the machine is used. ``info``: ``Recogniser.info``."""
    model, window, beam = info["name"], info.get("window", "-"), info.get("beam_size", 1)
    device = f"{plan.device} {info['compute_type']}" if "compute_type" in info else plan.device
    each = either(f" x {plan.threads} threads", f"、每批 {plan.threads} 线程") if plan.threads else ""
    return either(
        f"model {model} on {device}: {plan.workers} batches at once{each}, up to {plan.batch_size} windows each, "
        f"window {window}, beam {beam}; {jobs} calls listened to at once",
        f"模型 {model}（{device}）：同时 {plan.workers} 批{each}、至多 {plan.batch_size} 个窗口，"
        f"窗口 {window}，束宽 {beam}；同时听 {jobs} 通",
    )


def stage_table(seconds: Mapping[str, float], audio_ms: int, *, on_gpu: bool) -> Table:
    """Where the time went. seconds: ``Stages.seconds``."""
    unit = either("s", "秒") if on_gpu else either("CPU s", "CPU 秒")
    title = either("Time per stage", "各环节用时")
    if on_gpu:
        title += either(" (encode, generate, align: on the GPU)", "（编码、生成、对齐为 GPU 用时）")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column(either("stage", "环节"))
    for heading in (unit, either("share", "占比"), either(f"{unit} per audio hour", f"每小时录音{unit}")):
        table.add_column(heading, justify="right")
    total = sum(seconds.values()) or 1.0
    hours = audio_ms / 3_600_000
    for stage, spent in [*seconds.items(), (None, sum(seconds.values()))]:
        name = either(*STAGE_NAMES[stage]) if stage else either("together", "合计")
        table.add_row(name, f"{spent:.1f}", f"{spent / total:.1%}", f"{spent / hours:.1f}" if hours else "-")
    return table
