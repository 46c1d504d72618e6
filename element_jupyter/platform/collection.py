"""Freeing what no job, version or run names."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Final

from element_jupyter.adapters.blobs import FsspecBlobs, collect
from element_jupyter.adapters.job_files.store import FileJobs
from element_jupyter.adapters.sql.run_store import SqlRunStore
from element_jupyter.adapters.sql.upload_store import SqlUploads
from element_jupyter.core.errors import ElementError

log = logging.getLogger("element")

_FIRST_AFTER_SECONDS: Final = 3600.0
_EVERY_SECONDS: Final = 24 * 3600.0
_UPLOADS_KNOWN: Final = timedelta(days=90)
"""How long it is known who has sent a blob that they have not asked for again."""
_BLOB_GRACE_SECONDS: Final = 3 * 24 * 3600.0
"""How long what nothing names is kept: longer than an upload and a save can lie apart."""


async def keep_collecting(
    blobs: FsspecBlobs, files: FileJobs, runs: SqlRunStore, uploads: SqlUploads
) -> None:
    """Free what no job, version or run names, once a day."""
    loop = asyncio.get_running_loop()

    def in_use() -> set[str]:
        of_runs = asyncio.run_coroutine_threadsafe(runs.snapshots(), loop).result()
        return files.snapshots() | of_runs

    def locks() -> set[str]:
        of_runs = asyncio.run_coroutine_threadsafe(runs.locks(), loop).result()
        return files.locks() | of_runs

    pause_seconds = _FIRST_AFTER_SECONDS
    while True:
        await asyncio.sleep(pause_seconds)
        try:
            freed = await asyncio.to_thread(collect, blobs, in_use, _BLOB_GRACE_SECONDS, locks)
            await uploads.forget(datetime.now(UTC) - _UPLOADS_KNOWN)
        except (ElementError, OSError) as error:
            log.warning("blobs were not collected: %s", error)
            continue
        pause_seconds = _EVERY_SECONDS
        if freed.count:
            log.info("%d blobs that nothing names freed %d bytes", freed.count, freed.size_bytes)
