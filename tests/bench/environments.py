"""Building an environment of 44 packages from its lock, everything cached: Element against pip.

Element: install, check, publish, until a kernel can be started; byte-code follows in the background.
pip: a new venv and `pip install --require-hashes` of the same files, with its cache warm; it compiles
first. They take turns. Then, how much disk one more environment takes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from element_jupyter import config
from element_jupyter.core.environments.building import Phase
from element_jupyter.core.environments.keeping import Pin
from element_jupyter.platform.environments.composition import Environments
from tests.bench.peers import environment

PACKAGES = ("ipykernel", "pandas", "scikit-learn", "matplotlib")
ROUNDS = 3
OURS_A_ROUND = 3
BAR = 30.0
DISK_BAR_MB = 20.0


def measure() -> list[dict[str, Any]]:
    """Compare medians in seconds, and count the blocks that one more environment takes."""
    with tempfile.TemporaryDirectory(prefix="element-bench-", dir=local_disk()) as directory:
        return _measure(Path(directory))


def local_disk() -> Path:
    """Return a directory on a real file system; /tmp may be memory."""
    build = Path("build/bench")
    build.mkdir(parents=True, exist_ok=True)
    return build.absolute()


def silent(
    phase: Phase, done: int | None = None, total: int | None = None, message: str = ""
) -> None:
    """Take what a build tells."""


def _measure(directory: Path) -> list[dict[str, Any]]:
    project = directory / "project"
    project.mkdir()
    (project / "requirements.txt").write_text("\n".join(PACKAGES))
    made = Environments(config.Element(data_dir=str(directory / "data")))
    found = made.find(project)
    locked, content = made.lock(found, silent)
    first = made.ensure(found, silent)
    packages = len(first.manifest.packages)
    pin = Pin(
        environment_id=locked.environment_id, lock_id=locked.lock_id, definition="requirements.txt"
    )
    ours: list[float] = []
    peer: list[float] = []
    pip = _Pip(directory, first.manifest.packages)
    pip.install()  # fills its cache
    for _ in range(ROUNDS):
        peer.append(pip.install())
        for _ in range(OURS_A_ROUND):
            compiled(made, first)
            psutil.wait_procs(psutil.Process().children())  # the builder tidies up
            # moved, not removed: ext4 without a journal is slow to make files where some were removed
            first.directory.rename(directory / f"ours-{len(ours)}")
            started = time.perf_counter()
            made.ensure_locked(pin, content, silent)
            ours.append(time.perf_counter() - started)
    ratio = statistics.median(peer) / statistics.median(ours)
    return [
        {
            "name": "environment_build",
            "ours": statistics.median(ours),
            "peer": statistics.median(peer),
            "unit": "s",
            "ratio": ratio,
            "bar": f"≥ {BAR:.0f} ×",
            "holds": ratio >= BAR,
            "packages": packages,
            "rounds": ours,
            "peer_rounds": peer,
        },
        _further(made, directory),
    ]


class _Pip:
    """What people do without Element: a venv, and `pip install` of what a file pins by hash."""

    def __init__(self, directory: Path, packages: Any) -> None:
        self._pip = environment("pip", "pip") / "pip"
        self._directory = directory
        self._wanted = directory / "locked.txt"
        self._wanted.write_text(
            "".join(
                f"{each.name}=={each.version} --hash=sha256:{each.sha256}\n" for each in packages
            )
        )
        self._number = 0

    def install(self) -> float:
        """Return the seconds that it has taken."""
        self._number += 1
        target = self._directory / f"pip-{self._number}"
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith("PIP_")
        } | {"PIP_CONFIG_FILE": os.devnull, "PIP_CACHE_DIR": str(self._directory / "pip-cache")}
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "venv", target], check=True, env=variables)
        subprocess.run(
            [
                *(self._pip, "--python", target / "bin" / "python", "install", "--quiet"),
                *("--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:"),
                *("-r", self._wanted),
            ],
            check=True,
            env=variables,
        )
        return time.perf_counter() - started


def _further(made: Environments, directory: Path) -> dict[str, Any]:
    """Build another environment, of one package more, and count what the disk has less."""
    project = directory / "further"
    project.mkdir()
    (project / "requirements.txt").write_text("\n".join((*PACKAGES, "humanize")))
    one = made.ensure(made.find(directory / "project"), silent)
    compiled(made, one)
    before = _disk_bytes(directory / "data")
    another = made.ensure(made.find(project), silent)
    compiled(made, another)
    megabytes = (_disk_bytes(directory / "data") - before) / 1e6
    alone = _disk_bytes(another.directory) / 1e6
    return {
        "name": "environment_disk",
        "ours": megabytes,
        "peer": alone,
        "unit": "MB",
        "ratio": megabytes / alone,
        "bar": f"≤ {DISK_BAR_MB:.0f} MB",
        "holds": megabytes <= DISK_BAR_MB,
    }


def compiled(made: Environments, environment: Any) -> None:
    """Return once the environment has its byte-code."""
    from element_jupyter.adapters.environment_store import EnvironmentStore

    store = EnvironmentStore(environment.directory.parents[1])
    store.compile(environment.manifest.environment_id)


def _disk_bytes(directory: Path) -> int:
    """Count blocks, each file once however many names it has: what `du` says."""
    done = subprocess.run(
        ["du", "-s", "--block-size=1", directory], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[0])
