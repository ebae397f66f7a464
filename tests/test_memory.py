"""How the C library hands memory out, seen in processes of their own: it cannot be undone."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from analyzer import memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")

VARIABLES = {variable for _, variable, _ in (*memory.LEVEL, *memory.FAST)}
TRY = """
import ctypes, sys, threading
from analyzer import memory
memory.settle(getattr(memory, sys.argv[2]))
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = libc.fclose.argtypes = [ctypes.c_void_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
all_there = threading.Barrier(6)
def work():
    all_there.wait()
    libc.malloc(1000)
    all_there.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.free(libc.malloc(8 << 20))  # by default such a block comes from an arena from now on
libc.malloc(8 << 20)
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""


def told(folder: Path, settings: str = "LEVEL", **environment: str) -> tuple[int, int]:
    """Arenas, and bytes that were asked of the kernel by themselves."""
    known = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    file = folder / "malloc.xml"
    subprocess.run([sys.executable, "-c", TRY, file, settings], env={**known, **environment}, check=True)
    said = file.read_text()
    mapped = re.findall(r'<total type="mmap" count="\d+" size="(\d+)"/>', said)
    return said.count("<heap nr="), int(mapped[-1])


def test_all_threads_share_two_arenas_and_large_blocks_come_from_none(tmp_path: Path) -> None:
    arenas, mapped = told(tmp_path)
    assert arenas == 2
    assert mapped >= 8 << 20


def test_a_batch_run_has_one_arena_and_blocks_of_all_sizes_come_from_it(tmp_path: Path) -> None:
    arenas, mapped = told(tmp_path, "FAST")
    assert arenas == 1
    assert mapped < 8 << 20


@pytest.mark.parametrize("variable", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_environment_says_stays(tmp_path: Path, variable: str) -> None:
    value = {"MALLOC_ARENA_MAX": "1", "GLIBC_TUNABLES": "glibc.malloc.arena_max=1"}[variable]
    assert told(tmp_path, **{variable: value})[0] == 1
