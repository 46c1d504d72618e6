"""“My usage”: what one has, what one has used of it, and what runs."""

from __future__ import annotations

from dataclasses import dataclass

from element_jupyter.core.access import Person
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.quotas.checking import in_words
from element_jupyter.core.quotas.rules import Kind
from element_jupyter.core.quotas.standing import ShownLimit
from element_jupyter.core.values import Name
from element_jupyter.service.pages.quota_rows import KINDS, TITLES
from element_jupyter.service.pages.view import View
from element_jupyter.service.services import Services


@dataclass(frozen=True)
class Limit:
    """A limit that counts for the reader, in words."""

    shown: ShownLimit

    @property
    def title(self) -> str:
        return TITLES[self.shown.resource]

    @property
    def window(self) -> str:
        if self.shown.kind is Kind.BUDGET:
            return f"per {self.shown.window}"
        return KINDS[self.shown.kind]

    @property
    def used(self) -> str:
        used = self.shown.used
        return "" if used is None else in_words(self.shown.resource, used, unit=False)

    @property
    def limit(self) -> str:
        return in_words(self.shown.resource, self.shown.limit)


async def load(services: Services, who: Person, *, team: Name | None = None) -> dict[str, object]:
    """Show one's limits in one's own team and in each other, and what is open."""
    teams = [who.name, *sorted(each for each in who.levels if each != who.name)]
    chosen = team if team in who.levels else who.name
    quota = await services.quotas.show(who, chosen, None, AllocationKind.RUN)
    running = await services.quotas.page(
        cursor=None, limit=50, teams=None, person=who.name, still_open=True
    )
    return {
        "teams": teams,
        "team": chosen,
        "quota": quota,
        "rows": [Limit(each) for each in quota.limits],
        "running": running.items,
    }


PAGES = (View("", "My usage", load, "mine.html"),)
