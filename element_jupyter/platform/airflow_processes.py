"""Airflow's processes, as functions that the fork server calls in a child of itself.

Importing this module imports all of Airflow that they need: that is done once, in the fork server,
and shared. Each function is what the Airflow command of the same name does, without its migration
check, its log server (the log files are on this machine) and its daemon options.
"""

from __future__ import annotations

import logging
import os
import signal
from argparse import Namespace

# imported to be shared: nothing here names them, the components would import them one by one
import airflow.api_fastapi.app
import airflow.api_fastapi.core_api.app
import airflow.api_fastapi.execution_api.app
import airflow.dag_processing.bundles.local
import airflow.dag_processing.processor
import airflow.executors.local_executor
import airflow.models.renderedtifields
import airflow.models.task_state_store
import airflow.providers.standard.decorators.python
import airflow.providers.standard.operators.python
import airflow.sdk.definitions.decorators
import airflow.sdk.execution_time.supervisor
import airflow.sdk.execution_time.task_runner
import airflow.utils.serve_logs  # noqa: F401
from airflow.cli.commands import (
    api_server_command,
    dag_processor_command,
    scheduler_command,
    triggerer_command,
)
from airflow.jobs.dag_processor_job_runner import DagProcessorJobRunner
from airflow.jobs.job import Job, JobState
from airflow.providers_manager import ProvidersManager
from airflow.utils import db
from airflow.utils.cli import sigint_handler
from airflow.utils.session import create_session
from sqlalchemy import update

from element_jupyter.adapters.forkserver import die_with_parent
from element_jupyter.platform import airflow_executor  # noqa: F401 (shared, as those above)
from element_jupyter.provider import triggerer as prompt_triggerer
from element_jupyter.provider.processor import JobProcessorManager

ProvidersManager().initialize_providers_configuration()  # type: ignore[no-untyped-call]

_log = logging.getLogger(__name__)


def migrate() -> None:
    """Bring the database to this Airflow's version; quick when it is there already."""
    with create_session() as session:
        current = db._get_current_revision(session)  # type: ignore[no-untyped-call]  # noqa: SLF001
    if current != next(reversed(db._REVISION_HEADS_MAP.values())):  # noqa: SLF001
        db.upgradedb()
    db.synchronize_log_template()


def api_server(host: str, port: int) -> None:
    """Serve Airflow's REST API, execution API and pages."""
    _handle_signals()
    os.environ["AIRFLOW_API_APPS"] = "all"
    api_server_command._run_api_server_with_uvicorn(  # noqa: SLF001
        Namespace(
            host=host,
            port=port,
            ssl_cert="",
            ssl_key="",
            ssl_ca_file=None,
            ssl_cert_reqs=None,
            log_config=None,
        ),
        apps="all",
        num_workers=1,
        worker_timeout=5,
        proxy_headers=False,
    )


def scheduler() -> None:
    """Schedule, and run tasks in the processes of the LocalExecutor."""
    _take_over("SchedulerJob")
    _handle_signals()
    _bind_descendants(levels=2)  # the executor's workers, and their tasks
    scheduler_command._run_scheduler_job(  # noqa: SLF001
        Namespace(num_runs=-1, only_idle=False, skip_serve_logs=True)
    )


def dag_processor() -> None:
    """Parse DAG files into the database."""
    _take_over("DagProcessorJob")
    _handle_signals()
    _bind_descendants(levels=1)  # the parsing processes
    job = Job()  # type: ignore[no-untyped-call]
    runner = DagProcessorJobRunner(job=job, processor=JobProcessorManager(max_runs=-1))
    dag_processor_command._run_dag_processor_job(runner)  # noqa: SLF001


def triggerer() -> None:
    """Run what deferred tasks wait for."""
    _take_over("TriggererJob")
    _handle_signals()
    _bind_descendants(levels=1)  # the process of the event loop
    prompt_triggerer.install()
    triggerer_command.triggerer_run(
        skip_serve_logs=True,
        capacity=1000,
        triggerer_heartrate=5.0,
    )


def _take_over(job_type: str) -> None:
    """Declare predecessors ended, so that their tasks and triggers are adopted at once.

    The supervisor runs one component of each kind and starts it only when the one before is gone;
    by itself Airflow waits until the last heartbeat is old enough.
    """
    with create_session() as session:
        session.execute(
            update(Job)
            .where(Job.job_type == job_type, Job.state == JobState.RUNNING)
            .values(state=JobState.FAILED, end_date=Job.latest_heartbeat)
        )


def _handle_signals() -> None:
    signal.signal(signal.SIGINT, sigint_handler)
    signal.signal(signal.SIGTERM, sigint_handler)


def _bind_descendants(*, levels: int) -> None:
    """Have the kernel kill so many generations of processes forked from here with their parent.

    Without it a component that is killed leaves its workers behind, waiting on a queue for ever.
    """
    generation = 0
    parent = os.getpid()

    def after_fork() -> None:
        nonlocal generation, parent
        generation += 1
        if generation <= levels:
            die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            parent = os.getpid()

    os.register_at_fork(after_in_child=after_fork)
