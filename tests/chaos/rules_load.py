"""Rules on the run itself: one under too little load proves nothing. Pure."""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from tests.chaos.evidence import Evidence, Struck
from tests.chaos.logs import Logs
from tests.chaos.verdict import WRONG, Violation

JUDGED_S: Final = 2.0  # a shorter fault has too few messages and joins to count
LEAST_RATE: Final = 150.0  # offered a second: 200 are demanded, less what a busy machine delays; 250 is the default


def evidence(run: Evidence, _: Logs) -> Iterator[Violation]:
    """A run proves something if messages were acked, clients stayed to the end, and each fault fell under load.

    Load is LEAST_RATE messages offered a second on average, acked or not, and at least one join begun or pending.
    """
    if not run.acked:
        yield _lacking("no message was acked")
    if not any(view.whole for view in run.views):
        yield _lacking("no client stayed to the end")
    for fault, rate in offered_rates(run):
        if rate < LEAST_RATE:
            yield _lacking(f"only {rate:.0f} messages a second were offered under {_named(fault)}", fault.began)
    for fault in _judged(run):
        if not any(join.began <= fault.ended and join.ended >= fault.began for join in run.joining):
            yield _lacking(f"nobody joined a room under {_named(fault)}", fault.began)


def offered_rates(run: Evidence) -> list[tuple[Struck, float]]:
    """Return how many messages a second were offered on average under each fault that lasted JUDGED_S."""
    times = sorted(run.offered)
    return [
        (fault, (bisect_left(times, fault.ended) - bisect_left(times, fault.began)) / (fault.ended - fault.began))
        for fault in _judged(run)
    ]


def _judged(run: Evidence) -> list[Struck]:
    return [fault for fault in run.faults if fault.ended - fault.began >= JUDGED_S]


def _named(fault: Struck) -> str:
    return f"fault {fault.number}, {fault.kind}"


def _lacking(text: str, at: float = 0.0) -> Violation:
    return Violation("evidence", WRONG, "", 0, 0, text, at)
