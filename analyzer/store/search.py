"""Chinese full-text search over what was said.

Words are no unit to index by: a dictionary's cuts miss 退款 inside 申请退款吗. So the index holds every character as a
word of its own, and a query is a phrase of characters: it finds exactly what a substring search finds, at index speed.
SQLite does it with FTS5, PostgreSQL with a tsvector.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, column, func, literal_column, select, table, text
from sqlalchemy.orm import Session

from analyzer.normalize import fold
from analyzer.store.tables import Turn

_turn_search = table("turn_search", column("turn_id"), column("chars"))


def create_index(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(text("CREATE VIRTUAL TABLE turn_search USING fts5(chars, tokenize = 'unicode61')"))
        connection.execute(
            text(
                "CREATE TRIGGER turns_forgotten AFTER DELETE ON turns "
                "BEGIN DELETE FROM turn_search WHERE rowid = old.id; END"
            )
        )
        return
    connection.execute(
        text(
            "CREATE TABLE turn_search (turn_id integer PRIMARY KEY REFERENCES turns (id) ON DELETE CASCADE, "
            "chars tsvector NOT NULL)"
        )
    )
    connection.execute(text("CREATE INDEX ix_turn_search_chars ON turn_search USING gin (chars)"))


def drop_index(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(text("DROP TRIGGER turns_forgotten"))
    connection.execute(text("DROP TABLE turn_search"))


def add_to_index(session: Session, turns: Iterable[tuple[int, str]]) -> None:
    """Make turns findable, given as id and text."""
    rows: list[Mapping[str, Any]] = [{"id": turn_id, "chars": spaced(said)} for turn_id, said in turns]
    if not rows:
        return
    if session.get_bind().dialect.name == "sqlite":
        statement = text("INSERT INTO turn_search (rowid, chars) VALUES (:id, :chars)")
    else:
        statement = text("INSERT INTO turn_search (turn_id, chars) VALUES (:id, to_tsvector('simple', :chars))")
    session.execute(statement, rows)


def spaced(raw: str) -> str:
    """Folded text, a blank between any two characters; Latin words and numbers too, so that parts of them are found.

    >>> spaced("您好，VIP客户！")
    '您 好 v i p 客 户'
    """
    return " ".join(re.sub(r"[^\w]", "", fold(raw).text))


def calls_that_say(session: Session, words: str) -> Select[int]:
    """The calls (``calls.id``) in which each of the blank-separated parts of ``words`` is said, anywhere.

    raises  ValueError where nothing is left to search for
    """
    parts = [spaced(part) for part in words.split()]
    parts = [part for part in parts if part]
    if not parts:
        raise ValueError("nothing to search for: give at least one character")
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    statement = select(Turn.call_pk).where(Turn.id.in_(_turns_with(parts[0], is_sqlite=is_sqlite)))
    for part in parts[1:]:
        more = select(Turn.call_pk).where(Turn.id.in_(_turns_with(part, is_sqlite=is_sqlite)))
        statement = statement.where(Turn.call_pk.in_(more))
    return statement.distinct()


def _turns_with(part: str, *, is_sqlite: bool) -> Select[int]:
    if is_sqlite:
        rowid: ColumnElement[int] = literal_column("rowid")
        return (
            select(rowid)
            .select_from(_turn_search)
            .where(literal_column("turn_search").op("MATCH")(bindparam(None, f'"{part}"')))
        )
    return select(_turn_search.c.turn_id).where(_turn_search.c.chars.op("@@")(func.phraseto_tsquery("simple", part)))
