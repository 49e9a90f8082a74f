"""A time limit for each test, its fixtures included, so that a test that hangs fails and shows where.

pytest-timeout has the settings. Its own report is lost in a worker of pytest-xdist and names no asyncio task, and its
signal does not interrupt uvloop. So this plugin writes all stacks to the real stderr and ends the process with code 1.
Then pytest-xdist reports the test as failed and goes on in a new worker.
"""

import asyncio
import faulthandler
import gc
import os
import sys
import threading
from collections.abc import Generator
from typing import Any, Final

import pytest
import pytest_timeout

EXIT_CODE: Final = 1
UNIT_S: Final = 60.0
OTHERS_S: Final = 240.0  # real servers start, also on a busy machine
FETCH_S: Final = 540.0  # more where Maven may have to fetch Apache Kafka first
LATE: Final = "did not end within"
TIMER: Final = pytest.StashKey[threading.Timer]()


class TimeLimits:
    """The plugin. `--timeout` and a test's own `timeout` marker come before its limits."""

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Give each test the limit of its folder."""
        if config.getoption("timeout") is not None:
            return
        fetch_s = FETCH_S if config.getoption("--kafka", "embedded") == "apache" else 0.0
        for item in items:
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(limit_s(item.nodeid) + fetch_s))

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> bool:
        """Start the timer of a test."""
        timer = item.stash[TIMER] = threading.Timer(settings.timeout, end_process, (item, settings.timeout))
        timer.daemon = True
        timer.start()
        return True  # the timer of pytest-timeout is not needed

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_cancel_timer(self) -> bool:
        """Leave the timer on: pytest-timeout would stop it when a test fails, and its fixtures may hang then."""
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Stop the timer of a test whose fixtures have ended."""
        try:
            return (yield)
        finally:
            if TIMER in item.stash:
                item.stash[TIMER].cancel()


def limit_s(name: str) -> float:
    """Return how long the test of that name may take."""
    return UNIT_S if name.startswith("tests/unit/") else OTHERS_S


def end_process(item: pytest.Item, timeout_s: float) -> None:
    """Write all stacks to stderr and end the process, unless somebody debugs it."""
    if pytest_timeout.is_debugging():
        return
    try:
        capture = item.config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        sys.stderr.write(f"\n{item.nodeid} {LATE} {timeout_s:g} s\n")
        for task in _tasks():
            task.print_stack()
        sys.stderr.flush()
        faulthandler.dump_traceback(all_threads=True)
    finally:
        os._exit(EXIT_CODE)


def _tasks() -> list[asyncio.Task[object]]:
    """Return the tasks of all loops that are not done; asyncio lists only those of a loop that the caller has."""
    return [one for one in gc.get_objects() if issubclass(type(one), asyncio.Task) and not one.done()]
