"""How connections end: each close code of the design's table, and what a client did to get it."""

import asyncio
import socket
from contextlib import AsyncExitStack

import pytest
from prometheus_client import REGISTRY
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from comet.transport import PING
from testbed.raw_client import HANDSHAKE
from testbed.redis_server import RedisServer
from tests.support.comet_node import CometNode, running
from tests.support.eventually import eventually
from tests.support.misbehaving_socket import MisbehavingSocket

pytestmark = pytest.mark.asyncio(loop_scope="package")

ROOM = "room_1"


def total(name: str, **labels: str) -> float:
    """Return a metric of this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def masked(payload: bytes, opcode: int = 1, *, fin: bool = True) -> bytes:
    """Return a client's frame of at most 125 bytes."""
    mask = b"\1\2\3\4"
    body = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    length = (
        bytes([0x80 | len(payload)]) if len(payload) < 126 else bytes([0x80 | 126]) + len(payload).to_bytes(2, "big")
    )
    return bytes([opcode | (0x80 if fin else 0)]) + length + mask + body


def close_code(received: bytes) -> int | None:
    """Return the code of the close frame that ends what was received."""
    at = received.rfind(b"\x88")
    return int.from_bytes(received[at + 2 : at + 4], "big") if at >= 0 else None


# -- by the protocol -----------------------------------------------------------------------------------------------


async def test_a_client_that_closes_is_answered(node: CometNode) -> None:
    """Its code comes back, and it is counted under it."""
    before = total("comet_closed_total", code="1000")
    async with node.client() as client:
        await client.connection.close(1000, "bye")
        assert client.connection.close_code == 1000
    await eventually(lambda: total("comet_closed_total", code="1000") - before == 1)


async def test_a_frame_past_the_limit_closes_with_1009(redis_url: str) -> None:
    """Whether it comes whole or in pieces; the limit itself is fine."""
    async with running(redis_url, max_frame_bytes=2000) as node:
        async with node.client() as client:
            await client.connection.send("x" * 2000)
            await client.until(lambda: client.frames("error"))
            await client.connection.send("x" * 2001)
            assert await client.until_closed() == 1009
        async with node.client() as client:
            await client.connection.send(["x" * 700] * 3)
            assert await client.until_closed() == 1009


async def test_messages_may_come_in_fragments(node: CometNode) -> None:
    """With control frames between them."""
    text = b'{"type":"clientMessages","payload":{"roomId":"room_1","content":"in pieces"}}'
    client = await MisbehavingSocket.connect(node)
    client.writer.write(masked(text[:20], fin=False) + masked(b"are you there", opcode=9))
    assert await client.read_until(b"are you there") == b"\x8a\x0dare you there"
    client.writer.write(masked(text[20:40], opcode=0, fin=False) + masked(text[40:], opcode=0))
    await client.read_until(b'"content":"in pieces"')
    client.writer.write(masked(b"\x03\xe8", opcode=8))
    assert close_code(await client.read_to_the_end()) == 1000
    await client.close()


@pytest.mark.parametrize(
    "more", [masked(b'{"type":"ping"}'), masked(b"", opcode=9), masked(b"\x03\xe8", opcode=8), b"\xff" * 100, b"GET / "]
)
async def test_who_does_not_wait_for_the_handshake_harms_only_himself(node: CometNode, more: bytes) -> None:
    """Whatever stands behind the request in the same packet."""
    async with node.client() as other:
        client = await MisbehavingSocket.connect(node, more=more)
        client.writer.write_eof()
        await client.read_to_the_end()
        await client.close()
        await other.settle()


async def test_a_binary_message_in_fragments_is_refused(node: CometNode) -> None:
    """Its last fragment does not make it text."""
    client = await MisbehavingSocket.connect(node)
    client.writer.write(masked(b"{", opcode=2, fin=False) + masked(b"}", opcode=0) + masked(b"\x03\xe8", opcode=8))
    assert b"frames must be text" in await client.read_to_the_end()
    await client.close()


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (masked(b"x", opcode=3), 1002),  # of no known kind
        (masked(b"x", opcode=0), 1002),  # continues nothing
        (masked(b"\xff\xff", opcode=8), 1002),  # closes with a code that nobody may send
    ],
)
async def test_a_broken_frame_ends_only_its_own_connection(node: CometNode, broken: bytes, code: int) -> None:
    """With the protocol's own code; others notice nothing."""
    async with node.client() as other:
        client = await MisbehavingSocket.connect(node)
        client.writer.write(broken)
        received = await client.read_to_the_end()
        assert close_code(received) == code
        await other.settle()
        await client.close()


async def test_what_comes_behind_a_close_is_ignored(node: CometNode) -> None:
    """A message in the same packet as the close frame, behind it, is not stored."""
    client = await MisbehavingSocket.connect(node)
    late = masked(b'{"type":"clientMessages","payload":{"roomId":"room_1","content":"late"}}')
    client.writer.write(masked(b"\x03\xe8", opcode=8) + late)
    assert close_code(await client.read_to_the_end()) == 1000
    async with node.client(rooms=ROOM) as other:
        assert other.frames("hello")[0]["rooms"][0]["seq"] == 0
    await client.close()


# -- time ----------------------------------------------------------------------------------------------------------


async def test_who_does_not_answer_pings_is_closed_with_1011(redis_url: str) -> None:
    """Two pings unanswered; one that answers stays."""
    async with running(redis_url, ping_seconds=0.2) as node, node.client() as good:
        reading = asyncio.create_task(good.until(lambda: False))
        deaf = await MisbehavingSocket.connect(node)
        received = await deaf.read_to_the_end()
        assert received.count(PING) == 2
        assert close_code(received) == 1011
        await deaf.close()
        assert not reading.done()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await good.settle()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_handshake_that_hangs_is_hung_up_on(redis_url: str, sent: bytes) -> None:
    """Nobody may hold a connection open without saying what he wants."""
    async with running(redis_url, handshake_seconds=0.1) as node:
        client = await MisbehavingSocket.connect(node, upgrade=False)
        client.writer.write(sent)
        assert await client.read_to_the_end() == b""
        await client.close()


# -- limits --------------------------------------------------------------------------------------------------------


async def test_past_the_nodes_limit_new_connections_get_1013(redis_url: str) -> None:
    """Those that are there stay; when one goes another may come."""
    async with running(redis_url, max_connections=2) as node, node.client() as one:
        async with node.client():
            async with node.connection() as third:
                with pytest.raises(ConnectionClosed) as closed:
                    await third.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1013
            await one.settle()
        await eventually(lambda: total("comet_connections") <= 1)

        async def let_in() -> bool:
            async with node.connection() as again:
                try:
                    return '"hello"' in str(await again.recv())
                except ConnectionClosed:
                    return False

        await eventually(let_in)


async def test_a_client_that_sends_too_much_is_slowed_down_and_in_the_end_closed_with_4002(redis_url: str) -> None:
    """Each message past the rate gets `rate_limited` and is not stored; who goes on and on is closed."""
    async with (
        running(redis_url, rate_messages_per_second=1, rate_burst_messages=5, rate_patience_seconds=0.3) as node,
        node.client(rooms=ROOM) as client,
    ):
        for i in range(8):
            await client.send(ROOM, str(i), ref=str(i))
        await client.until(lambda: len(client.frames("error")) == 3 and len(client.frames("ack")) == 5)
        assert {(error["code"], error["ref"]) for error in client.frames("error")} == {
            ("rate_limited", "5"), ("rate_limited", "6"), ("rate_limited", "7"),
        }  # fmt: skip

        async def pester() -> None:
            while True:
                await client.send(ROOM, "again")
                await asyncio.sleep(0.02)

        pestering = asyncio.create_task(pester())
        assert await client.until_closed() == 4002
        pestering.cancel()
        await asyncio.gather(pestering, return_exceptions=True)
    assert len(client.messages(ROOM)) <= 6


async def test_a_client_that_reads_nothing_is_cut_off_and_nobody_else_notices(redis_url: str) -> None:
    """Past its outbound limit; the room's others get every message."""
    before, closed = total("comet_slow_consumers_total"), total("comet_closed_total", code="4001")
    async with running(redis_url, outbound_bytes=65_536, rate_burst_messages=10_000) as node:
        async with node.client(uid="good", rooms=ROOM) as good:
            with socket.socket() as stuck:
                stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                stuck.connect(("127.0.0.1", node.settings.http_bind_port))
                stuck.sendall(HANDSHAKE.format(query="uid=stuck&rooms=room_1").encode())
                await eventually(lambda: total("comet_connections") >= 2)
                sent = 0
                while total("comet_slow_consumers_total") == before:
                    assert sent < 2000
                    for _ in range(20):
                        await good.send(ROOM, f"{sent} " + "x" * 10_000)
                        sent += 1
                    await good.until(lambda: len(good.messages(ROOM)) == sent)  # noqa: B023 - asked at once
                found = await good.answer("requestPresence", {"roomId": ROOM}, "presence")
            assert [user["id"] for user in found["users"]] == ["good"]
            assert total("comet_closed_total", code="4001") - closed == 1
            assert [message["seq"] for message in good.messages(ROOM)] == list(range(1, sent + 1))


# -- restarting ----------------------------------------------------------------------------------------------------


async def test_a_draining_node_answers_what_it_took_and_closes_with_1012(redis_url: str) -> None:
    """Every message sent before is acked or refused; new connections are refused, health says why."""
    async with running(redis_url, drain_seconds=4) as node, node.client(rooms=ROOM) as client:
        for i in range(50):
            await client.send(ROOM, str(i), ref=str(i))
        await client.settle()
        stopping = asyncio.create_task(node.stop())
        assert await client.until_closed() == 1012
        assert len(client.frames("ack")) + len(client.frames("error")) == 50
        with pytest.raises((OSError, InvalidMessage, InvalidStatus)):
            async with node.client():
                pass
        await stopping


async def test_draining_spreads_its_closes(redis_url: str) -> None:
    """So that not all clients reconnect elsewhere in the same instant."""
    async with running(redis_url, drain_seconds=4) as node:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(node.client(uid=str(i))) for i in range(20)]
            closings = [asyncio.create_task(client.until_closed()) for client in clients]
            stopping = asyncio.create_task(node.stop())
            await asyncio.wait(closings, return_when=asyncio.FIRST_COMPLETED)
            assert sum(closing.done() for closing in closings) < 15
            assert set(await asyncio.gather(*closings)) == {1012}
            await stopping


async def test_a_node_stops_cleanly_also_without_redis(own_redis: RedisServer) -> None:
    """Clients are told to come back (1012), and the node ends without an error."""
    async with running(own_redis.url, drain_seconds=3) as node, node.client() as client:
        await asyncio.to_thread(own_redis.stop)
        stopping = asyncio.create_task(node.stop())
        assert await client.until_closed() == 1012
        await stopping
