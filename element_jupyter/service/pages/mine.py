"""“My usage”: what one has, what one has used of it, and what runs."""

from __future__ import annotations

from element_jupyter.core.access import Person
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.values import Name
from element_jupyter.service.pages.view import View
from element_jupyter.service.services import Services


async def load(services: Services, who: Person, *, team: Name | None = None) -> dict[str, object]:
    """Show one's limits in one's own team and in each other, and what is open."""
    teams = [who.name, *sorted(each for each in who.levels if each != who.name)]
    chosen = team if team in who.levels else who.name
    quota = await services.quotas.show(who, chosen, None, AllocationKind.RUN)
    running = await services.quotas.page(
        cursor=None, limit=50, teams=None, person=who.name, still_open=True
    )
    return {"teams": teams, "team": chosen, "quota": quota, "running": running.items}


PAGES = (View("", "My usage", load, "mine.html"),)
