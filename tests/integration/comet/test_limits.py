"""The node's own limits: past each new connections get 1013, and those that are there notice nothing."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from chatroom.up.guard import Guard
from comet import memory
from comet.gateway import OTHER_FILES, TOLD_SOCKETS
from testbed.raw_client import RawClient, raw_clients
from testbed.service import CometProgram
from tests.support.comet_node import running
from tests.support.eventually import eventually
from tests.support.metrics import asample, until_sample

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"
PLACES = 20
FILES = PLACES + OTHER_FILES + TOLD_SOCKETS
REFUSED = "comet_connections_refused_total"


@contextmanager
def sockets(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open so many connections that say nothing."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=10)))
            for _ in range(count)
        ]


async def refused(program: CometProgram) -> int | None:
    """Connect and return the close code, None where nobody said anything."""
    client = await RawClient.connect(program.port)
    await client.until(lambda: client.closed)
    assert not client.frames
    return client.close_code


async def talk(clients: list[RawClient], content: str) -> None:
    """Let the first say something and all hear it."""
    heard = [len(client.seqs) for client in clients]
    clients[0].send("clientMessages", roomId=ROOM, content=content)
    for client, before in zip(clients, heard, strict=True):
        await client.until(lambda: len(client.seqs) > before)  # noqa: B023 - awaited within the round


async def let_in(port: int) -> bool:
    """Ask whether a new client gets its hello."""
    client = await RawClient.connect(port, f"rooms={ROOM}")
    try:
        await client.until(lambda: client.closed or client.frames)
        return bool(client.frames)
    finally:
        client.abort()


async def test_open_files_limit_connections_before_they_run_out(guard: Guard, tmp_path: Path, redis_url: str) -> None:
    """1013 for who comes then, also while a flood of sockets that say nothing fills the rest; chat goes on."""
    with CometProgram(guard, tmp_path, redis_url, files=FILES) as program:
        async with raw_clients(program.port, PLACES, f"rooms={ROOM}") as clients:
            assert await refused(program) == 1013
            assert await asample(program.metrics_url, REFUSED, limit="connections") == 1
            with sockets(program.port, 2 * FILES):
                await until_sample(program.metrics_url, REFUSED, 2 * FILES - TOLD_SOCKETS, limit="sockets")
                await talk(clients, "in a flood")
                assert psutil.Process(program.pid).num_fds() < FILES
            await eventually(lambda: psutil.Process(program.pid).num_fds() < FILES - TOLD_SOCKETS)
            assert await refused(program) == 1013
        await eventually(lambda: let_in(program.port))


@pytest.mark.parametrize("port", ["health_port", "grpc_port"])
async def test_a_node_without_open_files_goes_on_serving_who_is_there(
    guard: Guard, tmp_path: Path, redis_url: str, port: str
) -> None:
    """Another port's connections took them all: it neither spins nor fills the log, and recovers with them."""
    with CometProgram(guard, tmp_path, redis_url, files=FILES) as program:
        node = psutil.Process(program.pid)
        async with raw_clients(program.port, 5, f"rooms={ROOM}") as clients:
            await talk(clients, "before")
            with sockets(getattr(program, port), 2 * FILES):
                await eventually(lambda: node.num_fds() >= FILES - 1)
                lines, spent = len(program.log.splitlines()), sum(node.cpu_times()[:2])
                for i in range(20):
                    with suppress(OSError), sockets(program.port, 5):
                        await talk(clients, str(i))
                    await asyncio.sleep(0.1)  # the time in which it must not spin
                assert len(program.log.splitlines()) - lines < 200
                assert sum(node.cpu_times()[:2]) - spent < 1.5
            await eventually(lambda: let_in(program.port))
            await talk(clients, "afterwards")


async def test_past_its_memory_a_node_takes_nobody_and_cuts_off_the_slowest(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1013 for who comes, 4001 for who has the most unsent; readers stay, and with memory again all may come."""
    taken = 0
    monkeypatch.setattr(memory, "resident_bytes", lambda: taken)
    async with running(redis_url, max_memory_bytes=1_000_000, rate_burst_messages=10_000) as node:
        port, metrics_url = node.settings.http_bind_port, node.metrics_url
        slow_before = await asample(metrics_url, "comet_slow_consumers_total")
        refused_before = await asample(metrics_url, REFUSED, limit="memory")
        async with (
            raw_clients(port, 5, f"rooms={ROOM}") as good,
            raw_clients(port, 1, f"rooms={ROOM}", small=True) as slow,
        ):
            slow[0].stop_reading()
            for i in range(30):
                await talk(good, f"{i}" + "x" * 16_000)
            taken = 1_000_001
            await until_sample(metrics_url, "comet_slow_consumers_total", slow_before + 1)
            late = await RawClient.connect(port)
            await late.until(lambda: late.closed)
            assert (late.close_code, late.frames) == (1013, [])
            assert await asample(metrics_url, REFUSED, limit="memory") == refused_before + 1
            good[0].send("joinRoom", roomId="further", ref="r")
            await talk(good, "still here")
            assert [error["code"] for error in good[0].of("error")] == ["overloaded"]
            taken = 1000
            await eventually(lambda: let_in(port))
            async with raw_clients(port, 1, f"rooms={ROOM}") as late_again:
                await talk([*good, *late_again], "with memory again")
            assert await asample(metrics_url, "comet_slow_consumers_total") == slow_before + 1


async def test_what_a_node_may_take_is_known() -> None:
    """What the operator says, or most of what there is; and what it takes is less."""
    assert memory.limit_bytes(1000) == 1000
    assert 0 < memory.resident_bytes() < memory.limit_bytes(0) <= psutil.virtual_memory().total
