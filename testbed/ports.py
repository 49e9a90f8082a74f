"""Free ports for real servers. A bound socket that never listens holds each port until this program ends.

With SO_REUSEADDR on both sides a server may listen on such a port, while the kernel gives it to no program that asks
for any free port. So another program can never take it.
"""

import contextlib
import functools
import socket
from collections.abc import Sequence

from chatroom.up.ports import LOOPBACK

_held: list[socket.socket] = []
_TRIES = 100


def hold(port: int) -> int:
    """Take the port (0: any free one) and return it. Raises OSError where another program has it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("", port))
    except OSError:
        sock.close()
        raise
    _held.append(sock)
    taken: int = sock.getsockname()[1]
    return taken


def free_port() -> int:
    """Return a port that nobody uses, ours until this program ends."""
    return hold(0)


def free_base(offsets: Sequence[int]) -> int:
    """Return a free port whose neighbors at the offsets are free too: nodes take their ports at fixed distances."""
    for _ in range(_TRIES):
        base = free_port()
        with contextlib.suppress(OSError, OverflowError):
            for offset in offsets:
                hold(base + offset)
            return base
    raise RuntimeError(f"no free ports at the distances {list(offsets)}")


@functools.cache
def leave_usual_ports(*ports: int) -> None:
    """Keep every `chatroom up` of this run off these ports (see `chatroom.up.ports.Claims`): a test may publish them.

    Every xdist worker holds the tokens, so the last one that runs still does.
    """
    for port in ports:
        token = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        token.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with contextlib.suppress(OSError):  # a stack outside of this run has it
            token.bind((LOOPBACK, port))
        _held.append(token)
