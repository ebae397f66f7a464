"""A PostgreSQL of its own for system tests: an empty database for each test that asks for ``postgres_url``."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

OWNER = "postgres"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server, without a database."""
    folder = Path(mkdtemp(prefix="analyzer-pg-"))
    if os.getuid() == 0:
        shutil.chown(folder, OWNER)  # the server refuses to run as root
    port = _free_port()
    _run("initdb", "-D", str(folder / "data"), "-U", OWNER, "-A", "trust", "--locale=C.UTF-8")
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    _run("pg_ctl", "-D", str(folder / "data"), "-o", settings, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql://{OWNER}@127.0.0.1:{port}"
    finally:
        _run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: str, request: pytest.FixtureRequest) -> str:
    """An empty database."""
    name = f"t{abs(hash(request.node.nodeid))}"
    _run("psql", f"{postgres_server}/postgres", "-qc", f"CREATE DATABASE {name}")
    return f"{postgres_server}/{name}"


@cache
def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.fail("PostgreSQL is not installed; apt-get install postgresql")
    return found[-1].parent


def _run(program: str, *arguments: str) -> None:
    command = [str(_programs() / program), *arguments]
    if os.getuid() == 0:
        command = ["runuser", "-u", OWNER, "--", *command]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
