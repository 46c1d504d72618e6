"""Processes forked from one that has already imported what they need.

A fork server imports a list of modules once, freezes them for the garbage collector and then forks
a child for each request, so that a child starts in milliseconds and shares the imported pages.
The server half (`serve`) runs alone in a single-threaded process of its own
(`python -m element_jupyter.platform.forkserver`); the client half (`ForkServer`) asks it.

Protocol, one connection per child, lines of JSON over a unix socket of mode 0600:

    → a `Spawn`
    ← {"pid": 17, "started_ticks": 4711}        or {"error": <Problem>}
    ← {"code": 0, "signal": null}               once the child has ended

A client that hangs up loses only the news; the child goes on. A peer of another user is refused.
"""

from __future__ import annotations

from element_jupyter.adapters.forkserver.client import Child, ForkServer
from element_jupyter.adapters.forkserver.protocol import (
    Become,
    Exit,
    Spawn,
    Started,
    die_with_parent,
    is_alive,
    send_signal,
    started_ticks,
)
from element_jupyter.adapters.forkserver.server import preload, serve

__all__ = [
    "Become",
    "Child",
    "Exit",
    "ForkServer",
    "Spawn",
    "Started",
    "die_with_parent",
    "is_alive",
    "preload",
    "send_signal",
    "serve",
    "started_ticks",
]
