"""A deployment with an index of its own: real uv, real store, real processes that build."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from element_jupyter import config
from element_jupyter.core.environments.building import BuildEvent, Phase
from element_jupyter.core.environments.definitions import Found
from element_jupyter.platform.environments.composition import Environments, environments
from tests.package_index import PackageIndex

DEADLINE_SECONDS = 60.0


def wait_until(holds: Callable[[], Any], seconds: float = DEADLINE_SECONDS) -> Any:
    """Wait for a condition, and return what it found."""
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found


def builders(store: Path) -> list[psutil.Process]:
    """The processes that build in a store."""
    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
            ended = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if not ended and any(word.startswith(f"{store}/") for word in command):
            found.append(process)
    return found


class Deployment:
    """One installation: its settings, its environments, and a project of a person's."""

    def __init__(self, directory: Path, index: PackageIndex, cache: Path) -> None:
        self.directory = directory
        self.index = index
        self.data = directory / "data"
        self.store = directory / "store"
        self.project = directory / "project"
        self.shared = directory / "shared"
        self._cache = cache
        for each in (self.data, self.project / ".git", self.shared / "default"):
            each.mkdir(parents=True)
        (self.shared / "default" / "requirements.txt").write_text("stools\n")
        self.use_cache(self.store)

    def use_cache(self, store: Path) -> None:
        """Let a store have the downloads of all tests."""
        store.mkdir(parents=True, exist_ok=True)
        (store / "uv-cache").symlink_to(self._cache)

    def settings(self, **values: Any) -> config.Element:
        return config.Element(
            **{
                "data_dir": str(self.data),
                "environment_store": str(self.store),
                "environments_dir": str(self.shared),
                "index_urls": [self.index.url],
                **values,
            }
        )

    def environments(self, **values: Any) -> Environments:
        made = environments(self.settings(**values))
        assert made is not None
        return made

    def requires(self, *lines: str) -> Path:
        """Write the project's requirements; return where a notebook would be."""
        (self.project / "requirements.txt").write_text("\n".join(lines) + "\n")
        return self.project / "analysis.ipynb"

    def found(self, *lines: str) -> Found:
        return self.environments().find(self.requires(*lines))

    def told(self, build_id: str, after: int = 0, **values: Any) -> list[BuildEvent]:
        """Everything that a build tells, to its end."""
        events = self.environments(**values).events(build_id, after)
        deadline = time.monotonic() + DEADLINE_SECONDS
        found = []
        for event in events:
            assert time.monotonic() < deadline, found
            if event is not None:
                found.append(event)
        return found

    def at_rest(self) -> None:
        """Wait for what goes on after an environment is ready."""
        wait_until(lambda: not builders(self.directory))


@contextmanager
def an_index() -> Iterator[PackageIndex]:
    """Serve a few packages, and a kernel that can be imported."""
    with PackageIndex() as made:
        made.kernel()
        made.wheel("tables", "1.0", requires=["chairs>=2"])
        made.wheel("chairs", "2.1")
        made.wheel("stools", "3.0")
        yield made


@contextmanager
def a_deployment(directory: Path, index: PackageIndex, cache: Path) -> Iterator[Deployment]:
    """Have an installation; nothing builds in it afterwards."""
    made = Deployment(directory, index, cache)
    try:
        yield made
        made.at_rest()
    finally:
        for process in builders(made.directory):
            os.kill(process.pid, signal.SIGKILL)


def nobody(
    phase: Phase, done: int | None = None, total: int | None = None, message: str = ""
) -> None:
    """Be told, and do nothing."""
