"""What the test suite itself promises: it leaves nothing behind, and CI skips nothing."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.loops import wait_gone

ROOT = Path(__file__).parents[3]


def pytest_run(folder: Path, text: str, **environ: str) -> subprocess.Popen[str]:
    """Start pytest with this suite's fixtures on a test file of its own."""
    test = folder / "test_it.py"
    test.write_text(text)
    argv = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-s", "-q", str(test)]
    config = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    kept = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [*argv, *config],
        cwd=ROOT,
        env={**kept, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_servers_die_with_a_killed_pytest(tmp_path: Path) -> None:
    """No fixture is torn down, yet the guard ends them."""
    text = """
import time
def test_it(own_redis, own_kafka, guard):
    print("PIDS", own_redis.pid, own_kafka.pid, guard.group, flush=True)
    time.sleep(60)
"""
    with pytest_run(tmp_path, text) as running:
        assert running.stdout is not None
        line = next(line for line in running.stdout if "PIDS" in line)
        running.kill()
    wait_gone([int(pid) for pid in line.split("PIDS")[1].split()])


def test_a_skip_is_a_failure_in_ci_only(tmp_path: Path) -> None:
    """A skipped test and a skipped module; an expected failure stays one."""
    text = """
import pytest
def test_skipped(): pytest.skip("no java")
@pytest.mark.xfail(strict=True)
def test_expected(): assert False
"""
    with pytest_run(tmp_path, text) as running:
        assert "1 skipped, 1 xfailed" in running.communicate(timeout=60)[0]
        assert running.returncode == 0
    with pytest_run(tmp_path, text, CI="true") as running:
        out = running.communicate(timeout=60)[0]
        assert "1 failed, 1 xfailed" in out
        assert "no java" in out
        assert running.returncode == 1
    module = "import pytest\npytest.skip('not here', allow_module_level=True)\n"
    with pytest_run(tmp_path, module, CI="true") as running:
        assert "not here" in running.communicate(timeout=60)[0]
        assert running.returncode not in (0, 5)
