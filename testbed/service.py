"""Comet, Logic or Job as a program: `python -m comet|logic|job`, ready when its /readyz says so.

The names of the settings that place a service on this machine and lead it to Redis and Kafka stand here alone. A
service that runs in the test's own process takes them from here too.
"""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from chatroom.up.guard import Guard
from chatroom.up.ports import LOOPBACK
from testbed.ports import free_port
from testbed.program import Program, program_environ

ASK_TIMEOUT_S: Final = 2.0
METRICS_TIMEOUT_S: Final = 15.0  # a service under measurement is busy
NOBODY: Final = f"http://{LOOPBACK}:1"
NO_SETTINGS: Final[Mapping[str, str]] = MappingProxyType({})
PORTS: Final = {
    "comet": ("COMET_HTTP_BIND_PORT", "COMET_GRPC_PORT", "COMET_METRICS_PORT"),
    "logic": ("LOGIC_HTTP_BIND_PORT",),
    "job": ("JOB_METRICS_PORT",),
}


def local_settings(module: str) -> dict[str, str]:
    """Return the settings of a service that listens on free ports of loopback and knows no other service."""
    strangers = {"comet": {"COMET_FORWARD_URL": NOBODY}, "job": {"JOB_COMET_ADDRS": ""}}
    ports = {name: str(free_port()) for name in PORTS[module]}
    return {f"{module.upper()}_HTTP_BIND_IP": LOOPBACK, **ports, **strangers.get(module, {})}


def shared_settings(redis_url: str, brokers: str, topic: str) -> dict[str, str]:
    """Return the settings that lead services to one Redis and one topic. Job's group is named after the topic."""
    return {
        "CHAT_REDIS_URL": redis_url,
        "CHAT_KAFKA_BROKERS": brokers,
        "CHAT_KAFKA_TOPIC": topic,
        "JOB_CONSUMER_GROUP": topic,
    }


class ServiceProgram(Program):
    """One service on loopback. `settings` are named as in the environment and win over those of `local_settings`.

    `runner` is a module with arguments that runs the service's own module: `python -m <runner> <module>`.
    """

    def __init__(  # noqa: PLR0913 - each tells one service from another
        self,
        guard: Guard,
        module: str,
        directory: Path,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        name: str = "",
        runner: Sequence[str] = (),
    ) -> None:
        super().__init__(guard, name or module, directory)
        self.module = module
        self.runner = runner
        self.settings = {**local_settings(module), **settings}
        self._costs = directory / f"{self.name}.profile"

    def argv(self) -> list[str]:
        """The service as it is run."""
        return [sys.executable, "-m", *self.runner, self.module]

    def environ(self) -> Mapping[str, str]:
        """Its settings, none of them inherited."""
        return program_environ(self.settings)

    # -- profile -----------------------------------------------------------------------------------------------------

    def profile(self) -> None:
        """Let its next life count which functions use its CPU (profiled.py)."""
        self.runner = ["testbed.profiled", str(self._costs)]

    def begin_profile(self) -> None:
        """Begin to count."""
        os.kill(self.pid, signal.SIGUSR1)

    def costs(self) -> list[tuple[str, int]]:
        """Return the functions that used its CPU, the largest first, with the number of samples. It must have ended."""
        return [(name, count) for name, count in json.loads(self._costs.read_bytes())]

    # -- health and metrics ------------------------------------------------------------------------------------------

    @property
    def health_port(self) -> int:
        """The port of /readyz and /metrics."""
        return int(self.settings[PORTS[self.module][-1]])

    @property
    def http_url(self) -> str:
        """Where it answers HTTP, without a slash at its end."""
        return f"http://{LOOPBACK}:{self.health_port}"

    @property
    def metrics_url(self) -> str:
        """Its metrics."""
        return f"{self.http_url}/metrics"

    def answers(self) -> bool:
        """Whether /readyz gives no reason. A lost PubSub is only a warning there, but such a node does not serve."""
        report = self.report()
        return not report["reasons"] and "pubsub" not in report.get("warnings", {})

    def report(self) -> dict[str, Any]:
        """Return the report of /readyz, with the reason `readyz` where the service does not answer."""
        try:
            with urllib.request.urlopen(f"{self.http_url}/readyz", timeout=ASK_TIMEOUT_S) as answer:  # noqa: S310 - our own
                text = answer.read()
        except urllib.error.HTTPError as e:
            text = e.read()
        except OSError as e:
            return {"reasons": {"readyz": str(e)}}
        found: dict[str, Any] = json.loads(text)
        return found

    def samples(self) -> dict[str, float]:
        """Return its metrics by name, those with labels summed over them. Raises OSError."""
        with urllib.request.urlopen(self.metrics_url, timeout=METRICS_TIMEOUT_S) as answer:  # noqa: S310 - our own
            text = answer.read().decode()
        found: dict[str, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, value = line.partition("{")[0].split(" ")[0], line.rpartition(" ")[2]
                found[name] = found.get(name, 0.0) + float(value)
        return found


class CometProgram(ServiceProgram):
    """One node, which logs only warnings. `files` limits its open files, 0 leaves the limit as it is."""

    def __init__(  # noqa: PLR0913 - each tells one node from another
        self,
        guard: Guard,
        directory: Path,
        redis_url: str,
        settings: Mapping[str, str] = NO_SETTINGS,
        *,
        name: str = "comet",
        runner: Sequence[str] = (),
        files: int = 0,
    ) -> None:
        own = {"CHAT_REDIS_URL": redis_url, "CHAT_LOG_LEVEL": "warning"}
        super().__init__(guard, "comet", directory, {**own, **settings}, name=name, runner=runner)
        self._files = files

    def argv(self) -> list[str]:
        """The command line. A shell sets the limit of open files."""
        command = super().argv()
        return ["sh", "-c", f'ulimit -n {self._files}; exec "$@"', "sh", *command] if self._files else command

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return int(self.settings["COMET_HTTP_BIND_PORT"])

    @property
    def grpc_port(self) -> int:
        """The port that Job calls."""
        return int(self.settings["COMET_GRPC_PORT"])

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"ws://{LOOPBACK}:{self.port}/"

    @property
    def resident_bytes(self) -> int:
        """How much memory it takes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
