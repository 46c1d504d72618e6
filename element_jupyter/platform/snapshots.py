"""Snapshots made in a child process, so that the caller's event loop does not feel them.

Threads would do for a few large files. Thousands of small ones keep the interpreter's lock busy
enough for stalls of 50-130 ms on two cores (16,000 files, 1 GiB), and the loop of a user's server
also relays what their kernels say.

The child is given its request as JSON on stdin and answers with JSON lines: progress, then a
result or a problem.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from element_jupyter.core.errors import Conflict, ElementError, Problem
from element_jupyter.core.snapshots import SnapshotLimits
from element_jupyter.core.values import Digest, Value
from element_jupyter.platform.children import start_child

ATTEMPTS = 3
PROGRESS_SECONDS = 0.1
NICE = 5
"""The child gives way to the server's loop and to people's kernels on the same cores."""

LINE_BYTES = 1 << 26
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from element_jupyter.platform.snapshots import main; main()"
)


class Snapshot(Value):
    """What was saved, or with no blob store would be; the paths are what a job will find."""

    snapshot_id: Digest
    size_bytes: int
    paths: tuple[str, ...]
    warnings: tuple[str, ...]


class _Request(Value):
    root: Path
    blobs_url: str | None
    limits: SnapshotLimits
    cache: Path | None


class _Line(Value):
    progress: tuple[int, int] | None = None
    result: Snapshot | None = None
    problem: Problem | None = None


async def snapshot(
    root: Path,
    blobs_url: str | None,
    *,
    limits: SnapshotLimits | None = None,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Snapshot:
    """Scan a project and save it to the blob store at the URL, or only look when that is None.

    `progress` gets the bytes read and the bytes to read. Cancelling kills the child.

    Raises:
        Invalid, TooLarge: the project cannot be a snapshot; names the file.
        Conflict: files kept changing between being read and being stored.
        Unavailable: the blob store does not take data.
    """
    request = _Request(
        root=root, blobs_url=blobs_url, limits=limits or SnapshotLimits(), cache=cache
    )
    # -P: a module in the directory that we happen to be in is not ours to import
    child = await start_child(
        *(sys.executable, "-P", "-c", _BOOT, str(Path(__file__).parents[2])), line_bytes=LINE_BYTES
    )
    try:
        request_in = cast("asyncio.StreamWriter", child.stdin)
        request_in.write(request.model_dump_json().encode())
        request_in.close()
        async for data in cast("asyncio.StreamReader", child.stdout):
            line = await asyncio.to_thread(_Line.model_validate_json, data)
            if line.result is not None:
                return line.result
            if line.problem is not None:
                raise ElementError.from_problem(line.problem)
            if line.progress is not None and progress is not None:
                progress(*line.progress)
        raise ElementError(
            f"The process that makes the snapshot ended with {await child.wait()}.",
            "The server's log says why.",
        )
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


def main() -> None:
    """Be the child: one request in, lines out."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    # what a library prints must not end up between our lines
    os.dup2(2, 1)
    os.nice(NICE)
    request = _Request.model_validate_json(sys.stdin.buffer.read())
    last = 0.0

    def say(line: _Line) -> None:
        out.write(line.model_dump_json(exclude_none=True).encode() + b"\n")

    def progress(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS or done == total:
            last = time.monotonic()
            say(_Line(progress=(done, total)))

    try:
        say(_Line(result=_make(request, progress)))
    except ElementError as error:
        say(_Line(problem=error.problem))


def _make(request: _Request, progress: Callable[[int, int], None]) -> Snapshot:
    from element_jupyter.adapters.blobs import FsspecBlobs, save
    from element_jupyter.adapters.project import scan

    blobs = None if request.blobs_url is None else FsspecBlobs(request.blobs_url)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            found = scan(
                request.root,
                limits=request.limits,
                cache=request.cache,
                progress=progress,
                reread=attempt > 1,
            )
            if blobs is not None:
                save(blobs, found)
            break
        except Conflict:
            if attempt == ATTEMPTS:
                raise
    return Snapshot(
        snapshot_id=found.manifest.snapshot_id,
        size_bytes=found.manifest.size_bytes,
        paths=tuple(entry.path for entry in found.manifest.entries),
        warnings=found.warnings,
    )
