"""How long clients that stayed connected waited for messages: for the table, and for the rule that bounds it. Pure.

A client that lost its connection, by its own doing or a fault's, waits for its own reconnect: that is no wait.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.chaos.evidence import Evidence, Struck, View
from tests.chaos.logs import Logs, time_of
from tests.chaos.verdict import WRONG, Violation
from tests.chaos.windows import Windows

# Faults that touch only what stands behind the gateway: PubSub goes on, so clients notice nothing.
BEHIND: Final = frozenset({
    "kill_logic", "freeze_logic", "kill_job", "freeze_job", "kill_kafka", "freeze_kafka", "cut_forward", "cut_kafka",
    "half_open_push",
})  # fmt: skip
PUBSUB: Final = frozenset({"cut_pubsub", "silent_pubsub"})
BEHIND_S: Final = 3.0  # there is no promise but "no slower": generous, for a busy machine
PUBSUB_S: Final = 6.0  # the promise is 3 s: twice that, for a busy machine


class Wait(NamedTuple):
    """From a message's append until a client that was in its room and connected all that time had it."""

    began: float
    ended: float
    client: str
    room: str
    seq: int

    @property
    def lasted_s(self) -> float:
        """How long, in seconds."""
        return self.ended - self.began


def waits(run: Evidence) -> Iterator[Wait]:
    """Yield the longest wait for each message that anybody waited for."""
    latest: dict[tuple[str, str], Wait] = {}
    appended: dict[str, float] = {}  # by id: parsed once, though many clients saw it
    for view in run.views:
        losses = [span.began for span in view.apart]
        for seen in view.seen:
            began = appended.get(seen.id)
            if began is None:
                began = appended[seen.id] = time_of(seen.id)
            before = latest.get((view.room, seen.id))
            if began < view.joined_at or (before is not None and before.ended >= seen.at):
                continue
            if not _apart(view, losses, began, seen.at):
                latest[view.room, seen.id] = Wait(began, seen.at, view.client, view.room, seen.seq)
    yield from latest.values()


def _apart(view: View, losses: list[float], began: float, ended: float) -> bool:
    """Whether the client was without a connection at some time between."""
    nth = bisect_left(losses, ended)
    if nth < len(losses) and losses[nth] == ended:
        nth += 1
    return nth > 0 and view.apart[nth - 1].ended >= began


def delay(run: Evidence, _: Logs) -> Iterator[Violation]:
    """Bound what connected clients wait for a message, in seconds, where the fault leaves the real-time path alone.

    3 s under faults that touch only what stands behind the gateway (Logic, Kafka, Job, the ways to them), 6 s where
    PubSub is hurt, of which the promise is 3 s. Both are generous, for a machine that is busy with the whole stack. A
    wait that began before its fault did is not the fault's alone, and is not judged.
    """
    windows = Windows(run.faults)
    for wait in waits(run):
        if wait.lasted_s <= BEHIND_S:
            continue
        fault = windows.of_wait(wait.began, wait.ended)
        most = _bound(fault) if fault is not None and fault.began <= wait.began else None
        if fault is not None and most is not None and wait.lasted_s > most:
            text = f"{wait.client} waited {wait.lasted_s:.1f} s under {fault.kind}, more than {most:g}"
            yield Violation("delay", WRONG, wait.room, wait.seq, wait.seq, text, wait.began)


def _bound(fault: Struck) -> float | None:
    return BEHIND_S if fault.kind in BEHIND else PUBSUB_S if fault.kind in PUBSUB else None
