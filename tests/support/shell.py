"""A shell in which the documents' commands do what they say: the stack's true ports stand for the usual ones."""

import contextlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Final

import psutil

from chatroom.up.guard import Guard
from testbed.chatroom_up import ChatroomUp
from testbed.program import bare_environ
from tests.support.commands import TIMEOUT_S
from tests.support.documented import INTERRUPTED, Shown

LOG: Final = "chatroom.log"

# What differs from run to run, and what stands for it. Zeros stay: that nothing failed and nothing waits is the point.
_VARYING: Final = (
    (r"\b1\d{12}-\d+\b", "<id>"),
    (r"\b1\d{12}\b", "<ms>"),
    (r"guest-[0-9a-f]{12}", "<guest>"),
    (r"\b[0-9a-f]{32}\b|^[0-9a-f]{8}(?= )", "<node>"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "<time>"),
    (r"\b[A-Z]\w\w [A-Z]\w\w [ \d]\d \d\d:\d\d:\d\d UTC \d{4}\b", "<date>"),
    (r"\b(localhost|127\.0\.0\.1):\d+( +\d+){0,2}", "<address>"),  # with how many are there
    (r"^(sessions|rooms) +\d+", r"\1 <count>"),
    (r"@\d+ ", "@<offset> "),
    (r"\bseq \d+\b", "seq <seq>"),
    (r" [1-9]\d*\.0$", " <count>"),
    (r"^(\w+ +\|) \S+Z \[\w+ *\]", r"\1"),  # a log line's time and level,
    (r" service=\w+$", ""),  # and its service, which stands in front
    (r"\s+", " "),
)


def normal(line: str) -> str:
    """Return the line without what differs from run to run."""
    for varying, sign in _VARYING:
        line = re.sub(varying, sign, line)
    return line.strip()


class Shell:
    """Runs commands in a folder that looks like a tree after `make up`, its output in `chatroom.log`."""

    def __init__(self, guard: Guard, stack: ChatroomUp, directory: Path) -> None:
        self._guard = guard
        self._stack = stack
        self._directory = directory
        self._usual = {
            "localhost:8082": stack.ws_url().split("/")[2],
            "localhost:9091": stack.metrics_url().split("/")[2],
            "localhost:50051": stack.grpc(),
            "localhost:8090": stack.logic_url.split("/")[2],
            "localhost:9094": stack.job_metrics_url.split("/")[2],
        }
        (directory / ".venv").symlink_to(sys.prefix)

    def there(self, command: str) -> str:
        """Return the command with the stack's ports."""
        for usual, true in self._usual.items():
            command = command.replace(usual, true)
        return command

    def run(self, command: str) -> list[str]:
        """Run a command to its end and return its lines. Raises AssertionError where it fails."""
        (self._directory / LOG).write_text("\n".join(self._stack.lines))
        started = self._start(command)
        out, err = started.communicate(timeout=TIMEOUT_S)
        assert started.returncode == 0, f"{command}\n{out}{err}"
        return out.splitlines()

    def follow(self, command: str, count: int) -> list[str]:
        """Run a command until it has printed so many lines, press Ctrl-C, and return all its lines."""
        started = self._start(command)
        assert started.stdout is not None
        last_resort = threading.Timer(TIMEOUT_S, _signal_all, (started.pid, SIGKILL))
        last_resort.start()
        lines = [started.stdout.readline().rstrip("\n") for _ in range(count)]
        _signal_all(started.pid, SIGINT)
        out, _ = started.communicate()
        last_resort.cancel()
        return [*lines, *out.splitlines(), INTERRUPTED]

    def show(self, one: Shown) -> list[str]:
        """Return what the command prints; what goes on is interrupted where the document says so."""
        return self.follow(one.text, len(one.lines) - 1) if one.interrupted else self.run(one.text)

    def _start(self, command: str) -> subprocess.Popen[str]:
        argv = ["bash", "-o", "pipefail", "-c", self.there(command)]
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self._directory,
            env=self._environ(),
            process_group=self._guard.group,
        )

    def _environ(self) -> dict[str, str]:
        """The `chatroom` command takes from here what it would find at its defaults."""
        return {
            **bare_environ(),
            "PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "LC_ALL": "C",
            "TZ": "UTC",
            "CHATROOM_URL": self._stack.ws_url(),
            "CHATROOM_LOGIC_URL": self._stack.logic_url,
            "CHATROOM_JOB_URL": self._stack.job_metrics_url.removesuffix("/metrics"),
            "CHAT_REDIS_URL": self._stack.redis_url,
            "CHAT_KAFKA_BROKERS": self._stack.kafka_brokers,
        }


def _signal_all(pid: int, signum: int) -> None:
    """Send it to a program and to all that it started; whoever has just ended needs none."""
    with contextlib.suppress(psutil.NoSuchProcess):
        program = psutil.Process(pid)
        for one in (program, *program.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signum)
