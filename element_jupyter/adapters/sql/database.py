"""Connections to the control plane's database, and its migrations."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from element_jupyter.core.errors import Unavailable

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_MIGRATION_LOCK: Final = 0x656C656D  # any number, the same for every Element


def connect(url: str) -> AsyncEngine:
    """Make a pool of connections to a `postgresql+psycopg://` database; none is opened yet."""
    return create_async_engine(
        url,
        pool_size=5,
        max_overflow=10,
        pool_pre_ping=True,
        json_serializer=partial(json.dumps, allow_nan=False),
        connect_args={"connect_timeout": 10, "application_name": "element"},
    )


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection whose statements each stand alone, which saves beginning and committing.

    Raises:
        Unavailable: the database does not answer.
    """
    alone = engine.execution_options(isolation_level="AUTOCOMMIT")
    with _translated():
        async with alone.connect() as connection:
            yield connection


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction, committed at the end unless an error passes.

    Raises:
        Unavailable: the database does not answer; what was done in it is undone.
    """
    with _translated():
        async with engine.begin() as connection:
            yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
        raise _unavailable() from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise _unavailable() from error
        raise


def _unavailable() -> Unavailable:
    return Unavailable(
        "The database does not answer.",
        "Nothing is lost; try again in a moment. `element status` tells whether it runs.",
    )


def migrate(url: str) -> None:
    """Bring the schema up to date; several processes may do so at once.

    Raises:
        Unavailable: the database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    engine: Any = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            # the lock is the session's: it outlives this transaction, and ends with the connection
            connection.commit()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except OperationalError as error:
        raise _unavailable() from error
    finally:
        engine.dispose()
