"""Composition of the pages that the control plane has for people who sign in at a Hub."""

from __future__ import annotations

from contextlib import AsyncExitStack

from element_jupyter.adapters.hub.oauth import HubOAuth
from element_jupyter.config import Element
from element_jupyter.core.places import AIRFLOW_PREFIX
from element_jupyter.platform.hub.access import HubAccess
from element_jupyter.platform.hub.configure import OAUTH_CLIENT
from element_jupyter.service.mounted import Mounted
from element_jupyter.service.pages.browser import CALLBACK_PATH, Browser
from element_jupyter.service.pages.frame import Link
from element_jupyter.service.pages.mount import Pages


def pages_of(
    stack: AsyncExitStack, settings: Element, hub: HubAccess | None, mounted: Mounted
) -> Pages | None:
    """Return the pages, by whose sign-in `mounted` knows browsers from then on; None: no Hub."""
    if hub is None or not settings.public_url:
        return None
    oauth = HubOAuth(hub.api_url, hub.token_file, OAUTH_CLIENT, CALLBACK_PATH)
    stack.push_async_callback(oauth.close)
    browser = Browser(oauth, mounted.sign_in, public_url=settings.public_url)
    mounted.browser = browser.at_rest
    links = [Link("Airflow", AIRFLOW_PREFIX)] if settings.airflow else []
    return Pages(browser, links=links)
