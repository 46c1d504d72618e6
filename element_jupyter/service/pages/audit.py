"""“Audit”: who did what, whether the record is whole, and the record as a file."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from element_jupyter.core.access import Action, Person, may
from element_jupyter.core.admission import refuse_control_characters
from element_jupyter.core.audit import AuditEntry, AuditFilter
from element_jupyter.core.errors import Invalid
from element_jupyter.service.audit_export import ExportFormat, exported
from element_jupyter.service.http import Download
from element_jupyter.service.pages.listing import Cursor, Given, address
from element_jupyter.service.pages.view import View, admins
from element_jupyter.service.services import Services

_ON_PAGE: Final = 50
_SHOWN: Final = 160
_LONGEST: Final = 20_000


async def load(
    services: Services,
    who: Person,
    *,
    actor: Given = "",
    subject: Given = "",
    action: Given = "",
    since: Given = "",
    until: Given = "",
    as_admin: Given = "",
    cursor: Cursor = None,
) -> dict[str, object]:
    """Show what is on record, and whether it is whole."""
    may(who, Action.ADMINISTER)
    asked = {
        "actor": actor,
        "subject": subject,
        "action": action,
        "since": since,
        "until": until,
        "as_admin": as_admin,
    }
    wanted = _wanted(asked)
    found = await services.audit.page(wanted, cursor=cursor, limit=_ON_PAGE)
    return {
        "asked": asked,
        "entries": [(entry, change(entry)) for entry in found.items],
        "state": await services.audit.state(),
        "filtered": any(asked.values()),
        "first": address("audit", asked) if cursor else "",
        "following": address("audit", asked, cursor=found.next_cursor) if found.next_cursor else "",
        "files": {form: address("audit/export", asked, form=form) for form in ExportFormat},
        "of": lambda **changed: address("audit", asked, **changed),
        "written": written,
    }


async def download(
    services: Services,
    who: Person,
    *,
    form: ExportFormat = ExportFormat.CSV,
    actor: Given = "",
    subject: Given = "",
    action: Given = "",
    since: Given = "",
    until: Given = "",
    as_admin: Given = "",
) -> Download:
    """Hand out all that is asked for as a file."""
    may(who, Action.ADMINISTER)
    wanted = _wanted(
        {
            "actor": actor,
            "subject": subject,
            "action": action,
            "since": since,
            "until": until,
            "as_admin": as_admin,
        }
    )
    chunks = exported(services.audit.every(wanted), form)
    return Download(f"audit.{form}", chunks, form.media_type)


def _wanted(asked: dict[str, str]) -> AuditFilter:
    refuse_control_characters(asked)
    until = _day("until", asked["until"])
    return AuditFilter(
        asked["actor"] or None,
        asked["subject"] or None,
        asked["action"],
        _day("since", asked["since"]),
        # a form says the last day that is wanted
        until + timedelta(days=1) if until is not None else None,
        True if asked["as_admin"] else None,
    )


def _day(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise Invalid(f"{name}: give a day, such as 2026-11-22.", field=name) from None


def change(entry: AuditEntry) -> str:
    """Say in a line what has become of what."""
    before, after = entry.before, entry.after
    if isinstance(before, dict) and isinstance(after, dict):
        changed = (
            f"{name}: {_short(before.get(name))} → {_short(after.get(name))}"
            for name in sorted(before.keys() | after.keys())
            if before.get(name) != after.get(name)
        )
        text = ", ".join(changed)
    elif before is None and after is None:
        text = ""
    elif before is None:
        text = f"new: {_short(after)}"
    else:
        text = f"was: {_short(before)}"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(held)}" for name, held in value.items())
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def written(value: Any) -> str:
    """Write a value over lines, as far as a page holds it."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "\n… (the rest is in the file)"


PAGES = (
    View("audit", "Audit", load, "audit.html", admins, ("audit.js",)),
    View("audit/export", "Audit", download, may=admins, in_navigation=False),
)
