"""A job as a DAG. All that the files of the bundle do is to call `build`, `load` or `refuse`.

`build` is a function of its arguments alone: parsing a file twice gives the same DAG, so Airflow
sees a new version of it only when the job has changed.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow.sdk import DAG, Asset, AssetAll, Param

from element_jupyter.provider.history import read
from element_jupyter.provider.links import job_url
from element_jupyter.provider.operator import NotebookOperator
from element_jupyter.provider.timetable import ElementTimetable

if TYPE_CHECKING:
    from airflow.sdk.definitions.dag import ScheduleArg

Document = dict[str, Any]

ASSET_SCHEME: Final = "element"


class JobFileError(Exception):
    """A job file that cannot be read; the message says where and why."""


def build(document: str) -> DAG:
    """Return the DAG of a stored job: `{"stored": StoredJob, "awaited": bool}` as JSON.

    `awaited` says that other jobs wait for this one, which is then an asset.
    """
    given: Document = json.loads(document)
    stored = given["stored"]
    job = stored["job"]
    job_id = f"{job['team']}/{job['name']}"
    tasks: list[Document] = job["tasks"]
    schedule = None if job.get("paused") else job.get("schedule")
    dag = DAG(
        dag_id=f"{job['team']}--{job['name']}",
        dag_display_name=job.get("title") or f"{job['team']}--{job['name']}",
        description=_first_line(job.get("description", "")) or None,
        doc_md=_docs(stored),
        tags=_tags(job),
        schedule=_schedule(schedule),
        start_date=datetime.fromisoformat(stored["scheduled_since"]),
        catchup=job.get("catch_up") == "all",
        max_active_runs=job.get("max_active", 1),
        params={"parameters": _parameters(tasks)},
        default_args={"owner": job["owner"]},
        render_template_as_native_obj=False,
    )
    needed = {name for task in tasks for name in task.get("needs", ())}
    operators = {
        task["name"]: _operator(
            dag,
            job_id,
            stored["version"],
            task,
            only_task=len(tasks) == 1,
            on_schedule=schedule is not None and schedule["kind"] != "asset",
            outlets=[_asset(job_id)] if given["awaited"] and task["name"] not in needed else [],
        )
        for task in tasks
    }
    for task in tasks:
        for name in task.get("needs", ()):
            operators[name].set_downstream(operators[task["name"]])
    return dag


def load(file: str) -> DAG:
    """Return the DAG of the job and version that a file's own path names.

    The path is `<bundle>/versions/<version>/jobs/<dag id>.py`.
    """
    path = Path(file)
    bundle, version = path.parents[3], int(path.parents[1].name)
    return build(read(bundle / "history" / f"{path.stem}.jsonl", version))


def refuse(document: str) -> NoReturn:
    """Raise what is wrong with a job file (`JobError` as JSON), for Airflow to show."""
    error: Document = json.loads(document)
    where = error["path"] + (f", line {error['line']}" if error.get("line") else "")
    raise JobFileError(
        f"Job {error['team']}/{error['name']}: {error['message']} {error.get('hint', '')}".strip()
        + f" ({where})"
    )


def _operator(
    dag: DAG,
    job_id: str,
    version: int,
    task: Document,
    *,
    only_task: bool,
    on_schedule: bool,
    outlets: list[Asset],
) -> NotebookOperator:
    # no execution_timeout: it would count the time in the queue, which the run's own limit does not
    return NotebookOperator(
        task_id=task["name"],
        dag=dag,
        job=job_id,
        job_task=task["name"],
        job_version=version,
        on_schedule=on_schedule,
        stored_parameters=task.get("parameters", {}),
        only_task=only_task,
        retries=task.get("retries", 0),
        retry_delay=timedelta(seconds=task.get("retry_delay_seconds", 60)),
        outlets=outlets,
        doc_md=f"Runs `{task['notebook']}`.",
        **({"pool": task["pool"]} if task.get("pool") else {}),
    )


def _schedule(schedule: Document | None) -> ScheduleArg:
    if schedule is None:
        return None
    if schedule["kind"] == "asset":
        return AssetAll(*(_asset(job_id) for job_id in schedule["jobs"]))
    return ElementTimetable(schedule)


def _asset(job_id: str) -> Asset:
    return Asset(name=job_id, uri=f"{ASSET_SCHEME}://{job_id}")


def _parameters(tasks: list[Document]) -> Param:
    """Describe what a person may change in the trigger form."""
    stored = {task["name"]: task.get("parameters", {}) for task in tasks}
    if len(tasks) == 1:
        return Param(
            stored[tasks[0]["name"]],
            type="object",
            title="Notebook parameters",
            description="Values for the notebook's parameters, as JSON.",
        )
    return Param(
        stored,
        type="object",
        title="Notebook parameters",
        description="Values for the notebooks' parameters by task, as JSON.",
    )


def _tags(job: Document) -> list[str]:
    notebooks = {f"notebook:{task['notebook']}" for task in job["tasks"]}
    tags = {f"team:{job['team']}", f"owner:{job['owner']}", *notebooks}
    # Airflow's column is as wide as that
    return sorted(tag[:100] for tag in tags)


def _docs(stored: Document) -> str:
    job = stored["job"]
    team, name = job["team"], job["name"]
    notebooks = "\n".join(f"- `{task['name']}` runs `{task['notebook']}`" for task in job["tasks"])
    return (
        f"# {job.get('title') or name}\n\n{job.get('description', '')}\n\n{notebooks}\n\n"
        f"[The job {team}/{name}]({job_url(team, name)}), version {stored['version']}, "
        f"saved {stored['saved_at']} by {stored['saved_by']}."
    )


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]
