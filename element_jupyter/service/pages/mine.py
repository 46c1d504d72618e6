"""“My usage”: what one has, what one has used of it, and what runs."""

from __future__ import annotations

from dataclasses import dataclass

from element_jupyter.core.access import Person
from element_jupyter.core.quotas.allocations import AllocationKind
from element_jupyter.core.quotas.checking import in_words
from element_jupyter.core.quotas.requests import QuotaRequest, RequestState
from element_jupyter.core.quotas.rules import Kind
from element_jupyter.core.quotas.standing import ShownLimit
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name
from element_jupyter.service.ledger import Asked
from element_jupyter.service.pages.quota_rows import KINDS, OF_KIND, TITLES
from element_jupyter.service.pages.requests import may_decide
from element_jupyter.service.pages.view import View, leads
from element_jupyter.service.policy_routes import list_quota_requests
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
    asked = await list_quota_requests(services, who, mine=True, limit=20)
    waiting: tuple[QuotaRequest, ...] = ()
    if leads(who):
        found = await list_quota_requests(services, who, state=RequestState.OPEN, limit=200)
        waiting = found.items
    return {
        "teams": teams,
        "team": chosen,
        "quota": quota,
        "rows": [Limit(each) for each in quota.limits],
        "running": running.items,
        "report": await services.ledger.report(Asked((), None, None, person=who.name)),
        "requests": asked.items,
        "waiting": sum(may_decide(who, each) for each in waiting),
        "may_ask": [each for each, level in who.levels.items() if level.covers(Level.MEMBER)],
        "of_kind": OF_KIND,
        "kinds": KINDS,
        "titles": TITLES,
    }


PAGES = (View("", "My usage", load, "mine.html", modules=("requests.js",)),)
