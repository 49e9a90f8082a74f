"""The Node that runs the JavaScript tests: the one that Playwright's package carries.

It is installed wherever the tests run, and it has a global WebSocket.
"""

import subprocess
from pathlib import Path
from typing import Final

import playwright

NODE: Final = Path(playwright.__file__).parent / "driver" / "node"
TEST_S: Final = 20  # for one test of a file


def run_tests(file: Path) -> None:
    """Run a file of tests with Node's own runner. Raises AssertionError with the output when one fails or none runs."""
    limit = f"--test-timeout={TEST_S * 1000}"
    command = [str(NODE), "--test", limit, "--test-reporter=spec", str(file)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=2 * TEST_S)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\N{INFORMATION SOURCE} pass 0" not in ran.stdout
