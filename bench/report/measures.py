"""What is measured of programs and of samples: CPU, memory, percentiles, medians with their spread. Linux."""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from common.errors import StartupError

KIB = 1024


class Unmeasured(StartupError):
    """Something could not be measured; the text says why."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a program used so far: user and system, all its threads, those that ended too.

    By the process's own CPU clock, in ns (clock_getcpuclockid(3) makes its number so); /proc counts in 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a program takes: resident, and of that what nobody else shares."""

    rss_bytes: int
    uss_bytes: int


def memory(pid: int) -> Memory:
    """Read a program's memory from /proc; the kernel's socket buffers are not in it."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        sizes[name.rstrip(":")] = int(size) * KIB
    return Memory(sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"])


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least this share (0 to 1) of all is not above; they need not be sorted.

    Raises ValueError where there are no samples: no figure is better than a made-up one.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(0, min(len(ordered), rank) - 1)]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over repetitions: the median, the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Take the figures of all repetitions."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))
