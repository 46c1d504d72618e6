"""What jobs and runs need of environments: to be pinned to one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from element_jupyter.core.environments.definitions import Pointer
from element_jupyter.core.environments.keeping import Pin
from element_jupyter.core.errors import ElementError
from element_jupyter.core.snapshots import Manifest


class Pins(Protocol):
    """Finds out which environment a notebook of a snapshot has, and keeps its lock."""

    def applies(self, kernel: str) -> bool:
        """Tell whether a kernel of that name gets an environment: only the ordinary one does."""
        ...

    async def pin(
        self,
        manifest: Manifest,
        notebooks: Mapping[str, Pin | None],
        pointer: Pointer | None,
        who: str,
        *,
        build: bool,
    ) -> Mapping[str, Pin | ElementError]:
        """Return the pin of each notebook, or why there is none (`EnvironmentFailed`, `Invalid`).

        Each comes with the pin that it had before: a definition that says what it said then is not
        locked anew. `build` says that the environments will be needed soon.
        """
        ...
