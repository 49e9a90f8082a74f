"""Which fault something is to be blamed on. Pure."""

from bisect import bisect_right
from collections.abc import Iterable

from tests.chaos.evidence import Struck
from tests.chaos.verdict import CALM

AFTERMATH_S = 8.0  # leases, sessions and backoffs run out so long after a part is ready again


class Windows:
    """The faults of a run, which strike one after another, each with its aftermath."""

    def __init__(self, faults: Iterable[Struck]) -> None:
        self._faults = sorted(faults, key=lambda fault: fault.began)
        self._began = [fault.began for fault in self._faults]

    def blame(self, begins: float, ends: float | None = None) -> str:
        """Return the kind of fault that covers most of the time; the latest of those that cover the same, or CALM."""
        ends = begins if ends is None else ends
        kind, most = CALM, -1.0
        for fault in reversed(self._faults[: bisect_right(self._began, ends)]):
            covered = min(ends, fault.ended + AFTERMATH_S) - max(begins, fault.began)
            if covered < 0:  # over before it began, and so are those before it
                break
            if covered > most:
                kind, most = fault.kind, covered
        return kind
