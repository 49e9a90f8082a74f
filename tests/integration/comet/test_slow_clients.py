"""Clients that read nothing: cut off at a bound, they cost neither memory nor anybody else's messages."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatroom.up.guard import Guard
from testbed.raw_client import RawClient, raw_clients
from testbed.service import CometProgram
from tests.support.metrics import asample, until_sample

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"
OUTBOUND_BYTES = 262_144
STUCK, GOOD = 100, 900
MiB = 1 << 20


@pytest.fixture
def program(guard: Guard, tmp_path: Path, redis_url: str) -> Iterator[CometProgram]:
    """A node of its own, whose memory can be told."""
    settings = {"COMET_OUTBOUND_BYTES": str(OUTBOUND_BYTES), "COMET_RATE_BURST_MESSAGES": "1000000"}
    with CometProgram(guard, tmp_path, redis_url, settings) as it:
        yield it


async def say(sender: RawClient, begin: int, count: int, size: int) -> None:
    """Send so many messages of that size, each after the ack of the one before."""
    for i in range(begin, begin + count):
        sender.send("clientMessages", roomId=ROOM, content="x" * size, ref=str(i))
        await sender.until(lambda: len(sender.of("ack")) > i)  # noqa: B023 - awaited within the round


async def test_a_hundred_that_read_nothing_harm_none_of_nine_hundred(program: CometProgram) -> None:
    """All 100 are cut off and resume without a hole; memory levels off; the 900 get every message once and in order."""
    size, count = 12_000, 2 * OUTBOUND_BYTES // 12_000
    async with (
        raw_clients(program.port, GOOD, f"rooms={ROOM}") as good,
        raw_clients(program.port, STUCK, f"rooms={ROOM}", small=True) as stuck,
    ):
        for client in stuck:
            client.stop_reading()
        before = program.resident_bytes
        await say(good[0], 0, count, size)
        await until_sample(program.metrics_url, "comet_slow_consumers_total", STUCK)
        await until_sample(program.metrics_url, "comet_closed_total", STUCK, code="4001")
        assert await asample(program.metrics_url, "comet_slow_consumers_total") == STUCK  # and nobody else
        cut_off = program.resident_bytes
        await say(good[0], count, count, size)
        for client in good:
            await client.until(lambda: len(client.seqs) >= 2 * count)  # noqa: B023 - awaited within the round
            assert client.seqs == list(range(1, 2 * count + 1))
        assert cut_off - before < STUCK * OUTBOUND_BYTES + 20 * MiB
        assert program.resident_bytes - cut_off < 20 * MiB  # whatever else is sent
        for client in stuck:
            client.abort()
        async with raw_clients(program.port, STUCK, "rooms=") as again:
            for i, client in enumerate(again):
                for coming in again[i : i + 20] if i % 20 == 0 else ():  # as their jitter would have it
                    coming.send("joinRoom", roomId=ROOM, since={"epoch": 0, "seq": 0})
                assert (await client.until_frame("joined"))["recovered"] is True
                await client.until(lambda: len(client.seqs) >= 2 * count)  # noqa: B023 - likewise
                assert client.seqs == list(range(1, 2 * count + 1))
