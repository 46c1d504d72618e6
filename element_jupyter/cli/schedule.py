"""`element schedule`: a notebook becomes a job, the way the button in JupyterLab does it."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import JsonValue, ValidationError
from rich.text import Text

from element_jupyter.cli.output import (
    DataOption,
    JsonOption,
    Output,
    ago,
    clock,
    environment_lines,
)
from element_jupyter.core import notebooks, schedules
from element_jupyter.core.environments.definitions import parse_pointer
from element_jupyter.core.errors import Conflict, Invalid, NotFound
from element_jupyter.core.job_files import job_schema
from element_jupyter.core.jobs import CatchUp, Job, StoredJob
from element_jupyter.core.schedules import Cron, OnAsset, Once, Schedule
from element_jupyter.core.validation import explain
from element_jupyter.core.values import slug
from element_jupyter.platform.client import CLOCK, Local, connect, find_root, local_zone

SHOWN_FIRES = 3


def schedule(  # noqa: PLR0917 - options have names
    notebook: Annotated[
        Path, typer.Argument(metavar="NOTEBOOK", help="The notebook.", show_default=False)
    ],
    cron: Annotated[
        str | None,
        typer.Option(help="Five fields, or hourly, daily, weekdays, weekly, monthly."),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Time zone of the times. Default: this machine's.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Once, at a time: '2026-11-21 06:00', or '06:00'.")
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(help="After a job (team/name) has succeeded; may be repeated."),
    ] = None,
    start: Annotated[str | None, typer.Option(help="No fires before this time.")] = None,
    end: Annotated[str | None, typer.Option(help="No fires after this time.")] = None,
    parameter: Annotated[
        list[tuple[str, str]] | None,
        typer.Option("-p", "--parameter", metavar="NAME VALUE", help="A value for a parameter."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Default: after the notebook.")] = None,
    team: Annotated[str | None, typer.Option(help="Default: you.")] = None,
    size: Annotated[
        str | None, typer.Option(help="What a run may use. Default: the usual size.")
    ] = None,
    environment: Annotated[
        str | None,
        typer.Option(
            metavar="PATH|NAME",
            help="Definition of the environment, or the name of a shared one; path[variant]."
            " Default: what is found beside the notebook.",
        ),
    ] = None,
    catch_up: Annotated[
        CatchUp, typer.Option(help="What happens to fires that nothing could run when due.")
    ] = CatchUp.LATEST,
    time_limit: Annotated[int | None, typer.Option(help="Seconds that a run may take.")] = None,
    retries: Annotated[int, typer.Option(help="Tries after a failure.")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace the job if it is there.", show_default=False)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show, save nothing.", show_default=False)
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a notebook a job; without --cron, --at or --on it runs when it is triggered."""
    output = Output(as_json=as_json)
    local = connect(data)
    zone = timezone or local_zone()
    when = _schedule(cron, zone, at, on or [], start, end)
    content = _read(notebook)
    values = _parameters(content, parameter or [])
    root = find_root(notebook)
    job = _job(
        team=team or local.team,
        name=name or slug(notebook.stem),
        owner=local.config.owner,
        snapshot_id="0" * 64,
        environment=_pointer(environment, root) if environment is not None else None,
        size=size,
        schedule=when,
        catch_up=catch_up,
        tasks=[
            {
                "notebook": notebook.resolve().relative_to(root).as_posix(),
                "parameters": values,
                "time_limit_seconds": time_limit,
                "retries": retries,
            }
        ],
    )
    now = datetime.now().astimezone()
    if when is not None:
        schedules.check(when, CLOCK, now)
    saved = save(local, job, root, output, replace=replace, dry_run=dry_run)
    preview = schedules.preview(when, CLOCK, now, SHOWN_FIRES) if when else None
    output.result({**saved, "preview": preview}, *_lines(job, preview, zone, saved, dry_run))


def save(
    local: Local, job: Job, root: Path, output: Output, *, replace: bool, dry_run: bool = False
) -> dict[str, Any]:
    """Store a snapshot of the project and the job with it; return the control plane's answer.

    Raises:
        Conflict: the job is there, and it was not asked to replace it.
        Invalid: it can never work.
    """
    version = _version_to_replace(local, job, replace=replace)
    with output.meters() as meters:
        # a dry run needs it too: the control plane looks into the notebook
        taken = local.upload(root, meters)
    for warning in taken.warnings:
        output.note(Text(warning, style="yellow"))
    answer: dict[str, Any] = local.service.put(
        "jobs",
        job.team,
        job.name,
        body=job.model_copy(update={"snapshot_id": taken.manifest.snapshot_id}).model_dump(
            mode="json"
        ),
        version=version,
        dry_run="true" if dry_run else None,
    )
    return answer


def _lines(
    job: Job,
    preview: schedules.Preview | None,
    zone: str,
    saved: dict[str, Any],
    dry_run: bool,
) -> list[str | Text]:
    done, would = {
        "created": ("Created", "Would create"),
        "updated": ("Updated", "Would update"),
        "unchanged": ("Unchanged:", "Would not change"),
    }[saved["change"]]
    version = "" if dry_run else f" (version {saved['stored']['version']})"
    lines: list[str | Text] = [
        Text.assemble(f"{would if dry_run else done} ", (job.id, "bold"), version)
    ]
    lines += environment_lines(StoredJob.model_validate(saved["stored"]).pins)
    if preview is None:
        return [*lines, f"It runs when it is triggered: element jobs trigger {job.id}"]
    lines.append(preview.sentence)
    local = schedules.zone(zone)
    bent = {"shifted": "  (the clock skips its time)", "repeated": "  (the clock shows it twice)"}
    for fire in preview.fires:
        mark = bent.get(fire.dst or "", "")
        lines.append(f"  {clock(fire.at, local)}  {ago(fire.at)}{mark}")
    return lines


def _schedule(  # noqa: PLR0917 - as above
    cron: str | None, zone: str, at: str | None, on: list[str], start: str | None, end: str | None
) -> Schedule | None:
    if sum(map(bool, (cron, at, on))) > 1:
        raise Invalid("--cron, --at and --on exclude one another.", "Give one of them.")
    if (start or end) and not cron:
        raise Invalid("--start and --end go with --cron.", "Give --cron too.")
    try:
        if cron:
            return Cron(
                expression=cron,
                timezone=zone,
                start=_instant(start, zone, "--start") if start else None,
                end=_instant(end, zone, "--end") if end else None,
            )
        if at:
            return Once(at=_instant(at, zone, "--at"))
        return OnAsset(jobs=tuple(on)) if on else None
    except ValidationError as error:
        raise explain(error, {}, {}) from None


def _instant(text: str, zone: str, option: str) -> datetime:
    """Read a time as typed: ISO 8601, or a time of day, which is the next one."""
    tz = schedules.zone(zone)
    now = datetime.now(tz)
    try:
        if len(text) <= 5 and ":" in text:
            hour, _, minute = text.partition(":")
            found = now.replace(hour=int(hour), minute=int(minute), second=0, microsecond=0)
            return found if found > now else found + timedelta(days=1)
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(
            f"{option} '{text}' is not a time.",
            "Write '2026-11-21 06:00', '2026-11-21T06:00+01:00', or '06:00'.",
            field="schedule.at",
        ) from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=tz)


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != ".ipynb":
        raise Invalid(f"'{path}' is not a notebook.", "Give a file that ends in .ipynb.")
    try:
        with path.open("rb") as file:
            return notebooks.parse_notebook(file.read(notebooks.MAX_NOTEBOOK_BYTES + 1))
    except FileNotFoundError:
        raise NotFound(f"There is no notebook '{path}'.", "Check the path.") from None
    except OSError as error:
        raise Invalid(f"'{path}' cannot be read: {error.strerror}.") from error


def _parameters(notebook: dict[str, Any], given: list[tuple[str, str]]) -> dict[str, JsonValue]:
    declared = {parameter.name: parameter for parameter in notebooks.parameters_of(notebook)}
    values = {
        # what is put in when a run starts is a text until then
        name: text if "{{" in text else notebooks.parse_parameter(declared.get(name), text)
        for name, text in given
    }
    later = {name for name, value in values.items() if isinstance(value, str) and "{{" in value}
    notebooks.resolve_parameters(
        notebook, {name: value for name, value in values.items() if name not in later}
    )
    if declared and (unknown := sorted(later - declared.keys())):
        notebooks.resolve_parameters(notebook, {unknown[0]: None})
    return values


def _job(**values: Any) -> Job:
    try:
        return Job(**values)
    except ValidationError as error:
        raise explain(error, values, job_schema()) from None


def _pointer(text: str, root: Path) -> str:
    """Return a pointer as the job has it: a path is relative to the project's top, not to here.

    Raises:
        Invalid: it is no pointer.
    """
    pointer = parse_pointer(text)
    if not Path(pointer.target).exists():
        return text
    target = os.path.relpath(Path(pointer.target).resolve(), root.resolve())
    return target + (f"[{pointer.variant}]" if pointer.variant else "")


def _version_to_replace(local: Local, job: Job, *, replace: bool) -> int:
    """Return the version that saving expects to find, 0 for none.

    Raises:
        Conflict: there is such a job, and it was not asked to replace it.
    """
    try:
        there = StoredJob.model_validate(local.service.get("jobs", job.team, job.name))
    except NotFound:
        return 0
    if not replace:
        raise Conflict(
            f"There is a job {job.id} already.",
            "Give --replace to save this as its next version, or another --name.",
        )
    return there.version
