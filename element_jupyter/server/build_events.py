"""Many pages follow one build through one reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from element_jupyter.core.environments.building import BuildEvent
from element_jupyter.core.errors import ElementError

Read = Callable[[str], Iterator[BuildEvent | None]]
"""Yields all that a build tells, and None where there is nothing new; see `Environments.events`."""

_BATCH: Final = 500
"""Events that are taken at a time, so that a long history keeps no thread for long."""


@dataclass(eq=False)
class _Reader:
    """What one build has told so far, and who waits for more."""

    followers: int = 0
    events: list[BuildEvent] = field(default_factory=list)
    ended: bool = False
    error: ElementError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set at every change, and replaced by another."""
    began: bool = False
    """Whether it is known that there is such a build."""

    def tell(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class BuildFollowers:
    """Reads each build that is followed once, in a thread, while somebody follows it."""

    def __init__(self) -> None:
        self._readers: dict[str, _Reader] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def follow(
        self, read: Read, build_id: str, after: int
    ) -> AsyncIterator[AsyncIterator[BuildEvent]]:
        """Give the events of a build after a number, those to come included, to its end.

        Raises:
            NotFound: there is no such build.
        """
        reader = self._readers.get(build_id)
        if reader is None:
            reader = self._readers[build_id] = _Reader()
            task = asyncio.create_task(self._read(reader, read, build_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        reader.followers += 1
        try:
            while not reader.began and not reader.ended:
                await reader.changed.wait()
            if reader.error is not None and not reader.began:
                raise reader.error
            yield self._events(reader, after)
        finally:
            reader.followers -= 1

    async def _read(self, reader: _Reader, read: Read, build_id: str) -> None:
        try:
            iterator = read(build_id)
            while not reader.ended:
                events, over = await asyncio.to_thread(_batch, iterator)
                reader.events += events
                reader.began = True
                # who comes now gets a reader of their own
                reader.ended = over or reader.followers == 0
                if events or reader.ended:
                    reader.tell()
        except ElementError as error:
            reader.error = error
        except Exception:
            reader.error = ElementError(
                "What the build tells cannot be read.", "The log of the Jupyter server says why."
            )
            raise
        finally:
            reader.ended = True
            if self._readers.get(build_id) is reader:
                del self._readers[build_id]
            reader.tell()

    @staticmethod
    async def _events(reader: _Reader, after: int) -> AsyncIterator[BuildEvent]:
        place = 0
        while True:
            for event in reader.events[place:]:
                place += 1
                if event.sequence > after:
                    yield event
            if place < len(reader.events):
                continue
            if reader.ended:
                break
            await reader.changed.wait()
        if reader.error is not None:
            raise reader.error


def _batch(iterator: Iterator[BuildEvent | None]) -> tuple[list[BuildEvent], bool]:
    """Take what there is; return it, and whether that is the end."""
    events: list[BuildEvent] = []
    for event in iterator:
        if event is None:
            return events, False
        events.append(event)
        if len(events) >= _BATCH:
            return events, False
    return events, True
