"""npm: installs the development packages of the JavaScript client, and the client itself as its users do."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

CLIENT: Final = Path(__file__).parents[2] / "clients" / "javascript"
MISSING: Final = "npm is not on the PATH; install Node 20 or later (Debian: apt-get install npm)"
_LOCK: Final = CLIENT / "package-lock.json"
_PACKAGES: Final = CLIENT / "node_modules"
TIMEOUT_S: Final = 400  # for a test, where npm fetches the packages first
_QUIET: Final = {f"npm_config_{name}": "false" for name in ("audit", "fund", "update_notifier")}


def found() -> bool:
    """Return whether npm is installed."""
    return shutil.which("npm") is not None


def packages() -> Path:
    """Return the folder with the pinned development packages. Install them first where they are missing or outdated."""
    with _LOCK.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest's workers ask at the same time
        if not _are_current():
            _npm("ci", cwd=CLIENT)
    return _PACKAGES


def install_client(directory: Path) -> Path:
    """Pack the client and install the archive into an empty folder, without a registry. Return that folder.

    Beside it go the development packages that a bot under Node 20 in TypeScript needs.
    """
    folder, offline = directory / "bot", ("--offline", "--cache", str(directory / "cache"))
    folder.mkdir()
    _npm("pack", *offline, "--pack-destination", str(directory), str(CLIENT), cwd=directory)
    [archive] = directory.glob("*.tgz")
    besides = (str(packages() / name) for name in ("ws", "@types/ws", "@types/node"))
    _npm("install", *offline, str(archive), *besides, cwd=folder)
    return folder


def tsc(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the pinned TypeScript compiler."""
    argv = [str(packages() / ".bin" / "tsc"), *arguments]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def _are_current() -> bool:
    installed = _PACKAGES / ".package-lock.json"  # npm writes it at the end
    return installed.exists() and installed.stat().st_mtime >= _LOCK.stat().st_mtime


def _npm(*arguments: str, cwd: Path) -> None:
    argv = [shutil.which("npm") or "npm", *arguments]
    done = subprocess.run(
        argv, cwd=cwd, env=os.environ | _QUIET, capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}\n{done.stdout}{done.stderr}")
