"""Clients of Redis and Kafka that lose a connection just before they write to it: on uvloop, as the services run."""

import asyncio
import gc
import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError, UnknownMemberIdError
from aiokafka.protocol.admin import ApiVersionRequest
from redis.asyncio.connection import AbstractConnection

from common import kafka_client, redis_client

NO_LINGER = struct.pack("ii", 1, 0)
AT_ONCE, ATTEMPTS = 10, 50
TIMEOUT_S = 30.0


def _reset_all(listening: socket.socket) -> None:
    delays_s = itertools.cycle([0.0, 0.0001, 0.0, 0.0003, 0.0, 0.0005])
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        time.sleep(next(delays_s))
        connection.close()


@pytest.fixture
def resetting_port() -> Iterator[int]:
    """Accept and reset, in a thread of its own: so a reset comes at any moment of the client's loop."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        thread = threading.Thread(target=_reset_all, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


async def test_a_redis_connection_that_is_reset_at_once_is_a_redis_that_is_away(resetting_port: int) -> None:
    """Whenever the reset comes, before the first word is written too: callers know what to expect, and wait."""
    redis = redis_client.connect(f"redis://127.0.0.1:{resetting_port}/0")

    async def ask() -> None:
        for _ in range(ATTEMPTS):
            with pytest.raises(redis_client.AWAY):
                await redis.ping()

    async with asyncio.timeout(TIMEOUT_S):
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    await redis.aclose()


async def test_a_connection_that_its_reader_finds_lost_while_a_command_is_sent_is_lost_for_the_sender_too() -> None:
    """The sender gets what commands raise when Redis is away, and nothing that would end a service."""
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:  # never reads, so that sending takes forever
        client = redis_client.connect(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0")
        connection: AbstractConnection = client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # untyped in the library
        await connection._connect()  # type: ignore[no-untyped-call]  # noqa: SLF001 - without asking Redis who it is
        sending = asyncio.create_task(connection.send_packed_command([bytes(50_000_000)], check_health=False))
        await asyncio.sleep(0)  # it waits for room in the socket
        connection._writer.transport.abort()  # type: ignore[union-attr]  # noqa: SLF001 - as when the peer resets it
        await connection.disconnect(nowait=True)
        with pytest.raises(redis_client.AWAY, match="lost while it was written to"):
            await sending
        await client.aclose()


async def test_a_kafka_connection_that_is_lost_before_a_request_is_what_aiokafka_expects() -> None:
    """Anything else would end its tasks, and with them a producer or a consumer for good."""
    kafka_client.mend()
    async with await asyncio.start_server(lambda _, client: client.close(), "127.0.0.1", 0) as server:
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.abort()
        await asyncio.sleep(0.01)  # closed now; aiokafka's own reader, were there one, would be told next
        connection = AIOKafkaConnection("127.0.0.1", 9092)
        connection._writer = writer  # noqa: SLF001 - as if it had connected
        with pytest.raises(KafkaConnectionError, match="lost before"):
            await connection.send(ApiVersionRequest())


async def test_a_commit_that_fails_when_nobody_waits_for_it_any_more_is_no_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A commit that was given up goes on; its failure, of a member thrown out say, is not logged."""
    may_fail, told = asyncio.Event(), list[str]()

    async def fail(*_: object) -> None:
        await may_fail.wait()
        raise UnknownMemberIdError

    async def coordinator_known() -> None:
        pass

    monkeypatch.setattr(kafka_client, "_commit", fail)
    kafka_client.mend()
    coordinator = object.__new__(GroupCoordinator)
    coordinator._commit_lock = asyncio.Lock()  # all that a commit takes
    coordinator.ensure_coordinator_known = coordinator_known
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await coordinator.commit_offsets(None, {})
    may_fail.set()
    for _ in range(3):
        await asyncio.sleep(0)
        gc.collect()
    assert told == []
