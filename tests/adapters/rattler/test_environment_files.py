"""`environment.yml`: solved, locked, installed, and a kernel in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from jupyter_client.manager import KernelManager

from element_jupyter.adapters.rattler.document import from_rattler
from element_jupyter.core.environments.building import Phase
from tests import conda_channel

PLAIN = """\
name: plain
channels:
  - CHANNEL
dependencies:
  - python
  - greeter=1
  - branded
"""


def test_a_definition_becomes_an_environment_in_which_a_kernel_runs(conda):
    lock = conda.lock(PLAIN)
    environment = conda.install(lock)
    assert lock.python == conda_channel.PYTHON

    manager = KernelManager()
    manager._kernel_spec = None
    python = str(environment / "bin" / "python")
    manager.kernel_spec.argv[:] = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.start_kernel(env={"HOME": str(conda.root), "PYTHONDONTWRITEBYTECODE": "1"})
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=60)
        said = []
        client.execute_interactive(
            "import sys, greeter; print(sys.prefix)",
            output_hook=lambda message: said.append(message["content"].get("text", "")),
            timeout=60,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert "".join(said).strip() == str(environment)


def test_scripts_and_files_name_the_place_where_the_environment_will_be(conda):
    environment = conda.install(conda.lock(PLAIN))
    assert (environment / "etc/brand.conf").read_text() == f"home={environment}\n"
    for script, output in (("brand", str(environment)), ("greet", "hello from 1.0")):
        done = subprocess.run([environment / "bin" / script], capture_output=True, text=True)
        assert (done.stdout.strip(), done.stderr) == (output, "")
    assert b"half-env" not in b"".join(
        path.read_bytes() for path in (environment / "bin").iterdir() if path.is_file()
    )


def test_locking_the_same_twice_gives_the_same_bytes_without_path_or_time(conda):
    first, second = conda.lock(PLAIN), conda.lock(PLAIN)
    assert first.content == second.content
    assert str(conda.root).encode() not in first.content
    assert b"indexed_timestamp" not in first.content
    ours = json.loads(first.content.split(b"\n")[0].removeprefix(b"# element: "))
    assert ours["meaning"] == conda.found(PLAIN).definition.meaning
    assert (ours["backend"], ours["python"]) == ("rattler", conda_channel.PYTHON)


def test_a_lock_is_a_pixi_lock_that_other_tools_read(conda, tmp_path):
    import rattler

    (tmp_path / "pixi.lock").write_bytes(conda.lock(PLAIN).content)
    lock = rattler.LockFile.from_path(tmp_path / "pixi.lock")
    lock.to_path(tmp_path / "again.lock")
    again = from_rattler((tmp_path / "again.lock").read_text())
    assert again == json.loads((tmp_path / "pixi.lock").read_text().partition("\n")[2])


def test_artefacts_are_what_is_installed_with_name_version_sha256_and_url(conda, channel_directory):
    lock = conda.lock(PLAIN)
    artefacts = conda.engine.artefacts(lock.content, None)
    records = [
        json.loads(path.read_text()) for path in (conda.install(lock) / "conda-meta").glob("*.json")
    ]
    assert {(each.name, each.version, each.sha256, each.url) for each in artefacts} == {
        (each["name"], each["version"], each["sha256"], each["url"]) for each in records
    }
    assert {"python", "ipykernel", "greeter"} < {each.name for each in artefacts}
    assert [each.name for each in artefacts] == sorted(each.name for each in artefacts)


def test_a_lock_makes_the_same_environment_in_another_store(conda, fresh):
    lock = conda.lock(PLAIN)
    rewritten = lock.content.replace(conda.channel.url.encode(), fresh.channel.url.encode())
    here, there = conda.install(lock), fresh.install(rewritten, "there")
    assert files_of(here) == files_of(there)


def test_versions_are_kept_until_an_upgrade_is_asked_for(conda):
    older = conda.lock(PLAIN)
    newer = conda.found(PLAIN.replace("greeter=1", "greeter"))
    assert "greeter 1.0" in versions(conda, conda.lock(newer, previous=older.content))
    assert "greeter 2.0" in versions(conda, conda.lock(newer, previous=older.content, upgrade=True))


def test_what_is_newer_than_a_date_is_left_out(conda):
    found = conda.found(PLAIN.replace("greeter=1", "greeter"))
    rules = conda.rules(exclude_newer="2024-06-01")
    assert "greeter 1.0" in versions(conda, conda.lock(found, rules=rules))


def test_progress_is_told_in_packages(conda):
    lock = conda.lock(PLAIN)
    conda.told.said.clear()
    conda.install(lock)
    total = len(conda.engine.artefacts(lock.content, None))
    assert conda.told.said[-1] == (Phase.INSTALLING, total, total)
    assert (Phase.DOWNLOADING, 1, total) in conda.told.said


def test_a_second_environment_shares_its_files_with_the_first(conda):
    lock = conda.lock(PLAIN)
    first, second = conda.install(lock, "first"), conda.install(lock, "second")
    library = f"lib/python{conda_channel.SHORT}/os.py"
    assert (first / library).stat().st_ino == (second / library).stat().st_ino


def test_scripts_of_packages_never_run(conda):
    environment = conda.install(conda.lock(PLAIN + "  - hooked\n"))
    assert (environment / "bin/.hooked-post-link.sh").exists()
    assert not (environment / "post-link-ran").exists()


def test_without_a_network_what_was_used_before_is_enough(fresh):
    lock = fresh.lock(PLAIN)
    fresh.install(lock, "first")
    asked = len(fresh.channel.requests)
    offline = fresh.rules(offline=True)
    assert fresh.lock(PLAIN, rules=offline).content == lock.content
    fresh.install(lock, "second", rules=offline)
    assert len(fresh.channel.requests) == asked


def test_a_bare_name_is_the_deployments_own_channel_of_that_name(conda):
    name = conda.channel.url.rpartition("/")[2]
    lock = conda.lock(f"channels: [{name}]\ndependencies: ['{name}::greeter']\n")
    assert conda.channel.url.encode() in lock.content


def versions(conda, lock) -> set[str]:
    found = conda.engine.artefacts(lock.content, None)
    return {f"{each.name} {each.version}" for each in found}


def files_of(environment: Path) -> dict[str, bytes]:
    """Return every file's content but what rattler notes about itself, with the path left out."""
    return {
        path.relative_to(environment).as_posix(): path.read_bytes().replace(
            str(environment).encode(), b"HERE"
        )
        for path in environment.rglob("*")
        if path.is_file() and "conda-meta" not in path.parts
    }
