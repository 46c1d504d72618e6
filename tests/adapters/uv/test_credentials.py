"""An index that wants a password: it reaches the index, and is found nowhere afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from element_jupyter.core.environments.building import FailureCode
from element_jupyter.core.environments.definitions import Origin, OriginKind
from tests.adapters.uv.conftest import Bench
from tests.package_index import PackageIndex

PASSWORD = "hunter2-c0rrect-h0rse"
PROJECT = """
[project]
name = "x"
version = "1"
requires-python = ">=3.9"
dependencies = ["tables"]

[[tool.uv.index]]
name = "corp"
url = "{url}"
"""


@contextmanager
def watching_arguments() -> Iterator[set[str]]:
    """Gather the arguments of all processes below this one, for as long as the block lasts."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        own = psutil.Process()
        while not done.wait(0.002):
            for each in own.children(recursive=True):
                try:
                    seen.add(" ".join(each.cmdline()))
                except psutil.Error:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@pytest.fixture
def secret(other_index: PackageIndex) -> PackageIndex:
    """An index of the company, where tables are."""
    other_index.wheel("tables", "5.0", requires=["chairs"])
    other_index.credentials = ("bob", PASSWORD)
    return other_index


def trusting(bench: Bench, index: PackageIndex) -> None:
    bench.allow(trusted=frozenset({Origin(kind=OriginKind.INDEX, location=index.url)}))


def with_password(index: PackageIndex) -> str:
    return index.url.replace("://", f"://bob:{PASSWORD}@")


def by_netrc(bench: Bench, secret: PackageIndex) -> None:
    netrc = Path(bench.rules.variables["HOME"]) / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login bob password {PASSWORD}\n")
    netrc.chmod(0o600)
    bench.allow(index_urls=(secret.url, bench.index.url))
    bench.write({"requirements.txt": "tables\n"})


def by_variables_of_the_deployments_index(bench: Bench, secret: PackageIndex) -> None:
    bench.allow(index_urls=(f"corp={secret.url}", bench.index.url))
    bench.set(UV_INDEX_CORP_USERNAME="bob", UV_INDEX_CORP_PASSWORD=PASSWORD)
    bench.write({"requirements.txt": "tables\n"})


def by_variables_of_the_projects_index(bench: Bench, secret: PackageIndex) -> None:
    trusting(bench, secret)
    bench.set(UV_INDEX_CORP_USERNAME="bob", UV_INDEX_CORP_PASSWORD=PASSWORD)
    bench.write({"pyproject.toml": PROJECT.format(url=secret.url)})


def by_a_url_in_the_project(bench: Bench, secret: PackageIndex) -> None:
    trusting(bench, secret)
    bench.write({"pyproject.toml": PROJECT.format(url=with_password(secret))})


def by_a_url_in_the_requirements(bench: Bench, secret: PackageIndex) -> None:
    trusting(bench, secret)
    text = f"--extra-index-url {with_password(secret)}\ntables\n"
    bench.write({"requirements.txt": text})


@pytest.mark.parametrize(
    "given",
    [
        by_netrc,
        by_variables_of_the_deployments_index,
        by_variables_of_the_projects_index,
        by_a_url_in_the_project,
        by_a_url_in_the_requirements,
    ],
)
def test_a_password_is_used_and_kept_nowhere(bench: Bench, secret: PackageIndex, given):
    given(bench, secret)
    with watching_arguments() as arguments:
        lock = bench.lock()
        if given in {by_a_url_in_the_project, by_a_url_in_the_requirements}:
            # whoever installs a lock has credentials of their own
            by_netrc(bench, secret)
        prefix = bench.install(lock)
    assert bench.versions(lock)["tables"] == "5.0"
    assert any("sync" in each for each in arguments)
    word = PASSWORD.encode()
    assert word not in lock.content
    assert PASSWORD not in repr(bench.told.events)
    assert not [each for each in arguments if PASSWORD in each]
    kept = [each for each in prefix.rglob("*") if each.is_file() and word in each.read_bytes()]
    assert kept == []
    assert PASSWORD not in "".join([*secret.requests, *bench.index.requests])


def test_a_wrong_password_is_told_and_not_repeated(bench: Bench, secret: PackageIndex):
    by_netrc(bench, secret)
    secret.credentials = ("bob", "another")
    failure = bench.failure()
    assert failure.code is FailureCode.AUTH_REQUIRED
    assert PASSWORD not in failure.model_dump_json()
    assert secret.url in failure.summary


def test_a_keyring_is_asked_where_the_deployment_says_so(bench: Bench, secret: PackageIndex):
    programs = bench.directory / "bin"
    programs.mkdir()
    keyring = programs / "keyring"
    keyring.write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    keyring.chmod(0o700)
    trusting(bench, secret)
    bench.write({"pyproject.toml": PROJECT.format(url=secret.url.replace("://", "://bob@"))})
    bench.set(PATH=f"{programs}:/usr/bin:/bin")
    assert bench.failure().code is FailureCode.AUTH_REQUIRED
    bench.set(UV_KEYRING_PROVIDER="subprocess")
    lock = bench.lock()
    assert bench.versions(lock)["tables"] == "5.0"
    assert b"bob" not in lock.content
