"""What is measured of programs and of samples."""

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measures import KIB, Spread, cpu_seconds, memory, percentile

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time(), flush=True)\ninput()"
HOARD = "hoard = b'x' * (40 << 20)\nprint('there', flush=True)\ninput()"


def test_cpu_of_another_program() -> None:
    """What a program says it used is what we see, threads and all; it sleeps in between, which costs nothing."""
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as burning:
        assert burning.stdout is not None
        said = float(burning.stdout.readline())
        assert said <= cpu_seconds(burning.pid) < said + 0.2
        burning.communicate(b"\n")


def test_cpu_of_our_own() -> None:
    """It is the clock of time.process_time()."""
    assert cpu_seconds(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)


def test_memory_of_another_program() -> None:
    """What a program has for itself is in both figures."""
    with subprocess.Popen([sys.executable, "-c", HOARD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as hoarding:
        assert hoarding.stdout is not None
        hoarding.stdout.readline()
        found = memory(hoarding.pid)
        assert 40 << 10 <= found.uss_bytes // KIB <= found.rss_bytes // KIB < 80 << 10
        hoarding.communicate(b"\n")


@pytest.mark.parametrize(
    ("share", "found"), [(0.0, 1), (0.01, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.9, 9), (0.99, 10), (1.0, 10)]
)
def test_a_percentile_is_a_sample(share: float, found: int) -> None:
    """The nearest rank of ten, in whatever order they came."""
    assert percentile([7, 3, 10, 1, 5, 9, 2, 8, 4, 6], share) == found


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0, 1))
def test_a_percentile_bounds_its_share(samples: list[int], share: float) -> None:
    """At least that share is at or below it, and it is the smallest sample of which that is true."""
    found = percentile(samples, share)
    assert sum(one <= found for one in samples) >= share * len(samples) - 1e-9
    assert sum(one < found for one in samples) <= max(0, share * len(samples))


def test_no_samples_have_no_percentile() -> None:
    """No figure is better than a made-up one."""
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_spread() -> None:
    """The median with the lowest and the highest."""
    assert Spread.of([3.0, 9.0, 4.0]) == Spread(4.0, 3.0, 9.0)
