"""The platform of an ordinary user, walked through in a browser: one person, nobody else."""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
import pytest
from playwright.sync_api import expect

from element_jupyter.adapters.accounts import PeopleAccounts
from element_jupyter.platform.ports import free_port
from tests.hub.browsing import browsing
from tests.hub_fixture import reachable
from tests.hub_platform import PASSWORD
from tests.platform_fixture import MARK, ROOT, RunningPlatform, free_ports, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@contextmanager
def ordinary_account(here: Path) -> Iterator[tuple[str, Path, list[str]]]:
    """Whoever tests; for root, an account that is there for a while: name, home, how to be it."""
    if os.geteuid() != 0:
        home = here / "home"
        home.mkdir()
        yield getpass.getuser(), home, []
        return
    name = f"t{secrets.token_hex(4)}"
    account = PeopleAccounts(f"{name}-people", here / "homes").ensure(name)
    ids = [f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"]
    try:
        yield name, Path(account.home), [*reachable(), "setpriv", *ids]
    finally:
        for process in psutil.process_iter():
            if process.uids().real == account.uid:
                process.kill()
        subprocess.run(["userdel", "--force", name], capture_output=True)
        subprocess.run(["groupdel", f"{name}-people"], capture_output=True)


@contextmanager
def started(data: Path, name: str, home: Path, become: list[str]) -> Iterator[RunningPlatform]:
    data.mkdir(mode=0o700)
    ports = data / "ports.json"
    ports.write_text(json.dumps({each: free_port() for each in ("public", "hub", "proxy")}))
    owner = home.stat()
    for each in (data, ports, *home.glob("*.ipynb")):
        os.chown(each, owner.st_uid, owner.st_gid)
    given = {
        **free_ports(),
        MARK: str(data),
        "ELEMENT_HUB": "true",
        "ELEMENT_AIRFLOW": "false",
        "ELEMENT_ENVIRONMENTS": "false",
        "HOME": str(home),
        **dict.fromkeys(("USER", "LOGNAME"), name),
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    output = data.with_name("up.log")
    with output.open("ab") as file:
        up = subprocess.Popen(
            [*become, *(sys.executable, "-m", "element_jupyter.cli", "up", "--data", str(data))],
            cwd=home,
            env={**os.environ, **given},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    platform = RunningPlatform(data, up, output)
    try:
        platform.wait_until_ready()
        wait_until(lambda: "Ctrl-C stops" in platform.log())
        yield platform
    finally:
        if up.poll() is None:
            platform.stop()


def test_an_ordinary_user_signs_in_starts_jupyterlab_and_runs_a_notebook():
    here = Path(tempfile.mkdtemp(prefix="element-ordinary-"))
    here.chmod(0o755)
    try:
        with ordinary_account(here) as (name, home, become):
            cell = nbformat.v4.new_code_cell("import os; print('as', os.geteuid())")
            kernel = {"name": "python3", "display_name": "Python 3"}
            notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
            nbformat.write(notebook, home / "daily.ipynb")
            place = here / "place"
            place.mkdir()
            os.chown(place, home.stat().st_uid, home.stat().st_gid)
            with started(place / "data", name, home, become) as platform:
                walk(platform, name, home)
    finally:
        shutil.rmtree(here)


def walk(platform: RunningPlatform, name: str, home: Path) -> None:
    """Do what somebody does first, by what `up` has printed."""
    said = platform.log()
    assert f"It serves {name} alone. It was not started as root" in said
    link = re.findall(r"http\S+/hub/invitation#\S+", said)[-1]
    with browsing() as page:
        page.goto(link)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set password").click()
        expect(page.get_by_text("nobody else can be invited")).to_be_visible()
        page.get_by_role("button", name="Start").click()
        page.wait_for_url(f"**/user/{name}/lab**")

        page.goto(page.url.partition("/lab")[0] + "/lab/workspaces/t/tree/daily.ipynb?reset")
        expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_be_visible()
        page.get_by_role("button", name="Run this notebook in the background now").click()
        expect(page.get_by_text("daily.ipynb has run.")).to_be_visible()

    with platform.service() as service:
        (run,) = service.get("/runs").raise_for_status().json()["items"]
        notebook = service.get(f"/runs/{run['run_id']}/notebook").raise_for_status().json()
    assert (run["state"], run["owner"]) == ("succeeded", name)
    assert notebook["cells"][0]["outputs"][0]["text"] == [f"as {home.stat().st_uid}\n"]
