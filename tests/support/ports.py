"""Ports for tests that need more than a free one (testbed/ports.py): neighbours, and those to stay off."""

import contextlib
import functools
import socket
from collections.abc import Sequence

from testbed.ports import hold

_tokens: list[socket.socket] = []


@functools.cache
def leave_usual_ports(*ports: int) -> None:
    """Keep the stacks of this run off these ports (see `chatroom.up.ports.Claims`): another test may publish them.

    Every xdist worker holds the tokens, so the last one that runs still does.
    """
    for port in ports:
        token = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        token.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with contextlib.suppress(OSError):  # a stack outside of this run has it
            token.bind(("127.0.0.1", port))
        _tokens.append(token)


def free_base(offsets: Sequence[int]) -> int:
    """Return a port whose neighbours at the offsets are ours too (nodes take their ports at fixed distances)."""
    for _ in range(100):
        base = hold(0)
        with contextlib.suppress(OSError, OverflowError):
            for offset in offsets:
                hold(base + offset)
            return base
    raise RuntimeError(f"no free ports at the distances {list(offsets)}")
