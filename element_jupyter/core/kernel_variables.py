"""The variables of a kernel's process: one function for editors and for runs.

What a kernel must not see, because a notebook prints `os.environ` sooner or later and its output is
kept and shared:

- the tokens and passwords of Jupyter and JupyterHub (`JUPYTER_TOKEN`, `JUPYTERHUB_API_TOKEN`, …);
- everything of Element's and Airflow's own (`ELEMENT_…`, `AIRFLOW_…`), which has addresses and
  passwords of databases;
- credentials of package indexes (`UV_INDEX_<NAME>_USERNAME` and `…_PASSWORD`, `PIP_INDEX_URL`, …).

A kernel in an environment of ours sees no variable either that would lead Python or a package tool
elsewhere: of another environment, a user's own site-packages, pip's or uv's settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from element_jupyter.core.environments.identity import EnvironmentId
from element_jupyter.core.values import Digest

_TOKEN: Final = re.compile(
    r"(?:JUPYTER|JPY|CONFIGPROXY)\w*(?:TOKEN|PASSWORD|PWD|SECRET|KEY)"
    r"|UV_(?:INDEX|PUBLISH)_\w*(?:USERNAME|PASSWORD|TOKEN)"
)
"""Of Jupyter, JupyterHub and its proxy, and of package indexes."""

_OURS: Final = re.compile(
    r"_?AIRFLOW_.*|ELEMENT_.*|SPT_NOENV|JPY_PARENT_PID|JPY_INTERRUPT_EVENT", re.DOTALL
)

_ELSEWHERE: Final = re.compile(
    r"PYTHON(?:PATH|HOME|STARTUP|USERBASE|PLATLIBDIR|EXECUTABLE|SAFEPATH|NOUSERSITE|PYCACHEPREFIX)"
    r"|VIRTUAL_ENV.*|_?CONDA_.*|MAMBA_.*|PIP_.*|UV_.*|PIXI_.*|__PYVENV_LAUNCHER__",
    re.DOTALL,
)
"""What leads Python or a package tool to something else than the environment."""


def kernel_environment(
    environment: Mapping[str, str],
    added: Mapping[str, str] | None = None,
    *,
    prefix: Path | None = None,
    environment_id: EnvironmentId = "",
    lock_id: Digest = "",
    project: Path | None = None,
) -> dict[str, str]:
    """Return the variables that a kernel may see, made from those of the process that starts it.

    With a `prefix`, those of a kernel in that environment. `project` is the directory whose modules
    it can import: `in_kernel/start.py` puts it on `PYTHONPATH`, but only when the kernel's own
    modules are loaded, so that a file `random.py` in a project keeps no kernel from starting.
    `added` wins over everything.
    """
    kept = {
        name: value
        for name, value in environment.items()
        if not _OURS.fullmatch(name) and not _TOKEN.fullmatch(name)
    }
    if prefix is None:
        return {**kept, **(added or {})}
    kept = {name: value for name, value in kept.items() if not _ELSEWHERE.fullmatch(name)}
    programs = str(prefix / "bin")
    path = [each for each in kept.get("PATH", "/usr/bin:/bin").split(":") if each != programs]
    kept["PATH"] = ":".join([programs, *path])
    kept["PYTHONNOUSERSITE"] = "1"
    kept["CONDA_PREFIX" if environment_id.startswith("cf-") else "VIRTUAL_ENV"] = str(prefix)
    kept["ELEMENT_ENVIRONMENT_ID"] = environment_id
    kept["ELEMENT_LOCK_ID"] = lock_id
    if project is not None:
        kept["ELEMENT_PROJECT"] = str(project)
    return {**kept, **(added or {})}


def command_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for an `element` command that a kernel starts for a person.

    Element's settings and the credentials of indexes are among them, Jupyter's tokens are not. They
    reach the kernel's process in another way than its variables: see `in_kernel/start.py`.
    """
    return {
        name: value
        for name, value in environment.items()
        if name.startswith("UV_") or not _TOKEN.fullmatch(name)
    }
