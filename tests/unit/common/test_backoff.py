"""Backoff: waits double up to a cap, spread by chance, and begin anew once something worked."""

import asyncio

import pytest

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


async def test_a_loop_that_retries_ends_although_its_task_group_dropped_the_cancellation() -> None:
    """The server is lost in the moment in which the loop is told to end."""
    lost = asyncio.Event()

    async def fail() -> None:
        await lost.wait()
        raise OSError("lost")

    async def retry() -> None:
        backoff = Backoff(first_s=0.001)
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(fail())
            except* OSError:
                await backoff.wait()

    retrying = asyncio.create_task(retry())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lost.set()
    retrying.cancel()
    done, _ = await asyncio.wait({retrying}, timeout=10)
    assert done
    with pytest.raises(asyncio.CancelledError):
        retrying.result()
