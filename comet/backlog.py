"""The backlog: frames of one session behind one that waits for Redis, in the order in which they came.

Bounded by its owner, comet/session.py, which reads no further while it is full: nothing is dropped. One read of the
socket may bring several frames, so a little more than the bound may be in it.
"""

from collections import deque
from typing import Final

BACKLOG_FRAMES: Final = 64
BACKLOG_BYTES: Final = 65_536


class Backlog:
    """Frames that wait."""

    __slots__ = ("_bytes", "_frames")

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def full(self) -> bool:
        """Whether there is no more room, by frames or by bytes."""
        return len(self._frames) >= BACKLOG_FRAMES or self._bytes >= BACKLOG_BYTES

    def put(self, data: bytes) -> None:
        """Add a frame."""
        self._frames.append(data)
        self._bytes += len(data)

    def take(self) -> bytes:
        """Return the first frame and forget it."""
        data = self._frames.popleft()
        self._bytes -= len(data)
        return data
