"""A node that fails, in whichever way, holds up neither other nodes nor other partitions, and is given up in time."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chatroom.up.guard import Guard
from protos.job_pb2 import PushMsg
from testbed.service import CometProgram
from tests.chaos.proxy import Proxy
from tests.integration.job.comets import Comet, HalfOpen
from tests.integration.job.conftest import Nodes, Produce, StartJob
from tests.support.frozen import freeze

ROOM = PushMsg.ROOM
FAULTS = ["stuck", "unreachable", "killed", "frozen", "blackholed"]

Break = Callable[[], Awaitable[None]]


class Bad:
    """The node that fails, registered as `bad`: a real Comet where it is to be killed or frozen."""

    def __init__(self, guard: Guard, directory: Path, redis_url: str, nodes: Nodes, stack: AsyncExitStack) -> None:
        self._guard = guard
        self._directory = directory
        self._redis_url = redis_url
        self._nodes = nodes
        self._stack = stack
        self.standin: Comet | None = None

    async def start(self, fault: str) -> Break:
        """Start it, and return what makes it fail."""
        if fault in {"killed", "frozen"}:
            return await self._start_program(fault)
        self.standin = standin = await self._stack.enter_async_context(Comet("bad"))
        if fault == "blackholed":
            proxy = await self._stack.enter_async_context(Proxy(standin.port))
            await self._nodes.register("bad", f"127.0.0.1:{proxy.port}", ["r"])
            return _calling(proxy.hold)
        await self._nodes.register("bad", standin.address, ["r"])
        return _calling(standin.stuck.set) if fault == "stuck" else standin.__aexit__

    async def _start_program(self, fault: str) -> Break:
        program = CometProgram(self._guard, self._directory / "bad", self._redis_url)
        await asyncio.to_thread(program.start)
        self._stack.push_async_callback(asyncio.to_thread, program.kill)
        await self._nodes.register("bad", f"127.0.0.1:{program.grpc_port}", ["r"])
        if fault == "killed":
            return _calling(lambda: os.kill(program.pid, signal.SIGKILL))
        return _calling(lambda: freeze(program.pid))


def _calling(strike: Callable[[], object]) -> Break:
    async def strikes() -> None:
        await asyncio.sleep(0)
        strike()

    return strikes


@pytest.fixture
async def bad(guard: Guard, tmp_path: Path, redis_url: str, nodes: Nodes) -> AsyncIterator[Bad]:
    """The node that fails, not started yet."""
    async with AsyncExitStack() as stack:
        yield Bad(guard, tmp_path, redis_url, nodes, stack)


async def _send(produce: Produce, room: str, first: int, count: int, partition: int | None = None) -> None:
    for number in range(first, first + count):
        fields = {"msg": f"{room} {number}", "epoch": 1, "first_seq": number, "count": 1}
        await produce(type=ROOM, room=room, partition=partition, **fields)


def _expected(room: str, count: int) -> list[str]:
    return [f"{room} {number}" for number in range(1, count + 1)]


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_node_that_fails_delays_neither_other_nodes_nor_other_partitions(
    make_job: StartJob, nodes: Nodes, bad: Bad, produce: Produce, fault: str
) -> None:
    """Its deadline is far away, so it is tried all the time; meanwhile one consumer serves all else.

    The other node has the very records that it lacks, and those of the other partitions are finished.
    """
    good = await nodes.up("good", rooms=["r", "other"])
    strike = await bad.start(fault)
    job = await make_job(JOB_PUSH_DEADLINE_SECONDS="120", JOB_CONSUMERS="1").up()
    await strike()
    await _send(produce, "r", 1, 30, partition=0)
    await good.until(lambda: len(good.bodies("r")) == 30)
    assert good.bodies("r") == _expected("r", 30)
    await job.until_metric("grpc_calls_total", 1, service="job", name="broadcast_room", status="failed")
    for partition in (1, 2, 3):
        await _send(produce, "other", 1 + 10 * (partition - 1), 10, partition)
        assert await job.until_metric("job_records_total", 10 * partition, result="pushed") == 10 * partition
    await _send(produce, "r", 31, 10, partition=0)
    await good.until(lambda: len(good.bodies("r")) == 40)
    assert good.bodies("other") == _expected("other", 30)
    assert await job.metric("job_records_total", result="abandoned") == 0
    assert await job.metric("job_nodes_suspected") == 0


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_node_that_fails_is_given_up(
    make_job: StartJob, nodes: Nodes, bad: Bad, produce: Produce, fault: str
) -> None:
    """After its deadline what waits is abandoned, the node suspected, and later records lack nothing elsewhere."""
    good = await nodes.up("good", rooms=["r"])
    strike = await bad.start(fault)
    job = await make_job(JOB_PUSH_DEADLINE_SECONDS="2").up()
    await strike()
    await _send(produce, "r", 1, 30)
    await job.until_metric("job_records_total", 30, result="abandoned")
    assert await job.metric("job_nodes_suspected") == 1
    await _send(produce, "r", 31, 5)
    await job.until_metric("job_records_total", 35, result="abandoned")
    assert good.bodies("r") == _expected("r", 35)
    if fault == "stuck" and bad.standin is not None:  # it recovers, and is trusted again
        bad.standin.stuck.clear()
        await _send(produce, "r", 36, 1)
        await bad.standin.until(lambda: "r 36" in [body for _, body in _bodies(bad.standin)])
        await job.until_metric("job_records_total", 1, result="pushed")
        assert await job.metric("job_nodes_suspected") == 0


def _bodies(comet: Comet | None) -> list[tuple[str, str]]:
    return [(room, proto.body) for room, proto in comet.rooms] if comet is not None else []


async def test_a_connection_that_is_half_open_is_noticed_and_replaced(
    make_job: StartJob, nodes: Nodes, produce: Produce
) -> None:
    """Nothing closes it and nothing comes back over it; the node itself is well: what is pushed then reaches it."""
    async with Comet("one") as one, HalfOpen(one.address) as way:
        await nodes.register("one", way.address, ["r"])
        job = await make_job(JOB_PUSH_DEADLINE_SECONDS="60").up()
        await _send(produce, "r", 1, 5)
        await one.until(lambda: len(one.bodies("r")) == 5)
        before = way.connected
        way.deafen()
        await _send(produce, "r", 6, 5)
        await one.until(lambda: len(set(one.bodies("r"))) == 10, timeout_s=30)
        assert way.connected > before
        await job.until_metric("job_records_total", 10, result="pushed")
        assert await job.metric("job_records_total", result="abandoned") == 0
