"""The whole control plane: real PostgreSQL, real files, real HTTP, in the test's own loop."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from element_jupyter import config
from element_jupyter.core.snapshots import Entry, Manifest
from element_jupyter.platform.service import serving

NOTEBOOK = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
    "cells": [
        {
            "cell_type": "code",
            "id": "a",
            "metadata": {"tags": ["parameters"]},
            "source": "day: date = None\nregion = 'north'\nlimit = 10",
            "outputs": [],
            "execution_count": None,
        }
    ],
}


@dataclass
class ControlPlane:
    """A control plane that serves, and what a test asks of it."""

    url: str
    data: Path
    client: httpx.AsyncClient

    @property
    def jobs(self) -> Path:
        return self.data / "jobs"

    async def snapshot(self, files: dict[str, bytes] | None = None) -> str:
        """Upload a project the way a client does, and return its snapshot id."""
        files = files or {"sales.ipynb": json.dumps(NOTEBOOK).encode()}
        digests = {hashlib.sha256(content).hexdigest(): content for content in files.values()}
        entries = (
            Entry(path=path, digest=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
            for path, content in files.items()
        )
        manifest = Manifest(entries=tuple(sorted(entries, key=lambda entry: entry.path)))
        digests[manifest.snapshot_id] = manifest.to_json()
        missing = await self.client.post("/snapshots/missing", json={"digests": list(digests)})
        for digest in missing.json()["missing"]:
            answer = await self.client.put(f"/blobs/{digest}", content=digests[digest])
            assert answer.status_code == 204, answer.text
        return manifest.snapshot_id

    async def job(self, **said: Any) -> dict[str, Any]:
        """Return a job that can be saved."""
        if "snapshot_id" not in said:
            said["snapshot_id"] = await self.snapshot()
        return {
            "team": "ada",
            "name": "sales",
            "owner": "ada",
            "tasks": [{"notebook": "sales.ipynb"}],
            "schedule": {"kind": "cron", "expression": "0 6 * * *", "timezone": "Europe/Zurich"},
        } | said

    async def saved(self, **said: Any) -> dict[str, Any]:
        """Save a job and return what is stored."""
        job = await self.job(**said)
        answer = await self.client.put(f"/jobs/{job['team']}/{job['name']}", json=job)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()["stored"]


@pytest.fixture
def settings(tmp_path, database_url) -> config.Element:
    return config.load(
        data_dir=str(tmp_path / "data"),
        database_url=database_url,
        owner="ada",
        max_time_limit_seconds=3600,
        airflow=False,
        environments=False,
    )


@pytest.fixture
async def plane(settings) -> AsyncIterator[ControlPlane]:
    async with serving(settings) as url:
        token = settings.token_file.read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        base = f"{url}/api/v1"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as client:
            yield ControlPlane(url, settings.data, client)
