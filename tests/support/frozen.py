"""Programs that hang: stopped where they are, their connections open."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGCONT, SIGSTOP

import psutil

from tests.support.loops import wait_until

STOP_S = 10.0


def freeze(pid: int) -> None:
    """Stop a program, and return when it stands still: until the signal is dealt with its other threads run on."""
    os.kill(pid, SIGSTOP)
    program = psutil.Process(pid)
    wait_until(lambda: program.status() == psutil.STATUS_STOPPED, STOP_S, f"{pid} stands still", 0.001)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Let a program hang while inside."""
    freeze(pid)
    try:
        yield
    finally:
        os.kill(pid, SIGCONT)
