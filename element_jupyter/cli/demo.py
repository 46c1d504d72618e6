"""`element demo`: the whole way of a notebook, on a real one, with nothing to set up."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.text import Text

from element_jupyter.cli.follow import result_lines, show
from element_jupyter.cli.output import DataOption, JsonOption, Output
from element_jupyter.cli.schedule import save
from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.core.jobs import Job, JobTask
from element_jupyter.core.places import AIRFLOW_PREFIX
from element_jupyter.core.runs import Run, RunState, Trigger
from element_jupyter.core.schedules import Once, describe
from element_jupyter.platform.client import Local, connect, examples, start_platform

EXAMPLE: Final = "digits"
NOTEBOOK: Final = "train.ipynb"
JOB: Final = "demo-digits"
DUE_SECONDS: Final = 5
START_SECONDS: Final = 90
"""How long Airflow may take from the due time until the run is there."""
STOP_SECONDS: Final = 60


def demo(
    exit_after: Annotated[
        bool,
        typer.Option("--exit", help="Stop the platform after the result, as without a terminal."),
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the platform and watch a scheduled run.

    An example notebook is scheduled the way the button in JupyterLab does it. Airflow starts it
    when it is due; its cells, its result and where to find everything are shown. A platform that
    runs already is used; one that the demo has started runs on until Ctrl-C.
    """
    output = Output(as_json=as_json)
    local = connect(data)
    with _platform(local, output) as up:
        began = time.monotonic()
        run = _watch(local, output)
        seconds = time.monotonic() - began
        lines = ["", *result_lines(run), "", *_places(local, run)]
        output.result({"run": run, "seconds": round(seconds, 1), **_urls(local)}, *lines)
        if up is not None and not exit_after and sys.stdin.isatty() and output.err.is_terminal:
            output.note(Text("\nThe platform runs until you press Ctrl-C.", style="bold"))
            up.wait()
    if run.state is not RunState.SUCCEEDED:
        raise typer.Exit(1)


# ------------------------------------------------------------------------------------ the platform


@contextmanager
def _platform(local: Local, output: Output) -> Iterator[subprocess.Popen[bytes] | None]:
    """Have the platform ready; yield its process if it was started here, and stop it at the end."""
    if local.is_up:
        output.note(f"The platform runs already on {local.config.data_dir}.")
        _wait_until_ready(local, None)
        yield None
        return
    output.note(f"Starting the platform on {local.config.data_dir}.")
    up = start_platform(local.config.data)
    # ended from outside, it must not leave the platform behind
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        _wait_until_ready(local, up)
        yield up
    except KeyboardInterrupt:
        if up.poll() is None:
            output.note("Stopping…")
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        _stop(up)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


def _wait_until_ready(local: Local, up: subprocess.Popen[bytes] | None) -> None:
    while True:
        state = local.state
        if state is not None and state.ready:
            return
        if up is not None and up.poll() is not None:
            raise Unavailable("The platform did not start.", "See what it said above.")
        if up is None and not local.is_up:
            raise Unavailable("The platform has stopped.", "Try again.")
        time.sleep(0.1)


def _stop(up: subprocess.Popen[bytes]) -> None:
    if up.poll() is None:
        up.send_signal(signal.SIGINT)
        try:
            up.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()


# ------------------------------------------------------------------------------------------ the run


def _watch(local: Local, output: Output) -> Run:
    """Schedule the example a few seconds from now, and follow the run that Airflow makes of it."""
    project = _copy_of_example(local)
    due = Once(at=datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1 + DUE_SECONDS))
    job = Job(
        team=local.config.owner,
        name=JOB,
        owner=local.config.owner,
        title="Demo: reading handwritten digits",
        snapshot_id="0" * 64,
        schedule=due,
        tasks=(JobTask(notebook=NOTEBOOK, parameters={"folds": 5}),),
    )
    saved = save(local, job, project, output, replace=True)
    output.note(
        Text.assemble(
            f"Scheduled {project / NOTEBOOK} as ",
            (job.id, "bold"),
            f" (version {saved['stored']['version']}). {describe(due)}.",
        )
    )
    run = _scheduled_run(local, job, due.at)
    late = (run.created_at - due.at).total_seconds()
    output.note(
        Text.assemble(
            "Airflow has started ", (run.run_id, "bold"), f", {late:.1f} s after its time."
        )
    )
    show(local.service.follow(run.run_id), output.err, outputs=False)
    return Run.model_validate(local.service.get("runs", run.run_id))


def _copy_of_example(local: Local) -> Path:
    """Put the example where it can be looked at and changed; what is there already stays."""
    source, project = examples() / EXAMPLE, local.config.data / "demo" / EXAMPLE
    if not source.is_dir():
        raise ElementError(f"The example is not installed: there is no {source}.")
    for file in source.rglob("*"):
        target = project / file.relative_to(source)
        if file.is_file() and "__pycache__" not in file.parts and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    return project


def _scheduled_run(local: Local, job: Job, due: datetime) -> Run:
    while datetime.now(UTC) < due + timedelta(seconds=START_SECONDS):
        for item in local.service.items("runs", job=job.id, trigger=Trigger.SCHEDULE, at_most=1):
            run = Run.model_validate(item)
            if run.created_at >= due:
                return run
        time.sleep(0.1)
    raise Unavailable(
        f"Airflow has not started the job within {START_SECONDS} s of its time.",
        f"See `element status` and the logs in {local.data.logs}.",
    )


# -------------------------------------------------------------------------------------- what to see


def _urls(local: Local) -> dict[str, Any]:
    state = local.state
    public = state.public_url if state else None
    airflow = state.airflow_url if state else None
    if public and airflow:
        airflow = public.rstrip("/") + AIRFLOW_PREFIX.rstrip("/")
    return {
        "public_url": public,
        "service_url": state.service_url if state else None,
        "airflow_url": f"{public.rstrip('/')}{AIRFLOW_PREFIX.rstrip('/')}"
        if public and airflow
        else airflow,
        "airflow_passwords": None if public else str(local.data.airflow_passwords),
        "data_dir": local.config.data_dir,
    }


def _places(local: Local, run: Run) -> list[Text]:
    urls = _urls(local)
    dag = f"/dags/{run.job.replace('/', '--')}" if run.job else ""
    places = [
        ("Airflow", f"{urls['airflow_url']}{dag}"),
        ("Control plane", f"{urls['service_url']}/api/v1/runs/{run.run_id}"),
        ("The same again", f"element runs show {run.run_id}"),
    ]
    if urls["public_url"]:
        places.insert(0, ("JupyterLab", f"{urls['public_url']}hub/spawn"))
        places.insert(2, ("  sign in", f"as {local.config.owner}, with the password of the link"))
    else:
        password = f"user element, password in {urls['airflow_passwords']}"
        places.insert(1, ("  sign in", password))
    return [Text.assemble((f"{name:<15}", "dim"), place) for name, place in places]
