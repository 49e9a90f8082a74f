"""The folder where the servers of a stack keep what they stored (`--data`): made, tried, and one stack's alone.

In it also stands where the stack's Redis and Kafka listen, for commands that are run beside it.
"""

import contextlib
import errno
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common.errors import StartupError

USUAL = Path(".chatroom")
SERVERS = "servers.json"
CHANGE = "choose another folder with --data"
_TRIAL_BYTES = 1 << 20
_TRIES, _TRY_EVERY_S = 10, 0.02


@contextlib.contextmanager
def taken(directory: Path) -> Iterator[int]:
    """Hold the folder while inside and yield the lock's file descriptor. Raises StartupError if it can't be used.

    Whoever else has the descriptor holds the lock too: the guard does, so that nobody starts in the folder before the
    last program of a killed stack is gone.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise StartupError(_fault(directory, e)) from None
    try:
        _lock(directory, fd)
        _try_to_write(directory)
        _forget(directory)  # what a killed stack told
        try:
            yield fd
        finally:
            _forget(directory)
    finally:
        os.close(fd)


def tell(directory: Path, *, redis: str, kafka: str) -> None:
    """Write down where the servers of the stack that holds the folder are. Raises StartupError."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as out:  # ours alone: it may hold a password
            json.dump({"redis": redis, "kafka": kafka}, out)
        Path(out.name).replace(directory / SERVERS)
    except OSError as e:
        raise StartupError(_fault(directory, e)) from None


def _forget(directory: Path) -> None:
    with contextlib.suppress(OSError):
        (directory / SERVERS).unlink(missing_ok=True)


def told(server: str, directory: Path = USUAL) -> str | None:
    """Return where the redis or kafka of the stack is that holds the folder; None if none does."""
    with contextlib.suppress(OSError, ValueError), (directory / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found = json.loads((directory / SERVERS).read_text()).get(server)
            return str(found) if found else None
    return None


def _lock(directory: Path, fd: int) -> None:
    if not _locked(fd):
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
        who = f" (pid {holder})" if holder.isdigit() else ""
        raise StartupError(f"{directory} is used by another chatroom up{who}: stop that one, or {CHANGE}")
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except OSError as e:
        raise StartupError(_fault(directory, e)) from None


def _locked(fd: int) -> bool:
    """Lock it; who asks where the servers are has it for an instant, and is waited for."""
    for _ in range(_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(_TRY_EVERY_S)
    return False


def _try_to_write(directory: Path) -> None:
    """Write as much as Redis needs to begin; a full disk shows here, with a better word than Redis has for it."""
    trial = directory / "trial"
    try:
        with trial.open("wb") as out:
            out.write(bytes(_TRIAL_BYTES))
            os.fsync(out.fileno())
    except OSError as e:
        raise StartupError(_fault(directory, e)) from None
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)


def _fault(directory: Path, error: OSError) -> str:
    """Say in one line what is wrong with the folder and what to change."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no space left on the disk of {directory}: free some, or {CHANGE}"
    return f"can't write in {directory} ({error.strerror or error}): {CHANGE}"
