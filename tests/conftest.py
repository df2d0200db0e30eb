"""Fixtures for every test: real PostgreSQL and the whole service over it."""

pytest_plugins = ["tests.database", "tests.service"]
