"""“People and teams”: who may use what, where that comes from, and how much of it is used."""

from __future__ import annotations

import asyncio
import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from pydantic import Field

from element_jupyter.core.access import Person
from element_jupyter.core.quotas.checking import in_words
from element_jupyter.core.quotas.people import HeldLimit, PersonStanding, TeamStanding
from element_jupyter.core.quotas.requests import RequestState
from element_jupyter.core.quotas.rules import Kind
from element_jupyter.service.http import TextAnswer
from element_jupyter.service.pages.quota_rows import KINDS, TITLES
from element_jupyter.service.pages.view import View, leads
from element_jupyter.service.policy_routes import (
    list_quota_people,
    list_quota_requests,
    list_quota_teams,
)
from element_jupyter.service.services import Services

_AT_ONCE: Final = 50
_AT_ONCE_OF_A_FILE: Final = 200
_REQUESTS: Final = 200
NEAR: Final = 80

Show = Literal["people", "teams"]
Over = Annotated[int, Field(ge=0, le=1000)]
Search = Annotated[str, Field(max_length=63)]
SortBy = Literal["name", "used"]


async def load(
    services: Services,
    who: Person,
    *,
    show: Show = "people",
    search: Search = "",
    over: Over = 0,
    sort: SortBy = "name",
    cursor: str | None = None,
) -> dict[str, object]:
    """Show a part of the people, or of the teams."""
    listed = list_quota_people if show == "people" else list_quota_teams
    found = await listed(
        services,
        who,
        search=search.strip().lower(),
        over=over,
        sort=sort,
        cursor=cursor,
        limit=_AT_ONCE,
    )
    requests = await list_quota_requests(services, who, state=RequestState.OPEN, limit=_REQUESTS)
    chosen = {"show": show, "search": search, "over": over, "sort": sort}
    return {
        **chosen,
        "items": found.items,
        "requests": Counter(each.person for each in requests.items if each.person != who.name),
        "near": NEAR,
        "words": words,
        "this": urlencode(chosen),
        "next_address": _address(chosen | {"cursor": found.next_cursor})
        if found.next_cursor
        else "",
        "first_address": _address(chosen) if cursor else "",
    }


async def export(
    services: Services,
    who: Person,
    *,
    show: Show = "people",
    search: Search = "",
    over: Over = 0,
    sort: SortBy = "name",
) -> TextAnswer:
    """Write all of them as CSV, a line for each limit."""
    listed = list_quota_people if show == "people" else list_quota_teams
    found: list[PersonStanding | TeamStanding] = []
    cursor: str | None = None
    while True:
        part = await listed(
            services,
            who,
            search=search.strip().lower(),
            over=over,
            sort=sort,
            cursor=cursor,
            limit=_AT_ONCE_OF_A_FILE,
        )
        found += part.items
        cursor = part.next_cursor
        if cursor is None:
            break
    return TextAnswer(await asyncio.to_thread(_csv, found), "text/csv; charset=utf-8")


def _csv(found: Sequence[PersonStanding | TeamStanding]) -> str:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(
        ("name", "kind", "resource", "window", "team", "limit", "used", "unit", "subject", "from")
    )
    for each in found:
        name = each.person if isinstance(each, PersonStanding) else each.team
        for limit in each.limits:
            lines.writerow(
                (
                    name,
                    limit.kind.value,
                    limit.resource.value,
                    limit.window or "",
                    limit.team or "",
                    limit.limit,
                    "" if limit.used is None else limit.used,
                    limit.unit,
                    limit.subject,
                    limit.comes_from,
                )
            )
        if not each.limits:
            lines.writerow((name, *[""] * 9))
    return text.getvalue()


def words(limit: HeldLimit) -> str:
    """Say what is limited and how much of it is used."""
    what = TITLES[limit.resource]
    window = f"per {limit.window}" if limit.kind is Kind.BUDGET else KINDS[limit.kind]
    most = in_words(limit.resource, limit.limit)
    if limit.used is None:
        return f"{what} {window}: at most {most}"
    used = in_words(limit.resource, limit.used, unit=False)
    return f"{what} {window}: {used} of {most}"


def _address(chosen: dict[str, object]) -> str:
    return f"{PAGES[0].address}?{urlencode(chosen)}"


PAGES: Final = (
    View("people", "People and teams", load, "people.html", may=leads),
    View("people/csv", "CSV", export, may=leads, in_navigation=False, file="standing.csv"),
)
