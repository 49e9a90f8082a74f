"""Running a coroutine from synchronous test code, whether or not a loop runs in this thread."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_thread = ThreadPoolExecutor(1, "test-loop")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on a loop of its own in another thread, so that pytest-asyncio's stays untouched."""
    return _thread.submit(asyncio.run, work).result()


def wait_until(
    true: Callable[[], object], timeout_s: float, what: Callable[[], str] | str, pause_s: float = 0.02
) -> None:
    """Ask until it is true. Raises AssertionError telling what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(pause_s)
