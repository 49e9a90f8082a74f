"""A group of tasks for fixtures, which end also where the test that waited for something has failed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def cancelled_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Yield a group whose tasks are cancelled on the way out. Raises what one of them raised.

    A TaskGroup waits for its tasks, and a fixture does not hear that its test failed.
    """
    made: asyncio.Future[asyncio.TaskGroup] = asyncio.get_running_loop().create_future()

    async def own() -> None:
        async with asyncio.TaskGroup() as tasks:
            made.set_result(tasks)
            await asyncio.Event().wait()

    owner = asyncio.create_task(own())
    try:
        yield await made
    finally:
        owner.cancel()
        with suppress(asyncio.CancelledError):
            await owner
