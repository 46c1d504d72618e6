"""Following a build that some process makes: by the file that it writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from element_jupyter.adapters.environment_store import EnvironmentStore
from element_jupyter.core.environments.building import (
    BuildEvent,
    EnvironmentFailed,
    Failure,
    FailureCode,
    Phase,
    Tell,
)
from element_jupyter.core.environments.keeping import Manifest
from element_jupyter.core.errors import NotFound
from element_jupyter.platform.environments.builds import Build
from element_jupyter.platform.environments.lookup import Lookup

INTERVAL_SECONDS: Final = 0.03


def follow(build: Build, store: EnvironmentStore, after: int = 0) -> Iterator[BuildEvent | None]:
    """Yield what a build tells after `after`, and None where there is nothing new.

    It ends after the event that ends the build. If its process has died without a word, what it has
    left is told: the environment, if that had been published, and otherwise that it died.

    Raises:
        NotFound: there is no such build.
    """
    while (told := build.last_event) is None and build.is_running:
        yield None  # it has just begun
        time.sleep(INTERVAL_SECONDS)
    if told is None:
        raise NotFound(f"There is no build '{build.id[:12]}…'.", "Ask for the environment again.")
    while True:
        # asked before reading, so that nothing is missed that was told at the very end
        running = build.is_running
        ended = False
        for event in build.log.read(after):
            after = event.sequence
            ended = event.phase.ended
            yield event
        if ended:
            return
        if not running:
            told = build.last_event or told
            if told.phase.ended:
                return
            if build.is_running:  # another has begun meanwhile
                continue
            made = store.get(told.environment_id) if told.environment_id else None
            yield BuildEvent(
                sequence=told.sequence + 1,
                at=datetime.now(UTC),
                phase=Phase.READY if made else Phase.FAILED,
                environment_id=told.environment_id,
                lock_id=told.lock_id,
                failure=None if made else build.silence,
            )
            return
        time.sleep(INTERVAL_SECONDS)
        yield None


def made_by(
    lookup: Lookup, events: Iterator[BuildEvent | None], tell: Tell
) -> tuple[Manifest, Path]:
    """Pass on what a build tells until it has ended, and return what it has made.

    Raises:
        EnvironmentFailed: it has failed.
        NotFound: there is no such build.
    """
    for event in events:
        if event is None:
            continue
        if event.failure is not None:
            raise EnvironmentFailed(event.failure)
        tell(event.phase, event.done, event.total, event.message)
        if event.phase is Phase.READY and event.environment_id is not None:
            made = lookup.store.get(event.environment_id)
            if made is not None:
                return made
    raise EnvironmentFailed(_GONE)


_GONE: Final = Failure(
    code=FailureCode.INTERNAL,
    title="The environment is gone",
    summary="The environment was built, and somebody has removed it at once.",
    hints=("Build it again.",),
    retryable=True,
)
