"""The two cores of a measurement: one for the server alone, one for all that loads it; and who else used them.

Linux counts in /proc/stat what each core was busy with. What none of ours used is somebody else's, and a measurement
that others disturbed is marked as such.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from common.errors import StartupError

TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
NEEDED: Final = 2


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core is whose."""

    server: int
    load: int

    @classmethod
    def here(cls) -> Self:
        """Take the first two that we may use. Raises StartupError where there is only one."""
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < NEEDED:
            raise StartupError("the bench needs two cores, one for the server and one for the load; this has one")
        return cls(allowed[0], allowed[1])


def busy_seconds(core: int) -> float:
    """Return for how long programs were running on a core so far, interrupts left out."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system = map(int, ticks[:3])
            return (user + nice + system) * TICK_S
    raise RuntimeError(f"/proc/stat does not tell of core {core}")


def pin(pid: int, core: int) -> None:
    """Keep a program that runs already, with all its threads, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})
