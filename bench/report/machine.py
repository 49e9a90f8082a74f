"""What a measurement was made on: the machine and the versions that matter."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Final

PACKAGES: Final = ("uvloop", "websockets", "redis", "hiredis", "aiokafka", "grpcio", "orjson")


def describe() -> str:
    """Say what it ran on."""
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
