"""Resident memory that stays where it is while a server runs for weeks: how the C library hands memory out.

glibc gives nearly every thread an arena of its own, and after a large block was freed it takes blocks of that size from
an arena too. What one thread of a live call allocates, another frees: sound, features, activations. So every arena
grows to the peak of its thread and keeps it, full of holes, for hours. With two arenas for all, and large blocks given
back when they are freed, the demo model with four calls takes 100 MiB less and no more time (``bench.live_soak``).

Elsewhere (macOS, musl) nothing is done: their allocators do not behave so.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import platform
from functools import cache

log = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of malloc.h
LARGE = 1 << 20  # bytes: below it asking the kernel each time would cost more than it saves
SETTINGS = (
    (M_ARENA_MAX, "MALLOC_ARENA_MAX", 2),
    (M_MMAP_THRESHOLD, "MALLOC_MMAP_THRESHOLD_", LARGE),
    (M_TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_", LARGE),
)
GIVE_BACK_EVERY_S = 60.0


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


def hold_together() -> None:
    """To be called before a process makes its threads. What the environment says of ``malloc`` stays as it says."""
    libc = _glibc()
    if libc is None or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    for setting, variable, value in SETTINGS:
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
