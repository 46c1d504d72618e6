"""Environments are built aside, checked, sealed and shown whole, whoever dies or whatever is full."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from element_jupyter.adapters.environment_store import EnvironmentStore
from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode
from element_jupyter.core.environments.identity import Artefact
from element_jupyter.core.environments.keeping import Holder, HolderKind
from element_jupyter.core.errors import Invalid
from tests.adapters.environment_store.wheels import (
    LOCK,
    PACKAGES,
    Maker,
    a_manifest,
    environment_id,
)

ROUNDS = 15
UNPRIVILEGED = (
    ("setpriv", "--bounding-set", "-dac_override,-dac_read_search,-fowner,-sys_admin")
    if os.geteuid() == 0
    else ()
)
"""As the same user, to whom permissions apply even if it is root."""


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


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
        subprocess.run(["umount", directory], check=True)


def test_a_published_environment_is_whole_and_where_it_should_be(store, maker):
    path = maker.publish()
    manifest, directory = store.get(environment_id())
    assert directory == path == store.layout.envs / environment_id()
    assert manifest == a_manifest().model_copy(update={"built_at": manifest.built_at})
    assert (path / ".element/lock").read_bytes() == LOCK
    done = subprocess.run(
        [path / "bin/python", "-I", "-c", "import greet, sys; print(greet.hello(), sys.prefix)"],
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["hello", str(path)]
    assert names(store.layout.tmp) == names(store.layout.trash) == []


def test_nothing_in_an_environment_can_be_written(store, maker):
    path = maker.publish()
    for directory, _, files in os.walk(path):
        for file in (Path(directory, each) for each in files):
            if not file.is_symlink():
                assert stat.S_IMODE(file.stat().st_mode) in {0o444, 0o555}, file
        if directory != str(path):
            assert stat.S_IMODE(Path(directory).stat().st_mode) == 0o555, directory
    program = path / "bin/python"
    assert stat.S_IMODE((path / "bin/activate").stat().st_mode) == 0o444
    assert program.is_symlink()


def test_its_owner_neither_installs_into_it_nor_leaves_byte_code_there(store, maker):
    path = maker.publish()
    tries = (
        f"open('{path}/{PACKAGES}/greet/words.py', 'a')",
        f"open('{path}/{PACKAGES}/other.py', 'w')",
        f"open('{path}/bin/other', 'w')",
        f"__import__('os').unlink('{path}/{PACKAGES}/greet/words.py')",
    )
    for each in tries:
        done = subprocess.run(
            [*UNPRIVILEGED, path / "bin/python", "-c", each], capture_output=True, text=True
        )
        assert "PermissionError" in done.stderr, each
    importing = [*UNPRIVILEGED, path / "bin/python", "-c", "import greet"]
    subprocess.run(importing, check=True, env={"PATH": os.environ["PATH"]})
    assert list(path.rglob("*.pyc")) == []


def test_an_owner_without_privileges_builds_and_removes(store, start):
    built = start("publish", 1, wrap=UNPRIVILEGED)
    _, said = built.communicate()
    assert built.returncode == 0, said
    compiled = start("compile", 1, wrap=UNPRIVILEGED)
    _, said = compiled.communicate()
    assert compiled.returncode == 0, said
    assert store.verify(environment_id()).faults == ()
    assert len(list(store.layout.envs.rglob("*.pyc"))) > 10
    removing = (
        "import sys; from pathlib import Path; from datetime import timedelta;"
        "from element_jupyter.adapters.environment_store import EnvironmentStore;"
        "store = EnvironmentStore(Path(sys.argv[1]));"
        "assert store.prune(unused_for=timedelta(0))"
    )
    subprocess.run([*UNPRIVILEGED, sys.executable, "-c", removing, store.layout.root], check=True)
    assert names(store.layout.envs) == names(store.layout.trash) == []


def test_one_that_is_there_is_used_and_nothing_is_installed(store, maker):
    path = maker.publish()
    inode = path.stat().st_ino
    assert maker.publish() == path
    assert (path.stat().st_ino, maker.installed) == (inode, 1)


def test_one_that_another_published_meanwhile_is_used(store, maker, wheels):
    def install(prefix: Path, final: Path) -> None:
        Maker(EnvironmentStore(store.layout.root), wheels).publish()
        inodes.append(final.stat().st_ino)
        maker.install(prefix, final)

    inodes: list[int] = []
    path = store.publish(a_manifest(), LOCK, install, maker.check)
    assert inodes == [path.stat().st_ino]
    assert names(store.layout.tmp) == names(store.layout.trash) == []


@pytest.mark.parametrize("failing", ["install", "check"])
def test_what_fails_leaves_nothing(store, maker, failing):
    def fail(*arguments: Path) -> None:
        raise RuntimeError("on purpose")

    steps = {"install": maker.install, "check": maker.check} | {failing: fail}
    with pytest.raises(RuntimeError, match="on purpose"):
        store.publish(a_manifest(), LOCK, **steps)
    assert store.get(environment_id()) is None
    assert names(store.layout.envs) == names(store.layout.tmp) == []


def test_an_environment_with_a_changed_file_is_not_published(store, maker):
    def install(prefix: Path, final: Path) -> None:
        maker.install(prefix, final)
        changed = prefix / PACKAGES / "greet/words.py"
        changed.unlink()
        changed.write_text("HELLO = 'evil!'\n")

    with pytest.raises(EnvironmentFailed) as failed:
        store.publish(a_manifest(), LOCK, install, maker.check)
    assert failed.value.failure.code is FailureCode.DAMAGED
    assert "greet/words.py: changed" in failed.value.failure.tool_output
    assert names(store.layout.envs) == names(store.layout.tmp) == []
    assert maker.installed == 1


def test_what_was_changed_in_the_cache_is_taken_from_its_wheel_again(store, maker):
    """Or else every later environment would have it, however it is pinned."""
    first = maker.publish(1)
    changed = first / PACKAGES / "greet/words.py"
    changed.chmod(0o644)
    changed.write_text("HELLO = 'evil!'\n")  # the cache has the same file
    second = maker.publish(2)
    assert maker.installed == 3
    assert (second / PACKAGES / "greet/words.py").read_text() == "HELLO = 'hello'\n"
    assert store.verify(environment_id(2)).faults == ()
    assert [each.problem for each in store.verify(environment_id(1)).faults] == ["changed"]


@pytest.mark.parametrize(
    ("packages", "problem"),
    [
        (["ipykernel 7.0", "greet 1.2", "more 1"], "more 1: is in the lock and not installed"),
        (["ipykernel 7.0"], "greet 1.2: is installed and not in the lock"),
        (["ipykernel 7.0", "greet 1.3"], "greet 1.3: is in the lock and not installed"),
    ],
)
def test_an_environment_that_is_not_what_the_lock_says_is_not_published(
    store, maker, packages, problem
):
    rows = [
        Artefact(name=each.split()[0], version=each.split()[1], sha256="0" * 64)
        for each in packages
    ]
    with pytest.raises(EnvironmentFailed) as failed:
        store.publish(a_manifest(packages=tuple(rows)), LOCK, maker.install, maker.check)
    assert problem in failed.value.failure.tool_output


def test_a_version_may_be_written_differently(store, maker):
    packages = tuple(
        Artefact(name=name, version=version, sha256="0" * 64)
        for name, version in (("IPyKernel", "7"), ("greet", "1.2.0"))
    )
    store.publish(a_manifest(packages=packages), LOCK, maker.install, maker.check)
    assert store.verify(environment_id()).faults == ()


def test_a_file_that_no_package_has_is_not_published(store, maker):
    def install(prefix: Path, final: Path) -> None:
        maker.install(prefix, final)
        (prefix / PACKAGES / "sneaks_in.pth").write_text("import this\n")

    with pytest.raises(EnvironmentFailed, match=r"sneaks_in\.pth"):
        store.publish(a_manifest(), LOCK, install, maker.check)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no manifest": lambda path: (path / ".element/manifest.json").unlink(),
    "a torn manifest": lambda path: _write(path / ".element/manifest.json", b'{"environment_id":'),
    "another's manifest": lambda path: _write(
        path / ".element/manifest.json", a_manifest(7).model_dump_json().encode()
    ),
    "no python": lambda path: (path / "bin/python").unlink(),
    "a python that went": lambda path: _link(path / "bin/python", "/nowhere/bin/python"),
    "no kernel": lambda path: (path / PACKAGES / "ipykernel_launcher.py").unlink(),
    "a directory only": lambda path: subprocess.run(
        ["rm", "-r", path / "bin", path / ".element"], check=True
    ),
}


def _write(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_environment_is_not_returned_and_the_next_build_replaces_it(store, maker, damage):
    path = maker.publish()
    subprocess.run(["chmod", "-R", "u+w", path], check=True)
    DAMAGES[damage](path)
    assert store.get(environment_id()) is None
    inode = path.stat().st_ino
    assert maker.publish() == path
    assert maker.installed == 2
    assert [(store.layout.trash / each).stat().st_ino for each in names(store.layout.trash)] == [
        inode
    ]
    assert store.verify(environment_id()).faults == ()


def test_of_many_builders_one_builds(store, start):
    workers = [start("build", 1) for _ in range(4)]
    said = sorted(worker.communicate()[0].split()[-1] for worker in workers)
    assert said == ["built", "found", "found", "found"]
    assert store.verify(environment_id()).faults == ()
    assert names(store.layout.building) == names(store.layout.tmp) == []


def test_builders_that_do_not_wait_for_one_another_make_one_environment(store, start):
    workers = [start("publish", 1) for _ in range(3)]
    assert [(worker.communicate(), worker.returncode)[1] for worker in workers] == [0, 0, 0]
    assert store.verify(environment_id()).faults == ()
    assert names(store.layout.envs) == [environment_id()]
    assert names(store.layout.tmp) == names(store.layout.trash) == []


def age(environment: Path) -> None:
    """Make the files of an environment, which are its cache's, as old as a cache's usually are."""
    for path in environment.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1:
            os.utime(path, (0, 0))


def test_files_that_were_compared_once_are_not_read_again(store, maker):
    """As long as they are the same files, which a longer look would find to be others."""
    age(maker.publish(1))
    maker.publish(2)
    changed = store.layout.environment(environment_id(1)) / PACKAGES / "greet/words.py"
    before = changed.stat()
    changed.chmod(0o644)
    changed.write_text("HELLO = 'jello'\n")
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    changed.chmod(0o444)
    maker.publish(3)
    assert maker.installed == 3
    assert [each.problem for each in store.verify(environment_id(3)).faults] == ["changed"]


@pytest.mark.parametrize("touched", ["written", "replaced", "longer"])
def test_a_file_that_was_compared_and_then_changed_is_read_again(store, maker, touched):
    age(maker.publish(1))
    maker.publish(2)
    changed = store.layout.environment(environment_id(1)) / PACKAGES / "greet/words.py"
    source = next(
        path
        for path in store.layout.uv_cache.rglob("words.py")
        if path.stat().st_ino == changed.stat().st_ino
    )
    if touched == "replaced":
        source.unlink()
    source.parent.chmod(0o755)
    with contextlib.suppress(FileNotFoundError):
        source.chmod(0o644)
    source.write_text("HELLO = 'hello and so on'\n" if touched == "longer" else "HELLO = 'jello'\n")
    if touched != "written":
        os.utime(source, (0, 0))
    path = maker.publish(3)
    assert (path / PACKAGES / "greet/words.py").read_text() == "HELLO = 'hello'\n"
    assert store.verify(environment_id(3)).faults == ()


def test_a_builder_may_be_killed_at_any_moment(store, maker, die):
    age(maker.publish())
    store.prune(unused_for=timedelta(0))
    maker.publish()
    store.prune(unused_for=timedelta(0))
    moments = die("publish", 1, 0)  # with the caches as they will be
    assert moments > 100
    seed = random.randrange(1 << 32)
    chosen = random.Random(seed).sample(range(1, moments), ROUNDS - 3)
    # the last ones are the rename, the sync, and the workspace's end
    for dies_at in (*chosen, moments - 12, moments - 6, moments - 2):
        where = f"killed at {dies_at} of {moments}, seed {seed}"
        store.prune(unused_for=timedelta(0))
        assert die("publish", 1, dies_at) == signal.SIGKILL, where
        if store.get(environment_id()) is None:
            assert names(store.layout.envs) == [], where
        else:
            assert store.verify(environment_id()).faults == (), where
        maker.publish()
        assert store.verify(environment_id()).faults == (), where
        store.sweep(timedelta(0))
        assert names(store.layout.tmp) == names(store.layout.trash) == [], where
    assert maker.installed > ROUNDS / 2


def test_a_builder_may_be_killed_while_its_tools_run(store, maker, start):
    store.layout.prepare()
    for _ in range(5):
        killed = start("publish", 1)
        _wait_until(lambda: names(store.layout.tmp))
        time.sleep(random.uniform(0, 0.15))
        killed.kill()
        killed.wait()
        found = store.get(environment_id())
        assert found is None or store.verify(environment_id()).faults == ()
        maker.publish()
        assert store.verify(environment_id()).faults == ()
        store.prune(unused_for=timedelta(0))
        subprocess.run(["rm", "-rf", *store.layout.tmp.iterdir()], check=True)


def _wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_sweep_leaves_what_a_living_builder_has(store, start):
    worker = start("work")
    name = worker.stdout.readline().strip()
    store.sweep(timedelta(0))
    assert names(store.layout.tmp) == [name]
    worker.kill()
    worker.wait()
    store.sweep(timedelta(hours=1))
    assert names(store.layout.tmp) == [name]
    store.sweep(timedelta(0))
    assert names(store.layout.tmp) == names(store.layout.trash) == []


def test_a_full_disk_is_told_in_words_and_leaves_nothing(tmp_path, wheels):
    with small_disk(tmp_path / "disk", 2):
        store = EnvironmentStore(tmp_path / "disk/store")

        def install(prefix: Path, final: Path) -> None:
            prefix.mkdir()
            for i in range(10):
                (prefix / f"file{i}").write_bytes(bytes(500_000))

        with pytest.raises(EnvironmentFailed) as failed:
            store.publish(a_manifest(), LOCK, install, lambda prefix: None)
        failure = failed.value.failure
        assert failure.code is FailureCode.DISK_FULL
        assert "it needs more than the 2.1 MB that are free there" in failure.summary
        assert "element env prune" in failure.hints[0]
        assert failure.retryable
        assert names(store.layout.tmp) == names(store.layout.envs) == []


def test_a_full_disk_is_told_by_whatever_is_written(tmp_path, wheels):
    with small_disk(tmp_path / "disk", 2):
        store = EnvironmentStore(tmp_path / "disk/store")
        store.layout.prepare()
        subprocess.run(["dd", "if=/dev/zero", f"of={tmp_path}/disk/full"], capture_output=True)
        for write in (
            lambda: store.keep_lock(b"x" * 5000),
            lambda: store.remember("a" * 64, environment_id(), "b" * 64),
        ):
            with pytest.raises(EnvironmentFailed, match=r"more than the 0\.0 MB that are free"):
                write()
        assert names(store.layout.locks) == names(store.layout.index) == []


def test_a_file_that_may_not_grow_is_told_in_words(store):
    def install(prefix: Path, final: Path) -> None:
        prefix.mkdir()
        (prefix / "file").write_bytes(bytes(200_000))

    store.layout.prepare()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(EnvironmentFailed) as failed:
            store.publish(a_manifest(), LOCK, install, lambda prefix: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.failure.code is FailureCode.DISK_FULL
    assert "larger than this process may write" in failed.value.failure.summary
    assert names(store.layout.tmp) == []


def test_a_store_that_cannot_be_written_can_still_be_used(tmp_path, wheels):
    holder = Holder(kind=HolderKind.KERNEL, id="k", pid=os.getpid(), started_ticks=1)
    with small_disk(tmp_path / "disk", 20):
        store = EnvironmentStore(tmp_path / "disk/store")
        Maker(store, wheels).publish()
        subprocess.run(["mount", "-o", "remount,ro", tmp_path / "disk"], check=True)
        assert store.get(environment_id())[1].is_dir()
        assert store.hold(environment_id(), holder)
        assert not store.hold(environment_id(2), holder)
        store.touch(environment_id())
        store.release(environment_id(), "k")
        assert store.verify(environment_id()).faults == ()
        assert [each.manifest.environment_id for each in store.list()] == [environment_id()]


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "A" * 10, "x" * 200, ".hidden", "a\n"])
def test_a_name_never_leads_out_of_the_store(store, name):
    for use in (
        store.get,
        store.verify,
        store.indexed,
        store.lock_content,
        store.build_directory,
        store.build_log,
        store.is_building,
    ):
        with pytest.raises(Invalid):
            use(name)


def test_finding_an_environment_costs_less_than_a_millisecond(store, maker):
    rows = tuple(
        Artefact(
            name=f"package-{i}",
            version="1.2.3",
            sha256="0" * 64,
            filename=f"package_{i}-1.2.3.whl",
            url=f"https://files.example/{i}",
        )
        for i in range(44)
    )
    path = maker.publish()
    manifest = a_manifest(packages=rows).model_dump_json().encode()
    _write(path / ".element/manifest.json", manifest)
    took = []
    for _ in range(50):
        began = time.perf_counter()
        assert store.get(environment_id()) is not None
        took.append(time.perf_counter() - began)
    assert sorted(took)[25] < 0.001
