"""What a Jupyter server answers itself, each verb of each path: to mount it, and to describe it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from element_jupyter.core.values import Value
from element_jupyter.server.http import MOUNT, ElementHandler


@dataclass(frozen=True)
class Operation:
    """One verb of one path, for its description."""

    id: str
    method: str
    path: str
    handler: type[ElementHandler]
    answer: type[Value] | None
    status: int = 200
    body: type[Value] | None = None
    query: tuple[tuple[str, Any], ...] = ()
    """Names and types of what may stand behind the question mark; None as a default is none."""
    streams: bool = False
    """Whether the answer is a stream of events, each an `answer`."""


def mounted(
    operations: Iterable[Operation], shared: dict[str, Any]
) -> list[tuple[str, type[ElementHandler], dict[str, Any]]]:
    """Return what a Jupyter server mounts, below its base URL; handlers are made with `shared`.

    Of two that fit a path, the first counts.
    """
    places = {operation.path: operation.handler for operation in operations}
    return [
        (f"/{MOUNT}{re.sub(r'{[a-z_]+}', '([^/]+)', path)}", handler, shared)
        for path, handler in places.items()
    ]
