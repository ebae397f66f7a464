"""Opening the database: SQLite in a file of its own, or PostgreSQL by URL; numbered migrations either way.

SQLite runs in WAL mode, so that readers never wait; a write transaction takes its lock when it begins (BEGIN IMMEDIATE)
and waits up to 30 s for it, so that none fails half-way. Writers of one process take turns before they ask: SQLite lets
who waits look again and again, and under load the same ones come too late each time.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.orm import Session, sessionmaker

from analyzer.errors import ConfigError, StoreError, UnavailableError

BUSY_MS = 30_000
POOL = 24  # and as many again: the 40 threads that answer, and those that work on their own
OWN_NUMBERS = "own_numbers"
MIGRATIONS = Path(__file__).parent / "migrations"
_NOT_NOW = {
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
}  # fmt: skip

_SHORT_QUERIES = "-c jit=off"  # without statistics PostgreSQL compiled a list's query for 0.8 s, to run it in 0.1 s

log = logging.getLogger(__name__)


class Store:
    """An open database at the newest revision. Thread-safe; sessions are for one thread each.

    own_numbers  digits of the company's own telephone numbers, which are not masked; see ``own_numbers``
    """

    def __init__(self, engine: Engine, own_numbers: Iterable[str] = ()) -> None:
        self.engine = engine
        self._sessions = sessionmaker(engine, expire_on_commit=False, info={OWN_NUMBERS: frozenset(own_numbers)})
        self._writer = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment of the database and changes nothing. What was read stays readable after it.

        raises  UnavailableError
        """
        with _unavailable(), self._sessions(autoflush=False) as session:  # no query looks for something to store
            yield session  # closing it takes back what the block did

    @contextlib.contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction: all of it is stored when the block ends, or nothing.

        Keep files, passwords and networks out of it: on SQLite it holds the only write lock. Not to be nested.

        raises  UnavailableError
        """
        with _unavailable(), self._turn(), self._sessions() as session:
            if self.is_sqlite:
                session.connection(execution_options={"begin": "IMMEDIATE"})
            yield session
            session.commit()

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """On SQLite, until this process's other writers are done."""
        if not self.is_sqlite:
            yield
            return
        if not self._writer.acquire(timeout=BUSY_MS / 1000):
            raise UnavailableError(f"the database was busy for {BUSY_MS // 1000} s; try again")
        try:
            yield
        finally:
            self._writer.release()

    def close(self) -> None:
        self.engine.dispose()


@contextlib.contextmanager
def _unavailable() -> Iterator[None]:
    """Tells what passes from what is wrong with a statement."""
    try:
        yield
    except NoConnectionError as error:
        raise UnavailableError("no connection to the database became free; try again") from error
    except OperationalError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)  # extended, the kind is in its lowest byte
        if code is not None and code & 0xFF not in _NOT_NOW:
            raise
        log.warning("database: %s", str(error.orig).partition("\n")[0])
        raise UnavailableError(
            f"the database cannot be used now: {error.orig}; is it running, its disk full?"
        ) from error


def own_numbers(session: Session) -> frozenset[str]:
    """The company's own telephone numbers, for whatever masks what was said: every session of a store knows them."""
    found: frozenset[str] = session.info.get(OWN_NUMBERS, frozenset())
    return found


def open_store(url: str, *, upgrade: bool = True, own_numbers: Iterable[str] = ()) -> Store:
    """The store at an SQLAlchemy URL (``sqlite:///desk.db``, ``postgresql+psycopg://…``) or a file path.

    upgrade  bring its tables to this version; without it an older database is refused
    raises   ConfigError for a URL that means nothing, StoreError where the database cannot be reached or is newer
    """
    engine = _engine(_as_url(url))
    try:
        if upgrade:
            _upgrade(engine)
        else:
            _require_newest(engine)
    except DBAPIError as error:
        engine.dispose()
        raise StoreError(f"{shown_url(url)}: {error.orig}; is the database running, and the user allowed in?") from None
    return Store(engine, own_numbers)


def shown_url(url: str) -> str:
    """The URL without its password."""
    return make_url(_as_url(url)).render_as_string(hide_password=True)


def _as_url(url: str) -> str:
    if "://" not in url:
        return f"sqlite:///{url}"
    if url.startswith(("postgresql://", "postgres://")):
        return "postgresql+psycopg://" + url.partition("://")[2]
    return url


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(url)
        given = {} if "options" in parsed.query else {"options": _SHORT_QUERIES}
        return create_engine(parsed, pool_size=POOL, max_overflow=POOL, pool_pre_ping=True, connect_args=given)
    except (ArgumentError, NoSuchModuleError) as error:
        raise ConfigError(f"--store {shown_url(url)}: {error}") from None
    except ModuleNotFoundError as error:
        raise ConfigError(f"--store {shown_url(url)}: {error}; pip install '.[postgres]' in the checkout") from None


def _sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; choose another place with --store") from None
    engine = create_engine(
        url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False}, pool_size=POOL, max_overflow=POOL
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        kind = connection.get_execution_options().get("begin", "DEFERRED")
        connection.exec_driver_sql(f"BEGIN {kind}")

    return engine


# ---- migrations


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config


def revision(engine: Engine) -> str | None:
    """The revision the database is at; None before the first."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def newest_revision() -> str:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _upgrade(engine: Engine) -> None:
    present = revision(engine)
    if present == newest_revision():
        return
    _refuse_unknown(engine, present)
    config = _config()
    with engine.connect().execution_options(begin="IMMEDIATE") as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _require_newest(engine: Engine) -> None:
    present = revision(engine)
    _refuse_unknown(engine, present)
    if present != newest_revision():
        raise StoreError(f"{_name(engine)}: made by an older version; run `analyzer db upgrade` first")


def _refuse_unknown(engine: Engine, present: str | None) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if present is not None and present not in known:
        raise StoreError(f"{_name(engine)}: made by a newer version of the analyzer; use that version")


def _name(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=True)
