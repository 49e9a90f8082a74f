"""A test that hangs ends the process, which shows where each task and thread stands."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.time_limits import OTHERS_S, UNIT_S, limit_s

ROOT: Final = Path(__file__).parents[2]
CONFTEST: Final = """
from tests.support.time_limits import TimeLimits
def pytest_configure(config): config.pluginmanager.register(TimeLimits())
"""
HANGING: Final = """
import asyncio, pytest, threading, uvloop
@pytest.fixture
def ends_never():
    yield
    threading.Event().wait()
async def wait_for_nobody(): await asyncio.Event().wait()
async def wait(): await asyncio.create_task(wait_for_nobody())
def test_asyncio(): asyncio.run(wait())
def test_uvloop(): uvloop.run(wait())
def test_fixture(ends_never): pass
def test_fixture_behind_a_failure(ends_never): assert False
def test_sound(): pass
"""


@pytest.mark.parametrize(
    ("name", "shown", "workers"),
    [
        ("test_asyncio", "in wait_for_nobody", 0),
        ("test_uvloop", "in wait_for_nobody", 1),
        ("test_fixture", "in ends_never", 0),
        ("test_fixture_behind_a_failure", "in ends_never", 0),
    ],
)
def test_a_test_that_hangs_fails_with_all_stacks(tmp_path: Path, name: str, shown: str, workers: int) -> None:
    """On either loop and in a fixture, in a worker as well as without one."""
    code, output = run_hanging(tmp_path, name, workers)
    assert code == pytest.ExitCode.TESTS_FAILED, output
    assert f"::{name} did not end within 0.5 s" in output
    assert shown in output
    assert workers == 0 or f"crashed while running 'test_it.py::{name}'" in output


def test_a_test_that_ends_in_time_passes(tmp_path: Path) -> None:
    """Its timer is stopped."""
    code, output = run_hanging(tmp_path, "test_sound", 0)
    assert code == pytest.ExitCode.OK, output


def test_unit_tests_have_less_time() -> None:
    """They start no server."""
    assert limit_s("tests/unit/comet/test_room.py::test_it") == UNIT_S
    assert limit_s("tests/integration/comet/test_http.py::test_it") == OTHERS_S


def run_hanging(folder: Path, name: str, workers: int) -> tuple[int, str]:
    """Run one of the tests that hang; return the exit code and the output."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(HANGING)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p xdist.plugin -p pytest_timeout -p no:cacheprovider\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "--timeout", "0.5", f"test_it.py::{name}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    return ended.returncode, ended.stdout
