"""“Quotas”: who may use how much; changed in place, with what a change would do said before."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import yaml
from pydantic import Field, ValidationError

from element_jupyter.core.access import Person
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.errors import Invalid
from element_jupyter.core.quotas.policies import PastVersion, plain
from element_jupyter.core.quotas.rules import Quotas
from element_jupyter.core.validation import explain
from element_jupyter.core.values import Value
from element_jupyter.service.http import TextAnswer
from element_jupyter.service.pages.quota_rows import KINDS, OF_KIND, TITLES, rows, with_origin
from element_jupyter.service.pages.view import View, admins, leads
from element_jupyter.service.policy_routes import get_quotas, list_quota_versions
from element_jupyter.service.services import Services

_AT_ONCE: Final = 100
_VERSIONS: Final = 200
"""How far back it is looked for who has set a limit."""
_TEXT_CHARACTERS: Final = 2_000_000

Search = Annotated[str, Field(max_length=200)]
Offset = Annotated[int, Field(ge=0, le=1_000_000)]


async def load(
    services: Services, who: Person, *, search: Search = "", offset: Offset = 0
) -> dict[str, object]:
    """Show the limits: all to administrators, to leads those that concern their teams."""
    refuse_control_characters({"search": search})
    shown = (await get_quotas(services, who)).body
    history: tuple[PastVersion, ...] = ()
    if who.admin:
        history = (await list_quota_versions(services, limit=_VERSIONS)).items
    every = await asyncio.to_thread(rows, shown.quotas)
    found = [row for row in every if row.has(search)] if search else every
    return {
        "shown": shown,
        "rows": with_origin(found[offset : offset + _AT_ONCE], history),
        "count": len(found),
        "all_count": len(every),
        "search": search,
        "offset": offset,
        "following": offset + _AT_ONCE if len(found) > offset + _AT_ONCE else None,
        "may_edit": who.admin,
        "kinds": KINDS,
        "of_kind": OF_KIND,
        "titles": TITLES,
    }


async def load_history(
    services: Services, who: Person, *, cursor: str | None = None
) -> dict[str, object]:
    """Show what was changed, when and by whom."""
    found = await list_quota_versions(services, cursor=cursor, limit=50)
    now = (await get_quotas(services, who)).body
    return {"versions": found.items, "now": now, "following": found.next_cursor, "cursor": cursor}


async def export(services: Services, who: Person) -> TextAnswer:
    """Write down what counts, as `quotas.yaml` would say it."""
    said = plain((await get_quotas(services, who)).body.quotas)
    text = await asyncio.to_thread(_written, said)
    return TextAnswer(text, "application/yaml; charset=utf-8")


class Text(Value):
    """A `quotas.yaml` that somebody wants to count."""

    text: Annotated[str, Field(max_length=_TEXT_CHARACTERS)]


async def read(services: Services, who: Person, body: Text) -> dict[str, Any]:  # noqa: ARG001
    """Read a `quotas.yaml`, so that a change can be made of it; nothing is changed.

    Raises:
        Invalid: it is not YAML, or does not say quotas.
    """
    return plain(await asyncio.to_thread(_parsed, body.text))


def _written(said: dict[str, Any]) -> str:
    text: str = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, default_flow_style=None)
    return text


def _parsed(text: str) -> Quotas:
    try:
        # a few lines of references to references would grow to more than fits anywhere
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise Invalid("This YAML refers to parts of itself.", "Write each part out.")
        said = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise Invalid("This is not YAML.", str(error)[:500]) from None
    try:
        return Quotas.model_validate(said if said is not None else {})
    except ValidationError as error:
        raise explain(error, said, Quotas.model_json_schema()) from None


PAGES: Final = (
    View("quotas", "Quotas", load, "quotas.html", may=leads, modules=("quotas.js",)),
    View(
        "quotas/history",
        "History of the quotas",
        load_history,
        "quota_history.html",
        may=admins,
        modules=("quota-history.js",),
        in_navigation=False,
    ),
    View("quotas/export", "Export", export, may=admins, in_navigation=False, file="quotas.yaml"),
    View("quotas/read", "Read", read, may=admins, in_navigation=False, method="POST"),
)
