"""The search for the highest rate that is kept up with: up in steps until one fails, then between the two. Pure."""

from math import inf
from typing import Final

STEP: Final = 1.4
LEAST_RATE: Final = 100.0
CLOSE: Final = 1.1  # the highest that held and the lowest that did not lie so near


class RateSearch:
    """Ask `next_rate` what to try, and `tell` how it went, until there is nothing left to try."""

    def __init__(self, first: float, least: float = LEAST_RATE, most: float = inf) -> None:
        self._first = min(first, most)
        self._least = least
        self._most = most
        self.held: float | None = None  # the highest rate that was kept up with
        self.failed: float | None = None  # the lowest that was not

    def next_rate(self) -> float | None:
        """Return the next rate to try; None when it is found, or when not even the least one is kept up with."""
        if self.held is None and self.failed is None:
            return self._first
        if self.failed is None:
            assert self.held is not None  # noqa: S101 - for the type checker
            return min(self.held * STEP, self._most) if self.held < self._most else None
        if self.held is None:
            lower = self.failed / STEP
            return lower if lower >= self._least else None
        return (self.held * self.failed) ** 0.5 if self.failed / self.held > CLOSE else None

    def tell(self, rate: float, *, held: bool) -> None:
        """Take note of a try."""
        if held:
            self.held = max(rate, self.held or 0.0)
        else:
            self.failed = min(rate, self.failed or rate)
