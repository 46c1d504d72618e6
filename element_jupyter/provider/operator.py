"""`NotebookOperator`: a task that is a run of the control plane, and holds no worker meanwhile.

    from element_jupyter.provider.operator import NotebookOperator

    NotebookOperator(task_id="train", job="research/churn", parameters={"day": "{{ ds }}"})

Importing this module costs no more than Airflow's task SDK itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    TaskDeferralTimeout,
)

from element_jupyter.provider.links import NotebookLink
from element_jupyter.provider.runs import (
    Document,
    Instance,
    failure,
    outcome,
    overrides,
    run_request,
    xcoms,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk.definitions.context import Context

DEFAULT_PATIENCE: Final = timedelta(hours=1)


class NotebookOperator(BaseOperator):
    """Run one task of a job, and end as the run does.

    The worker posts the run and lets go; the triggerer follows the run, writes its cells and their
    output to the task's log, and ends the task. What it leaves are the XComs `run_id`, `state`,
    `output_path` and `recorded`, and all of them once more in `return_value`.

    A task that is retried starts another run, unless the one before lives: it takes that over.
    Marking it failed or successful, and clearing it, stop the run.
    """

    template_fields: Sequence[str] = ("job", "job_task", "job_version", "parameters")
    template_fields_renderers = {"parameters": "json"}  # noqa: RUF012 - Airflow reads the class
    operator_extra_links = (NotebookLink(),)
    ui_color = "#f7e3d4"

    def __init__(
        self,
        *,
        job: str,
        job_task: str = "main",
        job_version: int | None = None,
        parameters: Document | None = None,
        on_schedule: bool = False,
        stored_parameters: Document | None = None,
        only_task: bool = True,
        patience: timedelta = DEFAULT_PATIENCE,
        **kwargs: Any,
    ) -> None:
        """Describe the run.

        `job` is `team/name`, `job_version` its version (None: the one current at the start).
        `parameters` are put over the job's. `patience` is how long an unreachable control plane is
        waited for. `on_schedule`, `stored_parameters` and `only_task` are for DAGs made from jobs.
        """
        super().__init__(**kwargs)
        self.job = job
        self.job_task = job_task
        self.job_version = job_version
        self.parameters = parameters or {}
        self.on_schedule = on_schedule
        self.stored_parameters = stored_parameters or {}
        self.only_task = only_task
        self.patience = patience
        self.run_id: str | None = None
        self._posted: Document | None = None

    def execute(self, context: Context) -> None:
        """Post the run and defer; ends the task only when the control plane refuses."""
        from element_jupyter.core.errors import ElementError, Unavailable
        from element_jupyter.provider.client import Service
        from element_jupyter.provider.submission import refused, submit

        request = self._request(context)
        self._posted = request
        run: Document | None = None
        with Service() as service:
            try:
                run = submit(service, request)
            except Unavailable as error:
                self.log.warning("%s %s", error.message, error.hint)
            except ElementError as error:
                if sentence := refused(service, request, error):
                    raise AirflowSkipException(sentence) from error
                raise AirflowException(f"{error.message} {error.hint}".strip()) from error
        if run is not None:
            self.run_id = run["run_id"]
            self.log.info("Run %s is %s. %s", run["run_id"], run["state"], run.get("reason", ""))
        self._defer(context, request)

    def _defer(self, context: Context, request: Document) -> None:
        from element_jupyter.provider.trigger import RunTrigger

        self.defer(
            trigger=RunTrigger(
                request=request,
                run_id=self.run_id,
                patience_seconds=self.patience.total_seconds(),
                # an asset is announced by the worker that ends the task
                ends_task=not self.outlets and bool(self.do_xcom_push),
            ),
            method_name="execute_complete",
        )

    def execute_complete(self, context: Context, event: Document) -> Document | None:
        """End the task as the run ended; runs on a worker when the trigger cannot end it itself."""
        from element_jupyter.core.runs import PLATFORM_STOPPED

        run: Document | None = event.get("run")
        if run is None:
            raise AirflowException(event.get("error") or "The trigger told nothing of the run.")
        self.run_id = run["run_id"]
        left = xcoms(run)
        returned: Document = left.pop("return_value")
        if self.do_xcom_push:
            for key, value in left.items():
                context["ti"].xcom_push(key=key, value=value)
        if run["state"] == "stopped" and run.get("reason") != PLATFORM_STOPPED:
            raise AirflowFailException(failure(outcome(run)))  # who stopped it wants no other
        if run["state"] != "succeeded":
            raise AirflowException(failure(outcome(run)))
        return returned

    def resume_execution(
        self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context
    ) -> Any:
        """Stop the run first when the task's own `execution_timeout` ended the deferral."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout as error:
            self._posted = self._request(context)
            self.on_kill()
            raise AirflowException(
                f"The task took longer than its execution_timeout of {self.execution_timeout}; "
                "its run was stopped."
            ) from error

    def on_kill(self) -> None:
        """Stop the run of this try."""
        if self._posted is None:
            return
        from element_jupyter.core.errors import ElementError
        from element_jupyter.provider.client import Service, run_path

        try:
            with Service() as service:
                # posting once more finds the run, whether or not the answer had come back
                run_id = self.run_id or service.post("/runs", self._posted)["run_id"]
                service.post(f"{run_path(run_id)}/stop")
                self.run_id = run_id
        except ElementError as error:
            self.log.warning("The run could not be stopped: %s", error.message)

    def _request(self, context: Context) -> Document:
        dag_run, instance = context["dag_run"], context["ti"]
        task = None if self.only_task else self.job_task
        changed = overrides(dag_run.conf, self.stored_parameters, task=task)
        return run_request(
            Instance(
                dag_run_id=dag_run.run_id,
                run_type=str(getattr(dag_run.run_type, "value", dag_run.run_type)),
                logical_date=dag_run.logical_date,
                run_after=dag_run.run_after,
                try_number=instance.try_number,
                map_index=-1 if instance.map_index is None else instance.map_index,
            ),
            job=self.job,
            task=self.job_task,
            version=self.job_version,
            parameters={**self.parameters, **changed},
            on_schedule=self.on_schedule,
        )
