"""The slow disk: a real program, preloaded as Redis is, sleeps in fsync as long as it is told at that moment."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import slow_fsync
from tests.chaos.faults import possible_kinds

# Prints for each line that it reads how many seconds an fsync and an fdatasync took together.
PROGRAM = """
import os, sys, time
file = open(sys.argv[1], "wb")
for _ in sys.stdin:
    began = time.monotonic()
    os.fsync(file.fileno()); os.fdatasync(file.fileno())
    print(time.monotonic() - began, flush=True)
"""


def test_each_fsync_takes_as_long_as_it_is_told(tmp_path: Path) -> None:
    """Also of a program that runs already, and no longer after it is told to stop."""
    preload = slow_fsync.Preload(tmp_path)
    preload.build()
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "file")],
        env={**os.environ, **preload.environ()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdin is not None
    assert program.stdout is not None
    with program, program.stdin as ask:
        took: list[float] = []
        for seconds in (None, 0.3, 0):
            if seconds is not None:
                preload.sleep(seconds)
            ask.write("\n")
            ask.flush()
            took.append(float(program.stdout.readline()))
    assert took[1] >= 0.6
    assert max(took[0], took[2]) < 0.6


def _no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)


def test_without_a_compiler_the_kind_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """And Redis runs as it is."""
    _no_compiler(monkeypatch)
    monkeypatch.delenv("CI", raising=False)
    assert "slow_fsync" not in possible_kinds()
    assert slow_fsync.Preload(Path("/nowhere")).environ() == {}


def test_in_ci_a_missing_compiler_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """There nothing is left out in silence."""
    _no_compiler(monkeypatch)
    monkeypatch.setenv("CI", "1")
    with pytest.raises(FileNotFoundError, match="cc"):
        possible_kinds()
