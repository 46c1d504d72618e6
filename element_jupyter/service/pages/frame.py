"""The frame around every page: the Hub's look, navigation, and how values are written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from element_jupyter.core.access import Person
from element_jupyter.core.places import SERVICE_PREFIX
from element_jupyter.service.pages.view import View

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"


@dataclass(frozen=True)
class Link:
    """Another place of the platform, in the bar at the top."""

    name: str
    address: str


@cache
def static_path() -> str:
    """Return where what is in `static/` is; another path whenever one of its files changes."""
    found = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            found.update(path.name.encode() + b"\0" + path.read_bytes())
    return f"{SERVICE_PREFIX}static/{found.hexdigest()[:12]}/"


class Frame:
    """Renders pages."""

    def __init__(self, views: Sequence[View], links: Sequence[Link] = ()) -> None:
        self._views = tuple(views)
        self._links = tuple(links)
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "moment": moment,
            "day": day,
            "amount": amount,
            "percent": percent,
            "bytes": size_in_words,
            "coded": coded,
            "duration": duration,
        }
        self._templates.globals |= {"prefix": SERVICE_PREFIX, "static": static_path()}

    def render(
        self,
        template: str,
        values: Mapping[str, Any],
        *,
        title: str,
        who: Person | None,
        xsrf: str = "",
        page: View | None = None,
        path: str = "",
    ) -> str:
        """Return the HTML of a page; `values` is what its own template shows."""
        shown = [view for view in self._views if view.in_navigation and who and view.may(who)]
        return self._templates.get_template(template).render(
            **values,
            title=title,
            who=who,
            xsrf=xsrf,
            page=page,
            path=path,
            navigation=shown,
            links=self._links,
        )


def moment(at: datetime | None) -> str | Markup:
    """Say when; a script of the frame puts it into the reader's own time."""
    if at is None:
        return "–"
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(
        at.isoformat(timespec="seconds"), at.strftime("%Y-%m-%d %H:%M")
    )


def coded(text: str) -> Markup:
    """Show what stands between backquotes as something to type."""
    parts = [escape(each) for each in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(each) if number % 2 else each
        for number, each in enumerate(parts)
    )


def day(at: datetime | None) -> str:
    """Write a day of UTC."""
    return "–" if at is None else at.strftime("%Y-%m-%d")


def amount(value: float | None, unit: str = "") -> str:
    """Write a number as people read it: at most two digits that say something."""
    if value is None:
        return "–"
    digits = 0 if float(value).is_integer() or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text}\u202f{unit}" if unit else text


def percent(share: float | None) -> str:
    """Write a share, of which 1 is all."""
    return "–" if share is None else f"{100 * share:.0f}\u202f%"


def size_in_words(size_bytes: float | None) -> str:
    """Write a size in the largest unit that it has."""
    if size_bytes is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < 1024:
            return amount(size_bytes, unit)
        size_bytes /= 1024
    return amount(size_bytes, "TiB")


def duration(seconds: float) -> str:
    """Write how long something took, in the two largest units that it has."""
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if seconds < 60:
        return f"{seconds:.0f}\u202fs"
    if hours < 1:
        return f"{minutes:.0f}\u202fmin"
    if days < 2:
        return f"{int(hours)}\u202fh {int(minutes) % 60}\u202fmin"
    return f"{int(days)}\u202fd {int(hours) % 24}\u202fh"
