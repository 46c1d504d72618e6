"""The control plane's client of Airflow, against a real one."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

import pytest

from element_jupyter.adapters.airflow import AirflowOrchestrator
from element_jupyter.core.errors import Conflict, NotFound, Unavailable
from tests.platform_fixture import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

DAG = """\
from airflow.sdk import DAG, task

with DAG("{name}", schedule=None):

    @task
    def answer():
        return 42

    answer()
"""


@pytest.fixture
async def airflow(platform):
    passwords = platform.data_dir / "secrets" / "airflow-passwords.json"
    orchestrator = AirflowOrchestrator(platform.airflow_url, "element", passwords)
    yield orchestrator
    await orchestrator.close()


@pytest.fixture
def dag(platform):
    name = f"dag_{secrets.token_hex(4)}"
    (platform.data_dir / "dags" / f"{name}.py").write_text(DAG.format(name=name))
    with platform.airflow() as client:
        wait_until(lambda: client.get(f"/api/v2/dags/{name}").is_success, 60)
    return name


async def test_it_starts_a_run_and_says_how_it_went(airflow, dag):
    run = await airflow.trigger(dag, logical_date=datetime.now(UTC), conf={"parameters": {"n": 1}})
    states = {await airflow.state(dag, run)}
    while not states & {"success", "failed"}:
        states.add(await airflow.state(dag, run))
    assert states <= {"queued", "running", "success"}


async def test_one_logical_date_has_one_run(airflow, dag):
    at = datetime.now(UTC)
    await airflow.trigger(dag, logical_date=at)
    with pytest.raises(Conflict):
        await airflow.trigger(dag, logical_date=at)


async def test_a_dag_that_airflow_does_not_know_is_not_found(airflow):
    with pytest.raises(NotFound, match="does not know the DAG me--nothing"):
        await airflow.trigger("me--nothing", logical_date=datetime.now(UTC))


async def test_it_signs_in_again_when_its_token_is_no_longer_accepted(airflow, dag):
    await airflow.trigger(dag, logical_date=datetime.now(UTC))
    airflow._token = "expired"
    await airflow.trigger(dag, logical_date=datetime.now(UTC))


async def test_it_knows_that_airflow_is_well(airflow):
    assert all((await airflow.health()).values())


async def test_an_airflow_that_does_not_answer_is_unavailable(tmp_path):
    passwords = tmp_path / "passwords.json"
    passwords.write_text('{"element": "secret"}')
    orchestrator = AirflowOrchestrator("http://127.0.0.1:1", "element", passwords)
    with pytest.raises(Unavailable, match="does not answer"):
        await orchestrator.trigger("dag", logical_date=datetime.now(UTC))
    assert not any((await orchestrator.health()).values())
    await orchestrator.close()
