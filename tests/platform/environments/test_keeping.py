"""What is built is listed, compared with its lock, mended, and removed when nothing uses it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from element_jupyter.adapters.environment_store import started_ticks
from element_jupyter.core.environments.keeping import Holder, HolderKind, State
from element_jupyter.core.errors import Invalid, NotFound
from tests.platform.environments.deployment import builders, nobody, wait_until

NOW = timedelta(0)


def built(deployment, *requirements: str) -> str:
    """The id of an environment that is built, and whose builder has ended."""
    made = deployment.environments().ensure(deployment.found(*requirements), nobody)
    deployment.at_rest()
    return made.manifest.environment_id


def pin_a_job(data: Path, environment_id: str) -> None:
    directory = data / "jobs" / "ada" / "sales"
    directory.mkdir(parents=True)
    (directory / "job.yaml").write_text(
        f"kind: Job\nmetadata:\n  pins:\n    main: {{environment_id: {environment_id}}}\n"
    )


def spoil(environment: Path) -> Path:
    """Change an installed file, as somebody with the rights to might."""
    (file,) = environment.glob("lib/python*/site-packages/tables.py")
    file.parent.chmod(0o755)
    file.chmod(0o644)
    with file.open("a") as module:
        module.write("# changed\n")
    return file


def test_what_is_built_is_listed_with_who_uses_it(deployment):
    environment_id = built(deployment, "tables")
    pin_a_job(deployment.data, environment_id)
    holder = Holder(
        kind=HolderKind.KERNEL,
        id="k1",
        pid=os.getpid(),
        started_ticks=started_ticks(os.getpid()),
        what="a.ipynb",
    )
    deployment.environments().hold(environment_id, holder)

    (listed,) = deployment.environments().summaries()

    assert listed.environment_id == environment_id
    assert listed.definition == "requirements.txt"
    assert listed.packages == 3
    assert listed.own_bytes > 0
    assert listed.jobs == ("ada/sales",)
    assert listed.holders == (holder,)


def test_what_nothing_uses_is_pruned_and_all_else_is_kept(deployment, tmp_path):
    environments = deployment.environments()
    held = built(deployment, "tables")
    pinned = built(deployment, "tables", "stools")
    elsewhere = built(deployment, "chairs")
    unused = built(deployment, "chairs", "stools")
    shared = environments.ensure(environments.shared()["default"], nobody)
    deployment.at_rest()
    holder = Holder(
        kind=HolderKind.RUN,
        id="r1",
        pid=os.getpid(),
        started_ticks=started_ticks(os.getpid()),
    )
    environments.hold(held, holder)
    pin_a_job(deployment.data, pinned)
    other = tmp_path / "other-data"
    deployment.environments(data_dir=str(other)).start_build(deployment.found("chairs"))
    deployment.at_rest()
    pin_a_job(other, elsewhere)

    would = environments.prune(NOW, dry_run=True)
    assert [each.environment_id for each in would] == [unused]
    assert environments.prune(timedelta(days=1)) == []
    gone = environments.prune(NOW)

    assert [each.environment_id for each in gone] == [unused]
    left = {each.environment_id for each in environments.summaries()}
    assert left == {held, pinned, elsewhere, shared.manifest.environment_id}
    assert environments.state_of(deployment.found("chairs", "stools")).state is State.MISSING


def test_a_changed_file_is_found_and_mended_with_the_same_environment(deployment):
    environments = deployment.environments()
    environment_id = built(deployment, "tables")
    file = spoil(environments.get(environment_id).directory)

    (fault,) = environments.verify(environment_id).faults
    assert fault.path.endswith("site-packages/tables.py")
    made = environments.repair(environment_id, nobody)
    deployment.at_rest()

    assert made.manifest.environment_id == environment_id
    assert environments.verify(environment_id).faults == ()
    assert "changed" not in file.read_text()


def test_an_environment_that_is_not_there_can_be_neither_verified_nor_mended(deployment):
    for ask in (
        deployment.environments().verify,
        lambda it: deployment.environments().repair(it, nobody),
    ):
        with pytest.raises(NotFound):
            ask("py-" + "0" * 32)


def test_shared_environments_are_built_ahead_by_a_process(deployment):
    (deployment.shared / "gone").mkdir()
    (deployment.shared / "gone" / "requirements.txt").write_text("no-such-thing\n")
    (deployment.data / "element_config.py").write_text(
        f"c.Element.environment_store = {str(deployment.store)!r}\n"
        f"c.Element.environments_dir = {str(deployment.shared)!r}\n"
        f"c.Element.index_urls = [{deployment.index.url!r}]\n"
    )
    variables = {key: text for key, text in os.environ.items() if not key.startswith("ELEMENT_")}

    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "element_jupyter.platform.environments.build_ahead"),
            *("--data", str(deployment.data)),
        ],
        capture_output=True,
        text=True,
        env=variables,
    )

    assert done.returncode == 1
    assert "'default' is py-" in done.stderr
    assert "'gone' cannot be built" in done.stderr
    environments = deployment.environments()
    shared = environments.shared()
    assert environments.state_of(shared["default"]).state is State.READY
    wait_until(lambda: not builders(deployment.directory))
    (listed,) = environments.summaries()
    assert listed.names == ("default",)


# ------------------------------------------------------------------------------- people's own files


def test_a_lock_is_written_beside_its_definition_and_used_from_then_on(deployment):
    notebook = deployment.requires("tables")
    environments = deployment.environments()

    made = environments.lock_file(notebook, nobody)

    assert made.path == str(deployment.project / "pylock.toml")
    assert made.written
    assert {(each.name, each.after) for each in made.changes} >= {("tables", "1.0")}
    deployment.index.wheel("tables", "2.0")
    again = environments.lock_file(notebook, nobody)
    assert again.is_current
    assert not again.written
    found = environments.find(notebook)
    assert found.definition.lock_path == "pylock.toml"
    environment = environments.ensure(found, nobody)
    assert {each.name: each.version for each in environment.manifest.packages}["tables"] == "1.0"


def test_a_lock_is_brought_up_to_date_when_it_is_asked_for(deployment):
    notebook = deployment.requires("tables")
    environments = deployment.environments()
    environments.lock_file(notebook, nobody)
    deployment.index.wheel("tables", "2.0", requires=["chairs>=2"])

    would = environments.lock_file(notebook, nobody, upgrade=True, write=False)
    made = environments.lock_file(notebook, nobody, upgrade=True)

    assert [(each.name, each.before, each.after) for each in would.changes] == [
        ("tables", "1.0", "2.0")
    ]
    assert not would.written
    assert made.changes == would.changes
    assert b'version = "2.0"' in (deployment.project / "pylock.toml").read_bytes()


def test_a_project_gets_the_lock_of_its_own_tool(deployment):
    (deployment.project / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.9"\n'
        'dependencies = ["tables"]\n'
    )
    environments = deployment.environments()

    made = environments.lock_file(deployment.project, nobody)

    assert made.path == str(deployment.project / "uv.lock")
    assert ("tables", "1.0") in {(each.name, each.after) for each in made.changes}
    assert environments.lock_file(deployment.project, nobody).is_current
    found = environments.find(deployment.project)
    assert found.definition.lock_path == "uv.lock"
    environment = environments.ensure(found, nobody)
    assert "tables" in {each.name for each in environment.manifest.packages}


def test_a_lock_that_cannot_be_written_is_a_sentence(deployment):
    notebook = deployment.requires("tables")
    (deployment.project / "pylock.toml").mkdir()

    with pytest.raises(Invalid, match="cannot be written"):
        deployment.environments().lock_file(notebook, nobody)


def test_a_requirement_is_added_where_the_definition_is(deployment):
    notebook = deployment.requires("tables  # to put things on")

    edit = deployment.environments().add(notebook, ["stools>=2"])

    assert (edit.path, edit.added) == ("requirements.txt", ("stools>=2",))
    text = (deployment.project / "requirements.txt").read_text()
    assert text == "tables  # to put things on\nstools>=2\n"


def test_a_notebook_without_a_definition_gets_one_when_something_is_added(deployment):
    (deployment.project / "deep").mkdir()

    edit = deployment.environments().add(deployment.project / "deep" / "a.ipynb", ["tables"])

    found = deployment.environments().find(deployment.project / "deep" / "a.ipynb")
    assert edit.path == found.definition.path == "deep/requirements.txt"
    assert [each.spec for each in found.definition.requirements] == ["stools", "tables"]


def test_byte_code_that_a_killed_process_has_not_made_is_made_by_the_next(deployment):
    environment_id = built(deployment, "tables")
    directory = deployment.environments().get(environment_id).directory

    def compiled() -> list[Path]:
        return list(directory.glob("lib/python*/site-packages/__pycache__/tables.*.pyc"))

    (byte_code,) = compiled()
    byte_code.parent.chmod(0o755)
    byte_code.unlink()
    (deployment.store / "compiled" / environment_id).unlink()

    built(deployment, "stools")

    assert compiled() == [byte_code]
