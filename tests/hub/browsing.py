"""Debian's Chromium, for the pages of the Hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, expect, sync_playwright

# a deadline for a busy machine; what is there is seen at once
expect.set_options(timeout=60_000)


@contextmanager
def browsing() -> Iterator[Page]:
    """Open a page in a browser that knows nothing yet."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        page = browser.new_page()
        page.set_default_timeout(60_000)
        yield page
        browser.close()
