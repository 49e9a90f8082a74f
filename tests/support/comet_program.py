"""Comet as a real program of its own, so that its memory, its open files and its end are its alone."""

import os
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from chatroom.up.guard import Guard
from testbed.ports import free_port
from testbed.program import Program

_OURS = ("CHAT_", "COMET_", "LOGIC_", "JOB_")


class CometProgram(Program):
    """One `python -m comet`.

    `chosen` are its settings' names in lower case, `shared` those of all services as in the environment; `files` bounds
    its open files.
    """

    def __init__(
        self,
        guard: Guard,
        directory: Path,
        redis_url: str,
        *,
        files: int = 0,
        shared: Mapping[str, str] = MappingProxyType({}),
        **chosen: object,
    ) -> None:
        super().__init__(guard, "comet", directory)
        self._files = files
        self.port, self.grpc_port, self.metrics_port = free_port(), free_port(), free_port()
        self._settings = {
            "CHAT_REDIS_URL": redis_url,
            "CHAT_LOG_LEVEL": "warning",
            "COMET_HTTP_BIND_IP": "127.0.0.1",
            "COMET_HTTP_BIND_PORT": str(self.port),
            "COMET_GRPC_PORT": str(self.grpc_port),
            "COMET_METRICS_PORT": str(self.metrics_port),
            "COMET_FORWARD_URL": "http://127.0.0.1:1",  # nobody is there
            **{f"COMET_{name.upper()}": str(value) for name, value in chosen.items()},
            **shared,
        }

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def metrics_url(self) -> str:
        """Its metrics."""
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def resident_bytes(self) -> int:
        """How much memory it takes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def argv(self) -> list[str]:
        """As an operator starts it; with few open files, by way of a shell."""
        command = [sys.executable, "-m", "comet"]
        return ["sh", "-c", f'ulimit -n {self._files}; exec "$@"', "sh", *command] if self._files else command

    def environ(self) -> Mapping[str, str]:
        """Nothing of the developer's own settings."""
        return {**{name: value for name, value in os.environ.items() if not name.startswith(_OURS)}, **self._settings}

    def answers(self) -> bool:
        """Ask once whether it is ready, which it is not before it serves."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10):
                return True
        except OSError:
            return False

    def terminate(self) -> int:
        """SIGTERM it, wait, and return its exit code."""
        assert self._running is not None, "it is stopped"
        running, self._running = self._running, None
        running.terminate()
        return running.wait(60)
