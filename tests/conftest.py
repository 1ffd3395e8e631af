"""Fixtures for every test."""

from collections.abc import Iterator

import pytest

from sandbox.services.resolver import Servers, start_servers


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Real PostgreSQL and RabbitMQ. That there are none is an error which says what to do, never a skip."""
    with start_servers() as found:
        yield found
