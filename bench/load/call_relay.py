"""A relay between Job and a node that notes when each gRPC call's answer passes, and how old its messages are then.

Job is told the relay's address instead of the node's, so nothing of the product is touched and its own calls are
measured, at the price of one more hop on loopback, which counts against us. Of HTTP/2 it reads no more than the frames'
heads (RFC 9113, 4.1): a call's request is the DATA of its stream, its answer is over with the node's END_STREAM.
"""

import asyncio
import time
from array import array
from types import TracebackType
from typing import Final, Self

from bench.load import wire
from chatroom.up.ports import LOOPBACK
from testbed.ports import free_port
from testbed.stack import PUSH

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
DATA, HEADERS, RST_STREAM = 0, 1, 3
END_STREAM: Final = 0x1
READ_BYTES: Final = 262_144


class Calls:
    """What passed since `measure_from_ns`: calls, their messages' ages when they were answered."""

    def __init__(self) -> None:
        self.measure_from_ns = 0
        self.ages_ns = array("q")
        self.calls = 0

    def done(self, request: bytes) -> None:
        """Note a call that is answered; one without messages is another service's (health, say)."""
        now_ns = time.monotonic_ns()
        stamps = [int(request[at + len(wire.MARK) :][: wire.DIGITS]) for at in wire.marks(request)]
        measured = [now_ns - at_ns for at_ns in stamps if at_ns >= self.measure_from_ns]
        self.ages_ns.extend(measured)
        self.calls += bool(measured)

    def begin(self, measure_from_s: float) -> None:
        """Measure anew, only what is sent from then on (monotonic)."""
        self.measure_from_ns = int(measure_from_s * 1e9)
        self.ages_ns, self.calls = array("q"), 0


class Frames:
    """One direction of a connection, cut into HTTP/2 frames."""

    def __init__(self) -> None:
        self._unread = b""

    def take(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        """Return the frames that are whole by now: (type, flags, stream, payload)."""
        unread, at = self._unread + data, 0
        found = []
        if unread.startswith(PREFACE):
            at = len(PREFACE)
        while len(unread) >= at + HEAD_BYTES:
            end = at + HEAD_BYTES + int.from_bytes(unread[at : at + 3], "big")
            if len(unread) < end:
                break
            stream = int.from_bytes(unread[at + 5 : at + 9], "big")
            found.append((unread[at + 3], unread[at + 4], stream, unread[at + HEAD_BYTES : end]))
            at = end
        self._unread = unread[at:]
        return found


class CallRelay:
    """Listens for Job on `address`; `target_port` is where the node's gRPC is, once that is known."""

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"{LOOPBACK}:{self.port}"
        self.target_port = 0
        self.calls = Calls()
        self._server: asyncio.Server | None = None

    def line(self, _name: str, line: str, address: str) -> str:
        """Stand between Job and the node (a `Line` of the test bed's stack)."""
        if line != PUSH:
            return address
        self.target_port = int(address.rpartition(":")[2])
        return self.address

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._relay, LOOPBACK, self.port, limit=READ_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening; connections end with their ends."""
        if self._server is not None:
            self._server.close()

    async def _relay(self, job: asyncio.StreamReader, to_job: asyncio.StreamWriter) -> None:
        try:
            node, to_node = await asyncio.open_connection(LOOPBACK, self.target_port, limit=READ_BYTES)
        except OSError:  # the node is gone
            to_job.close()
            return
        requests: dict[int, list[bytes]] = {}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._to_node(job, to_node, requests))
            tasks.create_task(self._to_job(node, to_job, requests))

    async def _to_node(
        self, job: asyncio.StreamReader, to_node: asyncio.StreamWriter, requests: dict[int, list[bytes]]
    ) -> None:
        frames = Frames()
        while data := await _read(job):
            to_node.write(data)
            for kind, _, stream, payload in frames.take(data):
                if kind == DATA:
                    requests.setdefault(stream, []).append(payload)
        to_node.close()

    async def _to_job(
        self, node: asyncio.StreamReader, to_job: asyncio.StreamWriter, requests: dict[int, list[bytes]]
    ) -> None:
        frames = Frames()
        while data := await _read(node):
            to_job.write(data)
            for kind, flags, stream, _ in frames.take(data):
                if kind in (DATA, HEADERS) and flags & END_STREAM and stream in requests:
                    self.calls.done(b"".join(requests.pop(stream)))
                elif kind == RST_STREAM:
                    requests.pop(stream, None)
        to_job.close()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(READ_BYTES)
    except OSError:  # the other end was killed
        return b""
