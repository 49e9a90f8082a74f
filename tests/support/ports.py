"""Free ports for tests: each is held by a bound, never listening socket until the test run ends.

With SO_REUSEADDR on both sides a server may listen on a port held so, while the kernel gives it to nobody who asks for
any free port, another xdist worker included. So there is no moment in which somebody else can take it.
"""

import contextlib
import functools
import socket
from collections.abc import Sequence

_held: list[socket.socket] = []


def _hold(port: int) -> int:
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
    """Return a port that nobody uses, ours until the run ends."""
    return _hold(0)


@functools.cache
def leave_usual_ports(*ports: int) -> None:
    """Keep the stacks of this run off these ports (see `chatroom.ports.Claims`): another test may publish them.

    Every xdist worker holds the tokens, so the last one that runs still does.
    """
    for port in ports:
        token = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        token.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with contextlib.suppress(OSError):  # a stack outside of this run has it
            token.bind(("127.0.0.1", port))
        _held.append(token)


def free_base(offsets: Sequence[int]) -> int:
    """Return a port whose neighbours at the offsets are ours too (nodes take their ports at fixed distances)."""
    for _ in range(100):
        base = _hold(0)
        with contextlib.suppress(OSError, OverflowError):
            for offset in offsets:
                _hold(base + offset)
            return base
    raise RuntimeError(f"no free ports at the distances {list(offsets)}")
