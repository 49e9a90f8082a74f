"""The Prometheus of `chatroom up --prometheus`: where its program is, how it starts and what it scrapes.

It is not embedded as Redis and the broker are: no wheel carries it, so it has to be installed. Neighbours: `stack.py`
starts it, once the services' ports are known.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatroom.up.plan import ServicePlan
from chatroom.up.ports import LOOPBACK
from common.config import SERVICES
from common.errors import StartupError

PORT = 9090
SCRAPE_EVERY = "1s"  # the services are near and few, and who looks wants to see something move


def program() -> Path:
    """Return the installed Prometheus. Raises StartupError if there is none."""
    found = shutil.which("prometheus")
    if found is None:
        raise StartupError(
            "no prometheus is on the PATH: install it (Debian, Ubuntu: apt-get install --no-install-recommends "
            "prometheus), or leave out --prometheus"
        )
    return Path(found)


def configuration(services: Sequence[ServicePlan]) -> str:
    """Return its configuration, JSON as YAML allows: a job for each kind of service, as in deploy/prometheus."""
    jobs: list[dict[str, Any]] = [
        {
            "job_name": module,
            "static_configs": [{"targets": [one.called(one.health_port) for one in services if one.module == module]}],
        }
        for module in SERVICES
    ]
    return json.dumps({"global": {"scrape_interval": SCRAPE_EVERY}, "scrape_configs": jobs}, indent=2)


def argv(path: Path, port: int, directory: Path) -> list[str]:
    """Return the command line; the configuration and the data are in the directory."""
    return [
        str(path),
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--log.level=warn",
    ]
