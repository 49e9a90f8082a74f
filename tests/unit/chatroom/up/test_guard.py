"""The guard: whatever ends its starter, nothing of the group is left."""

import signal
import subprocess
import sys

import pytest

from chatroom.up.guard import Guard
from tests.support.loops import wait_gone

STARTER = """
import subprocess, sys, time
from chatroom.up.guard import Guard
with Guard() as guard:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=guard.group)
    print(guard.group, child.pid, flush=True)
    time.sleep(60)
"""


def sleeper(guard: Guard) -> subprocess.Popen[bytes]:
    """Start a program in the group that would run on."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=guard.group)


def test_sigkill_of_the_starter_ends_the_group() -> None:
    """No code of the starter runs, yet guard and child are gone."""
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        starter.kill()
        wait_gone(pids)


def test_leaving_the_guard_ends_what_is_left() -> None:
    """A forgotten child is killed with the group."""
    with Guard() as guard:
        child = sleeper(guard)
    assert child.wait(5) == -signal.SIGKILL


def test_the_guard_ignores_polite_signals() -> None:
    """It must outlive a `kill` that is meant for others."""
    with Guard() as guard:
        child = sleeper(guard)
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            guard.send(signum)
        assert guard.alive
        assert child.poll() is None
    child.wait(5)


def test_kill_all_is_at_once() -> None:
    """The second Ctrl-C."""
    with Guard() as guard:
        child = sleeper(guard)
        guard.kill_all()
        assert child.wait(5) == -signal.SIGKILL


def test_nothing_joins_a_guard_that_is_gone() -> None:
    """So no program can start that nobody would end."""
    with Guard() as guard:
        group = guard.group
    with pytest.raises(PermissionError):
        subprocess.Popen([sys.executable, "-c", ""], process_group=group)
    with pytest.raises(RuntimeError, match="not running"):
        _ = guard.group
