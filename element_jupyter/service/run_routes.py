"""REST of runs: asked for, followed, stopped, and and what they leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from element_jupyter.core.access import Action, Person, Scheduler, may, of_team
from element_jupyter.core.admission import unknown_run
from element_jupyter.core.errors import Forbidden, Invalid, NotFound
from element_jupyter.core.pages import Page
from element_jupyter.core.runs import (
    EVENT,
    Event,
    FireRecord,
    Run,
    RunId,
    RunRequest,
    RunState,
    Trigger,
)
from element_jupyter.core.values import Name, UtcTime
from element_jupyter.service.http import (
    Accept,
    Answer,
    EventStream,
    FileAnswer,
    LastEventId,
    Route,
    allow,
)
from element_jupyter.service.services import Services

Cursor = Annotated[
    str | None, Field(max_length=1000, description="Where the page before ended: its next_cursor.")
]
Limit = Annotated[int, Field(ge=1, le=200, description="Items on a page.")]


async def create_run(services: Services, who: Person, body: RunRequest) -> Answer[Run]:
    """Start a run, or get the one that the same request has started already (200)."""
    run, created = await services.runs.create(body, who)
    may(who, Action.READ, of_team(run.team))
    return Answer(run, status=201 if created else 200)


async def list_runs(
    services: Services,
    who: Person,
    *,
    job: Annotated[str | None, Field(max_length=130)] = None,
    state: RunState | None = None,
    trigger: Trigger | None = None,
    logical_date: UtcTime | None = None,
    team: Name | None = None,
    owner: Name | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Run]:
    """List runs, the newest first."""
    teams = who.sees
    if team is not None:
        teams = frozenset({team} if who.is_in(team) else ())
    found: Page[Run] = await services.runs.page(
        cursor=cursor,
        limit=limit,
        job=job,
        state=state,
        trigger=trigger,
        logical_date=logical_date,
        teams=teams,
        owner=owner,
    )
    return found


async def get_run(services: Services, who: Person, run_id: RunId) -> Run:
    """Get a run as it is now; while it waits, with its place and why."""
    return await readable(services, who, run_id)


async def get_run_events(
    services: Services,
    who: Person,
    run_id: RunId,
    *,
    after: Annotated[int, Field(ge=0, description="The id of the last event known.")] = 0,
    limit: Annotated[int, Field(ge=1, le=1000, description="Events on a JSON page.")] = 500,
    last_event_id: LastEventId = None,
    accept: Accept = "",
) -> EventStream[Event] | Page[Event]:
    """Follow a run: server-sent events to its end, or a page of JSON for who asks for that."""
    run = await readable(services, who, run_id)
    if last_event_id is not None:
        after = max(after, _event_id(last_event_id))
    if "application/json" in accept and "text/event-stream" not in accept:
        events, following = services.runs.events(run, after, limit)
        return Page[Event](
            items=tuple(EVENT.validate_json(event) for event in events),
            next_cursor=None if following is None else str(following),
        )
    found: AsyncIterator[tuple[int, bytes]] = services.runs.follow(run, after)
    return EventStream(found)


async def stop_run(services: Services, who: Person, run_id: RunId) -> Run:
    """Stop a run, or get it as it is when it was stopped already or has ended."""
    run = await readable(services, who, run_id)
    may(who, Action.RUN, of_team(run.team))
    if isinstance(who, Scheduler) and run.job is None:
        raise Forbidden("Airflow stops runs of jobs, and no other notebook.")
    stopped: Run = await services.runs.stop(run_id, f"{who.name} asked it to stop.")
    return stopped


async def get_run_notebook(services: Services, who: Person, run_id: RunId) -> FileAnswer:
    """Get the executed notebook."""
    run = await readable(services, who, run_id)
    if run.output_path is None:
        raise NotFound(
            f"The run {run_id} has not written a notebook.",
            "It is written when the run ends, and now and then before.",
        )
    path = Path(run.output_path)
    await _still_there(services, run_id, path)
    return FileAnswer(path.parent, path.name, media_type="application/x-ipynb+json")


async def get_run_artifact(services: Services, who: Person, run_id: RunId, path: str) -> FileAnswer:
    """Get a file that a run left."""
    await readable(services, who, run_id)
    root = services.runs.directory(run_id) / "artifacts"
    await _still_there(services, run_id, root)
    return FileAnswer(root, path)


async def _still_there(services: Services, run_id: str, path: Path) -> None:
    if not await asyncio.to_thread(path.exists):
        await services.retention.explain(run_id)


async def list_job_fires(
    services: Services, team: Name, name: Name, *, cursor: Cursor = None, limit: Limit = 50
) -> Page[FireRecord]:
    """List the fires of a job that have come due, the newest first, with what became of each."""
    found: Page[FireRecord] = await services.fires.page(f"{team}/{name}", cursor, limit)
    return found


async def readable(services: Services, who: Person, run_id: str) -> Run:
    """Return a run that somebody may read."""
    run: Run = await services.runs.get(run_id)
    if not who.is_in(run.team):
        raise unknown_run(run_id)  # whether there is such a run is not for them to know
    may(who, Action.READ, of_team(run.team))
    return run


def _event_id(text: str) -> int:
    # digits of other scripts, and ids longer than any of ours, are no ids either
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid("Last-Event-ID: it must be the id of an event.", field="Last-Event-ID")
    return int(text)


_RUN = "/runs/{run_id}"
_READ = allow(Action.READ)

ROUTES = (
    Route("POST", "/runs", create_run, access=allow(Action.RUN), body_limit_bytes=1_000_000),
    Route("GET", "/runs", list_runs, access=_READ),
    Route("GET", _RUN, get_run, access=_READ),
    Route("GET", f"{_RUN}/events", get_run_events, access=_READ),
    Route("POST", f"{_RUN}/stop", stop_run, access=allow(Action.RUN)),
    Route("GET", f"{_RUN}/notebook", get_run_notebook, access=_READ),
    Route("GET", f"{_RUN}/artifacts/{{path:path}}", get_run_artifact, access=_READ),
    Route(
        "GET",
        "/jobs/{team}/{name}/fires",
        list_job_fires,
        access=allow(Action.READ, team="team"),
    ),
)
