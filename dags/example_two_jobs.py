"""Run two saved jobs one after the other, with a check between them that is no notebook.

Change the names of the jobs to yours, and copy this file into `dags/` of the data directory.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from airflow.sdk import DAG, CronTriggerTimetable, task
from airflow.sdk.exceptions import AirflowFailException

from element_jupyter.provider.operator import NotebookOperator

LEAST_ACCURACY = 0.9

with DAG(
    "example_two_jobs",
    schedule=CronTriggerTimetable("0 6 * * 1-5", timezone="Europe/Zurich"),
    start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Zurich")),
    catchup=False,
    doc_md=__doc__,
):
    train = NotebookOperator(task_id="train", job="research/train", parameters={"day": "{{ ds }}"})

    @task
    def accurate_enough(run: dict[str, Any]) -> None:
        """Stop here when what the notebook recorded is not good enough."""
        accuracy = run["recorded"]["accuracy"]
        if accuracy < LEAST_ACCURACY:
            raise AirflowFailException(f"The accuracy is {accuracy}, less than {LEAST_ACCURACY}.")

    publish = NotebookOperator(task_id="publish", job="research/publish", retries=2)

    accurate_enough(train.output) >> publish  # type: ignore[arg-type]
