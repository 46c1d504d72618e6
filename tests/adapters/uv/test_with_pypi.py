"""Against the real PyPI, or the mirror of it that is configured: a kernel that really runs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.connect import write_connection_file

from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode
from tests.adapters.uv.conftest import Bench

PYPI = "https://pypi.org/simple"


async def test_a_kernel_runs_in_an_environment(bench: Bench, tmp_path: Path):
    bench.index.remove("ipykernel")
    bench.index.wheel("tables", "2.0", files={"tables.py": "LEGS = 4\n"})
    bench.allow(index_urls=(bench.index.url, PYPI), timeout_seconds=240)
    try:
        lock = bench.lock("tables\n")
    except EnvironmentFailed as failed:
        if failed.failure.code is FailureCode.OFFLINE:
            pytest.skip("PyPI cannot be reached")
        raise
    prefix = bench.install(lock)
    names = {each.name.partition("-")[0] for each in prefix.glob("lib/python*/site-packages/*info")}
    assert not names & {"pip", "setuptools"}
    file, connection = write_connection_file(str(tmp_path / "kernel.json"))
    kernel = await asyncio.create_subprocess_exec(
        prefix / "bin" / "python", "-m", "ipykernel_launcher", "-f", file,
        env={"HOME": str(tmp_path), "PATH": os.defpath},
    )  # fmt: skip
    client = AsyncKernelClient()
    client.load_connection_info(connection)
    client.start_channels(hb=False)  # a busy machine makes it miss beats
    try:
        await client.wait_for_ready(timeout=120)
        reply = await client.execute_interactive(
            "import tables", user_expressions={"legs": "tables.LEGS"}, timeout=30
        )
    finally:
        client.stop_channels()
        kernel.kill()
        await kernel.wait()
    assert reply["content"]["user_expressions"]["legs"]["data"]["text/plain"] == "4"
