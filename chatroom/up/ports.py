"""Ports: which can be listened on, and which one an embedded server takes."""

import errno
import socket
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from common import lifecycle

LOOPBACK = "127.0.0.1"
_LOOK_TIMEOUT_S = 0.5


def bind_error(host: str, port: int) -> OSError | None:
    """Return why nothing can listen there now, or None. Asks as the services do."""
    try:
        lifecycle.bound(host, port).close()
    except OSError as e:
        return e
    return None


class Claims:
    """Ports of embedded servers, ours until the end even while a server is being restarted.

    No socket can keep a TCP port for a child that binds it itself, so the token is the UDP port of the same number:
    one `chatroom up` never takes the port of another's Redis while that restarts, and its messages with it.
    """

    def __init__(self, taken: Iterable[int] = ()) -> None:
        self._taken = set(taken)  # the services' own, never given out
        self._tokens: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Begin with none."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let all go."""
        for token in self._tokens:
            token.close()

    def usual_or_free(self, usual: int) -> int:
        """Return the usual port where it is free on loopback (and nobody answers there), else any free one."""
        if self._claim(usual):
            return usual
        while not self._claim(port := _any_free()):
            pass
        return port

    def _claim(self, port: int) -> bool:
        if port in self._taken or bind_error(LOOPBACK, port) or _answers(port):
            return False
        token = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            token.bind((LOOPBACK, port))
        except OSError:
            token.close()
            return False
        self._taken.add(port)
        self._tokens.append(token)
        return True


def _any_free() -> int:
    with socket.socket() as sock:
        sock.bind((LOOPBACK, 0))
        port: int = sock.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    """A second look: macOS lets one bind 127.0.0.1 beside another program's 0.0.0.0, and take its callers away."""
    with socket.socket() as sock:
        sock.settimeout(_LOOK_TIMEOUT_S)
        return sock.connect_ex((LOOPBACK, port)) not in (errno.ECONNREFUSED, errno.ETIMEDOUT)
