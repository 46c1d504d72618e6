"""The platform that these tests share."""

pytest_plugins = ["tests.platform_fixture"]
