"""The numbered migrations make the tables that the code uses."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from analyzer.store import Store
from analyzer.store.tables import Base


def test_the_migrations_make_the_tables_of_the_code(store: Store) -> None:
    with store.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert [one for one in differences if not _is_search_index(one)] == []


def _is_search_index(difference: object) -> bool:
    """The full-text index is no table of SQLAlchemy's."""
    return isinstance(difference, tuple) and "turn_search" in str(difference[1])
