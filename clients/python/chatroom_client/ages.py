"""Ages: the time since an event, measured so that a device that slept in between notices it."""

import time


class Age:
    """The time since its creation.

    The monotonic clock stops while the device sleeps, and the wall clock may be set. The age is the larger of both.
    It is too small only if the device slept and the wall clock was set back.
    """

    __slots__ = ("_monotonic_s", "_wall_s")

    def __init__(self) -> None:
        self._wall_s = time.time()
        self._monotonic_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """The age now."""
        return max(time.time() - self._wall_s, time.monotonic() - self._monotonic_s)
