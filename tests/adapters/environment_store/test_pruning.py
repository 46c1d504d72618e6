"""Who uses what is known, and what nobody needs goes, but never what somebody does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from element_jupyter.adapters.environment_store import EnvironmentStore, alive, started_ticks
from element_jupyter.core.environments.keeping import Holder, HolderKind
from tests.adapters.environment_store.wheels import LOCK, Maker, a_manifest, environment_id

NOW = timedelta(0)
KEY = "c" * 64


@pytest.fixture
def process():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def a_holder(pid: int | None = None, id: str = "kernel-1", **changed) -> Holder:
    pid = pid or os.getpid()
    fields = {"kind": HolderKind.KERNEL, "id": id, "pid": pid, "started_ticks": started_ticks(pid)}
    return Holder(**fields | changed)


def ids(kept) -> list[str]:
    return sorted(each.manifest.environment_id for each in kept)


def directories(maker: Maker) -> list[str]:
    return sorted(path.name for path in maker.store.layout.envs.iterdir())


# ------------------------------------------------------------------------------------------ holding


def test_a_process_is_alive_from_its_start_to_its_end(process):
    ticks = started_ticks(process.pid) or 0
    assert alive(process.pid, ticks)
    assert not alive(process.pid, ticks + 1)
    process.kill()
    # it has ended when it is a zombie, which nobody has waited for yet
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not alive(process.pid, ticks)
    assert started_ticks(1 << 22) is None


def test_a_process_may_be_called_anything(tmp_path):
    program = tmp_path / "a) R 1 2 (b"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "60"]) as process:
        assert started_ticks(process.pid) >= started_ticks(os.getpid())
        process.kill()


def test_who_holds_an_environment_is_listed_until_released_or_dead(store, maker, process):
    maker.publish()
    mine, its = a_holder(what="a.ipynb"), a_holder(process.pid, id="Run 2", kind=HolderKind.RUN)
    assert store.hold(environment_id(), mine)
    assert store.hold(environment_id(), its)
    assert set(store.list()[0].holders) == {mine, its}
    process.kill()
    process.wait()
    assert store.list()[0].holders == (mine,)
    store.release(environment_id(), mine.id)
    store.release(environment_id(), mine.id)
    assert store.list()[0].holders == ()


def test_the_same_holder_may_name_another_process(store, maker, process):
    maker.publish()
    store.hold(environment_id(), a_holder())
    store.hold(environment_id(), a_holder(process.pid))
    assert [each.pid for each in store.list()[0].holders] == [process.pid]


def test_what_is_not_there_cannot_be_held(store):
    assert not store.hold(environment_id(), a_holder())
    store.release(environment_id(), "nobody")


# ------------------------------------------------------------------------------------------ listing


def test_each_is_listed_with_what_it_weighs_and_when_it_was_used(store, maker):
    maker.publish(1)
    maker.publish(2)
    store.touch(environment_id(1))
    latest, other = store.list()
    assert latest.manifest.environment_id == environment_id(1)
    assert datetime.now(UTC) - latest.last_used_at < timedelta(minutes=1)
    assert other.last_used_at is None
    # the text is in the cache too; scripts and directories are its own
    assert latest.shared_bytes > 300_000
    assert latest.own_bytes > 50_000


def test_what_it_weighs_is_measured_again_when_byte_code_was_added(store, maker):
    maker.publish()
    before = store.list()[0]
    assert store.list()[0] == before
    store.compile(environment_id())
    assert store.list()[0].shared_bytes > before.shared_bytes


# ------------------------------------------------------------------------------------------ pruning


def test_only_what_nobody_needs_goes(store, maker, process):
    for number in range(1, 6):
        maker.publish(number)
        store.remember(f"{number}" * 64, environment_id(number), store.keep_lock(LOCK))
    store.hold(environment_id(1), a_holder(process.pid))
    os.utime(store.layout.used / environment_id(1), (1, 1))
    store.touch(environment_id(2))
    old = (datetime.now(UTC) - timedelta(days=40)).timestamp()
    for number in (3, 4, 5):
        store.touch(environment_id(number))
        os.utime(store.layout.used / environment_id(number), (old, old))
        _built(store, number, datetime.now(UTC) - timedelta(days=50))
    keep = {environment_id(3)}
    going = [environment_id(4), environment_id(5)]
    assert ids(store.prune(keep, timedelta(days=30), dry_run=True)) == going
    assert len(directories(maker)) == 5
    assert ids(store.prune(keep, timedelta(days=30))) == going
    assert directories(maker) == [environment_id(number) for number in (1, 2, 3)]
    # the same versions are built again when somebody comes back
    assert all(store.indexed(f"{number}" * 64) for number in range(1, 6))
    assert list(store.layout.trash.iterdir()) == []
    process.kill()
    process.wait()
    assert ids(store.prune(keep, NOW)) == [environment_id(1), environment_id(2)]


def _built(store: EnvironmentStore, number: int, at: datetime) -> None:
    path = store.layout.environment(environment_id(number)) / ".element/manifest.json"
    path.chmod(0o644)
    path.write_text(a_manifest(number, built_at=at).model_dump_json())


def test_what_was_just_built_is_not_old(store, maker):
    maker.publish()
    assert store.prune() == []


def test_a_kernel_either_holds_its_environment_or_is_told_that_it_is_gone(store, maker):
    """Whatever the order in which it begins and the environment is pruned."""
    told: list[tuple[bool, bool]] = []
    for _ in range(12):
        path = maker.publish()
        barrier = threading.Barrier(2)

        def begin() -> None:
            other = EnvironmentStore(store.layout.root)
            barrier.wait()  # noqa: B023 - the thread ends in this round
            told.append((other.hold(environment_id(), a_holder()), path.is_dir()))  # noqa: B023

        kernel = threading.Thread(target=begin)
        kernel.start()
        barrier.wait()
        time.sleep(0.0002 * (_ % 5))
        gone = store.prune(unused_for=NOW)
        kernel.join()
        held, _there = told[-1]
        assert held != bool(gone)
        assert path.is_dir() == held
        store.release(environment_id(), "kernel-1")


def test_a_killed_pruning_is_gone_on_with(store, maker):
    path = maker.publish()
    store.layout.discard(path)
    assert store.get(environment_id()) is None
    store.sweep(timedelta(hours=1))
    assert len(list(store.layout.trash.iterdir())) == 1
    store.sweep(NOW)
    assert list(store.layout.trash.iterdir()) == []


def test_old_builds_go_but_not_those_that_run(store, start):
    for name in ("ended", "runs"):
        (store.build_directory(name) / "request.json").touch()
    worker = start("hold_lock", "runs")
    assert worker.stdout.readline() == "holds\n"
    store.sweep(NOW)
    assert len(list(store.layout.builds.iterdir())) == 2
    store.sweep(NOW, NOW)
    assert [path.name for path in store.layout.builds.iterdir()] == ["runs"]


# -------------------------------------------------------------------------------------- remembering


def test_what_a_definition_has_become_is_remembered(store):
    assert store.indexed(KEY) is None
    lock_id = store.keep_lock(LOCK)
    store.remember(KEY, environment_id(1), lock_id)
    store.remember(KEY, environment_id(2), lock_id)
    found = store.indexed(KEY)
    assert (found.environment_id, found.lock_id) == (environment_id(2), lock_id)
    (store.layout.index / KEY).write_text('{"environment_id":')
    assert store.indexed(KEY) is None


def test_a_lock_is_kept_by_its_content_and_a_damaged_one_is_none(store):
    assert store.lock_content("d" * 64) is None
    lock_id = store.keep_lock(LOCK)
    assert store.lock_content(lock_id) == LOCK
    (store.layout.locks / lock_id).write_bytes(b"damaged")
    assert store.lock_content(lock_id) is None
    assert store.keep_lock(LOCK) == lock_id
    assert store.lock_content(lock_id) == LOCK


def test_locks_go_when_they_are_old_and_nothing_leads_to_them(store, maker):
    maker.publish()
    named, of_environment, old = b"named", LOCK, b"old"
    for content in (named, of_environment, old):
        os.utime(store.layout.locks / store.keep_lock(content), (1, 1))
    young = store.keep_lock(b"young")
    store.keep_lock(b"kept again")
    os.utime(store.layout.locks / store.keep_lock(b"kept again"), (1, 1))
    again = store.keep_lock(b"kept again")
    store.remember(KEY, environment_id(9), store.keep_lock(named))
    os.utime(store.layout.locks / store.indexed(KEY).lock_id, (1, 1))
    store.sweep()
    kept = {path.name for path in store.layout.locks.iterdir()}
    assert kept == {
        store.indexed(KEY).lock_id,
        store.get(environment_id())[0].lock_id,
        young,
        again,
    }
