"""`chatroom up` on a terminal: colours, readable logs, Ctrl-C as people press it, and a window that is closed."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from chatroom.up.guard import Guard
from testbed.chatroom_up import ChatroomUp
from tests.integration.chatroom.conftest import UpMaker
from tests.support.loops import wait_gone

# Runs a command on a terminal of its own; what it is given on standard input is typed there. A closed window hangs up,
# also where the tests themselves are run with nohup.
TERMINAL = (
    "import os, pty, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    "sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
)


@contextmanager
def terminal(guard: Guard, stack: ChatroomUp) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run the stack on a terminal and yield that and its lines once the banner is there."""
    environ = {**stack.environ(), "TERM": "xterm"}
    environ.pop("NO_COLOR", None)
    with subprocess.Popen(
        [sys.executable, "-c", TERMINAL, *stack.argv()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
        process_group=guard.group,
    ) as window:
        assert window.stdout is not None
        lines: list[str] = []
        for line in window.stdout:
            lines.append(line)
            if "Press Ctrl-C" in line:
                break
        try:
            yield window, lines
        finally:
            window.kill()


def started(lines: list[str]) -> list[int]:
    """Return the processes that `up` tells of."""
    return [int(found[1]) for line in lines if (found := re.search(r"started \(pid (\d+)\)", line))]


def test_names_are_coloured_and_logs_are_for_people(make_up: UpMaker, guard: Guard) -> None:
    """A service sees only a pipe, so it is told that somebody looks on. Ctrl-C then reaches `up` alone: exit 0."""
    with terminal(guard, make_up(start=False)) as (window, lines):
        comet = next(line for line in lines if "comet told" in line)
        assert comet.startswith("\x1b[36mcomet |\x1b[0m ")
        assert '"CHAT_LOG_FORMAT": "pretty"' in comet
        out, _ = window.communicate("\x03", timeout=30)
        assert window.returncode == 0
    for name in ("comet", "logic", "job"):
        assert f"{name} ended with exit code 0" in out
    assert "Traceback" not in out
    wait_gone(started(lines))


def test_a_closed_window_leaves_nothing_behind(make_up: UpMaker, guard: Guard) -> None:
    """The terminal is gone, and all that ran in it."""
    with terminal(guard, make_up(start=False)) as (window, lines):
        window.kill()
    wait_gone(started(lines), 20)
