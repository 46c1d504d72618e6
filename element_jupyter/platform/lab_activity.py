"""A server of the Hub tells the control plane what it does: what works is not stopped."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final

from pydantic import ValidationError

from element_jupyter.core.care.idleness import ActivityAnswer, ActivityReport
from element_jupyter.core.errors import ElementError
from element_jupyter.platform.resource_sampler import Doing
from element_jupyter.server.activity import Activity
from element_jupyter.server.control_plane import ControlPlane

FIRST_SECONDS: Final = 5.0
"""After the server's start, and after a report that was not taken."""
LONGEST_SECONDS: Final = 600.0


class LabActivity:
    """Reports from `start` to `stop`."""

    def __init__(self, server: Any, control_plane: ControlPlane) -> None:
        self._log = server.log
        self._activity = Activity(server)
        self._control_plane = control_plane
        self._name = os.environ.get("JUPYTERHUB_SERVER_NAME", "")
        self._reporting: asyncio.Task[None] | None = None
        self._latest = self._most = Doing()
        """Of the last sample; the most since the last report."""

    def start(self) -> None:
        """Begin; called on the event loop."""
        self._reporting = asyncio.get_running_loop().create_task(self._keep_reporting())

    async def stop(self) -> None:
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)

    def sampled(self, doing: Doing) -> None:
        """Take note of what was done until a sample."""
        self._activity.look()
        self._latest, before = doing, self._most
        parts = [part for part in (before.gpu, doing.gpu) if part is not None]
        self._most = Doing(
            busy_cores=max(before.busy_cores, doing.busy_cores),
            other_cores=max(before.other_cores, doing.other_cores),
            gpu=max(parts) if parts else None,
        )

    async def _keep_reporting(self) -> None:
        pause_seconds = FIRST_SECONDS
        while True:
            await asyncio.sleep(pause_seconds)
            try:
                answer = await self._report()
            except (ElementError, ValidationError) as error:
                self._log.debug("What is done here was not reported: %s", error)
                pause_seconds = FIRST_SECONDS
                continue
            wanted = answer.report_every_seconds
            pause_seconds = LONGEST_SECONDS if wanted is None else min(wanted, LONGEST_SECONDS)

    async def _report(self) -> ActivityAnswer:
        activity, most = self._activity, self._most
        activity.look()
        report = ActivityReport(
            server=self._name,
            input_seconds_ago=activity.input_seconds_ago,
            busy_kernels=activity.busy_kernels,
            busy_cores=most.busy_cores,
            other_cores=most.other_cores,
            terminals=activity.terminal_count,
            connections=activity.connections,
            gpu=most.gpu,
        )
        self._most = self._latest
        return ActivityAnswer.model_validate_json(
            await self._control_plane.post("/activity", report.model_dump(mode="json"))
        )
