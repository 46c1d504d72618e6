"""Fixtures that several folders share, and which tests share a process."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = ["tests.postgres_fixture", "tests.platform_fixture"]

SHARE_A_PLATFORM = {
    "tests/adapters/test_airflow.py",
    "tests/platform/test_airflow.py",
    "tests/platform/test_same_environment.py",
    "tests/provider/test_in_airflow.py",
    "tests/ui/test_airflow.py",
}


ENVIRONMENT_STORE = Path(tempfile.gettempdir()) / f"element-test-environments-{os.getuid()}"
"""Where tests that are not about building find the default environment, once it is built."""


# how long an example takes says more of what else the machine does than of what is tested
hypothesis.settings.register_profile("element", deadline=None)
hypothesis.settings.load_profile("element")


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("ELEMENT_ENVIRONMENT_STORE", str(ENVIRONMENT_STORE))
    # who tests with one says so
    os.environ.setdefault("ELEMENT_HUB", "false")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # what a shell starts in the background ignores it, and so would all that tests start
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-rounds", type=int, default=1, help="rounds of each kill in tests/faults"
    )
    parser.addoption("--slow", action="store_true", help="also what takes minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process waits for another at the end."""
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow") is not None:
                item.add_marker(pytest.mark.skip(reason="takes minutes; runs with --slow"))
    longest = ("airflow", "browser")
    items.sort(key=lambda item: [item.get_closest_marker(name) is None for name in longest])


class Scheduling(LoadScopeScheduling):
    """A file is tested in one process, for its fixtures' sake; so are all that share a platform."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if "ui/test_admin_" in file:
            return "the admin's pages"
        return "a platform" if file in SHARE_A_PLATFORM else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    config.option.loadscopereorder = False
    return Scheduling(config, log)
