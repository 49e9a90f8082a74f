"""Runs a service and notes where its CPU goes: `python -m testbed.profiled FILE MODULE`.

From SIGUSR1 on, each time that it has used INTERVAL_S of CPU, the kernel says so and the function that runs is counted,
with the C code that it is in. What other threads (gRPC's) used counts as theirs. FILE is written when the service ends.
"""

import runpy
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

import orjson

INTERVAL_S: Final = 0.002
OTHER_THREADS: Final = "other threads"
_ROOT: Final = Path(__file__).parents[1]


class Samples:
    """How often each function was found running."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._main_s = 0.0

    def begin(self, _signum: int, _frame: FrameType | None) -> None:
        """Count from now on."""
        self._main_s = time.thread_time()
        signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)

    def take(self, _signum: int, frame: FrameType | None) -> None:
        """Count the function that runs in the main thread, if it was that which used the CPU."""
        now = time.thread_time()
        used, self._main_s = now - self._main_s, now
        self.counts[_name(frame) if used >= INTERVAL_S / 2 else OTHER_THREADS] += 1


def _name(frame: FrameType | None) -> str:
    if frame is None:
        return OTHER_THREADS
    path = Path(frame.f_code.co_filename)
    shown = (
        path.relative_to(_ROOT) if path.is_relative_to(_ROOT) and ".venv" not in path.parts else Path(*path.parts[-2:])
    )
    return f"{shown}:{frame.f_code.co_qualname}"


def main() -> None:
    """Run the module as a program."""
    out, module = sys.argv[1:3]
    samples = Samples()
    signal.signal(signal.SIGPROF, samples.take)
    signal.signal(signal.SIGUSR1, samples.begin)
    sys.argv[1:] = []
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(out).write_bytes(orjson.dumps(samples.counts.most_common()))


if __name__ == "__main__":
    main()
