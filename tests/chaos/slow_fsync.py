"""A slow disk under Redis: compiles slow_fsync.c, preloads it, and says how slow the disk is at the moment.

Without a C compiler there is no slow disk; in CI that is an error.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("slow_fsync.c")
CC_TIMEOUT_S: Final = 60


def possible() -> bool:
    """Whether there is a C compiler. Raises FileNotFoundError in CI if not."""
    if shutil.which("cc"):
        return True
    if os.environ.get("CI"):
        raise FileNotFoundError("a slow disk needs a C compiler (the program cc), and in CI nothing is left out")
    return False


class Preload:
    """What Redis is started with, in its folder."""

    def __init__(self, directory: Path) -> None:
        self._library = directory / "slow_fsync.so"
        self._control = directory / "slow_fsync.ms"

    def environ(self) -> dict[str, str]:
        """What Redis's environment needs."""
        return {"LD_PRELOAD": str(self._library), "SLOW_FSYNC": str(self._control)} if possible() else {}

    def build(self) -> None:
        """Compile the library, where that is possible. Raises CalledProcessError with the compiler's words."""
        if possible():
            self._library.parent.mkdir(parents=True, exist_ok=True)
            cc = ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(self._library), str(SOURCE), "-ldl"]
            subprocess.run(cc, check=True, timeout=CC_TIMEOUT_S)

    def sleep(self, seconds: float) -> None:
        """Let each fsync take so much longer; 0 ends it."""
        self._control.write_text(str(int(seconds * 1000)))
