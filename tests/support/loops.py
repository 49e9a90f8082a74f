"""Waiting in synchronous test code."""

import time
from collections.abc import Callable


def wait_until(
    true: Callable[[], object], timeout_s: float, what: Callable[[], str] | str, pause_s: float = 0.02
) -> None:
    """Ask until it is true. Raises AssertionError telling what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause_s)
