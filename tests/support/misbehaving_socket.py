"""A socket to a node whose test writes each byte itself, so that it can break the WebSocket protocol or read nothing.

A test whose client keeps the protocol takes tests/support/plain_client.py or testbed/raw_client.py.
"""

import asyncio
from contextlib import suppress
from typing import Self

from testbed.raw_client import HANDSHAKE
from tests.support.comet_node import CometNode


class MisbehavingSocket:
    """One connection, without any protocol of its own after the opening handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, node: CometNode, query: str = "rooms=", *, upgrade: bool = True, more: bytes = b"") -> Self:
        """Connect. With `upgrade`, send the opening handshake, followed by `more` in the same packet.

        Without `more`, read the answer up to the end of the hello. The query must name no room.
        """
        client = cls(*await asyncio.open_connection("127.0.0.1", node.settings.http_bind_port))
        if upgrade:
            client.writer.write(HANDSHAKE.format(query=query).encode() + more)
            if not more:
                assert b" 101 " in await client.read_until(b"\r\n\r\n")
                assert b'"hello"' in await client.read_until(b"[]}}")
        return client

    async def read_until(self, end: bytes) -> bytes:
        """Return the received bytes up to and including `end`."""
        async with asyncio.timeout(5):
            return await self.reader.readuntil(end)

    async def read_to_the_end(self) -> bytes:
        """Return all bytes that the node sends until it hangs up."""
        async with asyncio.timeout(15):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    async def close(self) -> None:
        """Hang up."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()
