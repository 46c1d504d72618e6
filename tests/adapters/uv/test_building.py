"""Packages that exist as source only: who may have them built, and what a build can do."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from element_jupyter.adapters.sandbox import Bubblewrap
from element_jupyter.adapters.uv import Uv
from element_jupyter.core.environments.building import FailureCode
from element_jupyter.core.environments.definitions import Origin, OriginKind
from tests.adapters.uv.conftest import Bench

BACKEND = """
import base64, hashlib, json, os, socket, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return []

def reached(host, port):
    try:
        socket.create_connection((host, port), 2).close()
        return True
    except OSError:
        return False

def write(path):
    try:
        open(path, "w").close()
    except OSError:
        pass

def build_wheel(directory, config_settings=None, metadata_directory=None):
    seen = {
        "variables": sorted(os.environ),
        "netrc": os.path.exists(@netrc@),
        "reached": reached(*@address@),
    }
    write(@outside@)
    write(@cache@)
    files = {
        "oldie.py": "SEEN = " + repr(seen),
        "oldie-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: oldie\\nVersion: 1.0\\n",
        "oldie-1.0.dist-info/WHEEL":
            "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files["oldie-1.0.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in files)
    with zipfile.ZipFile(os.path.join(directory, "oldie-1.0-py3-none-any.whl"), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return "oldie-1.0-py3-none-any.whl"
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


@pytest.fixture
def oldie(bench: Bench) -> Bench:
    """A bench whose index has `oldie` as source, and whose build tells what it could do."""
    netrc = Path(bench.rules.variables["HOME"]) / ".netrc"
    netrc.write_text("machine a.example login bob password hunter2\n")
    host, _, port = bench.index.origin.removeprefix("http://").partition(":")
    bench.cache.mkdir()
    backend = BACKEND
    for name, value in {
        "netrc": str(netrc),
        "outside": str(bench.directory / "written"),
        "cache": str(bench.cache / "written"),
        "address": (host, int(port)),
    }.items():
        backend = backend.replace(f"@{name}@", repr(value))
    bench.index.sdist("oldie", files={"backend.py": backend, "pyproject.toml": PYPROJECT})
    bench.backend = backend
    bench.uv = Uv(sandbox=Bubblewrap(), cache=bench.cache)
    bench.set(UV_INDEX_CORP_PASSWORD="hunter2")
    return bench


needs_bubblewrap = pytest.mark.skipif(
    Bubblewrap().unavailable is not None, reason="there is no bubblewrap here"
)


def trust(*locations: str, kind: OriginKind = OriginKind.SDIST) -> frozenset[Origin]:
    return frozenset(Origin(kind=kind, location=each) for each in locations)


@needs_bubblewrap
@pytest.mark.parametrize(
    "allowed", [{"builds_allowed": frozenset({"oldie"})}, {"trusted": trust("oldie")}]
)
def test_what_may_be_built_is_built_where_it_can_do_no_harm(oldie: Bench, allowed):
    oldie.allow(**allowed)
    lock = oldie.lock("oldie\ntables\n")
    (artefact,) = (each for each in oldie.artefacts(lock) if each.name == "oldie")
    assert artefact.filename == "oldie-1.0-py3-none-any.whl"
    assert artefact.url.endswith("/oldie-1.0.tar.gz")
    assert oldie.index.files["oldie-1.0.tar.gz"].sha256.encode() in lock.content
    prefix = oldie.install(lock)
    code = "import json, oldie, tables; print(json.dumps(oldie.SEEN))"
    said = subprocess.run([prefix / "bin" / "python", "-c", code], capture_output=True, check=True)
    seen = json.loads(said.stdout)
    assert not any("PASSWORD" in each for each in seen["variables"])
    assert not seen["netrc"]
    assert not seen["reached"]
    assert not list(oldie.directory.rglob("written"))


@needs_bubblewrap
def test_another_source_is_not_built_because_one_may_be(oldie: Bench):
    backend = oldie.backend.replace("oldie", "other")
    oldie.index.sdist("other", files={"backend.py": backend, "pyproject.toml": PYPROJECT})
    oldie.allow(builds_allowed=frozenset({"oldie"}))
    failure = oldie.failure("oldie\nother\n")
    assert failure.code is FailureCode.NO_WHEEL
    assert failure.origins == tuple(trust("other"))
    assert [each.name for each in failure.culprits] == ["other"]


def test_without_a_sandbox_nothing_is_built(oldie: Bench):
    oldie.uv = Uv(cache=oldie.cache)
    oldie.allow(builds_allowed=frozenset({"oldie"}))
    failure = oldie.failure("oldie\n")
    assert failure.code is FailureCode.NOT_SUPPORTED
    assert "sandbox" in failure.summary


@needs_bubblewrap
def test_an_archive_by_its_url_is_built_when_it_is_trusted(oldie: Bench):
    url = f"{oldie.index.origin}/files/oldie-1.0.tar.gz"
    failure = oldie.failure(f"oldie @ {url}\n")
    assert failure.code is FailureCode.NEEDS_TRUST
    oldie.allow(trusted=frozenset(failure.origins))
    lock = oldie.lock(f"oldie @ {url}\n")
    assert {each.name for each in oldie.artefacts(lock)} == {"ipykernel", "oldie"}
    assert list(oldie.install(lock).glob("lib/python*/site-packages/oldie.py"))


@needs_bubblewrap
def test_what_may_be_built_anywhere_is_locked_the_same_twice(oldie: Bench):
    oldie.allow(builds_allowed=frozenset({"*"}))
    first = oldie.lock("oldie\ntables\n").content
    assert hashlib.sha256(first).digest() == hashlib.sha256(oldie.lock().content).digest()


@pytest.fixture
def repository(oldie: Bench) -> Iterator[str]:
    """The source of `oldie` in a repository on a server of its own; yields its URL."""
    work, served = oldie.directory / "work", oldie.directory / "served"
    work.mkdir()
    (work / "backend.py").write_text(oldie.backend)
    (work / "pyproject.toml").write_text(PYPROJECT + '[project]\nname = "oldie"\nversion = "1.0"\n')
    git = [
        "git",
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example",
        "-c",
        "init.defaultBranch=main",
    ]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *words], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", work, served / "oldie.git"], check=True)
    subprocess.run(["git", "update-server-info"], cwd=served / "oldie.git", check=True)
    handler = functools.partial(Quiet, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/oldie.git"
        server.shutdown()
        thread.join()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@needs_bubblewrap
def test_a_repository_is_built_at_its_commit_when_it_is_trusted(oldie: Bench, repository: str):
    failure = oldie.failure(f"oldie @ git+{repository}\n")
    assert failure.code is FailureCode.NEEDS_TRUST
    assert [(each.kind, each.location) for each in failure.origins] == [
        (OriginKind.VCS, repository)
    ]
    oldie.allow(trusted=frozenset(failure.origins))
    lock = oldie.lock()
    assert b"commit-id" in lock.content
    assert lock.content == oldie.lock().content
    assert list(oldie.install(lock).glob("lib/python*/site-packages/oldie.py"))
