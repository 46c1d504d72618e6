"""Which variables reach a kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from element_jupyter.core.kernel_variables import command_environment, kernel_environment

PREFIX = Path("/store/envs/py-0123456789abcdef0123456789abcdef")
ENVIRONMENT_ID = PREFIX.name
LOCK_ID = "0" * 64

SECRETS = {
    "JUPYTER_TOKEN": "s",
    "JUPYTERHUB_API_TOKEN": "s",
    "JPY_API_TOKEN": "s",
    "JUPYTERHUB_CRYPT_KEY": "s",
    "JUPYTER_GATEWAY_HTTP_PWD": "s",
    "CONFIGPROXY_AUTH_TOKEN": "s",
    "ELEMENT_DATABASE_URL": "postgresql://u:s@host/d",
    "AIRFLOW__CORE__FERNET_KEY": "s",
    "_AIRFLOW_WWW_USER_PASSWORD": "s",
    "UV_INDEX_INTERNAL_USERNAME": "u",
    "UV_INDEX_INTERNAL_PASSWORD": "s",
}


def in_environment(variables: dict[str, str], **more: Any) -> dict[str, str]:
    return kernel_environment(
        variables, prefix=PREFIX, environment_id=ENVIRONMENT_ID, lock_id=LOCK_ID, **more
    )


def test_a_kernel_sees_neither_our_variables_nor_airflows():
    seen = kernel_environment(
        {"PATH": "/bin", "PYTHONPATH": "x", "ELEMENT_TOKEN": "s", "AIRFLOW__CORE__FERNET_KEY": "s"},
        {"ELEMENT_RUN_ID": "r-1"},
    )

    assert seen == {"PATH": "/bin", "PYTHONPATH": "x", "ELEMENT_RUN_ID": "r-1"}


@pytest.mark.parametrize("name", SECRETS)
def test_no_kernel_sees_a_secret_of_the_platform(name):
    variables = {"PATH": "/bin", name: SECRETS[name]}

    assert name not in kernel_environment(variables)
    assert name not in in_environment(variables)


@pytest.mark.parametrize(
    "name",
    [
        *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT"),
        *("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "_CONDA_ROOT", "MAMBA_EXE", "PIP_INDEX_URL"),
        *("PIP_TARGET", "UV_INDEX_URL", "UV_PROJECT_ENVIRONMENT", "PIXI_PROJECT_ROOT"),
    ],
)
def test_nothing_leads_a_kernel_in_an_environment_elsewhere(name):
    assert in_environment({name: "/elsewhere"}).get(name) != "/elsewhere"


def test_a_kernel_without_an_environment_keeps_the_settings_of_its_package_tools():
    variables = {"PATH": "/bin", "PIP_INDEX_URL": "https://index", "PYTHONPATH": "lib"}

    assert kernel_environment(variables) == variables


def test_a_persons_own_variables_reach_the_kernel():
    mine = {"HOME": "/home/ana", "MLFLOW_TRACKING_TOKEN": "mine", "LANG": "C.UTF-8", "A_KEY": "k"}

    assert in_environment(mine).items() >= mine.items()


def test_programs_of_the_environment_come_first_and_once():
    seen = in_environment({"PATH": f"/usr/bin:{PREFIX}/bin:/bin"})

    assert seen["PATH"] == f"{PREFIX}/bin:/usr/bin:/bin"


def test_a_kernel_knows_its_environment_and_its_project():
    seen = in_environment({"PATH": "/bin"}, project=Path("/home/ana/churn"))

    assert seen == {
        "PATH": f"{PREFIX}/bin:/bin",
        "PYTHONNOUSERSITE": "1",
        "VIRTUAL_ENV": str(PREFIX),
        "ELEMENT_ENVIRONMENT_ID": ENVIRONMENT_ID,
        "ELEMENT_LOCK_ID": LOCK_ID,
        "ELEMENT_PROJECT": "/home/ana/churn",
    }


def test_a_conda_environment_is_named_as_conda_names_it():
    prefix = Path("/store/envs/cf-0123456789abcdef0123456789abcdef")

    seen = kernel_environment(
        {"PATH": "/bin"}, prefix=prefix, environment_id=prefix.name, lock_id=LOCK_ID
    )

    assert seen["CONDA_PREFIX"] == str(prefix)
    assert "VIRTUAL_ENV" not in seen


def test_what_a_run_adds_wins():
    seen = in_environment({"ELEMENT_RUN_ID": "r-0"}, added={"ELEMENT_RUN_ID": "r-1"})

    assert seen["ELEMENT_RUN_ID"] == "r-1"


def test_a_command_started_from_a_kernel_has_elements_settings_but_no_token_of_jupyter():
    seen = command_environment({"PATH": "/bin", **SECRETS})

    assert {name for name in SECRETS if name not in seen} == {
        *("JUPYTER_TOKEN", "JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN", "JUPYTERHUB_CRYPT_KEY"),
        *("JUPYTER_GATEWAY_HTTP_PWD", "CONFIGPROXY_AUTH_TOKEN"),
    }
