"""Fixtures that several folders share, and which tests share a process."""

import pytest

pytest_plugins = ["tests.postgres_fixture", "tests.platform_fixture"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-rounds", type=int, default=1, help="rounds of each kill in tests/faults"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep a file in one process, for its fixtures' sake; begin with what takes longest."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            file = f"{item.path.parent.name}/{item.path.stem}"
            item.add_marker(pytest.mark.xdist_group(file))
    items.sort(key=lambda item: item.get_closest_marker("airflow") is None)
