"""What the proxy promises: it passes everything in order, and each fault does just what it says."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from testbed.ports import free_port
from tests.chaos.link import WAITING_BYTES
from tests.chaos.proxy import Proxy
from tests.support.eventually import eventually

TIMEOUT_S = 5.0
MARK = b"\r\nSUBSCRIBE\r\n"


class Peer:
    """One end of a connection in a test's hands."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        """Write without waiting."""
        self.writer.write(data)

    async def read(self, size: int) -> bytes:
        """Read exactly so much."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.readexactly(size)

    async def end(self) -> bytes:
        """Read to the end of the stream."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self.reader.read()

    async def reset(self) -> None:
        """Wait for a reset."""
        with pytest.raises(ConnectionError):
            await self.end()

    async def silent(self, for_s: float = 0.1) -> None:
        """See that nothing comes for a while, neither bytes nor an end."""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(for_s):
                await self.reader.read(1)


class World:
    """A target that takes connections, and a proxy before it."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[Peer] = asyncio.Queue()
        self.port = free_port()
        self.proxy = Proxy(self.port, (MARK,))
        self._peers: list[Peer] = []

    async def connect(self) -> Peer:
        """Connect a client."""
        return self._keep(Peer(*await asyncio.open_connection("127.0.0.1", self.proxy.port)))

    async def pair(self) -> tuple[Peer, Peer]:
        """Connect a client and return it with what arrived at the target."""
        client = await self.connect()
        async with asyncio.timeout(TIMEOUT_S):
            return client, await self.arrived.get()

    async def gone(self) -> None:
        """Wait until the proxy has no connection left."""
        await eventually(lambda: self.proxy.connections == 0)

    def _keep(self, peer: Peer) -> Peer:
        self._peers.append(peer)
        return peer

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        """Serve while inside."""
        server = await asyncio.start_server(
            lambda *streams: self.arrived.put_nowait(self._keep(Peer(*streams))), "127.0.0.1", self.port
        )
        try:
            async with self.proxy:
                yield self
        finally:
            server.close()
            for peer in self._peers:
                peer.writer.transport.abort()
            await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A world that runs."""
    async with World().running() as it:
        yield it


async def test_it_passes_both_directions(world: World) -> None:
    """Without a fault it is as if it were not there."""
    client, target = await world.pair()
    client.send(b"ask")
    assert await target.read(3) == b"ask"
    target.send(b"answer")
    assert await client.read(6) == b"answer"


async def test_an_end_of_one_direction_leaves_the_other_open(world: World) -> None:
    """A server may answer after its client has said all, and the connection is gone when both have."""
    client, target = await world.pair()
    client.send(b"all")
    client.writer.write_eof()
    assert await target.end() == b"all"
    target.send(b"answer")
    target.writer.write_eof()
    assert await client.end() == b"answer"
    await world.gone()


async def test_a_reset_is_passed_on(world: World) -> None:
    """A target that dies with its socket full is seen as that."""
    client, target = await world.pair()
    target.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    target.writer.transport.abort()
    await client.reset()
    await world.gone()


async def test_a_target_that_is_down_looks_like_a_reset() -> None:
    """Nobody waits for a dead program; and when it is back, so is the line."""
    world = World()
    async with world.proxy:
        await (await world.connect()).reset()
        await world.gone()


async def test_cut_resets_both_ends_and_what_comes_next_is_well(world: World) -> None:
    """All connections of the moment, and only they."""
    pairs = [await world.pair() for _ in range(3)]
    assert world.proxy.cut() == 3
    for client, target in pairs:
        await client.reset()
        await target.reset()
    await world.gone()
    client, target = await world.pair()
    client.send(b"x")
    assert await target.read(1) == b"x"


async def test_refuse_resets_new_connections_only(world: World) -> None:
    """Who is connected stays so."""
    client, target = await world.pair()
    world.proxy.refuse()
    await (await world.connect()).reset()
    client.send(b"x")
    assert await target.read(1) == b"x"
    world.proxy.heal()
    await world.pair()


async def test_delay_holds_each_chunk_for_so_long_in_order(world: World) -> None:
    """Bytes sent later don't come earlier, also when the delay ends before they do."""
    loop = asyncio.get_running_loop()
    client, target = await world.pair()
    world.proxy.delay(0.2)
    began = loop.time()
    client.send(b"1")
    await target.silent()
    world.proxy.delay(0)
    client.send(b"2")
    client.writer.write_eof()
    assert await target.end() == b"12"
    assert round(loop.time() - began, 2) >= 0.2  # its clock ticks in ms
    target.send(b"3")
    assert await client.read(1) == b"3"


async def test_hold_passes_nothing_closes_nothing_and_forgets_nothing(world: World) -> None:
    """Half-open: neither end learns anything until the release, and then all of it."""
    client, target = await world.pair()
    world.proxy.hold()
    client.send(b"ask")
    target.send(b"answer")
    client.writer.write_eof()
    await target.silent()
    await client.silent()
    world.proxy.release()
    assert await target.end() == b"ask"
    assert await client.read(6) == b"answer"


async def test_a_held_link_does_not_tell_that_its_client_died(world: World) -> None:
    """The target learns of a reset only when the line is there again."""
    client, target = await world.pair()
    world.proxy.hold()
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.writer.transport.abort()
    await target.silent()
    target.send(b"are you there?")
    await target.silent()
    world.proxy.release()
    await target.reset()
    await world.gone()


async def test_new_connections_are_held_as_well(world: World) -> None:
    """They are accepted, and the target sees nothing of them until the release."""
    world.proxy.hold()
    client = await world.connect()
    client.send(b"ask")
    await client.silent()
    assert world.arrived.empty()
    world.proxy.release()
    async with asyncio.timeout(TIMEOUT_S):
        target = await world.arrived.get()
    assert await target.read(3) == b"ask"


async def test_cut_reaches_connections_that_are_held(world: World) -> None:
    """Faults add up."""
    client, target = await world.pair()
    world.proxy.hold()
    world.proxy.cut()
    await client.reset()
    await target.reset()


async def test_only_the_marked_are_hit(world: World) -> None:
    """A mark that came long ago and in two chunks counts, and whoever never sent it feels nothing."""
    (marked, its_target), (other, other_target) = await world.pair(), await world.pair()
    marked.send(b"x" + MARK[:4])
    await its_target.read(5)
    marked.send(MARK[4:])
    await its_target.read(len(MARK) - 4)
    world.proxy.only(MARK)
    assert world.proxy.cut() == 1
    await marked.reset()
    other.send(b"x")
    assert await other_target.read(1) == b"x"


async def test_a_marked_hold_begins_with_the_mark(world: World) -> None:
    """A new connection passes until it shows that it is meant; heal() ends it all."""
    world.proxy.only(MARK)
    world.proxy.hold()
    client, target = await world.pair()
    client.send(b"hello")
    assert await target.read(5) == b"hello"
    client.send(MARK)
    await target.silent()
    world.proxy.heal()
    assert await target.read(len(MARK)) == MARK


async def test_a_marked_refusal_resets_who_shows_the_mark(world: World) -> None:
    """It can't be known before."""
    world.proxy.only(MARK)
    world.proxy.refuse()
    client, target = await world.pair()
    client.send(MARK)
    await client.reset()
    await target.reset()


async def test_a_mark_it_does_not_look_for_is_an_error(world: World) -> None:
    """It would hit nobody, and a fault that hits nobody proves nothing."""
    with pytest.raises(ValueError, match="does not look for"):
        world.proxy.only(b"GET")


@pytest.mark.parametrize("delay_s", [0.0, 0.05])
async def test_a_reader_that_is_slow_slows_its_writer(world: World, delay_s: float) -> None:
    """Memory of the proxy is bounded, and nothing is lost or mixed up."""
    whole = bytes(range(256)) * 4096 * 16  # 16 MB, more than the kernel's buffers take
    client, target = await world.pair()
    world.proxy.delay(delay_s)
    client.send(whole)
    link = next(iter(world.proxy._links))  # noqa: SLF001 - what it keeps can't be seen from outside
    await asyncio.sleep(0.1)
    assert link.client._waiting_bytes < WAITING_BYTES * 2  # noqa: SLF001 - likewise
    assert client.writer.transport.get_write_buffer_size() > 0
    world.proxy.delay(0)
    assert await target.read(len(whole)) == whole


async def test_leaving_cuts_what_is_open() -> None:
    """A proxy that is gone leaves nobody connected, whatever its fault was."""
    async with World().running() as world:
        async with Proxy(world.port) as proxy:
            client = Peer(*await asyncio.open_connection("127.0.0.1", proxy.port))
            async with asyncio.timeout(TIMEOUT_S):
                target = await world.arrived.get()
            proxy.hold()
        await client.reset()
        await target.reset()
