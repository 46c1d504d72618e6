"""REST of a run's own process: what it is to execute, what it tells, and what it hands over.

For the run's own token only. Everything may be asked again. What a run is made of is given out
until its end; for ten minutes after that, what it leaves is still taken, so that a runner that was
out of reach when its run was given up loses nothing.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action
from element_jupyter.core.runs import Artifact, Event, RunId, RunSpec
from element_jupyter.core.snapshots import Manifest, SnapshotPath
from element_jupyter.core.values import Digest, Value
from element_jupyter.service.http import Answer, BlobAnswer, Route, Upload, allow
from element_jupyter.service.runs import Heartbeat
from element_jupyter.service.services import Services


class Report(Value):
    """What a runner tells."""

    events: Annotated[list[Event], Field(max_length=10_000)]


class Accepted(Value):
    """What of a report need not be told again."""

    accepted: int


async def report_run(services: Services, run_id: RunId, body: Report) -> Accepted:
    """Take what a runner tells; for the run's own token only."""
    return Accepted(accepted=await services.runs.report(run_id, body.events))


async def heartbeat_run(services: Services, run_id: RunId) -> Heartbeat:
    """Renew the run's lease; for the run's own token only."""
    heartbeat: Heartbeat = await services.runs.heartbeat(run_id)
    return heartbeat


async def get_run_spec(services: Services, run_id: RunId) -> RunSpec:
    """Tell a runner what to execute; for the run's own token only, until the run has ended."""
    spec: RunSpec = await services.runs.spec(run_id)
    return spec


async def get_run_snapshot(services: Services, run_id: RunId) -> Answer[Manifest]:
    """Get the manifest of the run's project; for the run's own token only, until it has ended."""
    run = await services.runs.executed_by(run_id)
    manifest = await asyncio.to_thread(services.run_files.manifest, run)
    return Answer(manifest, etag=run.snapshot_id)


async def get_run_blob(services: Services, run_id: RunId, digest: Digest) -> BlobAnswer:
    """Get a file of the run's project, or its lock before it starts; for its own token only."""
    run = await services.runs.executed_by(run_id)
    return await asyncio.to_thread(services.run_files.blob, run, digest)


async def put_run_notebook(services: Services, run_id: RunId, body: Upload) -> None:
    """Take the executed notebook as it is now; for the run's own token only."""
    await services.runs.executed_by(run_id, late=True)
    await asyncio.to_thread(services.run_files.put_notebook, run_id, body)
    await services.runs.handed_over(run_id)


async def put_run_artifact(
    services: Services, run_id: RunId, path: SnapshotPath, body: Upload
) -> None:
    """Take a file that the run leaves; for the run's own token only."""
    await services.runs.executed_by(run_id, late=True)
    await asyncio.to_thread(services.run_files.put_artifact, run_id, path, body)
    await services.runs.handed_over(run_id, Artifact(path=path, size_bytes=body.size_bytes))


def _artifact_bytes(services: Services) -> int:
    return services.run_files.artifact_bytes


def _notebook_bytes(services: Services) -> int:
    return services.run_files.notebook_bytes


_RUN = "/runs/{run_id}"
_OWN = allow(Action.REPORT, run="run_id")

ROUTES = (
    Route("POST", f"{_RUN}/events", report_run, access=_OWN),
    Route("POST", f"{_RUN}/heartbeat", heartbeat_run, access=_OWN),
    Route("GET", f"{_RUN}/spec", get_run_spec, access=_OWN),
    Route("GET", f"{_RUN}/snapshot", get_run_snapshot, access=_OWN),
    Route("GET", f"{_RUN}/blobs/{{digest}}", get_run_blob, access=_OWN),
    Route(
        "PUT",
        f"{_RUN}/notebook",
        put_run_notebook,
        access=_OWN,
        status=204,
        body_limit_bytes=_notebook_bytes,
    ),
    Route(
        "PUT",
        f"{_RUN}/artifacts/{{path:path}}",
        put_run_artifact,
        access=_OWN,
        status=204,
        body_limit_bytes=_artifact_bytes,
    ),
)
