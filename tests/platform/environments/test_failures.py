"""What goes wrong is a sentence, is remembered, breaks nothing, and is over when its cause is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from element_jupyter.adapters.definitions import DiskFiles
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import OriginKind
from element_jupyter.core.environments.keeping import State
from element_jupyter.core.errors import Unavailable
from tests.package_index import PackageIndex
from tests.platform.environments.deployment import nobody, wait_until


def failure(deployment, *requirements: str, **settings) -> Failure:
    """Why an environment cannot be made."""
    with pytest.raises(EnvironmentFailed) as failed:
        deployment.environments(**settings).ensure(deployment.found(*requirements), nobody)
    found = failed.value.failure
    assert found.summary.endswith((".", "?")), found.summary
    assert found.hints
    return found


def ill(index: PackageIndex) -> None:
    index.status = 500


def slow(index: PackageIndex) -> None:
    index.delay_seconds = 30


def corrupt(index: PackageIndex) -> None:
    index.corrupt("tables")


def dropping(index: PackageIndex) -> None:
    index.dropping("tables")


@pytest.mark.parametrize(
    ("breaks", "code"),
    [
        (ill, FailureCode.OFFLINE),
        (slow, FailureCode.TIMEOUT),
        (corrupt, FailureCode.HASH_MISMATCH),
        (dropping, FailureCode.OFFLINE),
    ],
)
def test_an_index_that_is_ill_is_told_and_over_when_it_is_well(deployment, breaks, code):
    breaks(deployment.index)

    seconds = 2 if breaks is slow else 60
    found = failure(deployment, "tables", build_timeout_seconds=seconds)

    assert found.code is code
    assert list((deployment.store / "envs").glob("*")) == []
    deployment.index.healthy()
    assert deployment.environments().ensure(deployment.found("tables"), nobody)


def test_an_index_that_is_down_is_told(deployment):
    with PackageIndex() as gone:
        url = gone.url

    found = failure(deployment, "tables", index_urls=[url])

    assert found.code is FailureCode.OFFLINE
    assert found.retryable


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[None]:
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", directory],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        # a process that ends has no command line any more, and its directory still
        wait_until(
            lambda: not subprocess.run(["umount", directory], capture_output=True).returncode
        )


def test_a_full_disk_is_told_and_nothing_is_left(deployment):
    store = deployment.directory / "small"
    large = {f"wood_{number}.bin": bytes(1_000_000) for number in range(8)}
    noise = {name: bytes([number]) * 1_000_000 for number, name in enumerate(large)}
    deployment.index.wheel("wardrobe", "1.0", files={"wardrobe.py": "", **noise})
    with small_disk(store, 4):
        try:
            found = failure(deployment, "wardrobe", environment_store=str(store))
        finally:
            deployment.at_rest()
        left = [each.name for place in ("envs", "tmp") for each in (store / place).iterdir()]

        assert found.code is FailureCode.DISK_FULL
        assert left == []


def test_a_failure_is_remembered_until_what_it_is_about_changes(deployment):
    failure(deployment, "no-such-thing")
    environments = deployment.environments()

    state = environments.state_of(deployment.found("no-such-thing"))
    assert state.state is State.FAILED
    assert state.failure.code is FailureCode.UNKNOWN_PACKAGE
    assert [each.line for each in state.failure.culprits] == [1]

    assert environments.state_of(deployment.found("tables")).state is State.MISSING


def test_a_conflict_names_both_requirements(deployment):
    found = failure(deployment, "tables", "chairs<2")

    assert found.code is FailureCode.NO_SOLUTION
    assert "chairs" in found.summary
    assert {each.spec for each in found.culprits} >= {"chairs<2"}


def test_a_python_that_is_not_here_fails_the_build_in_words(deployment):
    (deployment.project / ".python-version").write_text("3.99\n")
    environments = deployment.environments()
    found = deployment.found("tables")

    state = environments.state_of(found)
    (*_, last) = deployment.told(environments.start_build(found))

    assert state.state is State.FAILED
    assert state.failure.code is FailureCode.PYTHON_MISMATCH
    assert last.failure == state.failure


def test_a_package_that_breaks_the_kernel_is_found_out_before_anybody_starts_one(deployment):
    broken = {"ipykernel/__init__.py": "raise RuntimeError('boom')", "ipykernel_launcher.py": ""}
    deployment.index.wheel("ipykernel", "8.0", files=broken)

    found = failure(deployment, "tables")

    assert found.code is FailureCode.DAMAGED
    assert "RuntimeError: boom" in found.summary
    assert list((deployment.store / "envs").iterdir()) == []


def test_another_index_needs_trust_which_is_given_for_one_project(deployment):
    with PackageIndex() as other:
        other.wheel("lamps", "1.0")
        lines = ("lamps", f"--extra-index-url {other.url}")
        found = failure(deployment, *lines)
        assert found.code is FailureCode.NEEDS_TRUST
        assert [(each.kind, each.location) for each in found.origins] == [
            (OriginKind.INDEX, other.url)
        ]
        environments = deployment.environments()
        definition = deployment.found(*lines)

        environments.trust(definition.root, found.origins, "ada")

        assert environments.state_of(definition).state is State.MISSING
        elsewhere = deployment.directory / "elsewhere"
        (elsewhere / ".git").mkdir(parents=True)
        (elsewhere / "requirements.txt").write_text("\n".join((*lines, "stools")) + "\n")
        with pytest.raises(EnvironmentFailed) as refused:
            environments.ensure(environments.find(elsewhere), nobody)
        assert refused.value.failure.code is FailureCode.NEEDS_TRUST
        assert environments.ensure(definition, nobody)
    trusted = deployment.store / "trust.json"
    assert trusted.stat().st_mode & 0o777 == 0o600
    assert '"who": "ada"' in trusted.read_text()


def test_what_the_administrator_allows_needs_no_trust(deployment):
    with PackageIndex() as other:
        other.wheel("lamps", "1.0")
        found = deployment.found("lamps", f"--extra-index-url {other.url}")
        assert deployment.environments(allowed_origins=[other.origin]).ensure(found, nobody)


def test_building_writes_nothing_beside_the_definition(deployment):
    notebook = deployment.requires("tables")
    notebook.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    environments = deployment.environments()

    environments.ensure(environments.find(notebook), nobody)

    assert sorted(each.name for each in deployment.project.iterdir()) == [
        ".git",
        "analysis.ipynb",
        "requirements.txt",
    ]


SECRET = "pa55-in-no-file"


@pytest.mark.parametrize("password", [SECRET, "wr0ng-pa55-word"], ids=["right", "wrong"])
def test_credentials_of_an_index_are_in_no_file_and_no_command_line(
    deployment, monkeypatch, password
):
    deployment.index.credentials = ("user", SECRET)
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "user")
    monkeypatch.setenv("UV_INDEX_CORP_PASSWORD", password)
    deployment.index.delay_seconds = 0.05
    environments = deployment.environments(index_urls=[f"corp={deployment.index.url}"])
    build_id = environments.start_build(deployment.found("tables"))
    commands: set[bytes] = set()

    def ended() -> bool:
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                commands.add(each.read_bytes())
            except OSError:
                continue
        return not environments._build(build_id).is_running

    wait_until(ended)

    (*_, last) = deployment.told(build_id)
    if password == SECRET:
        assert last.failure is None
    else:
        assert last.failure.code is FailureCode.AUTH_REQUIRED
    deployment.at_rest()
    assert any(b"/uv" in each for each in commands)
    assert not [each for each in commands if password.encode() in each]
    told = [
        path
        for path in deployment.store.rglob("*")
        if path.is_file() and password.encode() in path.read_bytes()
    ]
    assert told == []


def test_credentials_in_netrc_are_used(deployment, monkeypatch):
    deployment.index.credentials = ("user", SECRET)
    netrc = Path.home() / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {SECRET}\n")
    netrc.chmod(0o600)

    assert deployment.environments().ensure(deployment.found("tables"), nobody)


def test_a_store_that_cannot_be_written_is_a_sentence(deployment):
    file = deployment.directory / "file"
    file.write_text("")
    environments = deployment.environments(environment_store=str(file / "store"))
    found = deployment.found("tables")

    for ask in (environments.start_build, lambda it: environments.lock(it, nobody)):
        with pytest.raises(Unavailable, match="cannot be written") as refused:
            ask(found)
        assert "Element.environment_store" in refused.value.hint


def test_a_snapshot_is_locked_with_what_its_owner_trusts(deployment):
    with PackageIndex() as other:
        other.wheel("lamps", "1.0")
        found = deployment.found("lamps", f"--extra-index-url {other.url}")
        environments = deployment.environments()
        in_snapshot = environments.find_in(DiskFiles(deployment.project), "analysis.ipynb")
        with pytest.raises(EnvironmentFailed) as refused:
            environments.lock(in_snapshot, nobody)
        assert refused.value.failure.code is FailureCode.NEEDS_TRUST

        environments.trust(found.root, refused.value.failure.origins, "ada")

        locked, _ = environments.lock(in_snapshot, nobody)
        assert locked.definition == found.definition


def test_a_password_in_a_definition_stays_there_and_opens_nothing(deployment):
    deployment.index.credentials = ("user", SECRET)
    url = deployment.index.url.replace("http://", f"http://user:{SECRET}@")
    found = deployment.found("tables", f"--extra-index-url {url}")
    with PackageIndex() as own:
        own.kernel()
        environments = deployment.environments(index_urls=[own.url])
        environments.trust(found.root, found.definition.origins, "ada")

        with pytest.raises(EnvironmentFailed) as failed:
            environments.ensure(found, nobody)

    deployment.at_rest()
    assert failed.value.failure.code is FailureCode.AUTH_REQUIRED
    assert SECRET not in failed.value.failure.text
    assert SECRET not in found.definition.model_dump_json()
    told = [
        path
        for path in deployment.store.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert told == []
