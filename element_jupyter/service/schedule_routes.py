"""REST of schedules: what one will do, before anything is saved."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from element_jupyter.core import schedules
from element_jupyter.core.access import Action
from element_jupyter.core.schedules import Preview, Schedule
from element_jupyter.core.values import Value
from element_jupyter.service.http import Route, allow
from element_jupyter.service.services import Services


class PreviewRequest(Value):
    """A schedule, and how many of its fires are wanted."""

    schedule: Schedule
    count: Annotated[int, Field(ge=0, le=100)] = 5


async def preview_schedule(services: Services, body: PreviewRequest) -> Preview:
    """Say in words and instants what a schedule will do, with the turns of the clock marked."""
    return schedules.preview(body.schedule, services.clock, services.now(), body.count)


ROUTES = (Route("POST", "/schedules/preview", preview_schedule, access=allow(Action.READ)),)
