"""Fixtures that several folders share."""

import pytest

pytest_plugins = ["tests.postgres_fixture", "tests.platform_fixture"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-rounds", type=int, default=1, help="rounds of each kill in tests/faults"
    )
