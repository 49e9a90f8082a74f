"""How much memory this node takes and how much it may: asked from the system, so that the gateway can stay below it.

Where the system does not tell (macOS tells only the peak), 0 is returned and nothing is limited by it.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

SHARE: Final = 0.8  # of what there is, when the operator does not say
_CONTAINER: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def limit_bytes(wanted: int) -> int:
    """Return how much the node may take: what is wanted, or (0) SHARE of what the machine or container has."""
    return wanted or int(_there_is() * SHARE)


def resident_bytes() -> int:
    """Return how much it takes."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _there_is() -> int:
    """Return the memory of the machine, or of the container where that is less; 0 if unknown."""
    found = []
    with suppress(OSError, ValueError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in _CONTAINER:
        with suppress(OSError, ValueError):  # "max" is no number and no limit
            found.append(int(Path(path).read_text(encoding="ascii")))
    return min(found, default=0)
