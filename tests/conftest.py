"""Fixtures that several folders share."""

pytest_plugins = ["tests.postgres_fixture"]
