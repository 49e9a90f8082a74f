"""One service as a program: `python -m comet|logic|job` with these settings, ready when its /readyz says so."""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from chatroom.up.guard import Guard
from chatroom.up.ports import LOOPBACK
from testbed.ports import free_port
from testbed.program import Program, program_environ

ASK_TIMEOUT_S: Final = 2.0
METRICS_TIMEOUT_S: Final = 15.0  # it may be busy, which is what is measured


class Service(Program):
    """Comet, Logic or Job on loopback; `health_port` is where it answers /readyz and /metrics."""

    def __init__(self, guard: Guard, name: str, directory: Path, *, module: str, settings: Mapping[str, str]) -> None:
        super().__init__(guard, name, directory)
        self.health_port = free_port()
        self.module = module
        port = "LOGIC_HTTP_BIND_PORT" if module == "logic" else f"{module.upper()}_METRICS_PORT"
        own = {f"{module.upper()}_HTTP_BIND_IP": LOOPBACK, port: str(self.health_port)}
        self.settings = {**own, **settings}
        self.profile: Path | None = None  # where it notes what its CPU was used for, when it is stopped

    def argv(self) -> list[str]:
        """The service as it is run."""
        noting = ["bench.load.profiled", str(self.profile)] if self.profile is not None else []
        return [sys.executable, "-m", *noting, self.module]

    def begin_profile(self) -> None:
        """Let it note what its CPU is used for from now on."""
        os.kill(self.pid, signal.SIGUSR1)

    def costs(self) -> list[tuple[str, int]]:
        """Return the functions that used its CPU, the largest first, with the number of samples (profiled.py)."""
        if self.profile is None:
            raise RuntimeError(f"{self.name} was not profiled")
        return [(name, count) for name, count in json.loads(self.profile.read_bytes())]

    def environ(self) -> Mapping[str, str]:
        """Its settings, nothing of them inherited."""
        return program_environ(self.settings)

    @property
    def metrics_url(self) -> str:
        """Its metrics."""
        return f"http://{LOOPBACK}:{self.health_port}/metrics"

    def answers(self) -> bool:
        """Whether nothing speaks against it. That PubSub is away is only a warning, but then it does not serve yet."""
        report = self.report()
        return not report["reasons"] and "pubsub" not in report.get("warnings", {})

    def report(self) -> dict[str, Any]:
        """What /readyz says."""
        try:
            url = f"http://{LOOPBACK}:{self.health_port}/readyz"
            with urllib.request.urlopen(url, timeout=ASK_TIMEOUT_S) as answer:
                text = answer.read()
        except urllib.error.HTTPError as e:
            text = e.read()
        except OSError as e:
            return {"reasons": {"readyz": str(e)}}
        found: dict[str, Any] = json.loads(text)
        return found

    def samples(self) -> dict[str, float]:
        """Return its metrics by name, those with labels summed over them. Raises OSError."""
        with urllib.request.urlopen(self.metrics_url, timeout=METRICS_TIMEOUT_S) as answer:  # noqa: S310 - our own http URL
            text = answer.read().decode()
        found: dict[str, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, value = line.partition("{")[0].split(" ")[0], line.rpartition(" ")[2]
                found[name] = found.get(name, 0.0) + float(value)
        return found
