"""Free ports for real servers: each is held by a bound, never listening socket until this program ends.

With SO_REUSEADDR on both sides a server may listen on a port held so, while the kernel gives it to nobody who asks for
any free port. So there is no moment in which somebody else can take it.
"""

import socket

_held: list[socket.socket] = []


def hold(port: int) -> int:
    """Take the port (0: any free one) and return it. Raises OSError where somebody else has it."""
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
