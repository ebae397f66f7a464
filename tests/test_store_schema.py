"""The numbered migrations make the tables that the code uses."""

from __future__ import annotations

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from analyzer.store import open_store
from analyzer.store.tables import Base


def test_the_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "desk.db"))
    with store.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    store.close()
    assert [one for one in differences if not _is_search_index(one)] == []


def _is_search_index(difference: object) -> bool:
    """The full-text index is no table of SQLAlchemy's."""
    return isinstance(difference, tuple) and "turn_search" in str(difference[1])
