"""REST of who one is here, and of what one's servers and runs may have."""

from __future__ import annotations

from decimal import Decimal

from element_jupyter.core.access import Action, Person
from element_jupyter.core.sizes import Free, Size
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name, Value
from element_jupyter.service.http import Route, allow
from element_jupyter.service.services import Services


class Me(Value):
    """Who has signed in."""

    name: Name
    admin: bool
    teams: dict[Name, Level]
    """What they are to each team of theirs; their own is the one with their name."""
    hub: bool
    """Whether people sign in at a Hub; without one, there is one person here."""


class OfferedSize(Value):
    """What a server or a run may use, what it is for, and what an hour of it costs."""

    name: Name
    title: str
    description: str
    cpu: float
    """Cores."""
    memory_bytes: int
    gpu: int
    price_per_hour: Decimal | None
    """In the currency beside it; None where nobody pays."""


class OfferedSizes(Value):
    """The sizes that there are, and what of this machine nobody uses now."""

    default: Name
    currency: str
    sizes: tuple[OfferedSize, ...]
    free: Free


async def get_me(services: Services, who: Person) -> Me:
    """Say who has signed in, and what they are to which team."""
    return Me(name=who.name, admin=who.admin, teams=dict(who.levels), hub=services.hub)


async def get_sizes(services: Services) -> OfferedSizes:
    """List the sizes of servers and runs, with what is free now."""
    said = services.sizes()
    return OfferedSizes(
        default=said.default,
        currency=said.currency,
        sizes=tuple(_offered(size) for size in said.sizes),
        free=await services.free(),
    )


def _offered(size: Size) -> OfferedSize:
    return OfferedSize.model_validate(size.model_dump() | {"title": size.called})


ROUTES = (
    Route("GET", "/me", get_me, access=allow(Action.READ)),
    Route("GET", "/sizes", get_sizes, access=allow(Action.READ)),
)
