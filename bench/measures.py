"""What is measured of programs, of samples and of the machine: CPU, memory, percentiles, medians with their spread.

A measurement may have two cores: one for the server alone, one for all that loads it. Linux only.
"""

import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Self

from common.errors import StartupError

KIB: Final = 1024
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
NEEDED_CORES: Final = 2
MOST_COSTS: Final = 3
PACKAGES: Final = ("uvloop", "websockets", "redis", "hiredis", "aiokafka", "grpcio", "orjson")


class Unmeasured(StartupError):
    """Something could not be measured; the text says why."""


# -- programs ----------------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """Return the CPU that a program has used: user and system, of all its threads, ended ones included.

    The clock is the process's own, in ns (clock_getcpuclockid(3) makes its number so); /proc counts in 10 ms.
    """
    return time.clock_gettime((~pid << 3) | 2)


@dataclass(frozen=True, slots=True)
class Memory:
    """A program's memory: resident, and the part of it that no other program shares."""

    rss_bytes: int
    uss_bytes: int


def memory(pid: int) -> Memory:
    """Read a program's memory from /proc; the kernel's socket buffers are not in it."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, *_ = line.split()
        sizes[name.rstrip(":")] = int(size) * KIB
    return Memory(sizes["Rss"], sizes["Private_Clean"] + sizes["Private_Dirty"])


def shares(costs: Sequence[tuple[str, int]]) -> list[str]:
    """Return a line for each of the largest costs, (function, samples), with its share of all."""
    total = sum(count for _, count in costs)
    return [f"{count / total:6.1%}  {name}" for name, count in costs[:MOST_COSTS]]


# -- samples -----------------------------------------------------------------------------------------------------------


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that is at least as large as this share (0 to 1) of all samples, in any order.

    Raises ValueError if there are no samples.
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


# -- the machine -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the server, and the core of all that loads it."""

    server: int
    load: int

    @classmethod
    def here(cls) -> Self:
        """Take the first two cores that this program may use. Raises StartupError where there is only one."""
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < NEEDED_CORES:
            raise StartupError("the bench needs two cores, one for the server and one for the load; this has one")
        return cls(allowed[0], allowed[1])


def busy_seconds(core: int) -> float:
    """Return the time for which programs have run on a core, without interrupts.

    What the bench's own programs did not use of it, other programs did: they disturb a measurement.
    """
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name == f"cpu{core}":
            user, nice, system = map(int, ticks[:3])
            return (user + nice + system) * TICK_S
    raise RuntimeError(f"/proc/stat does not tell of core {core}")


def pin(pid: int, core: int) -> None:
    """Keep a running program, with all its threads, on one core."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def describe() -> str:
    """Describe the machine in a line."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cpus} cores of {_cpu_model()}, {platform.system()} {platform.release()} ({platform.machine()})"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that carry the load."""
    return {"Python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor() or "an unknown model",
    )
