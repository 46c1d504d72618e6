"""Who locks and installs: the backends, each imported when it is needed."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from element_jupyter.core.environments.building import (
    Engine,
    EnvironmentFailed,
    Failure,
    FailureCode,
)
from element_jupyter.core.environments.identity import Backend
from element_jupyter.core.environments.keeping import Pin

_SMOKE: Final = "import json, sys, ipykernel; print(json.dumps([sys.prefix]))"
_SMOKE_SECONDS: Final = 120
_SYSTEMS: Final = {"Linux": "linux", "Darwin": "osx", "Windows": "win"}
_MACHINES: Final = {"x86_64": "64", "AMD64": "64"}


def engine(backend: Backend) -> Engine:
    """Return what locks and installs."""
    if backend is Backend.UV:
        from element_jupyter.adapters.sandbox import Bubblewrap
        from element_jupyter.adapters.uv import Uv

        return Uv(sandbox=Bubblewrap())
    from element_jupyter.adapters.rattler import Rattler
    from element_jupyter.adapters.uv.on_conda import UvOnConda

    return Rattler(python_packages=UvOnConda())


def cache(store: Path, backend: Backend) -> Path:
    """Return where a backend keeps what it has downloaded."""
    return store / {Backend.UV: "uv-cache", Backend.RATTLER: "rattler-cache"}[backend]


def backend_of(pin: Pin) -> Backend:
    """Return what has made the lock of a pin."""
    return Backend.RATTLER if pin.environment_id.startswith("cf-") else Backend.UV


def conda_platform() -> str:
    """Return conda's word for this machine: `linux-64`."""
    system, machine = platform.system(), platform.machine()
    return f"{_SYSTEMS.get(system, system.lower())}-{_MACHINES.get(machine, machine)}"


def smoke(prefix: Path, variables: Mapping[str, str]) -> None:
    """Let the Python of a new environment import what a kernel needs.

    Raises:
        EnvironmentFailed: it cannot, and what it says.
    """
    # it must leave no byte-code behind, which is not in any RECORD
    command = [str(prefix / "bin" / "python"), "-I", "-B", "-c", _SMOKE]
    try:
        ended = subprocess.run(
            command,
            env={name: variables[name] for name in ("LANG", "PATH") if name in variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SMOKE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EnvironmentFailed(_broken(f"It does not answer in {_SMOKE_SECONDS} s.")) from None
    except OSError as error:
        raise EnvironmentFailed(_broken(f"Its Python does not start: {error.strerror}.")) from error
    if ended.returncode:
        said = (ended.stderr or ended.stdout).strip()
        last = said.splitlines()[-1] if said else f"exit code {ended.returncode}"
        raise EnvironmentFailed(_broken(f"A kernel cannot start in it: {last}.", said))
    try:
        said_prefix = json.loads(ended.stdout.splitlines()[-1])[0]
    except (ValueError, IndexError, TypeError):
        said_prefix = ""
    if Path(said_prefix).resolve() != prefix.resolve():
        raise EnvironmentFailed(_broken(f"Its Python takes {said_prefix!r} for its place."))


def _broken(reason: str, said: str = "") -> Failure:
    return Failure(
        code=FailureCode.DAMAGED,
        title="The environment does not work",
        summary=f"All packages are installed, and yet it cannot be used. {reason}",
        hints=("See whether a package replaces one that Jupyter needs, and leave it out.",),
        tool_output=said[-20_000:],
    )
