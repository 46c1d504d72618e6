"""A page is one object: where it is, who may see it, what it shows, and by which template.

    PAGES = (View("queue", "Queue", load, template="queue.html", may=leads),)

    async def load(services: Services, who: Person, *, team: str = "") -> dict[str, object]: ...

`load` takes its parameters as the function of a `Route` does: those after `who` come from the
query and are validated. What it returns the template sees, beside `who`, `page` and `path`. What
goes wrong is an error of `core.errors`, which the frame shows with a way to try again. One that
returns a `TextAnswer` is a download.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from element_jupyter.core.access import Person
from element_jupyter.core.errors import Forbidden
from element_jupyter.core.places import SERVICE_PREFIX
from element_jupyter.core.teams import Level
from element_jupyter.service.http import Verb


def everybody(_: Person) -> bool:
    """Let in whoever has signed in."""
    return True


def leads(who: Person) -> bool:
    """Whether they are an administrator, or lead a team that others are in."""
    return who.admin or bool(teams_led(who))


def admins(who: Person) -> bool:
    """Let in administrators."""
    return who.admin


def teams_led(who: Person) -> tuple[str, ...]:
    """Return the teams whose members' things they see; everybody's own team is not one."""
    return tuple(
        sorted(
            team
            for team, level in who.levels.items()
            if level.covers(Level.LEAD) and team != who.name
        )
    )


@dataclass(frozen=True)
class View:
    """One page, or one download."""

    path: str
    """Below `SERVICE_PREFIX`; the first page's is empty."""
    title: str
    load: Callable[..., Awaitable[Any]]
    template: str = ""
    """In `templates/`; extends `frame.html`. Downloads have none."""
    may: Callable[[Person], bool] = everybody
    modules: tuple[str, ...] = ()
    """ES modules in `static/` that make more of the page; it is complete without."""
    in_navigation: bool = True
    file: str = ""
    """As what a browser saves a download."""
    method: Verb = "GET"
    """Another one is what a script of a page asks for, with a JSON body; it answers JSON."""

    @property
    def address(self) -> str:
        return SERVICE_PREFIX + self.path

    def check(self, who: Person, contact: str) -> None:
        """Return when they may see it; `contact` is whom others may ask.

        Raises:
            Forbidden: they may not.
        """
        if not self.may(who):
            reader = "administrators" if self.may is admins else "administrators and leads of teams"
            raise Forbidden(f"“{self.title}” is for {reader}.", f"Ask {contact}.")
