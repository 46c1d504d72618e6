"""The schema: what migrations leave is what the tables say, on every PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from element_jupyter.adapters.sql import database
from element_jupyter.adapters.sql.database import migrate
from element_jupyter.adapters.sql.schema import metadata

MIGRATIONS = Path(database.__file__).parent / "migrations"


def test_migrations_leave_the_schema_that_the_code_expects(any_database_url):
    engine = create_engine(any_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert differences == []


def test_several_processes_may_migrate_at_once(postgres):
    url = postgres.url(postgres.new_database())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [url] * 4))
    migrate(url)
    engine = create_engine(url)
    with engine.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    assert heads == tuple(ScriptDirectory(str(MIGRATIONS)).get_heads())
    assert len(heads) == 1
    engine.dispose()
