"""Runs whose runner is another account that sees none of the control plane's files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nbformat
import pytest

from element_jupyter.adapters.blobs import FsspecBlobs, save
from element_jupyter.adapters.project import scan
from element_jupyter.platform.ports import free_port
from tests.postgres_fixture import migrated
from tests.runner.conftest import PROJECT
from tests.service.run_plane import HEADERS
from tests.service.test_runs import Client, a_notebook, alive, kinds, members, printed

START = "from element_jupyter.platform.remote_runner import run_remote as run; raise SystemExit(run"

TRY = (
    "import subprocess, sys, element_jupyter.platform.remote_run, ipykernel;"
    " subprocess.run([sys.executable, '-c', ''], check=True)"
)
"""What tells whether a Python executes notebooks."""

LOOK = """
import os, pathlib
def look(path):
    try:
        return pathlib.Path(path).read_bytes().decode(errors="replace")
    except OSError as error:
        return type(error).__name__
print("MINE", look("/proc/self/environ"))
print("RUNNERS", look(f"/proc/{os.getppid()}/environ"))
print("DATA", look(pathlib.Path(data, "blobs")), os.access(data, os.R_OK | os.X_OK))
print("UID", os.getuid())
"""

NOTEBOOKS = {
    "whole.ipynb": a_notebook(
        "import module; print(module.WORD)",
        "from element_jupyter import record\nrecord(auc=0.5)",
        "import os\nos.makedirs('made/deep', exist_ok=True)\n"
        "open('made/deep/a file.txt', 'w').write('left')\n"
        "os.symlink('/etc/passwd', 'made/link')\nopen('bad\\\\\\\\name', 'w').write('x')",
    ),
    "look.ipynb": a_notebook(LOOK, parameters="data = ''"),
    "count.ipynb": a_notebook(
        "import time\nfor n in range(ticks):\n    print(n)\n    time.sleep(0.1)",
        "open('result.txt', 'w').write('done')",
        parameters="ticks = 20",
    ),
    "wait.ipynb": a_notebook(
        "import pathlib, time\nprint('begun')\nopen('left.txt', 'w').write('left')\n"
        "while not pathlib.Path(until).exists():\n    time.sleep(0.05)",
        parameters="until = '/nowhere'",
    ),
    "large.ipynb": a_notebook("open('large', 'wb').write(bytes(8_000_000))"),
}


@dataclass
class Account:
    """Who executes runs, and where."""

    uid: int
    gid: int
    home: Path
    python: tuple[str, dict[str, str]]

    @property
    def is_another(self) -> bool:
        return self.uid != os.getuid()

    def command(self, *arguments: str) -> list[str]:
        python = [self.python[0], *arguments]
        if not self.is_another:
            return python
        changed = ["--reuid", str(self.uid), "--regid", str(self.gid), "--clear-groups"]
        return [str(shutil.which("setpriv")), *changed, *python]

    @property
    def runs(self) -> Path:
        return self.home / ".local/share/element/runs"


def _pythons() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield ways to start a Python that has what Element needs."""
    kernels = {"JUPYTER_PATH": str(Path(sys.prefix) / "share" / "jupyter")}
    yield sys.executable, {"PYTHONPATH": str(PROJECT)}
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    version = f"python3.{sys.version_info.minor}"
    yield f"/usr/bin/{version}", {"PYTHONPATH": f"{PROJECT}:{packages}", **kernels}


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    """An account of its own where that can be made, else the one that tests."""
    own = pwd.getpwuid(os.getuid())
    above = Path(tempfile.mkdtemp(prefix="element-remote-"))
    above.chmod(0o711)
    home = above / "home"
    home.mkdir(0o700)
    name = f"element-test-{secrets.token_hex(4)}"
    made = None
    if os.geteuid() == 0 and shutil.which("setpriv") and shutil.which("useradd"):
        command = ["useradd", "--system", "--no-create-home", "--home-dir", str(home), name]
        subprocess.run(command, check=True)
        made = pwd.getpwnam(name)
    try:
        yield _account(made or own, home)
    finally:
        if made is not None:
            subprocess.run(["userdel", name], check=True)
        shutil.rmtree(above)


def _account(entry: pwd.struct_passwd, home: Path) -> Account:
    os.chown(home, entry.pw_uid, entry.pw_gid)
    for python in _pythons():
        account = Account(entry.pw_uid, entry.pw_gid, home, python)
        tried = subprocess.run(
            account.command("-c", TRY),
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", **python[1]},
            cwd="/",
            capture_output=True,
        )
        if tried.returncode == 0:
            return account
    pytest.fail(f"no Python of another account runs Element: {tried.stderr.decode()}")


@dataclass
class Plane:
    """A control plane in a process of its own, and a caller of it."""

    data: Path
    account: Account
    given: dict[str, Any]
    snapshot_id: str
    client: Client | None = None
    process: subprocess.Popen[bytes] | None = None
    port: int = field(default_factory=free_port)

    def start(self) -> None:
        given = {**self.given, "data": str(self.data), "port": self.port}
        with (self.data.parent / "plane.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.runner.remote_plane", json.dumps(given)],
                cwd=PROJECT,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self.process
        self.process.send_signal(number)
        self.process.communicate(timeout=60)

    def log(self, run_id: str) -> str:
        return (self.data / "runs" / run_id / "runner.log").read_text()

    def runner(self, run_id: str) -> int:
        """The process that executes a run."""
        log = str(self.data / "runs" / run_id / "runner.log")
        for path in Path("/proc").glob("[0-9]*/fd/1"):
            with contextlib.suppress(OSError):
                if str(path.readlink()) == log and _leads(int(path.parts[2])):
                    return int(path.parts[2])
        pytest.fail("no process executes the run")

    async def read(self, run_id: str, door: str = "notebook") -> httpx.Response:
        assert self.client
        return await self.client.http.get(f"{self.client.url}/runs/{run_id}/{door}")

    async def document(self, run_id: str) -> Any:
        answer = await self.read(run_id)
        assert answer.status_code == 200, answer.text
        document = nbformat.reads(answer.text, as_version=nbformat.NO_CONVERT)
        nbformat.validate(document)
        return document

    async def texts(self, run_id: str) -> list[str]:
        """What the cells of the executed notebook have printed."""
        cells = (await self.document(run_id)).cells
        outputs = [output for cell in cells for output in cell.outputs]
        return [output.text for output in outputs if output.output_type == "stream"]


def _leads(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == pid and alive(pid)
    return False


async def eventually(condition, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


def a_plane(
    directory: Path,
    database_url: str,
    account: Account,
    *,
    patience: float = 600,
    token_file: bool = False,
    **variables: str,
) -> Plane:
    """Start a control plane whose runners have so much patience, and such variables."""
    environment = {
        "HOME": str(account.home),
        "PATH": "/usr/bin:/bin",
        "ELEMENT_ENVIRONMENTS": "False",
        "JUPYTERHUB_API_TOKEN": "the Hub's secret",
        **account.python[1],
        **variables,
    }
    data, project = directory / "data", directory / "project"
    for each in (data, project):
        each.mkdir(0o700)
    for name, content in NOTEBOOKS.items():
        (project / name).write_text(content)
    (project / "module.py").write_text("WORD = 'imported'")
    given = {
        "database_url": database_url,
        "command": account.command("-c", f"{START}({patience}))"),
        "environment": environment,
        "token_file": token_file,
    }
    snapshot_id = save(FsspecBlobs(data / "blobs"), scan(project, cache=directory / "cache"))
    plane = Plane(data, account, given, snapshot_id)
    plane.start()
    return plane


@contextlib.asynccontextmanager
async def called(plane: Plane) -> AsyncIterator[Plane]:
    async with httpx.AsyncClient(headers=HEADERS, timeout=60) as http:
        plane.client = Client(f"http://127.0.0.1:{plane.port}/api/v1", http, plane.snapshot_id)
        yield plane


@pytest.fixture(scope="module")
def lasting(tmp_path_factory, postgres, account) -> Iterator[Plane]:
    """One control plane for all who do not kill it; its runners read their tokens from files."""
    for url in migrated(postgres):
        directory = tmp_path_factory.mktemp("plane")
        plane = a_plane(directory, url, account, token_file=True)
        yield plane
        plane.end(signal.SIGTERM)


@pytest.fixture
async def plane(lasting) -> AsyncIterator[Plane]:
    async with called(lasting) as plane:
        yield plane


@pytest.fixture
def begin(tmp_path, database_url, account):
    """Start a control plane of the test's own."""

    @contextlib.asynccontextmanager
    async def begun(**said: Any) -> AsyncIterator[Plane]:
        plane = a_plane(tmp_path, database_url, account, **said)
        try:
            async with called(plane) as plane:
                yield plane
        finally:
            plane.end(signal.SIGTERM)

    return begun


async def test_a_run_elsewhere_tells_and_leaves_what_one_here_does(plane, account):
    client = plane.client
    run_id = await client.run("whole.ipynb")
    run = await client.ended(run_id)
    events = await client.follow(run_id)
    notes = [event["message"] for _, event in events if event["kind"] == "note"]

    assert (run["state"], run["reason"]) == ("succeeded", ""), plane.log(run_id)
    assert printed(events) == "imported\n"
    assert (kinds(events)[-1], kinds(events).count("notebook_saved")) == ("run_finished", 2)
    assert run["recorded"] == {"auc": 0.5}
    assert run["peak_memory_bytes"] > 0
    assert run["output_path"] == str(plane.data / "runs" / run_id / "output.ipynb")
    assert run["artifacts"] == [{"path": "made/deep/a file.txt", "size_bytes": 4}]
    assert (await plane.read(run_id, "artifacts/made/deep/a file.txt")).text == "left"
    assert [note for note in notes if "backslash" in note]
    document = await plane.document(run_id)
    assert document.metadata.element.state == "succeeded"
    # nothing of it stays with its owner
    await eventually(lambda: not list(account.runs.glob("r-*")))
    await eventually(lambda: not members(run_id))


async def test_a_file_that_is_too_large_is_named_and_the_run_succeeds_without_it(plane):
    client = plane.client
    run_id = await client.run("large.ipynb")
    run = await client.ended(run_id)
    events = await client.follow(run_id)

    assert (run["state"], run["artifacts"]) == ("succeeded", []), plane.log(run_id)
    assert [
        event["message"]
        for _, event in events
        if event["kind"] == "note" and "'large'" in event["message"]
    ]
    assert (await plane.read(run_id)).status_code == 200


async def test_a_notebook_sees_neither_the_token_nor_what_is_the_control_planes(plane, account):
    await sees_no_secret(plane, account)
    assert not list(account.home.glob("token-*"))


async def sees_no_secret(plane: Plane, account: Account) -> None:
    client = plane.client
    run_id = await client.run("look.ipynb", parameters={"data": str(plane.data)})
    await client.until(run_id, "starting", "running")
    token = (plane.data / "runs" / run_id / "token").read_text()
    run = await client.ended(run_id)
    text = printed(await client.follow(run_id))

    assert run["state"] == "succeeded", plane.log(run_id)
    assert f"UID {account.uid}" in text
    assert token not in text
    assert "the Hub's secret" not in text
    if account.is_another:
        assert "RUNNERS PermissionError" in text
        assert "DATA PermissionError False" in text
    assert token not in (await plane.read(run_id)).text


async def test_a_control_plane_that_is_killed_and_comes_back_has_missed_nothing(begin):
    async with begin() as plane:
        client = plane.client
        short = await client.run("count.ipynb", parameters={"ticks": 5})
        long = await client.run("count.ipynb", parameters={"ticks": 60})
        for run_id in (short, long):
            await client.until(run_id, "running")
        seen = await client.follow(long, count=4)
        runner = plane.runner(short)
        plane.end(signal.SIGKILL)
        # it has ended, and waits for somebody to tell
        await eventually(lambda: not members(short))
        assert alive(runner)
        plane.start()
        for run_id, ticks in ((short, 5), (long, 60)):
            run = await client.ended(run_id)
            assert run["state"] == "succeeded", plane.log(run_id)
            assert [left["path"] for left in run["artifacts"]] == ["result.txt"]
            assert (await plane.read(run_id, "artifacts/result.txt")).text == "done"
            assert await plane.texts(run_id) == ["".join(f"{n}\n" for n in range(ticks))]
        events = seen + await client.follow(long, after=seen[-1][0])
        assert printed(events) == "".join(f"{n}\n" for n in range(60))
        numbers = [number for number, _ in events]
        assert numbers == sorted(set(numbers))


async def test_a_runner_that_is_killed_leaves_the_notebook_as_it_was_last_saved(plane, account):
    client = plane.client
    run_id = await client.run("wait.ipynb")
    await client.until(run_id, "running")
    async with asyncio.timeout(60):
        while (await plane.read(run_id)).status_code != 200:
            await asyncio.sleep(0.05)
    os.kill(plane.runner(run_id), signal.SIGKILL)
    run = await client.ended(run_id)

    assert (run["state"], "SIGKILL" in run["reason"]) == ("failed", True)
    document = await plane.document(run_id)
    assert len(document.cells) == 2
    await eventually(lambda: not members(run_id))
    # what it needed while it ran goes with the next one
    assert (account.runs / run_id / "project").exists()
    await client.ended(await client.run("whole.ipynb"))
    assert not (account.runs / run_id / "project").exists()
    shutil.rmtree(account.runs / run_id)


async def test_a_hub_that_stops_the_server_stops_the_run_and_gets_what_it_left(plane, account):
    client = plane.client
    run_id = await client.run("wait.ipynb")
    await client.follow(run_id, count=6)
    os.kill(plane.runner(run_id), signal.SIGTERM)
    run = await client.ended(run_id)

    assert (run["state"], run["reason"]) == ("stopped", "The run was stopped.")
    assert [left["path"] for left in run["artifacts"]] == ["left.txt"]
    assert (await plane.texts(run_id))[0] == "begun\n"
    await eventually(lambda: not list(account.runs.glob("r-*")))


async def test_a_person_stops_a_run_elsewhere(plane):
    client = plane.client
    run_id = await client.run("wait.ipynb")
    await client.until(run_id, "running")
    await client.stop(run_id)
    run = await client.ended(run_id)

    assert (run["state"], run["reason"]) == ("stopped", "ada asked it to stop.")
    assert (await plane.read(run_id)).status_code == 200


async def test_the_hub_gets_an_answer_from_the_first_moment_to_the_end(begin, account):
    port = free_port()
    service = f"http://127.0.0.1:{port}/user/ada/run/"
    flag = account.home / "go-on"
    async with begin(JUPYTERHUB_SERVICE_URL=service) as plane:
        client = plane.client
        run_id = await client.run("wait.ipynb", parameters={"until": str(flag)})
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    answer = await client.http.get(service)
                    break
                await asyncio.sleep(0.01)
        assert (answer.status_code, answer.text) == (200, "A notebook is executed here.\n")
        # long before what executes notebooks has been loaded
        assert (await client.get(run_id))["started_at"] is None
        await client.until(run_id, "running")
        with socket.create_connection(("127.0.0.1", port)):  # somebody who asks nothing
            assert (await client.http.get(service)).status_code == 200
        flag.touch()
        assert (await client.ended(run_id))["state"] == "succeeded", plane.log(run_id)
        flag.unlink()

        def silent() -> bool:
            with socket.socket() as asking:
                return asking.connect_ex(("127.0.0.1", port)) != 0

        await eventually(silent)
        # this one's runners have their tokens in a variable
        await sees_no_secret(plane, account)


async def test_what_cannot_be_handed_over_is_kept_and_named(begin, account):
    flag = account.home / "go-on"
    async with begin(patience=3) as plane:
        client = plane.client
        run_id = await client.run("wait.ipynb", parameters={"until": str(flag)})
        await client.follow(run_id, count=6)
        runner = plane.runner(run_id)
        plane.end(signal.SIGKILL)
        flag.touch()
        await eventually(lambda: not alive(runner))
        flag.unlink()
        kept = account.runs / run_id

        assert str(kept) in plane.log(run_id)
        assert (kept / "artifacts" / "left.txt").read_text() == "left"
        assert "begun" in (kept / "output.ipynb").read_text()
        assert b'"run_finished"' in (kept / "events.jsonl").read_bytes()
        assert not (kept / "project").exists()
        shutil.rmtree(kept)
        plane.start()


async def test_a_run_without_space_fails_with_a_sentence(begin, account):
    if os.geteuid() != 0:
        pytest.skip("only root makes a small disk")
    small = account.home / ".local"
    shutil.rmtree(small, ignore_errors=True)
    small.mkdir()
    owner = f"uid={account.uid},gid={account.gid},mode=700"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=1m,{owner}", "tmpfs", str(small)], check=False
    )
    if mounted.returncode != 0:
        small.rmdir()
        pytest.skip("no small disk can be made here")
    try:
        async with begin() as plane:
            client = plane.client
            filled = small / "filled"
            with contextlib.suppress(OSError), filled.open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
            run = await client.ended(await client.run("whole.ipynb"))
            assert (run["state"], "No space left" in run["reason"]) == ("failed", True)
            filled.unlink()
            run = await client.ended(await client.run("large.ipynb"))
            assert (run["state"], "No space left" in run["reason"]) == ("failed", True)
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
        small.rmdir()


async def test_a_runner_that_is_told_nonsense_says_so_and_ends(account):
    for variables, said in (
        ({}, "ELEMENT_RUN_URL"),
        ({"ELEMENT_RUN_URL": "http://127.0.0.1:1/api/v1/runs/r-1"}, "ELEMENT_RUN_TOKEN"),
        ({"ELEMENT_RUN_URL": "http://127.0.0.1:1/", "ELEMENT_RUN_TOKEN": "x"}, "not answer"),
    ):
        ended = subprocess.run(
            account.command("-c", f"{START}(0.5))"),
            env={"HOME": str(account.home), "PATH": "/usr/bin:/bin"}
            | account.python[1]
            | variables,
            cwd="/",
            capture_output=True,
            text=True,
        )
        assert ended.returncode in {2, 3}
        assert said in ended.stderr
        assert "Traceback" not in ended.stderr
