"""Backoff of the Python client: full jitter under a bound that doubles."""

import random

from chatroom_client.backoff import Backoff


class Highest(random.Random):
    """Always draws the upper end."""

    def uniform(self, _a: float, b: float) -> float:
        """Return the upper end."""
        return b


def test_the_bound_doubles_up_to_its_cap() -> None:
    """A reset starts at the first bound again."""
    backoff = Backoff(0.5, 3.0, Highest())
    assert [backoff.next_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next_s() == 0.5


def test_each_wait_lies_anywhere_below_its_bound() -> None:
    """A thousand clients that lost one server at once return spread over the whole interval."""
    waits = sorted(Backoff(1.0, 1.0, random.Random(seed)).next_s() for seed in range(1000))  # noqa: S311 - reproducible
    assert all(any(i / 10 <= one < (i + 1) / 10 for one in waits) for i in range(10))
