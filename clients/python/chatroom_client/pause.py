"""The client's pause: the server refused something for the moment, so that nothing is sent until it is over.

Each is jittered, and its bound doubles from one to the next unless there was none for long. Neighbours: whoever owns
what was refused begins one (joins, leaves, histories, unacked messages); `client.py` tries all again when it is over.
"""

import asyncio
import time
from collections.abc import Callable

from chatroom_client.connection import Waits


class Pause:
    """At most one at a time; `over` is called at its end."""

    def __init__(self, waits: Waits, over: Callable[[], None]) -> None:
        self._waits = waits
        self._over = over
        self._begun_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def is_on(self) -> bool:
        """Whether nothing is to be sent now."""
        return self._timer is not None

    def begin(self) -> None:
        """Hold everything back for a while; does nothing while a pause is on."""
        if self._timer is None and not self._stopped:
            now = time.monotonic()
            if now - self._begun_at > 2 * self._waits.cap_s:
                self._waits.reset()
            self._begun_at = now
            self._timer = asyncio.get_running_loop().call_later(self._waits.next_s(), self.end)

    def end(self) -> None:
        """End it now, if one is on, and try all again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._over()

    def stop(self) -> None:
        """Try nothing again, ever: the client has ended."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
