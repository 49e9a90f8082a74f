"""Each client does what the table says, case by case, against a server that does what it is told."""

import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance import subjects
from tests.conformance.scenario import Case, Run, each_case
from tests.support.scripted_server import scripted_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[subjects.JavaScript]:
    """A Node."""
    async with subjects.node() as it:
        yield it


@each_case
async def test_the_python_client_does_what_the_table_says(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    """Each step in turn."""
    caplog.set_level(logging.ERROR)
    async with scripted_server() as server, subjects.python() as client:
        await Run(server, client).play(case)


@each_case
async def test_the_javascript_client_does_what_the_table_says(case: Case, node: subjects.JavaScript) -> None:
    """Each step in turn."""
    async with scripted_server() as server, node.client() as client:
        await Run(server, client).play(case)
