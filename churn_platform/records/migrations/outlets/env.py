"""Alembic's entry: records.sql hands over a connection, already in a transaction, and the version table."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    # SQLite alters a table by making it anew.
    render_as_batch=True,
)
context.run_migrations()
