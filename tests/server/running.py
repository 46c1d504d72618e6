"""A real Jupyter Server in a process of its own, with the extension."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

JUPYTER_TOKEN = "the-token-of-jupyter"


@dataclass(frozen=True)
class Lab:
    """A running Jupyter Server: where it answers, its files, and Element's data directory."""

    url: str
    root: Path
    data: Path

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that is signed in by the token, as a script would be."""
        return httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"token {JUPYTER_TOKEN}", **headers},
            trust_env=False,
            timeout=60,
        )


@contextlib.contextmanager
def running_lab(
    home: Path,
    *arguments: str,
    program: str = "jupyter_server",
    python: str = sys.executable,
    extensions: tuple[str, ...] = ("element_jupyter",),
    variables: Mapping[str, str] | None = None,
    base_url: str = "/user/a%40b/",
) -> Iterator[Lab]:
    """Start a Jupyter Server (or `jupyterlab`) whose every file is below `home`."""
    lab = Lab("", home / "notebooks", home / "element")
    for directory in (lab.root, lab.data):
        directory.mkdir(parents=True)
    kept = {
        *("PATH", "LANG", "LC_ALL", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"),
        # as the platform beside it: it says who root is
        "ELEMENT_HUB",
        *("ELEMENT_ENVIRONMENT_STORE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    }
    log = (home / "server.log").open("wb")
    process = subprocess.Popen(
        [
            *(python, "-m", program, "--no-browser", "--allow-root"),
            "--ServerApp.port=0",
            f"--ServerApp.base_url={base_url}",
            f"--ServerApp.root_dir={lab.root}",
            f"--IdentityProvider.token={JUPYTER_TOKEN}",
            f"--ServerApp.jpserver_extensions={dict.fromkeys(extensions, True)}",
            *arguments,
        ],
        cwd=home,
        env={
            **{name: value for name, value in os.environ.items() if name in kept},
            "HOME": str(home),
            "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(home)]),
            "ELEMENT_DATA_DIR": str(lab.data),
            **(variables or {}),
        },
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    log.close()
    try:
        yield Lab(_url(process, home), lab.root, lab.data)
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            # Jupyter Server never ends when it is stopped while `GET api/nbconvert` is in a thread of
            # anyio's, which JupyterLab asks for when a notebook is opened
            process.kill()
            process.wait()
            if program != "jupyterlab":
                raise


def _url(process: subprocess.Popen[bytes], home: Path) -> str:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        for file in home.glob(f"runtime/jpserver-{process.pid}.json"):
            with contextlib.suppress(ValueError, httpx.TransportError):
                info = json.loads(file.read_text())
                url = f"http://127.0.0.1:{info['port']}{info['base_url']}"
                httpx.get(f"{url}api", trust_env=False).raise_for_status()
                return url
        time.sleep(0.05)
    pytest.fail(f"The Jupyter Server did not start:\n{(home / 'server.log').read_text()}")
