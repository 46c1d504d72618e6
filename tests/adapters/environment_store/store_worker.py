"""A process that does something with a store until it ends, or is killed where a test says.

`python -m tests.adapters.environment_store.store_worker WHAT ROOT WHEELS ARGUMENTS…`. `again`
does something over and over, in a process each, that kills itself (SIGKILL) at the n-th thing that
it asks of the operating system and an audit hook sees; of 0, it says how many there were.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from element_jupyter.adapters.environment_store import EnvironmentStore
from tests.adapters.environment_store.wheels import Maker, environment_id

_SEEN = ("open", "os.", "shutil.", "subprocess.", "fcntl.")


class Moments:
    """Counts what the process asks for, and ends it at one of them."""

    def __init__(self, dies_at: int) -> None:
        self.count = 0
        self._dies_at = dies_at

    def __call__(self, event: str, arguments: object) -> None:
        if event.startswith(_SEEN):
            self.count += 1
            if self.count == self._dies_at:
                os.kill(os.getpid(), signal.SIGKILL)


def publish(maker: Maker, number: str) -> None:
    """Publish an environment."""
    maker.publish(int(number))


def build(maker: Maker, number: str) -> None:
    """Publish an environment as the only builder; say what happened."""
    with maker.store.building(environment_id(int(number)), lambda: print("waits")):
        if maker.store.get(environment_id(int(number))) is None:
            maker.publish(int(number))
            print("built")
        else:
            print("found")


def compile_(maker: Maker, number: str) -> None:
    """Compile an environment."""
    maker.store.compile(environment_id(int(number)))


def count(maker: Maker, name: str, times: str, file: str) -> None:
    """Add to a number in a file, which only who holds the lock may do."""
    for _ in range(int(times)):
        with maker.store.building(name, lambda: None):
            Path(file).write_text(str(int(Path(file).read_text()) + 1))


def again(maker: Maker, what: str, number: str) -> None:
    """Do something in a new process for each line of standard input, which says where it dies."""
    for line in sys.stdin:
        if os.fork() == 0:
            moments = Moments(int(line))
            sys.addaudithook(moments)
            WHAT[what](maker, number)
            print(moments.count)
            os._exit(0)
        _, status = os.wait()
        if status:
            print(-os.waitstatus_to_exitcode(status))


def hold_lock(maker: Maker, name: str) -> None:
    """Be a builder until standard input is closed."""
    with maker.store.building(name, lambda: None):
        print("holds")
        sys.stdin.read()


def work(maker: Maker) -> None:
    """Have a workspace until standard input is closed."""
    with maker.store.workspace() as directory:
        (directory / "file").touch()
        print(directory.name)
        sys.stdin.read()


WHAT: dict[str, Callable[..., None]] = {
    "again": again,
    "publish": publish,
    "build": build,
    "compile": compile_,
    "count": count,
    "hold_lock": hold_lock,
    "work": work,
}

if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    what, root, wheels, *rest = sys.argv[1:]
    WHAT[what](Maker(EnvironmentStore(Path(root)), Path(wheels)), *rest)
