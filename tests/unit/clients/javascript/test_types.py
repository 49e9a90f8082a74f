"""The types that the JavaScript client publishes. `make lint` holds its code to them."""

from pathlib import Path

import pytest

from tests.support import npm
from tests.support.node import run_tests


@pytest.mark.timeout(npm.TIMEOUT_S)
def test_declared_names_are_the_real_ones() -> None:
    """`tsc` finds a member that is missing in the code; this test also finds one that is missing in index.d.ts."""
    if not npm.found():
        pytest.skip(npm.MISSING)
    npm.packages()
    run_tests(Path(__file__).with_name("declared_names.js"))
