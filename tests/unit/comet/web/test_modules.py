"""The page's modules that touch no element do what their tests say; Node's own runner runs those."""

from pathlib import Path

import pytest

from tests.support.node import run_tests

FILES = sorted(Path(__file__).parent.glob("*.test.js"))


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_a_module_does_what_its_tests_say(file: Path) -> None:
    """What failed is in the output."""
    run_tests(file)
