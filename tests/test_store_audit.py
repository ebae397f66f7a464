"""The audit log tells when it was touched."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from analyzer.store import Store, audit
from tests.desk_stage import tamper


def _fill(store: Store, count: int = 5) -> None:
    for number in range(count):
        with store.writing() as session:
            audit.append(session, "user:1", "call.viewed", f"call:{number}", {"turns": number, "roles": ["agent"]})


def _verify(store: Store, *known: audit.Head) -> audit.Verified:
    with store.reading() as session:
        return audit.verify(session, known)


def test_a_log_that_nobody_touched_is_whole(store: Store) -> None:
    assert _verify(store) == audit.Verified(0, None)
    _fill(store)
    found = _verify(store)
    assert (found.entries, found.broken) == (5, None)
    assert str(found.head).startswith("5:")


@pytest.mark.parametrize(
    ("touch", "broken", "why"),
    [
        ("UPDATE audit SET object = 'call:99' WHERE seq = 3", 3, "changed"),
        ("UPDATE audit SET details = '{}' WHERE seq = 5", 5, "changed"),
        ("DELETE FROM audit WHERE seq = 2", 3, "entry 2 is missing"),
        ("UPDATE audit SET seq = 9 WHERE seq = 5", 9, "entry 5 is missing"),
        ("UPDATE audit SET previous = (SELECT hash FROM audit WHERE seq = 2) WHERE seq = 4", 4, "does not follow"),
    ],
)
def test_the_first_entry_that_was_touched_is_named(store: Store, touch: str, broken: int, why: str) -> None:
    _fill(store)
    tamper(store, touch)
    found = _verify(store)
    assert found.broken == broken
    assert why in str(found.why)


def test_a_log_that_was_cut_or_written_anew_is_known_by_a_head_noted_earlier(store: Store) -> None:
    _fill(store)
    noted = _verify(store).head
    assert noted is not None
    assert _verify(store, noted).broken is None
    tamper(store, "DELETE FROM audit WHERE seq > 3")
    assert _verify(store).broken is None
    assert _verify(store, noted).broken == 4
    _fill(store, 2)
    assert _verify(store, noted).broken == 5


def test_an_entry_is_stored_with_what_it_tells_of_or_not_at_all(store: Store) -> None:
    with store.reading() as session:  # which ends without a commit
        audit.append(session, "cli", "user.added", "user:1")
    assert _verify(store).entries == 0


def test_words_of_no_kind_that_a_database_may_change_are_taken(store: Store) -> None:
    with store.writing() as session, pytest.raises(TypeError, match="float"):
        audit.append(session, "cli", "call.scored", "call:1", {"score": 86.5})


@pytest.mark.parametrize(
    "touch", ["UPDATE audit SET actor = 'cli'", "DELETE FROM audit WHERE seq = 2", "TRUNCATE audit"]
)
def test_the_database_refuses_to_change_or_delete_an_entry(store: Store, touch: str) -> None:
    if store.is_sqlite:
        touch = touch.replace("TRUNCATE", "DELETE FROM")  # which it does not know
    _fill(store)
    with pytest.raises(DBAPIError, match="only ever added to"), store.writing() as session:
        session.execute(text(touch))
    assert _verify(store).entries == 5


def test_writers_at_once_make_one_chain(store: Store) -> None:
    threads = [threading.Thread(target=_fill, args=(store, 10)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = _verify(store)
    assert (found.entries, found.broken) == (40, None)
