"""Operations as a real process, beside fulfillment, which fails on demand."""

import secrets
from collections.abc import AsyncIterator

import pytest

from sandbox.services.resolver import Servers
from tests.operations.desk import Desk, desk_at


@pytest.fixture(scope="module")
async def desk(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    """One desk for the tests of a file; each test has messages of its own."""
    async with desk_at(servers, tmp_path_factory.mktemp("desk"), mark="t" + secrets.token_hex(4)) as made:
        yield made
