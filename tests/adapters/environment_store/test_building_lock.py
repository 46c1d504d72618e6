"""One builder per name, whoever dies, and no lock file is left."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

NAME = "a" * 64


def nobody() -> None:
    raise AssertionError("nobody should be waited for")


def test_one_holds_it_and_the_file_goes_with_the_lock(store):
    assert not store.is_building(NAME)
    with store.building(NAME, nobody):
        assert store.is_building(NAME)
        with store.building("b", nobody):
            assert store.is_building("b")
    assert not store.is_building(NAME)
    assert list(store.layout.building.iterdir()) == []


def test_who_waits_is_told_once_and_gets_it_then(store, start):
    worker = start("hold_lock", NAME)
    assert worker.stdout.readline() == "holds\n"
    waited: list[bool] = []

    def let_go() -> None:
        waited.append(store.is_building(NAME))
        worker.stdin.close()

    with store.building(NAME, let_go):
        assert worker.wait(30) == 0
        assert store.is_building(NAME)
    assert waited == [True]


def test_a_killed_holder_holds_nothing_and_a_sweep_takes_its_file(store, start):
    worker = start("hold_lock", NAME)
    assert worker.stdout.readline() == "holds\n"
    store.sweep(timedelta(0))
    assert store.is_building(NAME)
    worker.kill()
    worker.wait()
    assert not store.is_building(NAME)
    assert [path.name for path in store.layout.building.iterdir()] == [f"{NAME}.lock"]
    with store.building(NAME, nobody):
        pass
    assert list(store.layout.building.iterdir()) == []
    (store.layout.building / f"{NAME}.lock").touch()
    store.sweep(timedelta(0))
    assert list(store.layout.building.iterdir()) == []


def test_an_error_lets_it_go(store):
    try:
        with store.building(NAME, nobody):
            raise RuntimeError("on purpose")
    except RuntimeError:
        pass
    assert not store.is_building(NAME)


def test_many_that_take_and_remove_it_never_have_it_at_once(store, start, tmp_path):
    """Each removes the file that others have opened already and wait for."""
    number = tmp_path / "number"
    number.write_text("0")
    store.layout.prepare()
    workers = [start("count", NAME, 60, number) for _ in range(4)]
    done = threading.Event()

    def disturb() -> None:
        while not done.is_set():
            store.is_building(NAME)
            store.sweep(timedelta(0))

    with ThreadPoolExecutor(1) as threads:
        disturbing = threads.submit(disturb)
        ended = [(worker.communicate(), worker.returncode)[1] for worker in workers]
        done.set()
        disturbing.result()
    assert ended == [0, 0, 0, 0]
    assert number.read_text() == "240"
    assert list(store.layout.building.iterdir()) == []


def test_threads_exclude_one_another_too(store):
    inside = 0
    most = 0

    def work(_: int) -> None:
        nonlocal inside, most
        with store.building(NAME, lambda: None):
            inside += 1
            most = max(most, inside)
            os.sched_yield()
            inside -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(100)))
    assert most == 1
