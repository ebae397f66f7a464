"""The agent's own machine as the source of a call: the microphone is the agent, a loopback or second device the
customer.

Theory of operation.

    sound card's thread      a thread per device                                     hub
    callback: copy  ──►  queue of 2 s  ──►  resample, place  ── Chunk(position) ──►  Session.feed

*One clock.* Position 0 is the moment the call began, by the computer's monotonic clock, and the call's rate is 16 kHz.
A device's samples follow one another by count: ``offset + samples so far``. The offset is measured, not assumed: a
block cannot arrive before its last sample was spoken, so the earliest arrivals of two seconds tell where the device's
sample 0 lies; blocks that come before the call begins are no part of it, but are counted for this. Threads that are
scheduled late move single arrivals, not the earliest.

*Drift.* Crystals differ by some 50 millionths, 60 ms in twenty minutes; and samples that a card lost are seen the same
way, within two seconds, as arrivals that come later than the count says. Up to 60 ms nothing is done: no rule depends
on less, and stretching sound by resampling would change what the recogniser hears of every call to mend what few have.
Beyond it the offset is corrected in one step. A device that lags leaves a gap, which the call states as such; of one
that runs ahead the surplus is dropped and counted. Both sides are held to the computer's clock rather than to each
other, so that either may vanish.

*A device that vanishes* is noticed when its stream stops or nothing came for a second. The call goes on: the side is
reported as not heard, the intake fills it with silence and states the gap, and once a second the device is looked for
by name. It is back with its first block, not with its stream: that opens at once, but a sound system may take seconds
until it delivers. PortAudio lists devices once, when it starts, and cannot start again without closing every stream; so
while another device runs, a process of its own looks whether the lost one is back, and only then the running one is
interrupted.

The callback runs in the sound card's time: it copies and leaves. ``sounddevice`` is imported by ``open_sound`` alone,
since it fails to import where PortAudio is missing.
"""

from __future__ import annotations

import difflib
import json
import logging
import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.audio import FULL_SCALE, SAMPLE_RATE, Resampler
from analyzer.errors import ConfigError, InputError
from analyzer.live.hub import Session
from analyzer.live.intake import Chunk
from analyzer.live.refusal import Refusal
from analyzer.types import Role

log = logging.getLogger(__name__)

Samples = NDArray[np.int16]

BLOCKS_PER_S = 50
QUEUED = 2 * BLOCKS_PER_S  # blocks: what a busy machine may leave lying
BUFFER_S = 0.5  # what the card keeps while this process gets no turn; blocks still come every 20 ms
SETTLE_S = 0.3  # more than from one burst of blocks to the next; PulseAudio brings seven every 140 ms
FIRST_WITHIN_S = 5.0  # of a stream's opening; PulseAudio's null sink takes up to 2.4
GONE_AFTER_S = 1.0  # without a block, once there was one
DISTURB_AFTER_S = 2.0, 30.0  # other devices are interrupted for one that is away: the first pause between, the longest
LOOK_EVERY_S = 1.0
PATIENCE_S = 0.1
DRIFT = 60 * SAMPLE_RATE // 1000
EARLIEST_OF = 2 * BLOCKS_PER_S
RATES = (8_000, 16_000, 44_100, 48_000)
NO_DEVICE = (
    "no audio input device found; plug in a headset, or on a server give PulseAudio a null sink (docs/commands.md); "
    "`analyzer live --file RECORDING` needs none"
)

_LOOPBACK = re.compile(
    r"monitor|loopback|stereo mix|立体声混音|what u hear|black ?hole|soundflower|vb-?(audio|cable)|cable output", re.I
)
_ALSA_NUMBER = re.compile(r"\s*\(hw:\d+,\d+\)$")  # changes when a card is plugged into another socket
_LIST_NAMES = (
    "import json, sounddevice; "
    "print(json.dumps([one['name'] for one in sounddevice.query_devices() if one['max_input_channels'] > 0]))"
)


# ---- devices


@dataclass(frozen=True, slots=True)
class Device:
    """One audio input of this machine.

    rate         its default, Hz
    is_loopback  by its name it carries what is played, not what is spoken
    """

    index: int
    name: str
    host: str
    channels: int
    rate: int
    is_default: bool
    is_loopback: bool


def open_sound() -> Any:
    """The ``sounddevice`` module. raises ConfigError where it or PortAudio is missing"""
    try:
        import sounddevice  # noqa: PLC0415 - fails to import without PortAudio
    except (ImportError, OSError) as error:
        raise ConfigError(
            f"audio devices cannot be used: {error}; install PortAudio (Debian, Ubuntu: apt-get install libportaudio2; "
            "macOS: brew install portaudio)"
        ) from None
    return sounddevice


def list_devices(sound: Any) -> list[Device]:
    """The inputs, as PortAudio numbers them."""
    hosts = sound.query_hostapis()
    defaults = {host["default_input_device"] for host in hosts}
    return [
        Device(
            index=index,
            name=entry["name"],
            host=hosts[entry["hostapi"]]["name"],
            channels=entry["max_input_channels"],
            rate=round(entry["default_samplerate"]),
            is_default=index in defaults,
            is_loopback=bool(_LOOPBACK.search(entry["name"])),
        )
        for index, entry in enumerate(sound.query_devices())
        if entry["max_input_channels"] > 0
    ]


def rates_of(sound: Any, device: Device) -> list[int]:
    """Which of the usual rates the device takes, Hz. Asks the driver, which may take a while."""
    return [rate for rate in RATES if _takes(sound, device, rate)]


def find_device(devices: Sequence[Device], wanted: str | None) -> Device:
    """By number, by name, or by part of a name if one device only has it; None: the system's default.

    raises InputError if there is none at all, ConfigError if the wanted one is not there or not told apart
    """
    if not devices:
        raise InputError(NO_DEVICE)
    if wanted is None:
        return next((device for device in devices if device.is_default), devices[0])
    if wanted.isdecimal():
        matches = [device for device in devices if device.index == int(wanted)]
    else:
        folded = wanted.casefold()
        matches = [device for device in devices if device.name.casefold() == folded]
        matches = matches or [device for device in devices if folded in device.name.casefold()]
    if len({device.host for device in matches}) > 1:  # the same card through several systems: the first is the usual
        matches = [device for device in matches if device.host == matches[0].host]
    if len(matches) == 1:
        return matches[0]
    if matches:
        named = ", ".join(f"{device.index} {device.name!r}" for device in matches)
        raise ConfigError(f"{wanted!r} is more than one input device ({named}); give its number")
    near = difflib.get_close_matches(wanted, [device.name for device in devices], n=1)
    guess = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"no input device {wanted!r}{guess}; `analyzer devices` lists them")


def _takes(sound: Any, device: Device, rate: int) -> bool:
    try:
        sound.check_input_settings(
            device=device.index, channels=min(device.channels, 2), dtype="int16", samplerate=rate
        )
    except (sound.PortAudioError, ValueError):
        return False
    return True


def _listed_afresh() -> list[str]:
    """Names of the devices that a PortAudio started now would see."""
    with suppress(subprocess.SubprocessError, ValueError, OSError):
        command = [sys.executable, "-c", _LIST_NAMES]
        listed = subprocess.run(command, capture_output=True, timeout=10, check=True).stdout  # noqa: S603 - our own
        return [str(name) for name in json.loads(listed)]
    return []


# ---- the clock


class Placement:
    """Where a device's samples belong on the clock of the call. Pure; positions in samples at 16 kHz.

    >>> place = Placement()
    >>> block = np.zeros((320, 1), np.int16)
    >>> [place.put(block, 320, arrived)[0] for arrived in (400, 720)]
    [80, 400]
    """

    def __init__(self) -> None:
        self.end = 0  # nothing is ever placed before it
        self.dropped = 0  # samples that came twice by the clock, or before the call began
        self._offset: int | None = None
        self._came = 0
        self._placed = 0
        self._recent: deque[int] = deque(maxlen=EARLIEST_OF)

    def restart(self) -> None:
        """The device was opened again: its count begins anew."""
        self._offset = None
        self._came = self._placed = 0
        self._recent.clear()

    def put(self, samples: Samples, came: int, arrived: int) -> tuple[int, Samples]:
        """Position of the samples, and what of them is not there yet.

        samples  shape (n, roles); fewer or more than ``came`` while a resampler holds some back
        came     how much sound the device's block held
        arrived  when the block was complete, by the call's clock
        """
        self._came += came
        self._recent.append(arrived - self._came)
        if self._offset is None or not self.end:
            self._offset = min(self._recent)  # nothing is placed yet that this could move
        elif len(self._recent) == EARLIEST_OF and abs(drift := min(self._recent) - self._offset) > DRIFT:
            log.info("a device's samples are moved by %d ms", drift * 1000 // SAMPLE_RATE)
            self._offset += drift
        position = self._offset + self._placed
        self._placed += len(samples)
        surplus = min(len(samples), max(0, self.end - position))
        self.dropped += surplus if position + surplus > 0 else 0
        self.end = max(self.end, position + len(samples))
        return position + surplus, samples[surplus:]


# ---- one device


@dataclass(frozen=True, slots=True)
class Source:
    """A device and who is heard on it: one role, or two by its channels."""

    device: Device
    roles: tuple[Role, ...]


class _Line:
    """A source's stream, and the thread that takes its blocks."""

    def __init__(self, source: Source, capture: Capture) -> None:
        self.source = source
        self._capture = capture
        self._stream: Any = None
        self._blocks: queue.Queue[tuple[Samples, float]] = queue.Queue()
        self.overflows = 0
        self._told_overflows = self._told_dropped = 0
        self._last_s = 0.0
        self._patience_s = FIRST_WITHIN_S  # for the next block
        self.delivers = threading.Event()  # since it was opened
        self._may_disturb_s, self._pause_s = 0.0, DISTURB_AFTER_S[0]
        self._has_begun = False  # the call
        self._placement = Placement()
        self._resampler: Resampler | None = None
        self._rate = SAMPLE_RATE
        self._n_samples = 0  # since the stream began, at its rate

    # ---- the stream

    def open(self, device: Device) -> None:
        """raises PortAudioError"""
        sound = self._capture.sound
        width = min(device.channels, 2)
        blocks: queue.Queue[tuple[Samples, float]] = queue.Queue(QUEUED)
        self._rate = SAMPLE_RATE if _takes(sound, device, SAMPLE_RATE) else device.rate

        def copy(samples: Samples, _frames: int, _times: Any, status: Any) -> None:
            if status and status.input_overflow:
                self.overflows += 1
            if not self._has_begun and blocks.full():
                blocks.get_nowait()  # nobody else takes any yet
            try:
                blocks.put_nowait((samples.copy(), self._capture.clock()))
            except queue.Full:
                self.overflows += 1
            self.delivers.set()

        stream = sound.InputStream(
            device=device.index,
            channels=width,
            dtype="int16",
            samplerate=self._rate,
            blocksize=self._rate // BLOCKS_PER_S,
            latency=BUFFER_S,
            callback=copy,
        )
        try:
            stream.start()
        except sound.PortAudioError:
            stream.close()
            raise
        self._resampler = Resampler(self._rate, len(self.source.roles)) if self._rate != SAMPLE_RATE else None
        self._placement.restart()
        self._n_samples = 0
        self._blocks = blocks
        self.delivers.clear()
        self._last_s, self._patience_s = self._capture.clock(), FIRST_WITHIN_S
        self._stream = stream

    def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(self._capture.sound.PortAudioError):
                stream.abort()
            with suppress(self._capture.sound.PortAudioError):
                stream.close()

    @property
    def is_open(self) -> bool:
        return self._stream is not None

    @property
    def _has_stopped(self) -> bool:
        stream = self._stream
        return stream is None or not stream.active or self._capture.clock() - self._last_s > self._patience_s

    def may_disturb(self) -> bool:
        """Whether others may be interrupted once more for this device; asked, it waits twice as long the next time: a
        device that is listed and does not open would silence them for good."""
        now_s = self._capture.clock()
        if now_s < self._may_disturb_s:
            return False
        self._may_disturb_s, self._pause_s = now_s + self._pause_s, min(2 * self._pause_s, DISTURB_AFTER_S[1])
        return True

    def begin(self) -> None:
        """What was lost before the call is no loss of it; what was heard only tells where its samples lie."""
        self._has_begun = True
        self.overflows = self._told_overflows = 0

    # ---- its thread

    def run(self, session: Session) -> None:
        try:
            while not self._capture.stopping.is_set():
                self._next(session)
        except Refusal:
            pass  # the call has ended
        except Exception:
            log.exception("call %s: device %r is not heard any more", session.call_id, self.source.device.name)
            session.side_gone(self.source.roles)

    def _next(self, session: Session) -> None:
        if (came := self._wait()) is not None:
            self._take(*came, session)
        elif self._has_stopped:
            self._lose_and_find(session)

    def _wait(self) -> tuple[Samples, float] | None:
        """The next block and when it came; None if there is none for a while."""
        try:
            came = self._blocks.get(timeout=PATIENCE_S)
        except queue.Empty:
            return None
        self._last_s, self._patience_s = came[1], GONE_AFTER_S
        self._pause_s = DISTURB_AFTER_S[0]
        return came

    def _take(self, block: Samples, arrived_s: float, session: Session) -> None:
        samples = _by_role(block, len(self.source.roles))
        before, self._n_samples = self._n_samples, self._n_samples + len(block)
        came = self._n_samples * SAMPLE_RATE // self._rate - before * SAMPLE_RATE // self._rate
        if self._resampler is not None:
            samples = self._resampler.feed(np.divide(samples, FULL_SCALE, dtype=np.float32))
        arrived = round((arrived_s - self._capture.began_s) * SAMPLE_RATE)
        position, samples = self._placement.put(samples, came, arrived)
        if len(samples):
            session.feed(Chunk(self.source.roles, samples, position))
        self._tell_losses(session)

    def _tell_losses(self, session: Session) -> None:
        if self.overflows > self._told_overflows:
            session.lose("overflows", self.overflows - self._told_overflows)
            self._told_overflows = self.overflows
        if (dropped := self._placement.dropped // (SAMPLE_RATE // 1000)) > self._told_dropped:
            session.lose("dropped_ms", dropped - self._told_dropped)
            self._told_dropped = dropped

    def _lose_and_find(self, session: Session) -> None:
        """Say that the side is not heard, and return when it is again, or the call is over."""
        log.warning("call %s: device %r is gone", session.call_id, self.source.device.name)
        self._capture.close(self)
        session.side_gone(self.source.roles)
        while (first := self._find()) is None:
            self._capture.close(self)
            if self._capture.stopping.wait(LOOK_EVERY_S):
                return
        log.warning("call %s: device %r is back", session.call_id, self.source.device.name)
        self._take(*first, session)
        session.side_back(self.source.roles)

    def _find(self) -> tuple[Samples, float] | None:
        """Open the device if it is there. returns the first block it delivers, and when"""
        if not self._capture.reopen(self):
            return None
        while not (self._has_stopped or self._capture.stopping.is_set()):
            if (first := self._wait()) is not None:
                return first
        return None


def _by_role(block: Samples, n_roles: int) -> Samples:
    """One column per role: the channels as they are, or mixed where one person is on both."""
    if block.shape[1] == n_roles:
        return block
    mixed: Samples = np.rint(block.mean(axis=1, keepdims=True)).astype(np.int16)
    return mixed


# ---- all devices of a call


class Capture:
    """The devices of one call. ``start``, ``wait`` until they deliver, ``attach`` the call, ``stop``.

    sound   the ``sounddevice`` module, or what behaves like it
    clock   seconds, monotonic
    listed  names of the devices there are now, asked outside this process
    """

    def __init__(
        self,
        sources: Sequence[Source],
        sound: Any,
        *,
        clock: Callable[[], float] = time.monotonic,
        listed: Callable[[], Collection[str]] = _listed_afresh,
    ) -> None:
        self.sound = sound
        self.clock = clock
        self.stopping = threading.Event()
        self.began_s = 0.0
        self._listed = listed
        self._lines = [_Line(source, self) for source in sources]
        self._threads: list[threading.Thread] = []
        self._lock = threading.RLock()  # PortAudio opens and closes one stream at a time

    @property
    def roles(self) -> tuple[Role, ...]:
        return tuple(role for line in self._lines for role in line.source.roles)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What of the sound the cards lost, in Chinese. Gaps are stated by the call itself."""
        overflows = sum(line.overflows for line in self._lines)
        return (f"声卡缓冲区溢出 {overflows} 次，个别字可能缺失",) if overflows else ()

    def start(self) -> None:
        """Open every device. raises InputError, naming the one that cannot be opened"""
        for line in self._lines:
            device = line.source.device
            try:
                line.open(device)
            except self.sound.PortAudioError as error:
                self.stop()
                raise InputError(
                    f"{device.name}: cannot be opened ({error}); close the program that uses it, allow access to the "
                    "microphone, or choose another one (`analyzer devices`)"
                ) from None

    def wait(self, within_s: float = FIRST_WITHIN_S) -> bool:
        """Until every device has delivered sound, so that a call that begins then misses nothing at its beginning.

        returns whether all do; one that does not is reported as not heard once the call has begun
        """
        deadline = time.monotonic() + within_s
        do_all = all(line.delivers.wait(max(0.0, deadline - time.monotonic())) for line in self._lines)
        self.stopping.wait(SETTLE_S)
        return do_all

    def attach(self, session: Session) -> None:
        """The call begins now: what the devices hear is its audio."""
        self.began_s = self.clock()
        for line in self._lines:
            line.begin()
            name = f"device-{line.source.device.index}"
            self._threads.append(threading.Thread(target=line.run, args=(session,), name=name, daemon=True))
            self._threads[-1].start()

    def stop(self) -> None:
        """No more audio; returns when nothing will be fed any more."""
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        for line in self._lines:
            self.close(line)

    # ---- for the lines

    def close(self, line: _Line) -> None:
        with self._lock:
            line.close()

    def reopen(self, line: _Line) -> bool:
        """Try once."""
        name = line.source.device.name
        others = [one for one in self._lines if one is not line and one.is_open]
        if self._open_by_name(line):
            return True
        if others and not (any(_same(name, other) for other in self._listed()) and line.may_disturb()):
            return False
        with self._lock:
            for one in self._lines:  # also one that was opened since
                if one is not line and one.is_open:
                    one.close()  # its own thread opens it again
            self.sound._terminate()
            self.sound._initialize()
        return self._open_by_name(line)

    def _open_by_name(self, line: _Line) -> bool:
        with self._lock:
            for device in self._named(line.source.device):
                try:
                    line.open(device)
                except self.sound.PortAudioError as error:
                    log.info("device %r does not open: %s", device.name, error)
                else:
                    return True
        return False

    def _named(self, lost: Device) -> Iterator[Device]:
        for device in list_devices(self.sound):
            if device.host == lost.host and device.channels >= 1 and _same(lost.name, device.name):
                yield device


def _same(name: str, other: str) -> bool:
    return _ALSA_NUMBER.sub("", name) == _ALSA_NUMBER.sub("", other)
