"""Every file is compared with the lock, and what is found can be healed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from element_jupyter.adapters.environment_store import EnvironmentStore
from element_jupyter.core.environments.identity import Artefact, Backend
from element_jupyter.core.errors import NotFound
from tests.adapters.environment_store.wheels import (
    LOCK,
    PACKAGES,
    a_manifest,
    environment_id,
    import_as_root,
)


@pytest.fixture
def path(maker) -> Path:
    """An environment that may be damaged."""
    path = maker.publish()
    subprocess.run(["chmod", "-R", "u+w", path], check=True)
    return path


def edit(path: Path, content: str) -> None:
    """Change a file as an editor does, in place: in all that it is linked to."""
    path.chmod(0o644)
    path.write_text(content)


def swap(path: Path) -> None:
    target = path.with_name("target.py")
    path.rename(target)
    path.symlink_to(target)


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


DAMAGES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "edited, of the same size": (
        lambda path: edit(path / PACKAGES / "greet/words.py", "HELLO = 'HELLO'\n"),
        f"{PACKAGES}/greet/words.py",
        "changed",
    ),
    "removed": (
        lambda path: (path / PACKAGES / "greet/large.txt").unlink(),
        f"{PACKAGES}/greet/large.txt",
        "missing",
    ),
    "added": (
        lambda path: (path / PACKAGES / "evil.pth").write_text("import os"),
        f"{PACKAGES}/evil.pth",
        "not in the lock",
    ),
    "a program added": (
        lambda path: (path / "bin/git").write_text("#!/bin/sh\n"),
        "bin/git",
        "not in the lock",
    ),
    "a script of venv edited": (
        lambda path: edit(path / "bin/activate", "rm -rf /"),
        "bin/activate",
        "changed",
    ),
    "venv's settings edited": (
        lambda path: edit(path / "pyvenv.cfg", "include-system-site-packages = true\n"),
        "pyvenv.cfg",
        "changed",
    ),
    "replaced by a link": (
        lambda path: swap(path / PACKAGES / "greet/words.py"),
        f"{PACKAGES}/greet/words.py",
        "is a link",
    ),
    "python from elsewhere": (
        lambda path: relink(path / "bin/python", "/bin/sh"),
        "bin/python",
        "changed",
    ),
    "a record edited": (
        lambda path: edit(path / PACKAGES / "greet-1.2.dist-info/RECORD", ""),
        f"{PACKAGES}/greet-1.2.dist-info/RECORD",
        "changed",
    ),
    "a record removed": (
        lambda path: (path / PACKAGES / "greet-1.2.dist-info/RECORD").unlink(),
        f"{PACKAGES}/greet-1.2.dist-info/RECORD",
        "missing",
    ),
    "another version": (
        lambda path: edit(
            path / PACKAGES / "greet-1.2.dist-info/METADATA", "Name: greet\nVersion: 2\n\n"
        ),
        "greet 2",
        "is installed and not in the lock",
    ),
    "byte-code of nothing": (
        lambda path: (path / PACKAGES / "greet/__pycache__/x.cpython-311.pyc").write_bytes(
            b"x" * 20
        ),
        f"{PACKAGES}/greet/__pycache__/x.cpython-311.pyc",
        "is of a module that is not in the lock",
    ),
    "the lock": (lambda path: edit(path / ".element/lock", "x"), ".element/lock", "changed"),
    "the manifest": (
        lambda path: edit(path / ".element/manifest.json", "{"),
        ".element/manifest.json",
        "cannot be read",
    ),
    "another's manifest": (
        lambda path: edit(path / ".element/manifest.json", a_manifest(7).model_dump_json()),
        ".element/manifest.json",
        f"is of {environment_id(7)}",
    ),
    "the notes": (
        lambda path: edit(path / ".element/files.json", "[]"),
        ".element/files.json",
        "cannot be read: not an object",
    ),
    "something of its own": (
        lambda path: (path / ".element/more").touch(),
        ".element/more",
        "not in the lock",
    ),
}


def test_what_was_published_has_no_faults(store, path):
    found = store.verify(environment_id())
    files = [each for each in path.rglob("*") if each.is_symlink() or each.is_file()]
    assert found.faults == ()
    assert found.files == len(files) - 3  # the manifest, the lock and the notes
    assert 0 < found.seconds < 5


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_differs_is_named(store, path, damage):
    do, where, problem = DAMAGES[damage]
    do(path)
    assert (where, problem) in [
        (each.path, each.problem) for each in store.verify(environment_id()).faults
    ]


def test_a_record_that_leads_outside_is_a_fault_and_not_followed(store, path):
    (path / PACKAGES / "greet-1.2.dist-info/RECORD").chmod(0o644)
    with (path / PACKAGES / "greet-1.2.dist-info/RECORD").open("a") as file:
        file.write("../../../../../../../etc/passwd,sha256=AAAA,1\n/etc/passwd,,\n")
    problems = [each.problem for each in store.verify(environment_id()).faults]
    assert sum("names a file outside of the environment" in each for each in problems) == 2


def test_a_quick_look_finds_what_is_missing_added_or_of_another_size(store, path):
    assert store.verify(environment_id(), quick=True).faults == ()
    edit(path / PACKAGES / "greet/__init__.py", "")
    edit(path / PACKAGES / "greet/words.py", "HELLO = 'HELLO'\n")  # of the same size
    (path / PACKAGES / "greet/fails.py").unlink()
    (path / PACKAGES / "more.py").touch()
    found = {
        each.path.removeprefix(PACKAGES): each.problem
        for each in store.verify(environment_id(), quick=True).faults
    }
    assert found == {
        "/greet/__init__.py": "changed",
        "/greet/fails.py": "missing",
        "/more.py": "not in the lock",
    }


def test_byte_code_that_python_wrote_itself_is_no_fault(store, path):
    import_as_root(path)
    assert len(list(path.rglob("*.pyc"))) == 2
    assert store.verify(environment_id()).faults == ()
    os.utime(path / PACKAGES / "greet/words.py", (1, 1))
    faults = store.verify(environment_id()).faults
    assert [each.problem for each in faults] == ["is not the byte-code of its module"]


def test_byte_code_that_was_changed_is_a_fault(store, maker):
    path = maker.publish()
    store.compile(environment_id())
    changed = next((path / PACKAGES / "greet/__pycache__").glob("words.*.pyc"))
    content = changed.read_bytes()
    changed.chmod(0o644)
    changed.write_bytes(content.replace(b"hello", b"HELLO"))
    faults = store.verify(environment_id()).faults
    assert [(each.path, each.problem) for each in faults] == [
        (changed.relative_to(path).as_posix(), "is not the byte-code of its module")
    ]


def test_an_environment_that_is_not_there_cannot_be_verified(store):
    with pytest.raises(NotFound, match=environment_id()):
        store.verify(environment_id())


def test_a_polluted_environment_and_what_it_is_linked_from_are_taken_away(store, maker):
    path = maker.publish(1)
    store.compile(environment_id(1))
    edit(path / PACKAGES / "greet/words.py", "HELLO = 'evil!'\n")
    changed = next((path / PACKAGES / "ipykernel/__pycache__").glob("part3.*.pyc"))
    changed.chmod(0o644)
    changed.write_bytes(changed.read_bytes() + b"x")
    dropped = store.quarantine(environment_id(1))
    assert [each.split("/")[0] for each in dropped] == ["pyc", "uv-cache", "uv-cache", "uv-cache"]
    assert store.get(environment_id(1)) is None
    for number in (1, 2):
        maker.publish(number)
        store.compile(environment_id(number))
        assert store.verify(environment_id(number)).faults == ()


IN_CACHE = "packages/ipykernel-7.0-0.conda"


def a_conda_prefix(store: EnvironmentStore) -> Path:
    """A prefix as a conda installer leaves it: records, byte-code of its own, a wheel on top."""

    def install(prefix: Path, final: Path) -> None:
        packages = prefix / PACKAGES
        contents = {
            "bin/python3.11": '#!/bin/sh\nexec python3 "$@"\n',
            f"{PACKAGES}/ipykernel_launcher.py": "",
            f"{PACKAGES}/ipykernel-7.0.dist-info/METADATA": "Name: ipykernel\nVersion: 7.0\n\n",
            f"{PACKAGES}/ipykernel-7.0.dist-info/RECORD": "ipykernel_launcher.py,sha256=AAAA,1\n",
            f"{PACKAGES}/__pycache__/ipykernel_launcher.cpython-311.pyc": "its own",
        }
        for path, content in contents.items():
            (prefix / path).parent.mkdir(parents=True, exist_ok=True)
            (prefix / path).write_text(content)
        cached = store.layout.rattler_cache / IN_CACHE / "site-packages/ipykernel_launcher.py"
        cached.parent.mkdir(parents=True)
        os.link(prefix / PACKAGES / "ipykernel_launcher.py", cached)
        (prefix / "bin/python3.11").chmod(0o755)
        (prefix / "bin/python").symlink_to("python3.11")
        (prefix / "conda-meta").mkdir()
        for name, version, owned in (
            ("python", "3.11.7", ["bin/python3.11", "bin/python"]),
            ("ipykernel", "7.0", [each for each in contents if "ipykernel" in each]),
        ):
            paths = [
                {
                    "_path": each,
                    "path_type": "softlink" if each == "bin/python" else "hardlink",
                    "sha256": "0" * 64,
                    "sha256_in_prefix": hashlib.sha256((prefix / each).read_bytes()).hexdigest(),
                    "size_in_bytes": 1,
                }
                for each in owned
            ]
            document = {"name": name, "version": version, "paths_data": {"paths": paths}}
            (prefix / f"conda-meta/{name}-{version}-0.json").write_text(json.dumps(document))
        assert packages.is_dir()

    rows = tuple(
        Artefact(name=name, version=version, sha256="0" * 64)
        for name, version in (("python", "3.11.7"), ("ipykernel", "7.0"))
    )
    manifest = a_manifest(backend=Backend.RATTLER, packages=rows)
    return store.publish(manifest, LOCK, install, lambda prefix: None)


def test_a_conda_prefix_is_compared_with_its_own_records(store):
    path = a_conda_prefix(store)
    assert store.get(environment_id()) is not None
    assert store.verify(environment_id()).faults == ()
    edit(path / "bin/python3.11", "#!/bin/sh\n")
    edit(path / "conda-meta/python-3.11.7-0.json", "{}")
    found = {each.path: each.problem for each in store.verify(environment_id()).faults}
    assert found["conda-meta/python-3.11.7-0.json"] == "changed"
    assert found["python 3.11.7"] == "is in the lock and not installed"


def test_byte_code_that_a_conda_package_brings_along_stays(store):
    path = a_conda_prefix(store)
    store.compile(environment_id())
    cache = path / PACKAGES / "__pycache__"
    assert [each.read_text() for each in cache.iterdir()] == ["its own"]
    assert store.verify(environment_id()).faults == ()


def test_what_a_conda_prefix_is_linked_from_is_taken_away_too(store):
    path = a_conda_prefix(store)
    edit(path / PACKAGES / "ipykernel_launcher.py", "print('evil')")
    assert store.quarantine(environment_id()) == (f"rattler-cache/{IN_CACHE}",)
    assert not (store.layout.rattler_cache / IN_CACHE).exists()
    assert store.get(environment_id()) is None
