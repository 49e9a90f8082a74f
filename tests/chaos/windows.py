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

    def blame(self, at: float) -> str:
        """Return the kind of the latest fault that covers a moment with its aftermath, or CALM."""
        nth = bisect_right(self._began, at)
        if nth and at <= self._faults[nth - 1].ended + AFTERMATH_S:
            return self._faults[nth - 1].kind
        return CALM

    def of_wait(self, began: float, ended: float) -> Struck | None:
        """Return the fault that a wait is blamed on: the one in force for most of it, without aftermaths.

        Where none was in force, that whose aftermath it began in; None where that is long over. An aftermath never
        takes a wait from a fault in force, nor a fault that had only just begun one from the fault before it.
        """
        nth = bisect_right(self._began, ended)
        chosen, most = None, 0.0
        for fault in reversed(self._faults[:nth]):
            covered = min(ended, fault.ended) - max(began, fault.began)
            if covered < 0:  # over before it began, and so are those before it
                if chosen is None and began <= fault.ended + AFTERMATH_S:
                    return fault
                break
            if chosen is None or covered > most:
                chosen, most = fault, covered
        return chosen
