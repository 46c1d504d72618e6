"""What a person chooses at the start of a server: the form, and what arrives from it or by REST."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2

from element_jupyter.core.confinement import Free
from element_jupyter.core.errors import Forbidden, Invalid
from element_jupyter.core.sizes import Size, Sizes
from element_jupyter.core.teams import Level
from element_jupyter.core.values import Name

SIZE: Final = "size"
TEAM: Final = "team"

_PAGE: Final = jinja2.Environment(
    autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
).from_string(Path(__file__).with_name("options.html").read_text(encoding="utf-8"))


def chosen(options: Mapping[str, Any], name: str) -> str | None:
    """Return one option as text; None when it was not given.

    Raises:
        Invalid: it is no text.
    """
    value = options.get(name)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]  # as a form sends it
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 200:
        raise Invalid(f"The option '{name}' must be a short text.", field=name)
    return value


def team_of(person: Name, levels: Mapping[Name, Level], wanted: str | None) -> Name:
    """Return the team that a server is started for; a person's own when none is wanted.

    Raises:
        Forbidden: the person is suspended, or not of that team, or only looks on in it.
    """
    if person not in levels:
        raise Forbidden(
            f"{person} is suspended and may start nothing.",
            "Ask an administrator of this Hub.",
        )
    team = wanted or person
    level = levels.get(team)
    if level is None:
        raise Forbidden(
            f"{person} is not in a team '{team}'.",
            f"Your teams are: {', '.join(usable_teams(person, levels))}.",
            field=TEAM,
        )
    if not level.covers(Level.MEMBER):
        raise Forbidden(
            f"{person} is a viewer of the team '{team}' and may not start servers for it.",
            f"Ask a lead of '{team}' to make you a member.",
            field=TEAM,
        )
    return team


def usable_teams(person: Name, levels: Mapping[Name, Level]) -> list[Name]:
    """Return the teams that a person may start servers for, their own first."""
    usable = [team for team, level in levels.items() if level.covers(Level.MEMBER)]
    return sorted(usable, key=lambda team: (team != person, team))


def render(
    sizes: Sizes, teams: list[Name], free: Free | None, *, size: str | None, team: str | None
) -> str:
    """Return the form's fields as HTML; works without JavaScript."""
    names = {each.name for each in sizes.sizes}
    return _PAGE.render(
        sizes=[
            {
                "name": each.name,
                "called": each.called,
                "description": each.description,
                "amounts": amounts(each),
                "price": price(each, sizes.currency),
                "fits": free is None or free.holds(each.cpu, each.memory_bytes, each.gpu),
            }
            for each in sizes.sizes
        ],
        chosen=size if size in names else sizes.default,
        teams=teams,
        team=team if team in teams else (teams or [""])[0],
        free=None if free is None else f"{_cores(free.cpu)}, {_memory(free.memory_bytes)}",
    )


def amounts(size: Size) -> str:
    """Say what a size is: `2 cores · 8 GiB · 1 GPU`."""
    gpus = [f"{size.gpu} GPU{'s' if size.gpu > 1 else ''}"] if size.gpu else []
    return " · ".join([_cores(size.cpu), _memory(size.memory_bytes), *gpus])


def price(size: Size, currency: str) -> str | None:
    """Say what an hour costs; None where nobody pays."""
    if size.price_per_hour is None:
        return None
    return f"{size.price_per_hour.normalize():f} {currency} per hour"


def _cores(cpu: float) -> str:
    return f"{cpu:.3g} core{'' if cpu == 1 else 's'}"


def _memory(size_bytes: int) -> str:
    if size_bytes < 1 << 30:
        return f"{size_bytes / (1 << 20):.3g} MiB"
    return f"{size_bytes / (1 << 30):.3g} GiB"
