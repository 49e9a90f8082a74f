"""The JavaScript client's modules pass their tests."""

from pathlib import Path

import pytest

from tests.support.node import run_tests

FILES = sorted(Path(__file__).parent.glob("*.test.js"))


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_module_passes_its_tests(file: Path) -> None:
    """Node's test runner prints each failure."""
    run_tests(file)
