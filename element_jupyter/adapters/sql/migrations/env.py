"""Runs migrations on the connection that `migrate` hands over."""

from __future__ import annotations

from alembic import context

from element_jupyter.adapters.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
