"""A real Prometheus with the configuration and the rules of deploy/prometheus."""

import asyncio
import json
import re
import shutil
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from chatroom.up.guard import Guard
from testbed.ports import free_port
from testbed.program import Program

CONFIGURATION = Path(__file__).parents[1] / "deploy" / "prometheus"
SCRAPE_EVERY_S = 0.5
SCRAPED_TIMEOUT_S = 30.0


class Prometheus(Program):
    """It scrapes the services, by the names of their jobs, at `host:port`, more often than in production."""

    def __init__(self, guard: Guard, directory: Path, targets: Mapping[str, str]) -> None:
        super().__init__(guard, "prometheus", directory)
        self._targets = targets
        self._url = f"http://127.0.0.1:{free_port()}"

    def argv(self) -> list[str]:
        """Write the configuration of deploy/ with these targets, and run with it."""
        shutil.copy(CONFIGURATION / "alerts.yml", self.directory)
        config = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
        every = f"{int(SCRAPE_EVERY_S * 1000)}ms"
        config["global"] |= {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": "1s"}
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [self._targets[job["job_name"]]]}]
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        return [
            shutil.which("prometheus") or "prometheus",
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={self._url.removeprefix('http://')}",
        ]

    def answers(self) -> bool:
        """Whether it is ready."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5):  # noqa: S310 - our own http URL
                return True
        except OSError:
            return False

    async def scraped(self, *jobs: str) -> None:
        """Wait until each of the jobs was scraped, with success, by a scrape that began after now.

        Raises AssertionError with the jobs that were not.
        """
        began, missing = time.time(), set(jobs)
        while missing:
            if time.time() > began + SCRAPED_TIMEOUT_S:
                raise AssertionError(f"not scraped within {SCRAPED_TIMEOUT_S} s: {missing}")
            await asyncio.sleep(SCRAPE_EVERY_S / 10)
            seen = await self.query("timestamp(up) and up == 1")
            missing -= {labels["job"] for labels, at in seen if at > began}

    async def query(self, expr: str, at_s: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series, as of now or a time."""
        found = await asyncio.to_thread(self._get, "query", query=expr, time=f"{at_s or time.time():.3f}")
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    async def show(self, expr: str, legend: str, at_s: float | None = None) -> dict[str, float]:
        """Return the values by their legends, as Grafana shows a target. No two may have the same legend."""
        found = await self.query(expr, at_s)
        shown = {re.sub(r"{{(\w+)}}", lambda name: labels[name[1]], legend): value for labels, value in found}  # noqa: B023 - used at once
        if len(shown) != len(found):
            raise AssertionError(f"{legend} does not tell {found} apart")
        return shown

    async def rules(self) -> dict[str, str]:
        """Return the health of each alert's rule, by name."""
        found = await asyncio.to_thread(self._get, "rules")
        return {rule["name"]: rule["health"] for group in found["groups"] for rule in group["rules"]}

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"{self._url}/api/v1/{path}?{urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own http URL
            data: dict[str, Any] = json.load(answer)["data"]
            return data
