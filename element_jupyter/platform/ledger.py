"""Composition of the ledger."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from element_jupyter.adapters.sql.ledger_store import SqlLedger
from element_jupyter.config import Element
from element_jupyter.platform.admin_files import prices, sizes
from element_jupyter.service.ledger import Ledger


def ledger(engine: AsyncEngine, settings: Element) -> Ledger:
    """Return the ledger of this platform."""
    return Ledger(SqlLedger(engine), prices(settings), sizes(settings))
