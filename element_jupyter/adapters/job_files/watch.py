"""Noticing what people do to a directory of files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import watchfiles

log = logging.getLogger(__name__)

RESCAN_SECONDS = 30.0
"""How often all files are looked at, in case the watch has missed something."""

RESCAN_WITHOUT_WATCH_SECONDS = 1.0
WITHOUT_WATCH_SECONDS = 60.0
"""How long it goes on so until a watch is tried again."""


async def follow(root: Path, changed: Callable[[Sequence[tuple[str, ...]]], None]) -> None:
    """Tell, in a thread, of the paths below `root` that have changed, until cancelled.

    An empty list means that anything may have. Hidden files are nobody's business.
    """
    root = await asyncio.to_thread(root.resolve)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_follow(root, changed))
        # what changed before the watch was set, which does not say when it is
        for pause_seconds in (0.5, 1, 3):
            await asyncio.sleep(pause_seconds)
            await asyncio.to_thread(changed, [])


async def _follow(root: Path, changed: Callable[[Sequence[tuple[str, ...]]], None]) -> None:
    rescanned = time.monotonic()
    while True:
        watch = watchfiles.awatch(
            root,
            watch_filter=lambda _, path: "/." not in path.removeprefix(str(root)),
            debounce=200,
            step=50,
            rust_timeout=int(RESCAN_SECONDS * 1000),
            yield_on_timeout=True,
            ignore_permission_denied=True,
        )
        try:
            async for batch in watch:
                paths = [Path(path).relative_to(root).parts for _, path in batch]
                if time.monotonic() - rescanned >= RESCAN_SECONDS:
                    paths = []
                    rescanned = time.monotonic()
                await asyncio.to_thread(changed, paths)
        except (OSError, RuntimeError) as error:
            # out of inotify watches, or a file system that has none
            log.warning("job files cannot be watched (%s): looking every second", error)
            until = time.monotonic() + WITHOUT_WATCH_SECONDS
            while time.monotonic() < until:
                await asyncio.to_thread(changed, [])
                await asyncio.sleep(RESCAN_WITHOUT_WATCH_SECONDS)
