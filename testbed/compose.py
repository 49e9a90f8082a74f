"""docker-compose.yml in a real Docker engine: which engine and compose programs are here, and one project of the file.

Only where a Docker engine answers. Where none does, tests/e2e/test_compose.py collects nothing, and `report` says so.
"""

import fcntl
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = "chatroom-test"  # has volumes of its own, so a stack of the user's keeps its data
PROGRAMS = {"docker compose": ["docker", "compose"], "docker-compose": ["docker-compose"]}
ASK_TIMEOUT_S = 20.0
BUILD_TIMEOUT_S = 1800.0  # images are pulled and built


def _answer(*argv: str) -> str:
    """Return the output of a command, or '' when it fails or is missing."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def engine() -> str:
    """Return the version of the Docker engine that answers, or nothing."""
    return _answer("docker", "version", "--format", "{{.Server.Version}}")


def programs() -> list[str]:
    """Return the compose programs here. Where there is none, name `docker compose`, so that the test fails."""
    found = [name for name, argv in PROGRAMS.items() if shutil.which(argv[0]) and _answer(*argv, "version")]
    return found or ["docker compose"]


def report() -> str:
    """Return the line for pytest's header."""
    version = engine()
    if not version:
        return "docker-compose.yml: NOT tried, no Docker engine answers here"
    return f"docker-compose.yml: tried with {' and '.join(programs())} on Docker engine {version}"


class ComposeProject:
    """One project of docker-compose.yml: all its containers, networks and volumes."""

    def __init__(self, program: str) -> None:
        self._argv = [*PROGRAMS[program], "--project-name", PROJECT]

    def run(self, *args: str, timeout_s: float = BUILD_TIMEOUT_S) -> str:
        """Run one compose command and return its output. Raises AssertionError with the output."""
        done = subprocess.run(
            [*self._argv, *args],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # a record on the console is not all text
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            command = " ".join([*self._argv, *args])
            raise AssertionError(f"{command}: {done.stdout[-4000:]}\n{done.stderr[-8000:]}")
        return done.stdout

    def services(self) -> list[str]:
        """Return the services that the program reads from the file."""
        return sorted(self.run("config", "--services", timeout_s=60).split())

    def logs(self, service: str) -> str:
        """Return the log of a service."""
        return self.run("logs", "--no-color", service, timeout_s=60)

    def exit_codes(self) -> dict[str, int]:
        """Return the exit code of each service's container that does not run."""
        mine = f"label=com.docker.compose.project={PROJECT}"
        ids = _answer("docker", "ps", "--all", "--quiet", "--filter", mine, "--filter", "status=exited").split()
        return {
            it["Config"]["Labels"]["com.docker.compose.service"]: it["State"]["ExitCode"]
            for it in json.loads(_answer("docker", "inspect", *ids) or "[]")
        }


@contextmanager
def composed(program: str) -> Iterator[ComposeProject]:
    """Build and start the whole file, then remove it with its volumes. One at a time, because the ports are fixed."""
    with (Path(tempfile.gettempdir()) / f"{PROJECT}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        it = ComposeProject(program)
        it.run("down", "--volumes", "--remove-orphans")  # left by a killed run
        try:
            it.run("up", "--detach", "--build")
            yield it
        finally:
            it.run("down", "--volumes", "--remove-orphans")
