"""A PostgreSQL of one's own, for system tests (``tests.databases``) and measurements."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

OWNER = "postgres"
TRIES = 20
MISSING = "PostgreSQL is not installed: apt-get install postgresql"


class PostgresServer:
    """A server in a temporary folder, as an unprivileged user.

    is_safe  whether what was committed outlives the machine, as it does where people work; else faster
    """

    def __init__(self, *, is_safe: bool = False) -> None:
        self._folder = Path(mkdtemp(prefix="analyzer-pg-"))
        if os.getuid() == 0:
            shutil.chown(self._folder, OWNER)  # the server refuses to run as root
        self._port = _free_port()
        self.url = f"postgresql://{OWNER}@127.0.0.1:{self._port}"  # without a database
        self._settings = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1"
        if not is_safe:
            self._settings += " -c fsync=off"
        _run("initdb", "-D", str(self._data), "-U", OWNER, "-A", "trust", "--locale=C.UTF-8")

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def start(self) -> None:
        """Waits for those that a killed server left behind, whose memory it would share, and for its recovery."""
        log = str(self._folder / "log")
        for patience in range(TRIES):
            try:
                _run("pg_ctl", "-D", str(self._data), "-o", self._settings, "-l", log, "-w", "-t", "300", "start")
            except subprocess.CalledProcessError:
                if patience == TRIES - 1:
                    raise
                time.sleep(1)
            else:
                return

    def database(self, name: str, *, like: str = "template1") -> str:
        """The URL of a new one, a copy of ``like``, which nobody may be connected to."""
        _run("psql", f"{self.url}/postgres", "-qc", f"CREATE DATABASE {name} TEMPLATE {like}")
        return f"{self.url}/{name}"

    def kill(self) -> None:
        """The server and all that work for it, as the kernel does when memory runs out."""
        head = int((self._data / "postmaster.pid").read_text(encoding="ascii").split()[0])
        for pid in (head, *_children(head)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """Stop it and forget what it held."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it was stopped before
            _run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)


@cache
def installed_programs() -> Path | None:
    """The folder of the newest version's; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def pg_program(name: str) -> Path:
    folder = installed_programs()
    assert folder is not None, MISSING
    return folder / name


def _run(program: str, *arguments: str) -> None:
    command = [str(pg_program(program)), *arguments]
    if os.getuid() == 0:
        command = ["runuser", "-u", OWNER, "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


def _children(parent: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = status.read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
            if int(after_name[1]) == parent:
                found.append(int(status.parent.name))
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
