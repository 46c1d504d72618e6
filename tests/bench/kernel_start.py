"""What an environment adds to a kernel's start, and what its byte-code saves.

Looking an unchanged definition up is compared with jupyter_client's own provisioner, which looks
nothing up. Byte-code is compared with the same environment without it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from element_jupyter import config
from element_jupyter.platform.environments.composition import Environments
from tests.bench.environments import PACKAGES, compiled, local_disk, silent

ROUNDS = 15
IMPORTS = "import pandas, sklearn.linear_model, matplotlib.pyplot"
ADDED_BAR_MS = 5.0
READY_BAR = 0.8
IMPORT_BAR = 0.5


def measure() -> list[dict[str, Any]]:
    """Compare medians; the kernels are started in a process of their own."""
    with tempfile.TemporaryDirectory(prefix="element-bench-", dir=local_disk()) as directory:
        root = Path(directory)
        (root / "project").mkdir()
        (root / "project" / "requirements.txt").write_text("\n".join(PACKAGES))
        made = Environments(config.Element(data_dir=str(root / "data")))
        found = made.find(root / "project")
        environment = made.ensure(found, silent)
        compiled(made, environment)
        added = [
            _seconds(root, name)
            for _ in range(2)
            for name in ("element-environment", "local-provisioner")
        ]
        with_lookup = [time for each in added[::2] for time in each["started"]]
        without = [time for each in added[1::2] for time in each["started"]]
        ready = [time for each in added[::2] for time in each["ready"]]
        imports = _import_seconds(environment.python)
        for cache in list(environment.directory.rglob("__pycache__")):
            shutil.rmtree(cache)
        slow = _seconds(root, "element-environment")
        slow_imports = _import_seconds(environment.python)
    extra_ms = (statistics.median(with_lookup) - statistics.median(without)) * 1000
    return [
        {
            "name": "environment_lookup",
            "ours": statistics.median(with_lookup) * 1000,
            "peer": statistics.median(without) * 1000,
            "unit": "ms",
            "ratio": statistics.median(with_lookup) / statistics.median(without),
            "bar": f"≤ {ADDED_BAR_MS:.0f} ms more",
            "holds": extra_ms <= ADDED_BAR_MS,
        },
        _row("kernel_ready_bytecode", ready, slow["ready"], READY_BAR),
        _row("import_bytecode", imports, slow_imports, IMPORT_BAR),
    ]


def _row(name: str, ours: list[float], peer: list[float], bar: float) -> dict[str, Any]:
    ratio = statistics.median(ours) / statistics.median(peer)
    return {
        "name": name,
        "ours": statistics.median(ours),
        "peer": statistics.median(peer),
        "unit": "s",
        "ratio": ratio,
        "bar": f"≤ {bar} ×",
        "holds": ratio <= bar,
    }


def _import_seconds(python: Path) -> list[float]:
    program = f"import time; a = time.perf_counter(); {IMPORTS}; print(time.perf_counter() - a)"
    return [
        float(
            subprocess.run(
                # -I leaves what the variables say unread; root may write everywhere
                [python, "-I", "-B", "-c", program],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
        for _ in range(5)
    ]


def _seconds(root: Path, provisioner: str) -> dict[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.kernel_start", str(root), provisioner],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "ELEMENT_DATA_DIR": str(root / "data"),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )
    times: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return times


async def _start(directory: Path, provisioner: str) -> dict[str, list[float]]:
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning.factory import KernelProvisionerFactory

    KernelProvisionerFactory.instance().default_provisioner_name = provisioner
    started, ready = [], []
    for number in range(ROUNDS + 1):
        manager = AsyncKernelManager(kernel_name="python3")
        before = time.perf_counter()
        await manager.start_kernel(
            cwd=str(directory), env={**os.environ, "JPY_SESSION_NAME": str(directory / "n.ipynb")}
        )
        here = time.perf_counter()
        client = manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=60)
        if number:  # the first imports what all of them use
            started.append(here - before)
            ready.append(time.perf_counter() - before)
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
    return {"started": started, "ready": ready}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_start(Path(sys.argv[1]) / "project", sys.argv[2]))))
