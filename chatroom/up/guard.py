"""A process group that dies with its starter, however that ends; owns the promise that no process is left behind.

All that `chatroom up` (or a test) starts joins the group. Since the group is not the terminal's, Ctrl-C reaches only
the starter. Free of races: the group exists before anything joins it, a program joins before its exec, and the write
end of the pipe closes with the starter's last breath.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_WATCH = Path(__file__).with_name("guard_watch.py")
_END_TIMEOUT_S = 5.0
_NOT_MEANT_FOR_IT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Guard:
    """The leader of the group; `pass_fds` (a lock file, say) stay open as long as any of the group could live."""

    def __init__(self, pass_fds: Sequence[int] = ()) -> None:
        self._pass_fds = tuple(pass_fds)
        self._program: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the guard, deaf from its first moment to signals that are meant for others: it inherits our mask."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_MEANT_FOR_IT)
        try:
            self._program = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                [sys.executable, "-I", "-S", str(_WATCH)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,
                pass_fds=self._pass_fds,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the guard and whatever is left of its group."""
        program, self._program = self._program, None
        if program is not None and program.stdin is not None:
            program.stdin.close()
            program.wait(_END_TIMEOUT_S)

    @property
    def group(self) -> int:
        """The process group that programs join with `process_group=`."""
        if self._program is None:
            raise RuntimeError("the guard is not running")
        return self._program.pid

    @property
    def alive(self) -> bool:
        """Whether the guard still watches."""
        return self._program is not None and self._program.poll() is None

    def send(self, signum: signal.Signals) -> None:
        """Send the guard itself a signal."""
        os.kill(self.group, signum)

    def kill_all(self) -> None:
        """SIGKILL the group at once."""
        os.killpg(self.group, signal.SIGKILL)
