"""The allowance of a session: what it tells a client, and which client it closes."""

from collections.abc import Callable

import pytest

from comet import allowance
from comet.allowance import Allowance
from common.errors import RateLimited
from tests.support.comet_settings import comet_settings

PATIENCE_S = 10.0


class Clock:
    """The monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """As time.monotonic."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that the test moves."""
    clock = Clock()
    monkeypatch.setattr(allowance, "time", clock)
    return clock


def allowance_of(rate: float = 100, burst: int = 200, patience_s: float = PATIENCE_S) -> Allowance:
    """Return a session's allowance."""
    return Allowance(
        comet_settings(rate_messages_per_second=rate, rate_burst_messages=burst, rate_patience_seconds=patience_s)
    )


def refused_ms(allowed: Allowance, messages: int = 1) -> int | None:
    """Take, and return what the refusal tells, or None if there is none."""
    try:
        allowed.take(messages)
    except RateLimited as fault:
        return fault.retry_after_ms
    return None


@pytest.mark.parametrize(
    ("rate", "messages", "wait_ms"), [(100, 1, 11), (100, 50, 501), (0.5, 2, 4001), (1e6, 1, 1), (100, 200, 2001)]
)
def test_refusal_tells_when_the_frame_is_accepted(clock: Clock, rate: float, messages: int, wait_ms: int) -> None:
    """A millisecond earlier than told it is refused, at the time told it is accepted."""
    allowed = allowance_of(rate)
    allowed.take(200)
    assert refused_ms(allowed, messages) == wait_ms
    clock.now += (wait_ms - 1.5) / 1000
    assert wait_ms == 1 or refused_ms(allowed, messages) is not None
    clock.now += 1.5 / 1000
    assert refused_ms(allowed, messages) is None


def test_frame_of_more_messages_than_a_burst_costs_the_whole_burst(clock: Clock) -> None:
    """So the time that its refusal tells is one at which it is dealt with: its own limit refuses it then."""
    allowed = allowance_of(rate=10, burst=5)
    allowed.take(1)
    assert refused_ms(allowed, 5000) == 101
    clock.now += 0.101
    assert refused_ms(allowed, 5000) is None
    assert refused_ms(allowed) == 100 + 1


def test_client_that_waits_after_each_refusal_is_never_overdrawn(clock: Clock) -> None:
    """One message at a time, for a minute; half the burst never refills."""
    allowed = allowance_of()
    allowed.take(200)
    until = clock.now + 6 * PATIENCE_S
    refused = accepted = 0
    while clock.now < until:
        wait_ms = refused_ms(allowed)
        clock.now += (wait_ms or 0) / 1000
        refused += wait_ms is not None
        accepted += wait_ms is None
    assert refused > 1000
    assert accepted > 5000
    assert not allowed.overdrawn


def test_client_that_paces_after_a_refusal_is_never_overdrawn(clock: Clock) -> None:
    """Also if a bunch of its frames was on the way each time, and at 95 % of the rate the burst hardly refills."""
    allowed = allowance_of()
    for _ in range(6):
        assert any(refused_ms(allowed) for _ in range(300))
        clock.now += 0.3
        assert any(refused_ms(allowed) for _ in range(100))  # was on the way when the refusal was read
        for _ in range(int(0.95 * 100 * PATIENCE_S)):
            clock.now += 1 / 95
            assert refused_ms(allowed) is None
    assert not allowed.overdrawn


@pytest.mark.parametrize("step_s", [0.001, 0.1, 0.9])
def test_client_that_ignores_refusals_is_overdrawn_after_the_patience(clock: Clock, step_s: float) -> None:
    """Whatever the time between its bunches of frames, and although some of them are accepted."""
    allowed = allowance_of(rate=20, burst=40)
    began_at = clock.now
    while not allowed.overdrawn:
        for _ in range(100):
            refused_ms(allowed)
        clock.now += step_s
        assert clock.now < began_at + 2 * PATIENCE_S
    assert clock.now > began_at + PATIENCE_S


def test_slow_rate_has_the_same_patience(clock: Clock) -> None:
    """The time that a refusal tells is longer than the patience: only a client that does not wait for it is closed."""
    obeying, ignoring = (allowance_of(rate=0.05, burst=1) for _ in range(2))

    def play(allowed: Allowance, wait: Callable[[int], float]) -> None:
        until = clock.now + 10 * PATIENCE_S
        while clock.now < until and not allowed.overdrawn:
            if (told_ms := refused_ms(allowed)) is not None:
                clock.now += wait(told_ms)

    play(obeying, lambda told_ms: told_ms / 1000)
    play(ignoring, lambda _: 2.0)
    assert (obeying.overdrawn, ignoring.overdrawn) == (False, True)


def test_pause_of_a_second_ends_the_count(clock: Clock) -> None:
    """Whoever pauses now and then is slowed down only."""
    allowed = allowance_of(patience_s=1)
    for _ in range(10):
        for _ in range(8):
            for _ in range(300):
                refused_ms(allowed)
            clock.now += 0.1
        clock.now += allowance.CALM_S + 0.01
    assert not allowed.overdrawn
