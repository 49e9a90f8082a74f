"""Backoff: waits double up to a cap, spread by chance, and begin anew once something worked."""

from common.backoff import Backoff


def test_waits_double_up_to_the_cap() -> None:
    """Each between half of it and the whole."""
    backoff = Backoff(first_s=0.1, cap_s=1.0)
    for whole in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert whole / 2 <= backoff.next_s() <= whole


def test_after_a_success_it_begins_anew() -> None:
    """With the first wait."""
    backoff = Backoff(first_s=0.1, cap_s=1.0)
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 0.1


def test_waits_are_spread() -> None:
    """Many who lost the same server don't come back in the same instant."""
    assert len({round(Backoff(first_s=1.0).next_s(), 2) for _ in range(200)}) > 20


async def test_waiting_sleeps() -> None:
    """For about as long as it says."""
    await Backoff(first_s=0.001).wait()
