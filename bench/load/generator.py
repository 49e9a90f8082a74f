"""The load generator, `python -m bench.load.generator`: clients that receive, and of which one a room or all send.

It must cost much less than the server under load: one thread, one epoll loop, one buffer for all clients. Messages are
counted and timed by the marks in them (wire.py), without a parser. Sends are open-loop: a frame that is due goes out,
whether or not the frames before it are answered. Orders are lines of JSON on standard input, each answered by a line on
standard output; `json_subprocess.py` is the other end.
"""

import base64
import os
import select
import socket
import time
from array import array
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from bench.load import wire
from bench.load.connect import ClientPlan, Connector, hang_up
from bench.load.json_subprocess import say
from bench.load.tally import ClientCounts, Receipts, Tally, quantiles_ms, seen
from bench.measures import percentile

BUFFER_BYTES: Final = 1 << 20
AT_ONCE: Final = 128  # sockets read between two looks at the clock
LINGER_S: Final = 5.0  # messages that come this much later than the last one are lost
SAMPLE_S: Final = 0.25
STDIN: Final = 0
ACK, ERROR = b'"type":"ack"', b'"type":"error"'


@dataclass(frozen=True, slots=True)
class SendPlan:
    """Frames sent at a rate: by the first client of each room in turn, or by all clients in turn."""

    rate: float  # frames a second
    seconds: float
    burst: int = 1  # messages in a frame
    content_bytes: int = 100  # of a message
    all_send: bool = False
    begin_s: float = 0.0  # the moment to begin (monotonic); a past one is now
    warm_s: float = 0.0  # sends that are not measured come first, for so long
    drain_s: float = 60.0  # at most, until everything is answered and delivered


class LoadClient:
    """One connection."""

    __slots__ = ("fd", "receipts", "receive", "room", "sock", "timed", "unread", "unsent", "watched")

    def __init__(self, sock: socket.socket, room: int, receipts: Receipts | None, *, timed: bool) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.receive = sock.recv_into
        self.room = room
        self.receipts = receipts  # for the ledger
        self.timed = timed  # the ages of its messages are taken
        self.watched = timed or receipts is not None  # its messages are not only counted
        self.unread = b""  # the beginning of a frame
        self.unsent = b""


class Generator:
    """All clients of one program."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._buffer = bytearray(BUFFER_BYTES)
        self._plan = ClientPlan(0, "")
        self._clients: list[LoadClient] = []
        self._by_fd: dict[int, LoadClient] = {}
        self._positions: dict[str, tuple[int, int]] = {}  # of the rooms, when the clients connected last
        self._counts = ClientCounts()
        self._begun = ClientCounts()  # the counts when the load began
        self._tally = Tally()
        self._acks: list[bytes] = []  # for the ledger

    def run(self) -> None:
        """Obey orders until standard input ends; receive, and answer pings, meanwhile."""
        self._epoll.register(STDIN, select.EPOLLIN)
        unread = b""
        while True:
            self._receive(1.0)
            if select.select([STDIN], [], [], 0)[0]:
                came = os.read(STDIN, BUFFER_BYTES)
                if not came:
                    return
                *lines, unread = (unread + came).split(b"\n")
                for line in lines:
                    say(self._obey(orjson.loads(line)))

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order.pop("do"):
            case "connect":
                return self._connect(ClientPlan(**order))
            case "load":
                return self._load(SendPlan(**order))
            case "leave":
                return self._leave()
            case "seen":
                rooms = [self._plan.room_of(k) for k in range(self._plan.rooms)]
                return seen(rooms, [one.receipts for one in self._clients if one.receipts is not None], self._acks)
            case other:
                raise ValueError(f"unknown order {other}")

    def _connect(self, plan: ClientPlan) -> dict[str, Any]:
        began = time.process_time()
        connected = Connector(plan, self._positions).connect()
        self._plan = plan
        for k, sock in enumerate(connected.socks):
            receipts = Receipts(witness=k < plan.rooms) if plan.keep else None
            client = LoadClient(sock, k % plan.rooms, receipts, timed=plan.times(k))
            self._clients.append(client)
            self._by_fd[client.fd] = client
            self._epoll.register(client.fd, select.EPOLLIN)
        return {
            "seconds": connected.seconds,
            "half_s": percentile(connected.times, 0.5),
            "most_s": percentile(connected.times, 0.99),
            "tries": connected.tries,
            "missing": connected.missing,
            "recovered": connected.recovered,
            "told": connected.told,
            "cpu_s": time.process_time() - began,
        }

    def _leave(self) -> dict[str, Any]:
        """Hang up on the server, all clients at once."""
        hang_up(client.sock for client in self._clients)  # epoll forgets a closed socket
        self._clients, self._by_fd = [], {}
        return {}

    # -- a load ------------------------------------------------------------------------------------------------------

    def _load(self, plan: SendPlan) -> dict[str, Any]:
        """Send as planned, wait until everything is answered and delivered, and return all figures.

        The figures at the top end with the last send; those of "whole" end with the wait.
        """
        begin_s = max(plan.begin_s, time.monotonic())
        measured_s = begin_s + plan.warm_s
        self._tally = tally = Tally(plan.burst, int(measured_s * 1e9))
        self._begun = replace(self._counts)
        rooms = range(self._plan.rooms)
        templates = [wire.send_template(self._plan.room_of(k), plan.burst, plan.content_bytes) for k in rooms]
        if plan.warm_s:
            self._send(plan, templates, begin_s, measured_s)
            tally.late_ns, tally.ages_ns = array("q"), array("q")
        before = replace(self._counts)
        samples = self._send(plan, templates, measured_s, measured_s + plan.seconds)
        sent = {"seconds": time.monotonic() - measured_s, **self._counts.since(before)}
        drained = self._drain(plan.drain_s)
        return {
            **sent,
            "whole": {"seconds": time.monotonic() - measured_s, **self._counts.since(before)},
            "drained": drained,
            "refused": tally.refused,
            "ages_ms": quantiles_ms(tally.ages_ns),
            "late_ms": quantiles_ms(tally.late_ns),
            "samples": samples,
            "flush": base64.b64encode(tally.flush).decode(),
        }

    def _send(
        self, plan: SendPlan, templates: list[bytes], begin_s: float, end_s: float
    ) -> list[tuple[float, int, int, int]]:
        """Send from one moment (monotonic) to another; return samples: the moment, frames sent and acked, messages."""
        counts, samples = self._counts, list[tuple[float, int, int, int]]()
        senders = self._clients if plan.all_send else self._clients[: self._plan.rooms]
        first, due = counts.sent, begin_s
        while (now := time.monotonic()) < end_s or due < end_s:
            while due <= now and due < end_s:
                client, at_ns = senders[(counts.sent - first) % len(senders)], time.monotonic_ns()
                self._write(client, wire.filled(templates[client.room], plan.burst, counts.sent, at_ns))
                self._tally.late_ns.append(at_ns - int(due * 1e9))
                counts.sent += 1
                due = begin_s + (counts.sent - first) / plan.rate
            if not samples or now >= samples[-1][0] + SAMPLE_S:
                samples.append((now, counts.sent, counts.acked, counts.delivered))
            self._receive(max(0.0, min(due, end_s) - now))
        return samples

    def _drain(self, timeout_s: float) -> bool:
        """Receive until everything is answered and delivered; return whether that was in time."""
        counts, came, came_at = self._counts, (0, 0), time.monotonic()
        until = came_at + timeout_s
        while not self._complete():
            now = time.monotonic()
            if came != (counts.answered, counts.delivered):
                came, came_at = (counts.answered, counts.delivered), now
            if now > min(came_at + LINGER_S, until):
                return False
            self._receive(0.1)
        return True

    def _complete(self) -> bool:
        plan, since = self._plan, self._counts.since(self._begun)
        refused = since["answered"] - since["acked"]
        expected = (since["sent"] - refused) * self._tally.burst * plan.clients // plan.rooms
        return since["delivered"] >= expected and (since["answered"] >= since["sent"] or not plan.acks)

    def _write(self, client: LoadClient, frame: bytes) -> None:
        if client.unsent:
            client.unsent += frame
            return
        try:
            size = client.sock.send(frame)
        except BlockingIOError:
            size = 0
        except OSError:
            return  # the connection is closed, as the next read tells
        if size < len(frame):
            client.unsent = frame[size:]
            self._epoll.modify(client.fd, select.EPOLLIN | select.EPOLLOUT)

    def _write_rest(self, client: LoadClient) -> None:
        frame, client.unsent = client.unsent, b""
        self._epoll.modify(client.fd, select.EPOLLIN)
        self._write(client, frame)

    # -- receiving ---------------------------------------------------------------------------------------------------

    def _receive(self, timeout_s: float) -> None:
        """Read from all clients that have data. This is the hot path, for a read that is one frame of messages."""
        buffer, by_fd, counts = self._buffer, self._by_fd, self._counts
        mark, writable, head_of = wire.MARK, select.EPOLLOUT, wire.HEAD.unpack_from
        one_frame = wire.MEDIUM - wire.HEAD.size  # the head of a frame that fills the read, less the size of the read
        for fd, event in self._epoll.poll(timeout_s, AT_ONCE):
            if fd == STDIN:
                continue
            client = by_fd[fd]
            if event & writable:
                self._write_rest(client)
                if event == writable:
                    continue
            try:
                size = client.receive(buffer)
            except OSError:
                size = 0
            found = buffer.count(mark, 0, size)
            if found and head_of(buffer)[0] - size == one_frame and not client.unread:
                counts.delivered += found
                counts.reads += 1
                if client.watched:
                    self._look(client, buffer[:size], found)
            elif size:
                counts.reads += found > 0
                client.unread = self._take(client, client.unread + buffer[:size])
            else:
                self._drop(client)
            counts.received_bytes += size

    def _take(self, client: LoadClient, unread: bytes) -> bytes:
        """Take all whole frames, and return the rest."""
        at = 0
        while end := wire.frame_end(unread, at):
            self._take_frame(client, unread[at:end])
            at = end
        return unread[at:]

    def _take_frame(self, client: LoadClient, frame: bytes) -> None:
        if found := frame.count(wire.MARK):
            self._counts.delivered += found
            if client.watched:
                self._look(client, frame, found)
        elif frame[0] == wire.PING:
            self._write(client, wire.frame(frame[2:], opcode=wire.PONG, masked=True))
        elif ACK in frame:
            self._counts.acked += 1
            self._counts.answered += 1
            if self._plan.keep:
                self._acks.append(frame)
        elif ERROR in frame:
            self._tally.refuse(frame)
            self._counts.answered += 1

    def _look(self, client: LoadClient, frame: bytes | bytearray, found: int) -> None:
        if client.timed:
            self._tally.time(frame, found, time.monotonic_ns())
        if client.receipts is not None:
            client.receipts.take(frame, found)

    def _drop(self, client: LoadClient) -> None:
        """Forget a client whose connection is closed."""
        self._epoll.unregister(client.fd)
        del self._by_fd[client.fd]
        client.sock.close()
        self._counts.gone += 1


if __name__ == "__main__":
    Generator().run()
