"""Waiting in synchronous test code."""

import time
from collections.abc import Callable, Sequence

import psutil


def wait_until(
    true: Callable[[], object], timeout_s: float, what: Callable[[], str] | str, pause_s: float = 0.02
) -> None:
    """Ask until it is true. Raises AssertionError telling what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause_s)


def wait_gone(pids: Sequence[int], timeout_s: float = 10.0) -> None:
    """Wait until none of the processes runs any more (a zombie does not)."""
    wait_until(lambda: not _running(pids), timeout_s, lambda: f"{_running(pids)} still run")


def _running(pids: Sequence[int]) -> list[str]:
    found = []
    for pid in pids:
        try:
            program = psutil.Process(pid)
            if program.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{pid} {' '.join(program.cmdline())}")
        except psutil.NoSuchProcess:
            continue
    return found
