"""A store of one's own, and processes that work in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from element_jupyter.adapters.environment_store import EnvironmentStore
from tests.adapters.environment_store.wheels import Maker, make_wheels

CHECKOUT = Path(__file__).parents[3]

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> Path:
    return make_wheels(tmp_path_factory.mktemp("wheels"))


@pytest.fixture
def store(tmp_path) -> EnvironmentStore:
    return EnvironmentStore(tmp_path / "store")


@pytest.fixture
def maker(store, wheels) -> Maker:
    return Maker(store, wheels)


@pytest.fixture
def start(store, wheels) -> Iterator[Start]:
    """Start a worker process; what is still running in the end is killed."""
    with ExitStack() as stack:

        def start(
            what: str, *arguments: object, wrap: tuple[str, ...] = ()
        ) -> subprocess.Popen[str]:
            module = "tests.adapters.environment_store.store_worker"
            process = stack.enter_context(
                subprocess.Popen(
                    [
                        *wrap,
                        sys.executable,
                        "-m",
                        module,
                        what,
                        store.layout.root,
                        wheels,
                        *map(str, arguments),
                    ],
                    cwd=CHECKOUT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def die(start) -> Callable[[str, int, int], int]:
    """Return a function that does something in a process which kills itself at some moment.

    It returns the signal, or how many moments there were.
    """
    running: dict[tuple[str, int], subprocess.Popen[str]] = {}

    def die(what: str, number: int, at: int) -> int:
        key = (what, number)
        process = running.get(key) or running.setdefault(key, start("again", what, number))
        process.stdin.write(f"{at}\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    return die
