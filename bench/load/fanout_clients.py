"""The fan-out clients, `python -m bench.load.fanout_clients`: thousands that receive, some of which also send.

It must cost much less than the server that it loads, or it would be measured instead: one epoll loop, one buffer for
all, nothing of a client but its socket; messages are counted and aged by finding their marks (wire.py). It obeys lines
of JSON on stdin and answers each with one on stdout; `json_subprocess.py` is the other end.
"""

import base64
import os
import select
import sys
import time
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import orjson

from bench.load import wire
from bench.load.crowd_connect import Arrived, Entrance, Way, hang_up
from bench.report.measures import percentile

BUFFER_BYTES: Final = 1 << 20
AT_ONCE: Final = 256  # sockets dealt with between two looks at the clock
SAMPLED: Final = 200  # clients, evenly spread, whose messages' ages are taken
LINGER_S: Final = 5.0  # without anything that comes, after which what is missing is taken for lost
MOST_LINGER_S: Final = 60.0
STDIN: Final = 0
END: Final = ord("}")  # every frame that we count ends so
ERROR: Final = b'"type":"error"'
POINTS: Final = (*range(1, 100), 99.5, 99.9, 100)  # percents of the distribution that are reported


@dataclass(slots=True)
class Tally:
    """What a load brought."""

    burst: int = 1  # messages in each frame that is sent
    sent: int = 0  # frames
    messages: int = 0  # received, by all clients together
    reads: int = 0  # in which they came; fewer where the server joined several, or a client was late
    received_bytes: int = 0
    ages_ns: "array[int]" = field(default_factory=lambda: array("q"))
    flush: bytes = b""  # one of the server's flushes as a client got it
    gone: int = 0  # clients that were cut off
    errors: list[str] = field(default_factory=list)


class FanoutClients:
    """All clients of one server."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._buffer = bytearray(BUFFER_BYTES)
        self._way: Way | None = None
        self._arrived: Arrived | None = None
        self._receive: dict[int, Callable[[bytearray], int]] = {}
        self._sampled: set[int] = set()
        self._positions: dict[str, tuple[int, int]] = {}  # of the rooms, when their clients came in last
        self._cut: dict[int, bytes] = {}  # the end of what came last, where a mark may go on
        self._tally = Tally()

    # -- what it is told ---------------------------------------------------------------------------------------------

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what a line says."""
        match order.pop("do"):
            case "come":
                return self.come(Way(**order))
            case "load":
                return self.load(**order)
            case "leave":
                return self.leave()
            case other:
                raise ValueError(f"unknown order {other}")

    def come(self, way: Way) -> dict[str, Any]:
        """Connect all clients."""
        began = time.process_time()
        self._way, self._arrived = way, Entrance(way, self._positions).bring_in()
        socks = self._arrived.socks
        for sock in socks:
            self._receive[sock.fileno()] = sock.recv_into
            self._epoll.register(sock.fileno(), select.EPOLLIN)
        self._sampled = {sock.fileno() for sock in socks[:: max(1, len(socks) // SAMPLED)]}
        arrived = self._arrived
        return {
            "seconds": arrived.seconds,
            "tries": arrived.tries,
            "missing": arrived.missing,
            "recovered": arrived.recovered,
            "told": arrived.told,
            "cpu_s": time.process_time() - began,
            "half_s": percentile(arrived.times, 0.5),
            "most_s": percentile(arrived.times, 0.99),
        }

    def leave(self) -> dict[str, Any]:
        """Hang up on the server, all at once."""
        assert self._arrived is not None  # noqa: S101 - who was told to come
        hang_up(self._arrived.socks)  # epoll forgets what is closed
        self._receive.clear()
        return {}

    def load(self, *, seconds: float, period_s: float, burst: int, content_bytes: int) -> dict[str, Any]:
        """Let one client of each room in turn send, a frame every `period_s`; report when all of it has come."""
        assert self._way is not None  # noqa: S101 - who was told to come
        assert self._arrived is not None  # noqa: S101
        way, tally = self._way, Tally(burst)
        self._tally = tally
        sends = [wire.Sends(way.room_of(k), burst, content_bytes) for k in range(way.rooms)]
        senders = self._arrived.socks[: way.rooms]
        share = way.clients // way.rooms * burst  # of each frame, delivered
        began, cpu = time.monotonic(), time.process_time()
        next_at, until = began, began + seconds
        seen, seen_at = 0, until
        while True:
            now = time.monotonic()
            while next_at <= now and next_at < until:
                k = tally.sent % way.rooms
                _send(senders[k].send, sends[k].now())
                tally.sent += 1
                next_at += period_s
            if tally.messages > seen:
                seen, seen_at = tally.messages, now
            if next_at >= until and (
                seen >= tally.sent * share or now > min(seen_at + LINGER_S, until + MOST_LINGER_S)
            ):
                break
            self._take(max(0.0, next_at - now) if next_at < until else 0.1)
        wall, used = time.monotonic() - began, time.process_time() - cpu
        return {
            "seconds": wall,
            "cpu_s": used,
            "expected": tally.sent * share,
            "ages_ms": [percentile(tally.ages_ns, point / 100) / 1e6 for point in POINTS] if tally.ages_ns else [],
            "samples": len(tally.ages_ns),
            **{name: value for name, value in asdict(tally).items() if name not in {"ages_ns", "flush"}},
            "flush": base64.b64encode(tally.flush).decode(),
        }

    # -- receiving ---------------------------------------------------------------------------------------------------

    def _take(self, timeout_s: float) -> None:
        """Read what came to any client. This is the hot path: all that is rare is elsewhere."""
        tally, buffer, receive, sampled = self._tally, self._buffer, self._receive, self._sampled
        ages, cut, mark = tally.ages_ns, self._cut, wire.MARK
        for fd, _ in self._epoll.poll(timeout_s, AT_ONCE):
            if fd == STDIN:
                continue
            try:
                size = receive[fd](buffer)
            except OSError:
                size = 0
            found = buffer.count(mark, 0, size)
            if fd in sampled and found:
                at = buffer.find(mark, 0, size) + len(mark)
                if at + wire.DIGITS <= size:
                    ages.append(time.monotonic_ns() - int(buffer[at : at + wire.DIGITS]))
                if not tally.flush:
                    self._record(size, found)
            if cut or not found or buffer[size - 1] != END or buffer[0] == wire.PING:
                found += self._rest(fd, size, found)
            if found:
                tally.messages += found
                tally.reads += 1
            tally.received_bytes += size

    def _rest(self, fd: int, size: int, found: int) -> int:
        """Do what is rarely to be done, and return how many marks were cut in two by the end of the last piece."""
        buffer = self._buffer
        if not size:
            self._gone(fd)
            return 0
        edge = len(wire.MARK) - 1
        before = self._cut.pop(fd, b"")
        if buffer[size - 1] != END:
            self._cut[fd] = (before + buffer[max(0, size - edge) : size])[-edge:]
        if buffer[0] == wire.PING:
            self._pong(fd, bytes(buffer[2 : 2 + buffer[1]]))
        elif buffer[size - 2 : size] == b"\x89\x00":
            self._pong(fd, b"")
        if not found and buffer.find(ERROR, 0, size) >= 0:
            self._tally.errors.append(bytes(buffer[:size][:300]).decode(errors="replace"))
        return (before + buffer[: min(edge, size)]).count(wire.MARK) if before else 0

    def _record(self, size: int, found: int) -> None:
        """Keep what came as the example of a flush, if it is nothing but one."""
        if found == self._tally.burst and wire.frame_end(self._buffer[:size]) == size:
            self._tally.flush = bytes(self._buffer[:size])

    def _pong(self, fd: int, payload: bytes) -> None:
        _send(lambda frame: os.write(fd, frame), wire.frame(payload, opcode=wire.PONG, masked=True))

    def _gone(self, fd: int) -> None:
        self._epoll.unregister(fd)
        del self._receive[fd]
        self._tally.gone += 1

    # -- its life ----------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Obey line after line until stdin ends; meanwhile answer pings."""
        unread = b""
        self._epoll.register(STDIN, select.EPOLLIN)
        while True:
            if select.select([STDIN], [], [], 0)[0]:
                came = os.read(STDIN, 65_536)
                if not came:
                    return
                unread += came
                *lines, unread = unread.split(b"\n")
                for line in lines:
                    answer = self.obey(orjson.loads(line))
                    sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
                    sys.stdout.buffer.flush()
            self._take(1.0)


def _send(send: Callable[[Any], int], frame: bytes | bytearray) -> None:
    """Send a small frame at once. Raises RuntimeError where the server reads nothing any more."""
    try:
        whole = send(frame) == len(frame)
    except BlockingIOError:
        whole = False
    except OSError:
        return  # the connection is gone, as the next read tells
    if not whole:
        raise RuntimeError("the server does not read what its clients send")


if __name__ == "__main__":
    FanoutClients().run()
