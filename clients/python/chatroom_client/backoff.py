"""Backoff: how long to wait before the next attempt. Pure."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Random waits between 0 and a bound that doubles from `first_s` up to `cap_s` (full jitter).

    The jitter spreads the return of thousands of clients that lost the same server.
    """

    first_s: float
    cap_s: float
    rng: random.Random
    _bound_s: float = field(default=0.0, init=False)

    def next_s(self) -> float:
        """Return the next wait in seconds."""
        self._bound_s = min(self.cap_s, self._bound_s * 2 or self.first_s)
        return self.rng.uniform(0.0, self._bound_s)

    def reset(self) -> None:
        """Start at `first_s` again."""
        self._bound_s = 0.0
