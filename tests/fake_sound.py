"""Stands for the ``sounddevice`` module: devices that tests plug, unplug and speak into.

Like PortAudio it lists devices when it is initialised, and terminating it closes every stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Status:
    input_overflow: bool = False

    def __bool__(self) -> bool:
        return self.input_overflow


class PortAudioError(Exception):
    pass


class Stream:
    def __init__(self, sound: FakeSound, name: str, channels: int, samplerate: int, callback: Callable[..., None]):
        self.name, self.channels, self.rate = name, channels, samplerate
        self.active = False
        self.closed = False
        self._sound = sound
        self._callback = callback

    def start(self) -> None:
        if self.name not in self._sound.plugged:
            raise PortAudioError("Device unavailable")
        self.active = True
        self._sound.streams[self.name] = self

    def abort(self) -> None:
        if self.name not in self._sound.plugged:
            raise PortAudioError("the device is gone")

    def close(self) -> None:
        self.active = False
        self.closed = True

    def deliver(self, samples: NDArray[np.int16], *, overflow: bool = False) -> None:
        """What the sound card's thread does."""
        buffer = samples.reshape(-1, self.channels).copy()
        self._callback(buffer, len(buffer), None, Status(overflow))
        buffer[:] = -1  # PortAudio uses it again


class FakeSound:
    """devices: name -> (channels, rates it takes)"""

    PortAudioError = PortAudioError

    def __init__(self, devices: dict[str, tuple[int, tuple[int, ...]]]) -> None:
        self.devices = dict(devices)
        self.plugged = set(devices)
        self.streams: dict[str, Stream] = {}
        self.initialised = 0
        self._initialize()

    def _initialize(self) -> None:
        self.initialised += 1
        self._listed = [name for name in self.devices if name in self.plugged]

    def _terminate(self) -> None:
        for stream in self.streams.values():
            stream.close()

    def query_hostapis(self) -> list[dict[str, Any]]:
        return [{"name": "ALSA", "default_input_device": 0 if self._listed else -1}]

    def query_devices(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "hostapi": 0, "max_input_channels": self.devices[name][0],
             "default_samplerate": float(self.devices[name][1][-1])}
            for name in self._listed
        ]  # fmt: skip

    def check_input_settings(self, *, device: int, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.devices[self._listed[device]][1]:
            raise PortAudioError("Invalid sample rate")

    def InputStream(  # noqa: N802 - its name in sounddevice
        self,
        *,
        device: int,
        channels: int,
        dtype: str,
        samplerate: int,
        blocksize: int,
        latency: float,
        callback: Callable[..., None],
    ) -> Stream:
        assert blocksize * 50 == samplerate
        return Stream(self, self._listed[device], channels, samplerate, callback)

    def unplug(self, name: str) -> None:
        self.plugged.discard(name)
        self.streams[name].active = False
