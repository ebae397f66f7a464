"""A database that is busy, or gone: who waits does so in turn, and what cannot be waited for is said."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from analyzer.errors import UnavailableError
from analyzer.store import Store, database, open_store
from analyzer.store.tables import User
from tests.databases import new_sqlite
from tests.desk_review import add_call, findings
from tests.desk_stage import Stage, open_stage

MANY = 2 * database.POOL + 5  # writers: more than there are connections


@contextmanager
def another_process_writes(path: Path) -> Iterator[None]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A desk on SQLite that waits a moment only."""
    with monkeypatch.context() as patched:
        patched.setattr(database, "BUSY_MS", 50)
        with open_stage(tmp_path) as stage:
            yield stage


def test_writers_that_wait_leave_connections_to_readers(tmp_path: Path) -> None:
    store = open_store(new_sqlite(tmp_path))
    begun = threading.Barrier(MANY + 1)

    def write(number: int) -> None:
        begun.wait()
        with store.writing() as session:
            session.add(user(f"u{number}"))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(MANY)]
    with store.writing():
        for writer in writers:
            writer.start()
        begun.wait()
        assert names(store) == set(), "readers go on, and none of the writers came in between"
    for writer in writers:
        writer.join()
    assert len(names(store)) == MANY
    store.close()


def test_a_database_that_another_process_keeps_is_said_to_be_unavailable(impatient: Stage) -> None:
    path = Path(str(impatient.store.engine.url.database))
    with another_process_writes(path):
        assert len(names(impatient.store)) > 0, "readers do not wait"
        with pytest.raises(UnavailableError, match="locked"), impatient.store.writing():
            pass
    with impatient.store.writing() as session:
        session.add(user("later"))
    assert "later" in names(impatient.store)


def test_a_decision_that_cannot_be_stored_now_is_answered_so_and_can_be_sent_again(impatient: Stage) -> None:
    number = add_call(impatient.store)
    [first, *_] = findings(impatient.store, number)
    client = impatient.client("reviewer")
    said = {"decision": "confirmed", "reason": ""}
    with another_process_writes(Path(str(impatient.store.engine.url.database))):
        refused = client.post(f"/api/desk/findings/{first.id}/decision", json=said)
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert int(refused.headers["retry-after"]) > 0
    assert findings(impatient.store, number)[0].decision is None
    assert client.post(f"/api/desk/findings/{first.id}/decision", json=said).status_code == 200


def test_who_asks_while_the_database_is_away_is_told_so(impatient: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(token: str) -> None:
        raise UnavailableError("gone")

    client = impatient.client("reviewer")
    monkeypatch.setattr(type(impatient.desk), "principal", lambda self, token: gone(token))
    answer = client.get("/api/desk/calls")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_a_statement_that_is_wrong_is_no_matter_of_waiting(tmp_path: Path) -> None:
    store = open_store(new_sqlite(tmp_path))
    with pytest.raises(OperationalError), store.reading() as session:
        session.execute(text("SELECT nothing FROM nowhere"))
    store.close()


def names(store: Store) -> set[str]:
    with store.reading() as session:
        return {user.name for user in session.query(User)}


def user(name: str) -> User:
    at = datetime(2026, 3, 2, 9, tzinfo=UTC)
    return User(name=name, display_name=name, role="reviewer", password_hash="!", created_at=at)
