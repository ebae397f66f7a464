"""Copies of the database while it is in use.

SQLite: its own online backup in one step; readers and writers go on (WAL), and the copy is one moment of it, a single
file, checked before it gets its name. PostgreSQL: ``pg_dump`` in its custom format. Restoring: docs/desk.md.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL

from analyzer.errors import ConfigError, StoreError
from analyzer.store import audit
from analyzer.store.database import Store


@dataclass(frozen=True, slots=True)
class BackedUp:
    path: Path
    bytes: int


def back_up(store: Store, path: Path, *, actor: str) -> BackedUp:
    """Copy the database into a new file, readable by its owner only.

    raises ConfigError if the file exists already, StoreError if it cannot be written or is not sound
    """
    if path.exists():
        raise ConfigError(f"{path}: exists already; choose another name")
    part = path.with_name(path.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(store, part)
        _flush(part)
        part.rename(path)
    except OSError as error:
        raise StoreError(f"{error.filename or path}: {error.strerror}; choose another place") from None
    finally:
        part.unlink(missing_ok=True)
    with store.writing() as session:
        audit.append(session, actor, "backup.made", f"backup:{path.name}"[:120], {"bytes": path.stat().st_size})
    return BackedUp(path, path.stat().st_size)


def _copy(store: Store, part: Path) -> None:
    if store.is_sqlite:
        _copy_sqlite(Path(store.engine.url.database or ""), part)
    else:
        _dump(store.engine.url, part)


def _copy_sqlite(source: Path, part: Path) -> None:
    try:
        with closing(sqlite3.connect(source)) as database, closing(sqlite3.connect(part)) as copy:
            database.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a journal beside it
            found = copy.execute("PRAGMA integrity_check").fetchone()[0]
            orphans = copy.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"{part}: {error}; free the disk or choose another place") from None
    if found != "ok" or orphans is not None:
        raise StoreError(f"{source}: the copy is not sound ({found}); check the disk, and restore an earlier back-up")


def _dump(url: URL, part: Path) -> None:
    """The password goes through the environment: other users can read a command line."""
    program = _pg_dump()
    plain = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query).render_as_string()
    environment = {**os.environ, **({"PGPASSWORD": str(url.password)} if url.password else {})}
    command = [program, "--format=custom", "--no-password", f"--file={part}", plain]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise StoreError(f"pg_dump: {done.stderr.strip() or done.returncode}")


def _pg_dump() -> str:
    """The newest: pg_dump refuses servers newer than itself."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_dump"), key=lambda path: _version(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which("pg_dump")
    if found is None:
        raise ConfigError(
            "pg_dump is not installed; install PostgreSQL's client programs (apt install postgresql-client)"
        )
    return found


def _version(name: str) -> int:
    return int(name) if name.isdecimal() else 0


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
