"""Every page that there is, in the order of the navigation."""

from __future__ import annotations

from typing import Final

from element_jupyter.service.pages import (
    audit,
    mine,
    people,
    queue,
    quotas,
    requests,
    running,
    usage,
)
from element_jupyter.service.pages.view import View

PAGES: Final[tuple[View, ...]] = (
    *mine.PAGES,
    *quotas.PAGES,
    *usage.PAGES,
    *people.PAGES,
    *running.PAGES,
    *queue.PAGES,
    *audit.PAGES,
    *requests.PAGES,
)
