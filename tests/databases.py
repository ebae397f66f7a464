"""An empty database for a test: SQLite in every run, and PostgreSQL beside it in ``make test-system``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from analyzer.store import Store, open_store
from tests.postgres import MISSING, PostgresServer, installed_programs

NewDatabase = Callable[[Path], str]


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    if installed_programs() is None:
        if request.config.option.markexpr == "system":
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    server = PostgresServer()
    server.start()
    try:
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.system)])
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Makes an empty one with every table and returns its URL; a file lies in the folder that is given."""
    if request.param == "sqlite":
        return new_sqlite
    server: PostgresServer = request.getfixturevalue("postgres_server")
    open_store(server.database("empty")).close()
    numbers = count(1)
    return lambda _: server.database(f"t{next(numbers)}", like="empty")


@pytest.fixture
def store(new_database: NewDatabase, tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = open_store(new_database(tmp_path))
    yield opened
    opened.close()


def new_sqlite(folder: Path) -> str:
    """The path of a new ``folder/desk.db``."""
    path = folder / "desk.db"
    path.write_bytes(_empty_sqlite())
    return str(path)


@cache
def _empty_sqlite() -> bytes:
    """Made once; migrations take longer than most tests."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "desk.db"
        open_store(str(path)).close()
        return path.read_bytes()
