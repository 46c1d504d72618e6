"""Posting a run, and telling a refusal by the catch-up policy from a failure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from element_jupyter.core.errors import Conflict, ElementError, Unavailable
from element_jupyter.provider.client import AsyncService, Service

if TYPE_CHECKING:
    from collections.abc import Iterable

Document = dict[str, Any]

_WORKER_SECONDS: Final = 3.0
"""How long a worker is held for a control plane that does not answer; then the triggerer posts."""
_PAUSE_SECONDS: Final = 0.25
_REFUSED: Final = frozenset({"missed", "skipped"})


def submit(
    service: Service, request: Document, patience_seconds: float = _WORKER_SECONDS
) -> Document:
    """Post a run, once more and again while nobody answers.

    Raises:
        Unavailable: nobody answered in time; whether the run exists is not known.
        ElementError: it was refused.
    """
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            return service.post("/runs", request)
        except Unavailable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_PAUSE_SECONDS)


def refused(service: Service, request: Document, error: ElementError) -> str | None:
    """Return the catch-up policy's sentence when that is what refused the run, else None."""
    if not _may_be_fire(request, error):
        return None
    return _sentence(request, error, service.get(_fires(request), limit=100)["items"])


async def refused_async(
    service: AsyncService, request: Document, error: ElementError
) -> str | None:
    """Do as `refused`, without blocking."""
    if not _may_be_fire(request, error):
        return None
    return _sentence(request, error, (await service.get(_fires(request), limit=100))["items"])


def _may_be_fire(request: Document, error: ElementError) -> bool:
    return isinstance(error, Conflict) and "due_at" in request


def _fires(request: Document) -> str:
    return f"/jobs/{request['job']}/fires"


def _sentence(request: Document, error: ElementError, fires: Iterable[Document]) -> str | None:
    from datetime import datetime

    due_at = datetime.fromisoformat(request["due_at"])
    for fire in fires:
        if datetime.fromisoformat(fire["at"]) == due_at and fire["state"] in _REFUSED:
            return f"{error.message} {error.hint}".strip()
    return None
