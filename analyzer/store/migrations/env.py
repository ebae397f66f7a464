"""Alembic's entry: runs inside the connection and transaction that ``analyzer.store.database`` opened."""

from alembic import context

from analyzer.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
