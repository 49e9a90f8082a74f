"""Backoff: capped, jittered waits between retries. Pure but for the sleep."""

import asyncio
import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits that double from `first_s` up to `cap_s`, each drawn at random between half and the whole of it.

    The jitter keeps many nodes that lost the same server from coming back in the same instant.
    """

    first_s: float = 0.05
    cap_s: float = 2.0
    _next_s: float = field(default=0.0, init=False)

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        self._next_s = min(self.cap_s, self._next_s * 2 or self.first_s)
        return self._next_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreading load needs no secrecy

    def reset(self) -> None:
        """Start from `first_s` again: something worked."""
        self._next_s = 0.0

    async def wait(self) -> None:
        """Sleep through the next wait. Raises CancelledError in a task that was asked to end.

        Before Python 3.13 a TaskGroup drops a cancellation that comes together with an error, so a loop that retries
        after the error would go on for ever.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError
        await asyncio.sleep(self.next_s())
