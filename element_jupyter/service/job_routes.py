"""REST of jobs: what they are, were and become."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from element_jupyter.core.access import Action, Person
from element_jupyter.core.errors import Invalid
from element_jupyter.core.job_files import job_schema
from element_jupyter.core.jobs import Job, JobChange, StoredJob
from element_jupyter.core.pages import Page
from element_jupyter.core.values import Name, Value
from element_jupyter.service.http import Answer, IfMatch, Route, allow
from element_jupyter.service.jobs import JobPage, JobSaved, Triggered, TriggerRequest
from element_jupyter.service.services import Services

Cursor = Annotated[
    str | None, Field(max_length=1000, description="Where the page before ended: its next_cursor.")
]
Limit = Annotated[int, Field(ge=1, le=200, description="Items on a page.")]


class NewOwner(Value):
    """Who is to be the owner of a job."""

    owner: Name


async def list_jobs(
    services: Services,
    who: Person,
    *,
    team: Name | None = None,
    owner: Name | None = None,
    text: Annotated[str, Field(max_length=200, description="Words that a job must hold.")] = "",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> JobPage:
    """List jobs by id, with their next fire and the states of their last five runs."""
    return await services.jobs.page(
        who, team=team, owner=owner, text=text, cursor=cursor, limit=limit
    )


async def get_job(services: Services, team: Name, name: Name) -> Answer[StoredJob]:
    """Get a job as it is; the ETag is its version."""
    return _tagged(await services.jobs.shown(team, name))


async def put_job(
    services: Services,
    who: Person,
    team: Name,
    name: Name,
    body: Job,
    *,
    dry_run: Annotated[bool, Field(description="Whether to check and compare only.")] = False,
    if_match: IfMatch = None,
) -> Answer[JobSaved]:
    """Create or update a job; a dry run says what would change and saves nothing."""
    for field, said, place in (("team", body.team, team), ("name", body.name, name)):
        if said != place:
            raise Invalid(f"{field}: the body says '{said}', the address '{place}'.", field=field)
    saved = await services.jobs.save(
        who, body, expected_version=_version(if_match), dry_run=dry_run
    )
    created = saved.change == "created" and not dry_run
    return Answer(saved, status=201 if created else 200, etag=str(saved.stored.version))


async def delete_job(
    services: Services, who: Person, team: Name, name: Name, *, if_match: IfMatch = None
) -> None:
    """Remove a job; its runs are kept. Another's is a lead's to remove."""
    await services.jobs.delete(who, team, name, expected_version=_version(if_match))


async def hand_over_job(
    services: Services,
    who: Person,
    team: Name,
    name: Name,
    body: NewOwner,
    *,
    if_match: IfMatch = None,
) -> Answer[StoredJob]:
    """Make somebody of the team the job's owner, as whom it runs once they have taken it.

    They take it by resuming it. Whoever may edit a job may take it at once; giving it to another
    is for leads.
    """
    version = _version(if_match)
    return _tagged(
        await services.jobs.hand_over(who, team, name, body.owner, expected_version=version)
    )


async def pause_job(
    services: Services, who: Person, team: Name, name: Name, *, if_match: IfMatch = None
) -> Answer[StoredJob]:
    """Let a job fire no more until it is resumed; it can still be triggered."""
    version = _version(if_match)
    return _tagged(
        await services.jobs.set_paused(who, team, name, paused=True, expected_version=version)
    )


async def resume_job(
    services: Services, who: Person, team: Name, name: Name, *, if_match: IfMatch = None
) -> Answer[StoredJob]:
    """Let a paused job fire again, from now on."""
    version = _version(if_match)
    return _tagged(
        await services.jobs.set_paused(who, team, name, paused=False, expected_version=version)
    )


async def trigger_job(
    services: Services,
    who: Person,
    team: Name,
    name: Name,
    body: TriggerRequest = TriggerRequest(),  # noqa: B008 - a value, and never changed
) -> Triggered:
    """Start a job now: by Airflow, or by Element itself when Airflow does not answer."""
    return await services.jobs.trigger(who, team, name, body)


async def list_job_versions(
    services: Services, team: Name, name: Name, *, cursor: Cursor = None, limit: Limit = 50
) -> Page[StoredJob]:
    """List what a job was, the newest first."""
    return await services.jobs.versions(team, name, cursor=cursor, limit=limit)


async def get_job_version(
    services: Services, team: Name, name: Name, version: Annotated[int, Field(ge=1, le=10**9)]
) -> StoredJob:
    """Get what a job was in one of its versions."""
    return services.jobs.version(team, name, version)


async def list_job_changes(
    services: Services,
    who: Person,
    *,
    after: Annotated[int, Field(ge=0, description="The last sequence that is known.")] = 0,
    wait: Annotated[float, Field(ge=0, le=60, description="Seconds to wait for a change.")] = 0,
    limit: Annotated[int, Field(ge=1, le=1000)] = 500,
) -> Page[JobChange]:
    """Follow all teams' jobs, as Airflow does: the last change of each, the oldest first."""
    return await services.jobs.changes(who, after, wait_seconds=wait, limit=limit)


async def get_job_schema(_: Services) -> dict[str, Any]:
    """Get the JSON Schema of job.yaml, for an editor."""
    return job_schema()


def _tagged(stored: StoredJob) -> Answer[StoredJob]:
    return Answer(stored, etag=str(stored.version))


def _version(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    match = re.fullmatch(r'(?:W/)?"(\d{1,9})"', if_match.strip())
    if match is None:
        raise Invalid(
            "If-Match: it must be the version of the job, in quotes.",
            'Send the ETag that GET has answered, such as "3"; "0" for a job that must be new.',
            field="If-Match",
        )
    return int(match[1])


_READ = allow(Action.READ, team="team")
_EDIT = allow(Action.EDIT, team="team")
_JOB = "/jobs/{team}/{name}"

ROUTES = (
    Route("GET", "/jobs", list_jobs, access=allow(Action.READ)),
    Route("GET", _JOB, get_job, access=_READ),
    Route(
        *("PUT", _JOB, put_job),
        access=_EDIT,
        audited="job.saved",
        body_limit_bytes=1_000_000,
    ),
    Route("DELETE", _JOB, delete_job, access=_EDIT, audited="job.deleted", status=204),
    Route("POST", f"{_JOB}/pause", pause_job, access=_EDIT, audited="job.paused"),
    Route("POST", f"{_JOB}/resume", resume_job, access=_EDIT, audited="job.resumed"),
    Route("POST", f"{_JOB}/owner", hand_over_job, access=_EDIT, audited="job.handed-over"),
    Route("POST", f"{_JOB}/trigger", trigger_job, access=allow(Action.RUN, team="team")),
    Route("GET", f"{_JOB}/versions", list_job_versions, access=_READ),
    Route("GET", f"{_JOB}/versions/{{version}}", get_job_version, access=_READ),
    Route("GET", "/job-changes", list_job_changes, access=allow(Action.READ)),
    Route("GET", "/schema/job", get_job_schema, access=allow(Action.READ)),
)
