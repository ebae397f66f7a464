"""How the C library (glibc) hands memory out, for two kinds of process. Elsewhere (macOS, musl) nothing is done: their
allocators do not behave so.

A **server** must stay level for weeks. glibc gives nearly every thread an arena of its own, and after a large block was
freed it takes blocks of that size from an arena too. What one thread of a live call allocates, another frees: sound,
features, activations. So every arena grows to the peak of its thread and keeps it, full of holes, for hours. With two
arenas for all, and large blocks given back when they are freed, the demo model with four calls takes 100 MiB less and
no more time (``bench.live_soak``).

A **batch run** wants its speed. The attention of one 30 s window needs blocks of 54 MB in every layer (whisper-tiny;
180 MB in large), more than glibc ever keeps: each is asked of the kernel, filled with zeros page by page, and given
back at once, which was two fifths of the encoder's time (bench/README.md). So blocks of all sizes come from one arena,
the only one that can hold them, and stay there until the run ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import platform
from collections.abc import Iterable
from functools import cache

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8  # of malloc.h
GIVE_BACK_EVERY_S = 60.0
LARGE = 1 << 20  # bytes: below it asking the kernel each time would cost more than it saves

Settings = Iterable[tuple[int, str, int]]  # what to set, the variable of the environment that sets it too, and to what
LEVEL: Settings = (
    (M_ARENA_MAX, "MALLOC_ARENA_MAX", 2),
    (M_MMAP_THRESHOLD, "MALLOC_MMAP_THRESHOLD_", LARGE),
    (M_TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_", LARGE),
)
FAST: Settings = (
    (M_ARENA_MAX, "MALLOC_ARENA_MAX", 1),  # the others end at 64 MB
    (M_MMAP_MAX, "MALLOC_MMAP_MAX_", 0),
    (M_TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_", -1),  # never
)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def settle(settings: Settings) -> None:
    """To be called before a process makes its threads. What the environment says of ``malloc`` stays as it says."""
    libc = _glibc()
    if libc is None or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    for setting, variable, value in settings:
        if variable not in os.environ and not libc.mallopt(setting, value):
            log.warning("the C library does not take %s=%d; memory may grow with the hours", variable, value)


def give_back() -> None:
    """Free pages go back to the kernel. Takes some milliseconds."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


async def keep_giving_back() -> None:
    """For ever, beside the event loop."""
    while True:
        await asyncio.sleep(GIVE_BACK_EVERY_S)
        await asyncio.to_thread(give_back)
