"""What went wrong inside a page, but for what JupyterLab itself gets wrong."""

from __future__ import annotations

from playwright.sync_api import Page

# JupyterLab 4.6 asks for a subshell when a notebook opens, and does not catch that the kernel is
# restarted or shut down before the answer comes.
_LABS_OWN = "Canceled future for create_subshell_request message before replies were done"


def hear(page: Page, complaints: list[str]) -> None:
    """Add each error that nothing in the page catches to `complaints`, as it happens."""

    def heard(error: Exception) -> None:
        if _LABS_OWN not in str(error):
            complaints.append(str(error))

    page.on("pageerror", heard)
