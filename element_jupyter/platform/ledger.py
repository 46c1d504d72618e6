"""Composition of the ledger."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.parquet import parquet_chunks
from element_jupyter.adapters.sql.ledger_store import SqlLedger
from element_jupyter.config import Element
from element_jupyter.platform.admin_files import prices, sizes
from element_jupyter.service.ledger import Ledger


def ledger(engine: AsyncEngine, settings: Element, *, hub: bool) -> Ledger:
    """Return the ledger; with a Hub its meters say what is used, else runs do, at their ends."""
    store = SqlLedger(engine, runs_report=not hub)
    return Ledger(store, prices(settings), sizes(settings), parquet_chunks)
