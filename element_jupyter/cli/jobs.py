"""`element jobs`: what is scheduled, and changing it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any

import click
import typer
from rich.text import Text

from element_jupyter.cli.follow import follow, result_lines
from element_jupyter.cli.output import (
    DataOption,
    JsonOption,
    Output,
    ago,
    clock,
    environment_lines,
    state_text,
    table,
)
from element_jupyter.cli.runs import FollowOption, job_id
from element_jupyter.core import schedules
from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.core.jobs import StoredJob
from element_jupyter.core.runs import FireRecord, Run, RunState
from element_jupyter.platform.client import CLOCK, JOB_FORMAT, Local, connect

app = typer.Typer(no_args_is_help=True)

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="The job: team/name, or name.", show_default=False)
]
START_SECONDS = 60
"""How long a triggered job may take until its first run is there."""


@app.command(name="list")
def list_jobs(
    team: Annotated[str | None, typer.Option(help="Only of this team.")] = None,
    text: Annotated[str | None, typer.Option(help="Only with this in the name.")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs with their last runs and next fires."""
    output = Output(as_json=as_json)
    service = connect(data).service
    found: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for page in service.pages("jobs", team=team, text=text):
        found += page["items"]
        errors = page.get("errors") or errors
    rows = [_row(item) for item in found]
    lines = [table(("Job", "Last run", "Next", "When"), rows) if rows else "No jobs yet."]
    output.result({"items": found, "errors": errors}, *lines)
    for error in errors:
        place = f"{error['path']}:{error['line']}" if error.get("line") else error["path"]
        output.note(Text(f"{place}: {error['message']}", style="red"))


def _row(item: dict[str, Any]) -> tuple[str | Text, ...]:
    stored = StoredJob.model_validate(item["stored"])
    job = stored.job
    fire = item["next_fire"]
    upcoming = ago(fire["at"]) if fire else ""
    return (
        job.id,
        state_text(item["last_runs"][0]) if item["last_runs"] else "",
        state_text("paused") if job.paused or stored.held else upcoming,
        schedules.describe(job.schedule) if job.schedule else "when triggered",
    )


@app.command()
def show(job: JobArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one job: its file, its schedule and its next fires."""
    output = Output(as_json=as_json)
    local = connect(data)
    stored = _get(local, job)
    lines: list[str | Text] = [
        Text.assemble(
            (stored.job.id, "bold"),
            f"  version {stored.version}, saved {ago(stored.saved_at)} by {stored.saved_by}",
        )
    ]
    if schedule := stored.job.schedule:
        paused = ("  paused", "yellow") if stored.job.paused else ""
        lines.append(Text.assemble(schedules.describe(schedule), paused))
        lines += _fires(schedule) if not (stored.job.paused or stored.held) else []
    lines += _held(stored)
    lines += environment_lines(stored.pins)
    output.result(stored, *lines, "", JOB_FORMAT.write(stored.job).rstrip())


def _fires(schedule: schedules.Schedule) -> list[str | Text]:
    from datetime import UTC, datetime
    from itertools import islice

    zone = schedules.zone(getattr(schedule, "timezone", "UTC"))
    coming = schedules.fires(schedule, CLOCK, datetime.now(UTC))
    return [f"  {clock(fire.at, zone)}  {ago(fire.at)}" for fire in islice(coming, 3)]


@app.command()
def pause(job: JobArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let a job no longer fire; it can still be triggered."""
    output = Output(as_json=as_json)
    stored = _do(connect(data), job, "pause")
    output.result(stored, f"{stored.job.id} is paused.")


@app.command()
def resume(job: JobArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Let a paused job fire again; who has been given a job takes it by this."""
    output = Output(as_json=as_json)
    stored = _do(connect(data), job, "resume")
    coming = _fires(stored.job.schedule) if stored.job.schedule else []
    fires = stored.job.id + (" is resumed." if stored.held else " fires again.")
    output.result(stored, fires, *([] if stored.held else coming), *_held(stored))


@app.command(name="hand-over")
def hand_over(
    job: JobArgument,
    person: Annotated[str, typer.Argument(help="Who is to own the job, and run it.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a job another owner, as whom it runs once they have taken it (by resuming it)."""
    output = Output(as_json=as_json)
    local = connect(data)
    team, _, name = job_id(local, job).partition("/")
    answer = local.service.post("jobs", team, name, "owner", body={"owner": person})
    stored = StoredJob.model_validate(answer)
    output.result(stored, f"{stored.job.id} is {person}'s.", *_held(stored))


def _held(stored: StoredJob) -> list[str | Text]:
    return [Text(f"It does not run: {stored.held}", style="yellow")] if stored.held else []


@app.command()
def trigger(
    job: JobArgument,
    follow_it: FollowOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a job now, by Airflow when it is there."""
    output = Output(as_json=as_json)
    local = connect(data)
    wanted = job_id(local, job)
    team, _, name = wanted.partition("/")
    answer = local.service.post("jobs", team, name, "trigger")
    if not follow_it:
        via = "Airflow runs" if answer["via"] == "airflow" else "Element itself runs"
        output.result(answer, f"{via} {wanted} now ({answer['dag_run_id'] or answer['run_id']}).")
        return
    ended: dict[str, Run] = {}
    for run in triggered_runs(local, wanted, answer):
        ended[run.task] = follow(local, run.run_id, output)
        if not as_json:
            output.result(None, "", *result_lines(ended[run.task]))
    if any(run.state is not RunState.SUCCEEDED for run in ended.values()):
        raise typer.Exit(1)


def triggered_runs(local: Local, job: str, answer: dict[str, Any]) -> Iterator[Run]:
    """Yield the runs of a triggered job as they appear, until its tasks are done or one failed.

    Whoever takes a run is expected to follow it to its end before asking for the next.

    Raises:
        Unavailable: none appears.
    """
    if answer["dag_run_id"] is None:
        yield Run.model_validate(local.service.get("runs", answer["run_id"]))
        return
    waiting = {task.name: task for task in _get(local, job).job.tasks}
    seen: set[str] = set()
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        for item in local.service.items("runs", job=job, at_most=50):
            run = Run.model_validate(item)
            if run.dag_run_id != answer["dag_run_id"] or run.run_id in seen:
                continue
            seen.add(run.run_id)
            yield run
            task = waiting[run.task]
            state = local.service.get("runs", run.run_id)["state"]
            deadline = time.monotonic() + START_SECONDS
            if state == RunState.SUCCEEDED:
                del waiting[run.task]
            elif state == RunState.STOPPED or run.attempt > task.retries:
                return
            else:
                deadline += task.retry_delay_seconds
        if time.monotonic() > deadline:
            raise Unavailable(
                f"No run of {job} has started for {START_SECONDS} s.",
                "See `element status`, and Airflow's own pages.",
            )
        time.sleep(0.3)


@app.command()
def edit(job: JobArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Edit a job's file in $EDITOR; what is refused is opened again, with the reason on top."""
    output = Output(as_json=as_json)
    local = connect(data)
    stored = _get(local, job)
    before = JOB_FORMAT.write(stored.job)
    text = before
    while True:
        edited = click.edit(text, extension=".yaml")
        said = "".join(
            line for line in (edited or "").splitlines(keepends=True) if not line.startswith("#!")
        )
        if not said.strip() or said == before:
            output.result({"change": "unchanged", "stored": stored}, "Nothing was changed.")
            return
        try:
            changed = JOB_FORMAT.read(said.encode()).job
            answer = local.service.put(
                "jobs",
                changed.team,
                changed.name,
                body=changed.model_dump(mode="json"),
                version=stored.version if changed.id == stored.job.id else 0,
            )
        except ElementError as error:
            if edited == text:
                # saved again as it was refused: the person has given up
                raise
            line = getattr(error, "line", None)
            place = f"line {line}: " if line else ""
            reasons = [f"#! {place}{error.message}", *([f"#! {error.hint}"] if error.hint else [])]
            text = "\n".join([*reasons, "#! Save it unchanged to give up.", said])
            continue
        output.result(answer, f"{changed.id} {answer['change']}.", answer.get("diff") or "")
        return


@app.command()
def delete(
    job: JobArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a job; its runs are kept."""
    output = Output(as_json=as_json)
    local = connect(data)
    stored = _get(local, job)
    if not yes:
        typer.confirm(f"Delete {stored.job.id}? Its runs are kept.", abort=True, err=True)
    local.service.delete("jobs", stored.job.team, stored.job.name)
    output.result({"deleted": stored.job.id}, f"{stored.job.id} is deleted.")


@app.command()
def history(
    job: JobArgument,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what became of each due fire, and the versions of a job."""
    output = Output(as_json=as_json)
    local = connect(data)
    team, _, name = job_id(local, job).partition("/")
    service = local.service
    found = [
        FireRecord.model_validate(item)
        for item in service.items("jobs", team, name, "fires", at_most=limit)
    ]
    versions = [
        StoredJob.model_validate(item)
        for item in service.items("jobs", team, name, "versions", at_most=limit)
    ]
    zone = schedules.zone("UTC")
    rows = [
        (clock(fire.at, zone), state_text(fire.state), fire.reason or ", ".join(fire.run_ids))
        for fire in found
    ]
    saved = [
        (str(version.version), ago(version.saved_at), version.saved_by) for version in versions
    ]
    output.result(
        {"fires": found, "versions": versions},
        table(("Due (UTC)", "Became", "Why or which run"), rows) if rows else "No fires yet.",
        "",
        table(("Version", "Saved", "By"), saved),
    )


def _get(local: Local, job: str) -> StoredJob:
    team, _, name = job_id(local, job).partition("/")
    return StoredJob.model_validate(local.service.get("jobs", team, name))


def _do(local: Local, job: str, verb: str) -> StoredJob:
    team, _, name = job_id(local, job).partition("/")
    return StoredJob.model_validate(local.service.post("jobs", team, name, verb))
