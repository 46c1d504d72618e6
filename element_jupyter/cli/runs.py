"""`element runs`: what ran, what it said, and how it ended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from element_jupyter.cli.follow import Lines, follow, result_lines
from element_jupyter.cli.output import (
    DataOption,
    JsonOption,
    Output,
    ago,
    environment_text,
    lasted,
    state_text,
    table,
)
from element_jupyter.core.errors import Conflict, Invalid, NotFound
from element_jupyter.core.runs import Run, RunRequest, RunState, Trigger
from element_jupyter.platform.client import Local, connect

app = typer.Typer(no_args_is_help=True)

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's id, or 'last'.", show_default=False)
]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Go on until it has ended.")]


@app.command(name="list")
def list_runs(
    job: Annotated[str | None, typer.Option(help="Only of this job (team/name).")] = None,
    state: Annotated[RunState | None, typer.Option(help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first."""
    output = Output(as_json=as_json)
    service = connect(data).service
    found = [
        Run.model_validate(item)
        for item in service.items("runs", at_most=limit, job=job, state=state)
    ]
    rows = [
        (
            run.run_id,
            state_text(run.state),
            ago(run.created_at),
            lasted(run.started_at, run.finished_at),
            (f"{run.job}" + (f" {run.task}" if run.task != "main" else ""))
            if run.job
            else run.notebook,
        )
        for run in found
    ]
    output.result(
        {"items": found},
        table(("Run", "State", "Created", "Took", "What"), rows) if rows else "No runs yet.",
    )


@app.command()
def show(run: RunArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show one run: its state, what it recorded, what it left."""
    output = Output(as_json=as_json)
    found = find_run(connect(data), run)
    what = f"{found.job} (version {found.job_version}), task {found.task}" if found.job else ""
    lines = [
        Text.assemble(("What       ", "dim"), what or found.notebook),
        Text.assemble(("Created    ", "dim"), f"{ago(found.created_at)}, by {found.trigger}"),
    ]
    if found.logical_date:
        lines.append(Text.assemble(("For        ", "dim"), found.logical_date.isoformat()))
    if found.parameters:
        values = ", ".join(f"{name}={value!r}" for name, value in found.parameters.items())
        lines.append(Text.assemble(("Parameters ", "dim"), values))
    if found.size:
        lines.append(Text.assemble(("Size       ", "dim"), found.size))
    if found.environment_id:
        said = environment_text(found.definition, found.python, found.environment_id)
        lines.append(Text.assemble(("Environment ", "dim"), said))
    if found.cells_total:
        lines.append(
            Text.assemble(("Cells      ", "dim"), f"{found.cells_done}/{found.cells_total}")
        )
    output.result(found, *result_lines(found), *lines)


@app.command()
def logs(
    run: RunArgument,
    follow_it: FollowOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a run has done and its cells have printed; with --json one event per line."""
    output = Output(as_json=as_json)
    local = connect(data)
    found = find_run(local, run)
    if follow_it or found.state.ended:
        ended = follow(local, found.run_id, output)
        _exit_as(ended, output)
        return
    lines = Lines(outputs=True)
    for told in local.service.events(found.run_id):
        if as_json:
            output.line(told.event, "")
        else:
            for line in lines.of(told.event):
                output.out.print(line)


@app.command()
def stop(run: RunArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Stop a run: its kernel is interrupted, and killed if that does not help."""
    output = Output(as_json=as_json)
    local = connect(data)
    found = find_run(local, run)
    answer = Run.model_validate(local.service.post("runs", found.run_id, "stop"))
    said = (
        Text.assemble(f"{answer.run_id} had ended already: ", state_text(answer.state))
        if found.state.ended
        else f"{answer.run_id} is being stopped."
    )
    output.result(answer, said)


@app.command(name="open")
def open_run(run: RunArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Open the executed notebook of a run, and print its path."""
    output = Output(as_json=as_json)
    found = find_run(connect(data), run)
    if not found.output_path:
        raise Conflict(
            f"{found.run_id} has no executed notebook (it {found.state}).",
            f"See `element runs show {found.run_id}`.",
        )
    path = Path(found.output_path)
    if not path.is_file():
        raise NotFound(f"The executed notebook {path} is gone.", "It may have been cleaned up.")
    output.result({"run_id": found.run_id, "output_path": found.output_path}, str(path))
    if output.out.is_terminal and not as_json:
        typer.launch(str(path))


@app.command()
def start(  # noqa: PLR0917 - options have names
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job: team/name, or name.")],
    task: Annotated[str, typer.Option(help="The task of the job.")] = "main",
    size: Annotated[
        str | None, typer.Option(help="What the run may use. Default: what the job says.")
    ] = None,
    parameter: Annotated[
        list[tuple[str, str]] | None,
        typer.Option("-p", "--parameter", metavar="NAME VALUE", help="A value for a parameter."),
    ] = None,
    follow_it: FollowOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start one task of a job now, without Airflow."""
    from element_jupyter.core.notebooks import parse_parameter

    output = Output(as_json=as_json)
    local = connect(data)
    request = RunRequest(
        job=job_id(local, job),
        task=task,
        size=size,
        parameters={name: parse_parameter(None, text) for name, text in parameter or []},
        trigger=Trigger.MANUAL,
    )
    body = request.model_dump(mode="json", exclude_defaults=True)
    run = Run.model_validate(local.service.post("runs", body=body))
    if not follow_it:
        output.result(run, Text.assemble(state_text(run.state), f"  {run.run_id}"))
        return
    _exit_as(follow(local, run.run_id, output), output)


@app.command()
def restore(run: RunArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Bring back the outputs of an old run that were put into the trash."""
    output = Output(as_json=as_json)
    local = connect(data)
    found = find_run(local, run)
    said = local.service.post("runs", found.run_id, "restore")
    output.result(said, f"The outputs of {found.run_id} are back.")


def job_id(local: Local, text: str) -> str:
    """Return `team/name` of what was typed; without a team it is the person's own."""
    parts = text.split("/")
    if len(parts) > 2 or not all(parts):
        raise Invalid(f"'{text}' is not a job.", "Write it as team/name.", field="job")
    return text if len(parts) == 2 else f"{local.team}/{text}"


def find_run(local: Local, run: str) -> Run:
    """Return a run by its id, or the newest for 'last'."""
    if run != "last":
        return Run.model_validate(local.service.get("runs", run))
    newest: Any = next(iter(local.service.items("runs", at_most=1)), None)
    if newest is None:
        raise NotFound("There are no runs yet.", "Start one: element runs start JOB.")
    return Run.model_validate(newest)


def _exit_as(run: Run, output: Output) -> None:
    """Say how a followed run ended, and exit with 1 when it did not succeed."""
    if not output.as_json:
        output.result(run, "", *result_lines(run))
    if run.state is not RunState.SUCCEEDED:
        raise typer.Exit(1)
