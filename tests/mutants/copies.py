"""Copies of the source tree, so that no mutant ever stands in the tree itself.

A copy keeps each file's time of change. So the bytecode that the sound tests left in it stays valid for all files but a
mutant's: that one has a new time, is compiled anew, and its bytecode is not written.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.mutants.table import Mutant
from tests.support.time_limits import LATE

TEST_S: Final = 60  # for one test
RUN_S: Final = 180  # for all tests of a mutant


class Copy:
    """One copy of the tree and its tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def having(self, mutant: Mutant) -> Iterator[None]:
        """Have a mutant in the copy while inside."""
        path = self.folder / mutant.file
        sound, times = path.read_text(), path.stat()
        path.write_text(mutant.changed(sound))
        try:
            yield
        finally:
            path.write_text(sound)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def run(self, tests: Sequence[str], *options: str, timeout_s: float = RUN_S, warm: bool = False) -> tuple[int, str]:
        """Run tests and return pytest's exit code and output; `warm`: leave bytecode behind."""
        paths = [str(self.folder), str(self.folder / "clients/python")]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "" if warm else "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", str(TEST_S)]
        try:
            ended = subprocess.run(
                [*command, *options, *tests],
                cwd=self.folder,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as e:
            return -1, f"the tests {LATE} {timeout_s:g} s\n{e.output}"
        return ended.returncode, ended.stdout


def copy_tree(root: Path, folder: Path) -> Copy:
    """Copy all files that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - git is on the PATH
        cwd=root,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        source, target = root / name, folder / name
        if source.is_symlink() or source.is_file():  # not one that was deleted
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    return Copy(folder)


def clone(copy: Copy, folder: Path) -> Copy:
    """Copy a copy, bytecode included."""
    return Copy(Path(shutil.copytree(copy.folder, folder, symlinks=True)))
