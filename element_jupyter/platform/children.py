"""Child processes that are given a request on standard input and answer on standard output."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping


async def start_child(*command: str, variables: Mapping[str, str] | None = None) -> Process:
    """Start a command with pipes; cancelled meanwhile, it leaves no process.

    asyncio (3.11) hangs when it is cancelled between the fork and the pipes, so the start is always
    finished first.
    """
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=variables)
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        child = await starting
        child.kill()
        await child.wait()
        raise
