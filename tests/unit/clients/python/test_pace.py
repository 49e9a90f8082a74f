"""The pace of the Python client: the bucket, the pauses after refusals, and the age of a message."""

import asyncio
import random
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from chatroom_client import ages
from chatroom_client.ages import Age
from chatroom_client.backoff import Backoff
from chatroom_client.errors import RateLimited, Unavailable
from chatroom_client.pace import TICK_S, Bucket, Pace

FIRST_S, CAP_S = 0.01, 0.02


def pace_of(send_all: Callable[[], None] = lambda: None) -> Pace:
    """Return a pace with short pauses."""
    return Pace(Backoff(FIRST_S, CAP_S, random.Random(1)), send_all)  # noqa: S311 - jitter needs no secrecy


def test_bucket_holds_half_of_the_burst_and_keeps_a_tenth_for_requests() -> None:
    """It refills with 95 % of the rate."""
    bucket = Bucket(100, 160, 0.0)
    assert [bucket.take(0.0, message=True) for _ in range(72)] == [0.0] * 72
    assert bucket.take(0.0, message=True) > 0
    assert [bucket.take(0.0, message=False) for _ in range(8)] == [0.0] * 8
    assert bucket.take(0.0, message=False) == pytest.approx(1 / 95)
    assert bucket.take(0.0, message=True) == pytest.approx(9 / 95)
    assert bucket.take(1 / 95 + 1e-6, message=False) == 0.0
    assert [bucket.take(1e9, message=False) for _ in range(80)] == [0.0] * 80
    assert bucket.take(1e9, message=False) > 0


@pytest.mark.parametrize("burst", [1, 2.1, 3])
def test_bucket_of_a_small_burst_lets_messages_through(burst: float) -> None:
    """The tenth that is kept is not more than there is."""
    assert Bucket(1, burst, 0.0).take(0.0, message=True) == 0.0


async def test_pace_stays_within_the_limits_and_asks_to_send_again() -> None:
    """Requests go before messages that wait."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    sent: list[float] = []

    def send_all() -> None:
        while len(sent) < 40 and pace.take(message=True):
            sent.append(loop.time())
        if len(sent) == 40:
            done.set()

    pace = pace_of(send_all)
    began_at = loop.time()
    pace.begin({"messagesPerSecond": 100, "burstMessages": 32})
    earned = 1 + 100 * (loop.time() - began_at)
    assert 14 <= len(sent) < 14 + earned  # 16 but for the tenth, and the fraction of one
    assert not pace.take(message=True)
    assert pace.take()
    assert not pace.take(message=True)
    await asyncio.wait_for(done.wait(), 10)
    assert sent[-1] - began_at >= (40 - 15) / 100


async def test_no_message_overtakes_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the bucket has enough for it before the timer fires; a request may go."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    pace = pace_of()
    pace.begin({"messagesPerSecond": 1000, "burstMessages": 2})
    assert [pace.take(message=True) for _ in range(2)] == [True, False]
    now += TICK_S / 2
    assert not pace.take(message=True)
    assert pace.take()


async def test_refused_frame_empties_the_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server counts less than the client did. A refusal for another reason leaves the bucket as it is."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now)
    for error, left in ((RateLimited("slow down"), False), (Unavailable("Redis is away"), True)):
        opened = asyncio.Event()
        pace = pace_of(opened.set)
        pace.begin({"messagesPerSecond": 0.001, "burstMessages": 200})
        opened.clear()
        pace.pause(error)
        now += 2 * CAP_S
        await asyncio.wait_for(opened.wait(), 10)
        assert pace.take() == left
        pace.stop()


async def test_pause_lasts_at_least_as_long_as_the_longest_time_told() -> None:
    """However often one begins meanwhile."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    pace = pace_of(over.set)
    began_at = loop.time()
    for told_s in (0.01, 0.2, 0.001):
        pace.pause(RateLimited("slow down", told_s))
    assert not pace.take()
    await asyncio.wait_for(over.wait(), 10)
    assert loop.time() - began_at >= 0.2
    assert pace.take()


async def test_new_connection_ends_a_pause_and_a_stopped_pace_sends_nothing() -> None:
    """The allowance of a connection is its own."""
    calls: list[None] = []
    pace = pace_of(lambda: calls.append(None))
    pace.pause(RateLimited("slow down", 60.0))
    pace.begin(None)
    assert (pace.take(), len(calls)) == (True, 1)
    pace.pause(RateLimited("slow down", 0.0))
    pace.stop()
    pace.pause(RateLimited("slow down", 0.0))
    await asyncio.sleep(2 * CAP_S)
    assert (pace.take(), len(calls)) == (False, 1)


@pytest.mark.parametrize(("wall", "monotonic", "age"), [(5, 5, 5), (60, 5, 60), (-60, 5, 5), (5, 60, 60)])
def test_age_is_what_the_clock_says_that_has_gone_further(
    monkeypatch: pytest.MonkeyPatch, wall: float, monotonic: float, age: float
) -> None:
    """The monotonic clock stops while the device sleeps, and the wall clock may be set back."""
    now = {"wall": 1e9, "monotonic": 1e3}
    clock = SimpleNamespace(time=lambda: now["wall"], monotonic=lambda: now["monotonic"])
    monkeypatch.setattr(ages, "time", clock)
    one = Age()
    now["wall"] += wall
    now["monotonic"] += monotonic
    assert one.seconds == age
