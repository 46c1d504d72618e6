"""Whether the control plane is there, and how it is."""

from __future__ import annotations

from typing import Literal

from element_jupyter.core.values import Value
from element_jupyter.service.http import PUBLIC, Route
from element_jupyter.service.services import Services


class Health(Value):
    """The control plane answers."""

    status: Literal["ok"] = "ok"


async def get_health(_: Services) -> Health:
    """Say that the control plane answers."""
    return Health()


ROUTES = (Route("GET", "/health", get_health, access=PUBLIC),)
