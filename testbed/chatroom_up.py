"""`chatroom up` as a program: on free ports, with a folder of its own. A test reads all that it prints."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGINT, SIGKILL, Signals
from types import TracebackType
from typing import IO, Self

import psutil

from chatroom.up import embedded
from chatroom.up.guard import Guard
from testbed.kafka_server import KafkaServer
from testbed.ports import free_base, free_port, leave_usual_ports
from testbed.program import bare_environ
from testbed.redis_server import RedisServer

READY_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0
LINE_TIMEOUT_S = 20.0
OUTPUT_TIMEOUT_S = 5.0
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class ChatroomUp:
    """One `chatroom up`. `redis` and `kafka` are servers to use instead of embedded ones. `environ` adds settings.

    `program` is an installed command to run instead of the tree's, and `cwd` the folder that it runs in.
    """

    def __init__(  # noqa: PLR0913 - each is a choice of its own, named by those who make it
        self,
        guard: Guard,
        directory: Path,
        *,
        comets: int = 1,
        redis: RedisServer | None = None,
        kafka: KafkaServer | None = None,
        environ: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        program: Sequence[str] = (sys.executable, "-m", "chatroom"),
        cwd: Path | None = None,
    ) -> None:
        leave_usual_ports(embedded.REDIS_PORT, embedded.KAFKA_PORT)
        self.directory = directory
        self.comets = comets
        self.lines: list[str] = []
        self.exit_code: int | None = None
        self._guard = guard
        self._redis = redis
        self._kafka = kafka
        self._nodes = range(comets)
        self._ws_port = free_base([100 * k for k in self._nodes[1:]])
        self._grpc_port = free_base(self._nodes[1:])
        self._metrics_port = free_base([99 + k for k in self._nodes[1:]])
        self._logic_port, self._job_port = free_port(), free_port()
        self._environ = dict(environ or {})
        self._options = list(options)
        self._program = program
        self._cwd = cwd
        self._more = threading.Condition()
        self._unread = threading.Event()
        self._running: subprocess.Popen[str] | None = None

    # -- addresses ---------------------------------------------------------------------------------------------------

    def ws_url(self, node: int = 0) -> str:
        """Return the URL that a client connects to."""
        return f"ws://127.0.0.1:{self._ws_port + 100 * node}/"

    def http_url(self, node: int = 0) -> str:
        """Return Comet's page, without a slash at its end."""
        return f"http://127.0.0.1:{self._ws_port + 100 * node}"

    def grpc(self, node: int = 0) -> str:
        """Return host:port of Comet's gRPC."""
        return f"127.0.0.1:{self._grpc_port + node}"

    def metrics_url(self, node: int = 0) -> str:
        """Return Comet's metrics."""
        return f"http://127.0.0.1:{self._metrics_port + (99 + node if node else 0)}/metrics"

    @property
    def logic_url(self) -> str:
        """The URL of Logic and of its metrics, without a slash at its end."""
        return f"http://127.0.0.1:{self._logic_port}"

    @property
    def job_metrics_url(self) -> str:
        """Job's metrics."""
        return f"http://127.0.0.1:{self._job_port}/metrics"

    @property
    def redis_url(self) -> str:
        """The Redis in use."""
        return self._redis.url if self._redis else f"redis://{self._banner('Redis')}/0"

    @property
    def kafka_brokers(self) -> str:
        """The Kafka in use."""
        return self._kafka.brokers if self._kafka else self._banner("Kafka")

    @property
    def kafka_topic(self) -> str:
        """The topic in use."""
        return self._environ.get("CHAT_KAFKA_TOPIC", "my-topic")

    @property
    def consumer_group(self) -> str:
        """The group that Job's consumers form."""
        return self._environ.get("JOB_CONSUMER_GROUP", "job-service-group")

    def _banner(self, what: str) -> str:
        return self.wait_for_line(rf"^  {what}\s+(\S+)")[1]

    # -- start and stop ----------------------------------------------------------------------------------------------

    def launch(self) -> Self:
        """Start `chatroom up` and return at once."""
        self._running = subprocess.Popen(
            self.argv(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self.environ(),
            cwd=self._cwd,
            process_group=self._guard.group,
        )
        threading.Thread(target=self._read, args=(self._running.stdout,), daemon=True).start()
        return self

    def start(self) -> Self:
        """Start `chatroom up` and wait for its banner."""
        self.launch().wait_for_line(r"^ChatRoom is ready", READY_TIMEOUT_S)
        self.wait_for_line(r"^Press Ctrl-C to stop")
        return self

    def argv(self) -> list[str]:
        """Return the command line."""
        options = ["--data", str(self.directory), "--comets", str(self.comets)]
        if self._redis:
            options += ["--redis", self._redis.url]
        if self._kafka:
            options += ["--kafka", self._kafka.brokers]
        return [*self._program, "up", *options, *self._options]

    def environ(self) -> dict[str, str]:
        """Return its environment: nothing of the developer's own settings."""
        return {
            **bare_environ(),
            "COMET_HTTP_BIND_IP": "127.0.0.1",
            "COMET_HTTP_BIND_PORT": str(self._ws_port),
            "COMET_GRPC_PORT": str(self._grpc_port),
            "COMET_METRICS_PORT": str(self._metrics_port),
            "LOGIC_HTTP_BIND_IP": "127.0.0.1",
            "LOGIC_HTTP_BIND_PORT": str(self._logic_port),
            "JOB_HTTP_BIND_IP": "127.0.0.1",
            "JOB_METRICS_PORT": str(self._job_port),
            **(self._kafka.settings if self._kafka else {}),
            **self._environ,
        }

    @property
    def pid(self) -> int:
        """The process of `chatroom up` itself."""
        return self._started.pid

    @property
    def _started(self) -> subprocess.Popen[str]:
        if self._running is None:
            raise RuntimeError("`chatroom up` is not started")
        return self._running

    def signal(self, signum: Signals) -> None:
        """Send `chatroom up` a signal."""
        os.kill(self.pid, signum)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end and return its exit code."""
        self.exit_code = self._started.wait(timeout_s)
        with self._more:
            if not self._more.wait_for(lambda: self.lines and self.lines[-1] == "", OUTPUT_TIMEOUT_S):
                raise AssertionError("`chatroom up` ended, but its output is still open")
        return self.exit_code

    def stop(self) -> int:
        """Press Ctrl-C, wait for the end and return the exit code. Does nothing the second time."""
        if self.exit_code is not None:
            return self.exit_code
        self.signal(SIGINT)
        return self.wait()

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill it if it still runs. Its own guard kills its children."""
        if self._running is not None and self._running.poll() is None:
            self._running.kill()
            self._running.wait(STOP_TIMEOUT_S)

    def close_output(self) -> None:
        """Stop reading its output, as `| head` does."""
        self._unread.set()

    # -- children and output -----------------------------------------------------------------------------------------

    def pid_of(self, name: str) -> int:
        """Return the process of a child (comet, or comet-0 of several, logic, job, kafka, redis) that runs now."""
        return int(self._last(rf"^up +\| {re.escape(name)} started \(pid (\d+)\)")[1])

    def pids(self) -> list[int]:
        """Return all processes that `chatroom up` has started and that still run, its guard among them."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    def kill(self, name: str, signum: Signals = SIGKILL) -> int:
        """Send a child a signal and return its pid. `up` starts it again (see `wait_ready_again`)."""
        pid = self.pid_of(name)
        os.kill(pid, signum)
        return pid

    def wait_ready_again(self, name: str, since: int = 0) -> None:
        """Wait until a killed child was started again and is ready. `since` is `len(lines)` before the kill."""
        self.wait_for_line(rf"^up +\| {re.escape(name)} is ready again", READY_TIMEOUT_S, since)

    def lines_of(self, name: str) -> list[str]:
        """Return the lines that a child has printed, without its name."""
        return [line.split("| ", 1)[1] for line in self.lines if re.match(rf"{re.escape(name)} +\| ", line)]

    def wait_for_line(self, regex: str, timeout_s: float = LINE_TIMEOUT_S, since: int = 0) -> re.Match[str]:
        """Wait for a line of the output that matches, from the `since`th on, and return the match."""
        deadline, seen = time.monotonic() + timeout_s, since
        with self._more:
            while True:
                for line in self.lines[seen:]:
                    if found := re.search(regex, line):
                        return found
                seen = max(seen, len(self.lines))
                left = deadline - time.monotonic()
                if left <= 0 or (self.lines and self.lines[-1] == ""):
                    raise AssertionError(f"no line {regex!r} within {timeout_s} s in\n" + "\n".join(self.lines[-80:]))
                self._more.wait(left)

    def _last(self, regex: str) -> re.Match[str]:
        for line in reversed(list(self.lines)):
            if found := re.search(regex, line):
                return found
        raise AssertionError(f"no line {regex!r} in\n" + "\n".join(self.lines[-80:]))

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                if self._unread.is_set():
                    break
                self._add(_ANSI.sub("", line.rstrip("\n")) or " ")
        self._add("")  # the end; an empty line of the output has a blank

    def _add(self, line: str) -> None:
        with self._more:
            self.lines.append(line)
            self._more.notify_all()
