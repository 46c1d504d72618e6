"""A platform with a Hub and its people, each of whom has a window with the pages of quotas."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from playwright.sync_api import Browser, Page

from element_jupyter.adapters.postgres import USER
from tests.hub.signing_in import Visitor
from tests.hub_platform import HubPlatform, hub_platform

LENA, MAX, SAM = (f"{name}-{os.getpid()}" for name in ("lena", "max", "sam"))
"""A lead of the team `ml`, a member of it, and somebody who is in no team but their own."""
PAGES = "/services/element/"


class AdminPages:
    """The platform, its administrator, and everybody's sign-in at the Hub."""

    def __init__(self, hub: HubPlatform) -> None:
        self.hub = hub
        self.admin = hub.sign_in()
        self.people = {
            hub.environment["ELEMENT_OWNER"]: self.admin,
            LENA: hub.invite(self.admin, LENA, "ml:lead"),
            MAX: hub.invite(self.admin, MAX, "ml:member"),
            SAM: hub.invite(self.admin, SAM, ""),
        }
        self.root = hub.environment["ELEMENT_OWNER"]

    @property
    def url(self) -> str:
        return self.hub.url

    @contextmanager
    def window(
        self, browser: Browser, name: str, *, dark: bool = False, width: int = 1280, **more: object
    ) -> Iterator[Page]:
        """Open a window in which somebody has signed in at the Hub."""
        context = browser.new_context(
            viewport={"width": width, "height": 860},
            color_scheme="dark" if dark else "light",
            locale="en-US",
            timezone_id="Europe/Berlin",
            base_url=self.url,
            **more,  # type: ignore[arg-type]
        )
        context.add_cookies(
            [
                {"name": each.name, "value": each.value or "", "url": f"{self.url}{each.path}"}
                for each in self.people[name].cookies.jar
            ]
        )
        context.set_default_timeout(60_000)
        try:
            yield context.new_page()
        finally:
            context.close()

    def visitor(self, name: str) -> Visitor:
        """Return somebody's browser of few words, signed in at the pages too."""
        visitor = self.people[name]
        visitor.get(PAGES).raise_for_status()
        return visitor


@contextmanager
def admin_pages(directory: Path) -> Iterator[AdminPages]:
    with hub_platform(directory) as hub:
        yield AdminPages(hub)


def database(pages: AdminPages) -> psycopg.Connection:
    """Connect to the platform's database as its owner does."""
    socket = next(pages.hub.data.rglob(".s.PGSQL.5432"), None)
    place = socket or max(Path("/tmp").glob("element-0-*/.s.PGSQL.5432"))
    return psycopg.connect(host=str(place.parent), user=USER, dbname="element", autocommit=True)
