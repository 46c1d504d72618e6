"""An Airflow home of its own for what the tests of the provider import."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

_CONFIGURATION = """\
[core]
load_examples = False
plugins_folder = {home}/plugins
dags_folder = {home}/dags
[database]
sql_alchemy_conn = postgresql+psycopg2://nobody@127.0.0.1:1/nothing
[api]
base_url = http://airflow.test
[logging]
base_log_folder = {home}/logs
[element]
service_url = http://127.0.0.1:1
token_file = {home}/token
"""

# Airflow reads its configuration when it is imported
if "airflow" not in sys.modules:
    _home = Path(tempfile.mkdtemp(prefix="element-airflow-"))
    atexit.register(shutil.rmtree, _home, ignore_errors=True)
    (_home / "plugins").mkdir()
    # as the entry point does where the package is installed
    (_home / "plugins" / "element.py").write_text(
        "from element_jupyter.provider.plugin import ElementPlugin\n"
    )
    (_home / "airflow.cfg").write_text(_CONFIGURATION.format(home=_home))
    os.environ["AIRFLOW_HOME"] = str(_home)


def stored_job(**changes):
    """A stored job as the control plane tells it; `changes` are to the job."""
    job = {
        "apiVersion": "element/v1",
        "kind": "Job",
        "team": "acme",
        "name": "report",
        "title": "The report",
        "description": "Figures of the day.\n\nWith care.",
        "owner": "alice",
        "snapshot_id": "0" * 64,
        "environment": None,
        "size": None,
        "schedule": None,
        "catch_up": "latest",
        "max_active": 1,
        "paused": False,
        "tasks": [{"name": "main", "notebook": "reports/daily.ipynb", "parameters": {"n": 1}}],
    }
    return {
        "job": {**job, **changes},
        "version": 3,
        "saved_at": "2026-05-01T10:00:00Z",
        "saved_by": "alice",
        "scheduled_since": "2026-05-01T10:00:00Z",
    }


@pytest.fixture
def stored():
    return stored_job
