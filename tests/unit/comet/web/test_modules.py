"""The page's modules that touch no element do what their tests say; Node's own runner runs those."""

import subprocess
from pathlib import Path

import pytest

from tests.conformance.subjects import NODE

FILES = sorted(Path(__file__).parent.glob("*.test.js"))


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_a_module_does_what_its_tests_say(file: Path) -> None:
    """What failed is in the output."""
    command = [str(NODE), "--test", "--test-reporter=spec", str(file)]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "\N{INFORMATION SOURCE} pass 0" not in ran.stdout
