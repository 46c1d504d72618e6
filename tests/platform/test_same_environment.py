"""The editor, `element run` and a scheduled run have the very same files installed."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from queue import Empty
from typing import Any

import httpx
import nbformat
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from tests.platform_client import ENDED, owner
from tests.platform_fixture import RunningPlatform, wait_until
from tests.server.running import JUPYTER_TOKEN, Lab, running_lab

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300)]

INSTALLED = """\
import hashlib, importlib.metadata, json, sys
files = {}
for each in importlib.metadata.distributions():
    for file in each.files or ():
        path = file.locate()
        if file.suffix != ".pyc" and path.is_file():
            files[str(file)] = hashlib.sha256(path.read_bytes()).hexdigest()
total = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
print(json.dumps([sys.version, len(files), total, sys.flags.no_user_site]))
"""


def test_every_installed_file_is_the_same_everywhere(
    tmp_path: Path, platform: RunningPlatform
) -> None:
    with running_lab(tmp_path / "home") as lab:
        project = lab.root / "project"
        project.mkdir()
        (project / "requirements.txt").write_text("humanize\ntabulate\n")
        cells = [nbformat.v4.new_code_cell(INSTALLED)]
        spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": spec})
        nbformat.write(notebook, project / "files.ipynb")
        store = str(tmp_path / "store")
        element("env", "lock", str(project), store=store)

        in_editor = executed_in_the_editor(lab, "project/files.ipynb")
    element("run", "files.ipynb", "-o", "output.ipynb", store=store, cwd=project)
    in_place = printed(project / "output.ipynb")
    scheduled = executed_by_airflow(platform, project / "files.ipynb")

    assert in_editor == in_place == scheduled
    _version, files, _total, no_user_site = json.loads(in_editor)
    assert files > 500
    assert no_user_site


def element(*arguments: str, store: str | None = None, cwd: Path | None = None) -> Any:
    added = {"ELEMENT_ENVIRONMENT_STORE": store} if store else {}
    done = subprocess.run(
        [sys.executable, "-m", "element_jupyter.cli", *arguments, "--json"],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | added,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def printed(notebook: Path | bytes) -> str:
    text = notebook.decode() if isinstance(notebook, bytes) else notebook.read_text()
    document = nbformat.reads(text, as_version=4)
    (output,) = document.cells[-1].outputs
    return str(output.text)


def executed_in_the_editor(lab: Lab, path: str) -> str:
    session = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
    headers = {"Authorization": f"token {JUPYTER_TOKEN}"}
    with httpx.Client(base_url=lab.url, headers=headers, timeout=60, trust_env=False) as server:
        answer = server.post("api/sessions", json=session)
        answer.raise_for_status()
        kernel_id = answer.json()["kernel"]["id"]
        connection = lab.root.parent / "runtime" / f"kernel-{kernel_id}.json"
        client = BlockingKernelClient(connection_file=str(connection))
        client.load_connection_file()
        client.start_channels()
        try:
            answering(client)
            said: list[str] = []
            client.execute_interactive(
                INSTALLED,
                timeout=60,
                output_hook=lambda message: said.append(message["content"].get("text", "")),
            )
        finally:
            client.stop_channels()
        server.delete(f"api/kernels/{kernel_id}").raise_for_status()
    return "".join(said)


def answering(client: BlockingKernelClient, seconds: float = 120) -> None:
    """Wait for a kernel whose environment is being built; its heart may not beat meanwhile."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        client.kernel_info()
        with contextlib.suppress(Empty):
            if client.get_shell_msg(timeout=2)["msg_type"] == "kernel_info_reply":
                return
    pytest.fail(f"the kernel did not answer within {seconds} s")


def executed_by_airflow(platform: RunningPlatform, notebook: Path) -> str:
    element(
        *("schedule", str(notebook), "--name", "same-files", "--cron", "0 0 1 1 *"),
        *("--data", str(platform.data_dir)),
    )
    with platform.service() as service:
        job_id = f"{owner(platform)}/same-files"
        service.post(f"/jobs/{job_id}/trigger").raise_for_status()

        def ended() -> list[Any]:
            runs = service.get("/runs", params={"job": job_id}).json()["items"]
            return [run for run in runs if run["state"] in ENDED]

        wait_until(ended, 150, platform.log)
        (run,) = ended()
        assert run["state"] == "succeeded", run
        assert run["environment_id"]
        text = service.get(f"/runs/{run['run_id']}/notebook")
        text.raise_for_status()
        return printed(text.content)
