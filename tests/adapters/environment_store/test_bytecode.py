"""Byte-code is made once, is what kernels load, and is the same file in every environment."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from element_jupyter.core.errors import NotFound
from tests.adapters.environment_store.wheels import (
    PACKAGES,
    WHEELS,
    Maker,
    environment_id,
    import_as_root,
)

MODULES = sum(name.endswith(".py") for files in WHEELS.values() for name in files)
BROKEN = 1


def compiled(path: Path) -> dict[str, int]:
    return {each.relative_to(path).as_posix(): each.stat().st_ino for each in path.rglob("*.pyc")}


def entries(maker: Maker) -> list[Path]:
    return list(maker.store.layout.pyc.glob("*/??/*"))


def test_imports_load_it_and_tracebacks_show_where_the_source_is(store, maker):
    path = maker.publish()
    store.compile(environment_id())
    run = [path / "bin/python", "-v", "-c", "import greet.fails; greet.fails.fail()"]
    said = subprocess.run(run, capture_output=True, text=True).stderr
    cache = path / PACKAGES / "greet/__pycache__"
    tag = sys.implementation.cache_tag
    for module in ("__init__", "words", "fails"):
        assert f"# code object from '{cache}/{module}.{tag}.pyc'" in said
    assert f'File "{path}/{PACKAGES}/greet/fails.py", line 2, in fail' in said


def test_every_module_that_compiles_has_it_and_nothing_else_is_opened(store, maker):
    path = maker.publish()
    told: list[tuple[int, int]] = []
    store.compile(environment_id(), lambda done, total: told.append((done, total)))
    assert told == [(0, MODULES), (MODULES, MODULES)]
    assert len(compiled(path)) == MODULES - BROKEN
    assert store.verify(environment_id()).faults == ()
    directories = [each for each in path.rglob("*") if each.is_dir() and not each.is_symlink()]
    assert {each.stat().st_mode & 0o777 for each in directories} == {0o555}
    assert {each.stat().st_mode & 0o777 for each in path.rglob("*.pyc")} == {0o444}


def test_the_next_environment_has_the_very_same_files(store, maker):
    first, second = maker.publish(1), maker.publish(2)
    store.compile(environment_id(1))
    told: list[tuple[int, int]] = []
    store.compile(environment_id(2), lambda done, total: told.append((done, total)))
    assert told[0] == (MODULES - BROKEN, MODULES)
    assert compiled(second) == compiled(first)
    assert len(entries(maker)) == MODULES - BROKEN


def test_it_takes_the_place_of_what_python_wrote_itself(store, maker):
    path = maker.publish()
    cache = path / PACKAGES / "greet/__pycache__"
    cache.chmod(0o755)
    import_as_root(path)
    before = compiled(path)
    assert len(before) == 2
    store.compile(environment_id())
    after = compiled(path)
    assert all(after[name] != inode for name, inode in before.items())
    assert {each.name[0] for each in cache.iterdir()} == {"_", "w", "f"}
    assert all(each.stat().st_nlink == 2 for each in cache.iterdir())


def test_a_changed_module_does_not_reach_others_through_it(store, maker):
    path = maker.publish()
    changed = path / PACKAGES / "greet/words.py"
    changed.chmod(0o644)
    changed.write_text("HELLO = 'evil!'\n")
    store.compile(environment_id())
    assert len(compiled(path)) == MODULES - BROKEN - 1
    assert not any("words" in name for name in compiled(path))
    assert not any(b"evil" in each.read_bytes() for each in entries(maker))


def test_two_may_compile_at_once(store, maker, start):
    paths = [maker.publish(number) for number in (1, 2)]
    workers = [start("compile", number) for number in (1, 2, 1, 2)]
    assert [(worker.communicate(), worker.returncode)[1] for worker in workers] == [0] * 4
    for number, path in enumerate(paths, 1):
        assert len(compiled(path)) == MODULES - BROKEN
        assert store.verify(environment_id(number)).faults == ()


def test_a_compiler_may_be_killed_at_any_moment(store, maker, die):
    path = maker.publish()
    moments = die("compile", 1, 0)
    seed = random.randrange(1 << 32)
    for dies_at in random.Random(seed).sample(range(1, moments), 4):
        where = f"killed at {dies_at} of {moments}, seed {seed}"
        for each in path.rglob("*.pyc"):
            each.unlink()
        store.sweep(timedelta(0))
        assert entries(maker) == [], where
        assert die("compile", 1, dies_at) == signal.SIGKILL, where
        assert store.verify(environment_id()).faults == (), where
        store.compile(environment_id())
        assert len(compiled(path)) == MODULES - BROKEN, where
        assert store.verify(environment_id()).faults == (), where


def test_kernels_may_start_while_it_appears(store, maker, start):
    path = maker.publish()
    worker = start("compile", 1)
    while worker.poll() is None:
        done = subprocess.run(
            [path / "bin/python", "-c", "import greet; print(greet.hello())"],
            capture_output=True,
            text=True,
        )
        assert (done.stdout, done.stderr) == ("hello\n", "")
    assert worker.returncode == 0
    assert len(compiled(path)) == MODULES - BROKEN


def test_it_stays_while_an_environment_has_it_and_is_swept_then(store, maker):
    maker.publish(1)
    maker.publish(2)
    store.compile(environment_id(1))
    store.compile(environment_id(2))
    keep = {environment_id(2)}
    assert len(store.prune(keep, timedelta(0))) == 1
    store.sweep(timedelta(0))
    assert len(entries(maker)) == MODULES - BROKEN
    store.prune(unused_for=timedelta(0))
    store.sweep(timedelta(hours=1))
    assert len(entries(maker)) == MODULES - BROKEN
    store.sweep(timedelta(0))
    assert entries(maker) == []


def test_an_environment_that_is_not_there_cannot_be_compiled(store):
    store.layout.prepare()
    with pytest.raises(NotFound, match=environment_id()):
        store.compile(environment_id())
    assert os.listdir(store.layout.pyc) == []  # noqa: PTH208 - nothing else was made


def test_what_kernels_need_has_it_before_anybody_sees_the_environment(store, maker):
    first = maker.publish(1)
    store.compile(environment_id(1))
    seen: list[dict[str, int]] = []
    maker.check = lambda prefix: seen.append(compiled(prefix))

    second = maker.publish(2)

    lent = {name: inode for name, inode in compiled(first).items() if "greet" not in name}
    assert len(lent) == 12
    assert seen == [lent]
    assert compiled(second) == lent
    assert store.verify(environment_id(2)).faults == ()
