"""The pause after a refusal: the server refused a request for the moment, so the client sends nothing until it ends.

Each pause is jittered. Its bound doubles from one pause to the next, unless the last one began long ago.
"""

import asyncio
import time
from collections.abc import Callable

from chatroom_client.backoff import Backoff


class Pause:
    """At most one pause at a time; `retry_all` is called when it ends."""

    def __init__(self, backoff: Backoff, retry_all: Callable[[], None]) -> None:
        self._backoff = backoff
        self._retry_all = retry_all
        self._began_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def is_on(self) -> bool:
        """Whether the client must send nothing now."""
        return self._timer is not None

    def begin(self) -> None:
        """Start a pause, unless one is on."""
        if self._timer is None and not self._stopped:
            now = time.monotonic()
            if now - self._began_at > 2 * self._backoff.cap_s:
                self._backoff.reset()
            self._began_at = now
            self._timer = asyncio.get_running_loop().call_later(self._backoff.next_s(), self.end)

    def end(self) -> None:
        """End the pause, if one is on, and retry all requests."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._retry_all()

    def stop(self) -> None:
        """Retry nothing any more: the client has ended."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
