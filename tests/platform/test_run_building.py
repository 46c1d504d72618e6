"""Waiting for a run's environment: told now and then, and given up at once when it is stopped."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from element_jupyter.core.environments.building import Phase
from element_jupyter.core.errors import Invalid
from element_jupyter.platform.run_building import BuildNotes, StoppedWaiting, unless_stopped


def test_a_build_is_told_at_its_beginning_and_end_and_seldom_between():
    said: list[str] = []
    tell = BuildNotes(said.append)
    tell(Phase.DOWNLOADING, 1, 44)
    for done in range(2, 44):
        tell(Phase.DOWNLOADING, done, 44)
    tell(Phase.READY)
    assert said == [
        "Building the environment: downloading packages, 1 of 44.",
        "The environment is ready after 0 s.",
    ]


def test_nothing_is_said_where_nothing_was_built():
    said: list[str] = []
    BuildNotes(said.append)(Phase.READY)
    assert said == []


async def test_what_work_returns_or_raises_comes_back():
    never = asyncio.Event()
    assert await unless_stopped(lambda: 4, never) == 4

    def wrong() -> None:
        raise Invalid("It is wrong.")

    with pytest.raises(Invalid, match="It is wrong"):
        await unless_stopped(wrong, never)


async def test_a_stop_ends_the_waiting_while_the_work_goes_on():
    stop, ended = asyncio.Event(), threading.Event()
    waiting = asyncio.create_task(asyncio.to_thread(ended.wait, 30))
    asyncio.get_running_loop().call_soon(stop.set)
    began = time.monotonic()
    with pytest.raises(StoppedWaiting):
        await unless_stopped(lambda: ended.wait(30), stop)
    assert time.monotonic() - began < 5
    ended.set()
    await waiting
