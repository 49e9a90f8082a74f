"""The scripted server of the Python client's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    """A scripted server."""
    async with scripted_server() as it:
        yield it
