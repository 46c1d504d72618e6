"""What the Hub has to tell the control plane, kept in files until it was heard.

A control plane that is away, or a Hub that is killed meanwhile, loses none of it; what is told
twice has to mean the same as once.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.platform.data import write_private

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 20.0

Tell = Callable[[str, dict[str, Any]], Awaitable[object]]
"""Posts a body to a path of the control plane; raises as `adapters.hub.launcher`."""


class Untold:
    """Files in one directory, each with a path of the control plane and what to post there."""

    def __init__(self, tell: Tell, directory: Path) -> None:
        self._tell = tell
        self._directory = directory
        self._telling: asyncio.Task[None] | None = None

    def keep(self, path: str, body: dict[str, Any], *, every_seconds: int = 0) -> None:
        """Keep something, and tell it as soon as it can be, in the order in which it was kept.

        With `every_seconds`, what is kept replaces what was kept for that path in the same stretch
        of so many seconds and has not been told.
        """
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # in the order of their names
        now_ns, word = time.time_ns(), str(os.getpid())
        if every_seconds:
            now_ns -= now_ns % (every_seconds * 1_000_000_000)
            word = path.replace("/", "-")
        file = self._directory / f"{now_ns:020d}-{word}.json"
        write_private(file, json.dumps({"path": path, "body": body}))
        self.go_on()

    def go_on(self) -> None:
        """Tell what is left, from an earlier Hub too; does not wait for it."""
        if self._telling is None or self._telling.done():
            self._telling = asyncio.ensure_future(self._tell_all())

    async def close(self) -> None:
        """Stop telling; what is left is told by the next one."""
        if self._telling is not None:
            self._telling.cancel()
            with suppress(asyncio.CancelledError):
                await self._telling

    async def _tell_all(self) -> None:
        pause_seconds = _FIRST_PAUSE_SECONDS
        while files := sorted(self._directory.glob("*.json")):
            try:
                for file in files:
                    kept = file.read_text(encoding="utf-8")
                    said = json.loads(kept)
                    try:
                        await self._tell(said["path"], said["body"])
                    except Unavailable:
                        raise
                    except ElementError as error:
                        log.warning("the control plane does not want to know: %s", error.message)
                    with suppress(FileNotFoundError):
                        if file.read_text(encoding="utf-8") == kept:  # not replaced meanwhile
                            file.unlink()
                    pause_seconds = _FIRST_PAUSE_SECONDS
            except Unavailable:
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
