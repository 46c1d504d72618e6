"""`element apply`: jobs from files, each by itself, so that one that is wrong harms no other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from element_jupyter.cli.output import DataOption, JsonOption, Output
from element_jupyter.core.errors import ElementError, Invalid, NotFound
from element_jupyter.core.job_files import FILE_BYTES, FileInvalid, parse
from element_jupyter.core.jobs import Job
from element_jupyter.platform.client import Local, connect, read_yaml

NO_SNAPSHOT = "0" * 64


def apply(
    files: Annotated[
        list[Path],
        typer.Option(
            "-f", "--file", help="A job file, a directory of them, or - for standard input."
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the differences, save nothing.")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create or update jobs from files.

    A file may say `project: DIR` (relative to itself) instead of `snapshot_id`: that directory is
    taken along, as it is now.
    """
    output = Output(as_json=as_json)
    local = connect(data)
    results: list[dict[str, Any]] = []
    worst = 0
    for path in _expanded(files):
        try:
            answer = _apply(local, path, output, dry_run=dry_run)
        except ElementError as error:
            if error.exit_code == 3:
                raise
            worst = max(worst, error.exit_code)
            line = getattr(error, "line", None)
            results.append({"file": str(path), "line": line, "problem": error.problem})
            _say_error(output, path, line, error)
        else:
            results.append({"file": str(path), **answer})
            _say(output, path, answer, dry_run=dry_run)
    if as_json:
        output.result({"items": results})
    if worst:
        raise typer.Exit(worst)


def _expanded(files: list[Path]) -> Iterator[Path]:
    for file in files:
        if not file.is_dir():
            yield file
            continue
        found = sorted([*file.glob("*.yaml"), *file.glob("*.yml")])
        if not found:
            raise NotFound(f"There is no job file in '{file}'.", "Job files end in .yaml or .yml.")
        yield from found


def _apply(local: Local, path: Path, output: Output, *, dry_run: bool) -> dict[str, Any]:
    job, project = read(path, local.config.owner)
    if project is not None:
        with output.meters() as meters:
            # a dry run needs it too: the control plane looks into the notebooks
            found = local.upload(project, meters)
        for warning in found.warnings:
            output.note(Text(warning, style="yellow"))
        job = job.model_copy(update={"snapshot_id": found.manifest.snapshot_id})
        _check_notebooks(job, {entry.path for entry in found.manifest.entries}, project)
    answer: dict[str, Any] = local.service.put(
        "jobs",
        job.team,
        job.name,
        body=job.model_dump(mode="json"),
        dry_run="true" if dry_run else None,
    )
    return {"job": job.id, **answer}


def read(path: Path, person: str) -> tuple[Job, Path | None]:
    """Read a job file, and the directory that its `project` names, if it does.

    `person` is the owner where the file names none, and their own team the team.

    Raises:
        FileInvalid: it is no job; says where and why.
        NotFound: there is no such file.
    """
    base = Path.cwd() if str(path) == "-" else path.absolute().parent
    data, lines = read_yaml(_content(path))
    project: Path | None = None
    if isinstance(data, dict) and "project" in data:
        named = data.pop("project")
        if not isinstance(named, str):
            raise FileInvalid(
                "project: it must be a directory.", field="project", line=lines.get("project")
            )
        if "snapshot_id" in data:
            raise FileInvalid(
                "A job file has 'project' or 'snapshot_id', not both.",
                "Leave out snapshot_id: a new snapshot of the project is made.",
                field="project",
                line=lines.get("project"),
            )
        project = (base / Path(named).expanduser()).resolve()
        if not project.is_dir():
            raise FileInvalid(
                f"project: there is no directory '{project}'.",
                "Give it relative to the job file.",
                field="project",
                line=lines.get("project"),
            )
        data["snapshot_id"] = NO_SNAPSHOT
    if isinstance(data, dict):
        data = {"team": person, "owner": person, **data}
    try:
        return parse(data).job, project
    except Invalid as error:
        place = error.field or ""
        while place and place not in lines:
            place = place.rpartition(".")[0]
        hint = error.hint
        if error.field == "snapshot_id" and project is None and "snapshot_id" not in data:
            hint = "Say `project: .` to take the file's directory along."
        raise FileInvalid(error.message, hint, field=error.field, line=lines.get(place)) from None


def _content(path: Path) -> bytes:
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(FILE_BYTES + 1)
        with path.open("rb") as file:
            return file.read(FILE_BYTES + 1)
    except FileNotFoundError:
        raise NotFound(f"There is no file '{path}'.", "Check the path.") from None
    except OSError as error:
        raise Invalid(f"'{path}' cannot be read: {error.strerror}.") from error


def _check_notebooks(job: Job, paths: set[str], project: Path) -> None:
    for index, task in enumerate(job.tasks):
        if task.notebook not in paths:
            raise Invalid(
                f"tasks.{index}.notebook: '{task.notebook}' is not among the files of {project}.",
                "Give its path inside the project; .gitignore and .elementignore leave files out.",
                field=f"tasks.{index}.notebook",
            )


def _say(output: Output, path: Path, answer: dict[str, Any], *, dry_run: bool) -> None:
    if output.as_json:
        return
    verb = answer["change"]
    would = {"created": "would be created", "updated": "would be updated"}.get(verb, verb)
    output.out.print(
        Text.assemble(
            (answer["job"], "bold"), f" {would if dry_run else verb}", (f"  {path}", "dim")
        )
    )
    for line in (answer.get("diff") or "").splitlines():
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "dim")
        output.out.print(Text(f"  {line}", style=style))


def _say_error(output: Output, path: Path, line: int | None, error: ElementError) -> None:
    if output.as_json:
        return
    place = f"{path}:{line}" if line else str(path)
    output.note(Text.assemble((f"{place}: ", "bold red"), error.message))
    if error.hint:
        output.note(Text.assemble(("  Hint: ", "bold"), error.hint))
    for row in error.details.splitlines():
        output.note(Text(f"  {row}", style="dim"))
