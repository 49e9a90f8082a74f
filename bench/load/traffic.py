"""The load of the pipeline's benches: clients who all send and all receive, in one process with one thread.

Sends are open-loop: what is due goes out, whether or not what was sent before is answered; each message carries the
clock at which it was written, and a number of its own. What comes is counted and kept apart by kind: acks, messages,
refusals. Neighbours: `load.py` drives it from the bench's side, in lines over its standard input and output
(`json_subprocess.py`); `traffic_seen.py` knows what each client got.
"""

import os
import re
import select
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bench.load import wire
from bench.load.crowd_connect import Entrance, Way
from bench.load.traffic_seen import REF_DIGITS, Seen, told

READ_BYTES: Final = 65_536  # more would be fetched from the kernel anew for every read
HEAD: Final = 4  # of a frame of 126 to 65,535 bytes, as nearly all of them are
TICK_S: Final = 0.001
AT_ONCE: Final = 128  # sockets read before what is due is sent
KIND: Final = len('{"type":"')  # where a frame's type begins
MESSAGES, ACK, ERROR = b"sae"
SAMPLE_S: Final = 0.25
QUANTILES: Final = 1000
_STAMPS: Final = re.compile(wire.MARK + rb"(\d{19})")
_CODE: Final = re.compile(rb'"code":"(\w+)"')


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """Who comes: so many clients, spread evenly over the nodes and over rooms named <room>_<k>."""

    ports: Sequence[int]  # where the nodes take WebSockets
    room: str
    rooms: int
    clients: int
    content_bytes: int = 100
    time_all: bool = True  # take the age of what every client gets, not only the witnesses'
    keep: bool = True  # for the ledger


@dataclass(frozen=True, slots=True)
class Order:
    """Send at a rate from `begin_s` (monotonic) on; what is sent in the first `warm_s` is not measured."""

    rate: float
    begin_s: float
    warm_s: float
    seconds: float
    drain_s: float


class Client(Seen):
    """One connection's other end."""

    __slots__ = ("fd", "read", "sock", "timed", "unread", "unsent")

    def __init__(self, sock: socket.socket, room: int) -> None:
        super().__init__(room)
        self.sock = sock
        self.fd = sock.fileno()
        self.read = sock.recv
        self.unread = b""
        self.unsent = b""
        self.timed = True  # the age of what it gets is taken


class Traffic:
    """All clients, and what they saw since they came."""

    def __init__(self, plan: TrafficPlan) -> None:
        self.plan = plan
        self.clients: list[Client] = []
        self.acks: list[bytes] = []
        self.acked = 0
        self.refused: Counter[str] = Counter()  # since the last order, by code
        self.answered = 0  # acked or refused
        self.sent = 0
        self.delivered = 0
        self.late_ns = array("q")  # how long after it was due each message was written
        self.ages_ns = array("q")  # send to receive, of the messages sent since `measure_from_ns`
        self.measure_from_ns = 0
        self._epoll = select.epoll()
        self._by_fd: dict[int, Client] = {}
        self._templates: list[bytes] = []  # a frame of each room

    def come(self) -> None:
        """Connect all, each into its room. Raises RuntimeError where they can't."""
        plan = self.plan
        here = plan.clients // len(plan.ports)
        for port in plan.ports:
            way = Way(port, here, plan.room, plan.rooms) if plan.rooms > 1 else Way(port, here, f"{plan.room}_0")
            for k, sock in enumerate(Entrance(way).bring_in().socks):
                self._add(Client(sock, k % plan.rooms))
        self._templates = [_template(f"{plan.room}_{k}", plan.content_bytes) for k in range(plan.rooms)]

    def _add(self, client: Client) -> None:
        client.sock.setblocking(False)  # noqa: FBT003 - the library's own way
        first = len(self.clients) < self.plan.rooms
        if first and self.plan.keep:
            client.witness = []
        client.timed = self.plan.time_all or first
        self.clients.append(client)
        self._by_fd[client.fd] = client
        self._epoll.register(client.fd, select.EPOLLIN)

    # -- orders ------------------------------------------------------------------------------------------------------

    def next_order(self, fd: int) -> bytes:
        """Return the next line of standard input, b"" at its end; what comes from the server meanwhile is taken."""
        line = b""
        orders = select.epoll()
        orders.register(fd, select.EPOLLIN)
        while not line.endswith(b"\n"):
            self._receive(0.02)
            if orders.poll(0):
                chunk = os.read(fd, READ_BYTES)
                if not chunk:
                    return b""
                line += chunk
        return line

    def run(self, order: Order) -> dict[str, Any]:
        """Send as ordered, wait for what is on its way, and return all figures."""
        measured_s = order.begin_s + order.warm_s
        self.refused = Counter()
        self._send(order.rate, order.begin_s, measured_s)
        self.late_ns, self.ages_ns = array("q"), array("q")
        self.measure_from_ns = int(measured_s * 1e9)
        before, cpu_s = (self.sent, self.acked, self.delivered), time.process_time()
        samples = self._send(order.rate, measured_s, measured_s + order.seconds)
        cpu_s, took_s = time.process_time() - cpu_s, time.monotonic() - measured_s
        after = (self.sent, self.acked, self.delivered)
        drained = self._drain(order.drain_s)
        sent, acked, delivered = (new - old for new, old in zip(after, before, strict=True))
        return {
            "sent": sent,
            "acked": acked,
            "delivered": delivered,
            "seconds": took_s,
            "cpu_s": cpu_s,
            "drained": drained,
            "refused": self.refused,
            "ages_ms": _quantiles(self.ages_ns),
            "late_ms": _quantiles(self.late_ns),
            "samples": samples,
        }

    # -- the load ----------------------------------------------------------------------------------------------------

    def _send(self, rate: float, begin_s: float, end_s: float) -> list[tuple[float, int, int, int]]:
        """Send at that rate from one moment (monotonic) to another; return samples (when, sent, acked, delivered)."""
        samples: list[tuple[float, int, int, int]] = []
        base = self.sent
        self._pass_time(begin_s)
        while (now := time.monotonic()) < end_s:
            self._send_due(base, rate, begin_s, now)
            if not samples or now >= samples[-1][0] + SAMPLE_S:
                samples.append((now, self.sent, self.acked, self.delivered))
            self._receive(TICK_S)
        return samples

    def _pass_time(self, until_s: float) -> None:
        """Only receive."""
        while (left := until_s - time.monotonic()) > 0:
            self._receive(min(left, 0.05))

    def _drain(self, timeout_s: float) -> bool:
        """Receive until all that was sent is answered and delivered; whether it was in time."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._receive(0.02)
            if self.sent == self.answered and self._all_delivered():
                return True
        return False

    def _all_delivered(self) -> bool:
        return self.delivered >= self.acked * (len(self.clients) // self.plan.rooms)

    def _send_due(self, base: int, rate: float, begin_s: float, now: float) -> None:
        due = base + int((now - begin_s) * rate)
        count = len(self.clients)
        while self.sent < due:
            client = self.clients[self.sent % count]
            at_ns = time.monotonic_ns()
            text = self._templates[client.room] % (self.sent, at_ns, self.sent)
            self.late_ns.append(at_ns - int((begin_s + (self.sent - base + 1) / rate) * 1e9))
            self.sent += 1
            self._write(client, text)

    def _write(self, client: Client, data: bytes) -> None:
        if client.unsent:
            client.unsent += data
            return
        try:
            size = client.sock.send(data)
        except BlockingIOError:
            size = 0
        if size < len(data):
            client.unsent = data[size:]
            self._epoll.modify(client.fd, select.EPOLLIN | select.EPOLLOUT)

    def _write_on(self, client: Client) -> None:
        data, client.unsent = client.unsent, b""
        self._epoll.modify(client.fd, select.EPOLLIN)
        self._write(client, data)

    # -- what comes --------------------------------------------------------------------------------------------------

    def _receive(self, timeout_s: float) -> None:
        """Take what came. Nearly always that is one frame of messages in one piece, which is dealt with here."""
        by_fd = self._by_fd
        for fd, event in self._epoll.poll(timeout_s, AT_ONCE):
            client = by_fd[fd]
            if event & select.EPOLLOUT:
                self._write_on(client)
                if event == select.EPOLLOUT:
                    continue
            data = client.read(READ_BYTES)
            if (
                len(data) > HEAD
                and not client.unread
                and data[KIND + HEAD] == MESSAGES
                and wire.frame_end(data) == len(data)
            ):
                self._take_messages(client, data)
            elif data:
                self._take(client, client.unread + data)
            else:
                raise RuntimeError("the server closed a connection")

    def _take(self, client: Client, data: bytes) -> None:
        at = 0
        while end := wire.frame_end(data, at):
            self._take_frame(client, data[at:end])
            at = end
        client.unread = data[at:]

    def _take_frame(self, client: Client, frame: bytes) -> None:
        text = frame[frame.find(b"{") :]
        if frame[0] != wire.TEXT:
            if frame[0] == wire.CLOSE:
                raise RuntimeError(f"the server closed a connection: {frame!r}")
            self._write(client, wire.frame(frame[2:], opcode=wire.PONG, masked=True))
        elif text[KIND] == MESSAGES:
            self._take_messages(client, frame)
        elif text[KIND] == ACK:
            self.acked += 1
            self.answered += 1
            if self.plan.keep:
                self.acks.append(text)
        elif text[KIND] == ERROR:
            code = _CODE.search(text)
            self.refused[code[1].decode() if code else "?"] += 1
            self.answered += 1

    def _take_messages(self, client: Client, frame: bytes) -> None:
        self.delivered += client.take(frame)
        if client.timed:
            now_ns, begin_ns = time.monotonic_ns(), self.measure_from_ns
            for found in _STAMPS.findall(frame):
                at_ns = int(found)
                if at_ns >= begin_ns:
                    self.ages_ns.append(now_ns - at_ns)

    # -- what is told ------------------------------------------------------------------------------------------------

    def seen(self) -> dict[str, Any]:
        """Return what all saw since they came, for the ledger: see `told`."""
        return told(self.plan.room, self.clients, self.acks)


def _quantiles(values_ns: "array[int]") -> list[float]:
    """Return in ms what 0, 0.1, ... 100 % of the values do not exceed; none where there are none."""
    ordered = sorted(values_ns)
    last = len(ordered) - 1
    return [ordered[k * last // QUANTILES] / 1e6 for k in range(QUANTILES + 1)] if ordered else []


def _template(room: str, content_bytes: int) -> bytes:
    """Return a clientMessages frame of a room to fill in: number (its ref), stamp and number (in its content)."""
    number = "0" * REF_DIGITS
    content = (wire.MARK.decode() + "0" * wire.DIGITS + number).ljust(content_bytes, ".")
    payload = {"ref": number, "roomId": room, "content": content}
    frame = wire.frame(orjson.dumps({"type": "clientMessages", "payload": payload}), masked=True)
    stamp = b"0" * wire.DIGITS
    return (
        frame.replace(b"%", b"%%")
        .replace(wire.MARK + stamp + number.encode(), wire.MARK + b"%019d%012d")
        .replace(b'"ref":"%b"' % number.encode(), b'"ref":"%012d"')
    )


def main() -> None:
    """Read the plan and then one order after the other from standard input; answer each with a line of JSON."""
    fd = sys.stdin.fileno()
    traffic = Traffic(TrafficPlan(**orjson.loads(sys.stdin.buffer.readline())))
    traffic.come()
    _say({"came": len(traffic.clients)})
    while line := traffic.next_order(fd):
        order = orjson.loads(line)
        _say(traffic.run(Order(**order)) if order else traffic.seen())


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
