"""The rate search: it ends, and finds what is kept up with to within a tenth."""

import pytest

from bench.cases.ingest import CLOSE, RateSearch


def search(first: float, most: float) -> tuple[RateSearch, list[float]]:
    """Search where everything up to `most` is kept up with."""
    it, tried = RateSearch(first), list[float]()
    while (rate := it.next_rate()) is not None:
        tried.append(rate)
        it.tell(rate, held=rate <= most)
    return it, tried


@pytest.mark.parametrize("most", [150, 990, 1000, 3333, 20_000])
@pytest.mark.parametrize("first", [100, 1000, 5000])
def test_it_finds_the_highest_rate_that_holds(first: float, most: float) -> None:
    """From below and from above; what it returns held, and a tenth more did not."""
    it, tried = search(first, most)
    assert it.held is not None
    assert it.held <= most < it.held * CLOSE
    assert len(tried) < 25


def test_it_gives_up_below_the_least_rate() -> None:
    """Where nothing holds there is no rate, and it is not looked for forever."""
    it, tried = search(1000, 10)
    assert it.held is None
    assert min(tried) >= 100


def test_it_tries_nothing_past_the_most_it_may() -> None:
    """A user bounds what a bench does to the machine."""
    it, tried = RateSearch(500, most=600), list[float]()
    while (rate := it.next_rate()) is not None:
        tried.append(rate)
        it.tell(rate, held=True)
    assert (it.held, tried) == (600, [500, 600])
