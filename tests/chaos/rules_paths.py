"""Rules on both paths that a message takes from its log: PubSub, and Kafka with Job's pushes. Pure.

On the asynchronous path a message may come more than once, but its first occurrences are complete and in order.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from tests.chaos.evidence import Evidence, Published
from tests.chaos.logs import Logs, time_of
from tests.chaos.order import slips
from tests.chaos.verdict import CALM, DOUBLED, LOST, REORDERED, WRONG, Violation
from tests.chaos.windows import Windows


class Came(NamedTuple):
    """A message as it came out somewhere."""

    room: str
    epoch: int
    seq: int
    id: str
    key: str | None  # None where it is not told
    at: float


def kafka(run: Evidence, logs: Logs) -> Iterator[Violation]:
    """Each message is in Kafka at least once, first occurrences in order, a room in one partition."""
    came = [Came(one.room, one.epoch, one.seq, one.id, one.key, one.at) for one in run.produced]
    yield from _at_least_once("kafka", came, logs)
    partitions: dict[str, int] = {}
    for one in run.produced:
        if partitions.setdefault(one.room, one.partition) != one.partition:
            text = f"in partition {one.partition}, the room's is {partitions[one.room]}"
            yield Violation("kafka", WRONG, one.room, one.seq, one.seq, text, one.at)


def calm_repeats(run: Evidence, _: Logs) -> Iterator[Violation]:
    """Nothing is produced twice while nothing fails: else somebody forwards who must not."""
    windows, seen = Windows(run.faults), set[tuple[str, str]]()
    for one in run.produced:
        if (one.room, one.id) in seen and windows.blame(one.at) == CALM:
            text = f"{one.key!r} produced again, at offset {one.offset} of {one.partition}, while nothing failed"
            yield Violation("calm_repeats", DOUBLED, one.room, one.seq, one.seq, text, one.at)
        seen.add((one.room, one.id))


def push(run: Evidence, logs: Logs) -> Iterator[Violation]:
    """Job pushed each message at least once to the tap, first occurrences in order, and each acked broadcast."""
    came = [Came(one.room, one.epoch, one.seq, one.id, None, one.at) for one in run.pushed]
    yield from _at_least_once("push", came, logs)
    for body in sorted(set(run.broadcast_acked) - set(run.broadcast_pushed)):
        yield Violation("push", LOST, "", 0, 0, f"the broadcast {body!r} was acked and never pushed", 0.0)


def _at_least_once(rule: str, came: Iterable[Came], logs: Logs) -> Iterator[Violation]:
    missing, last = dict(logs.due), dict[str, tuple[int, int]]()
    for one in came:
        place = logs.due.get((one.room, one.id))
        if place is None or place[:2] != (one.epoch, one.seq) or one.key not in (None, place.key):
            text = f"came as {one[1:5]} and stands as {place} in the log"
            yield Violation(rule, WRONG, one.room, one.seq, one.seq, text, one.at)
        if missing.pop((one.room, one.id), None) is None:
            continue
        if (one.epoch, one.seq) < last.get(one.room, (0, 0)):
            text = f"came first behind {last[one.room]} already"
            yield Violation(rule, REORDERED, one.room, one.seq, one.seq, text, one.at)
        last[one.room] = max((one.epoch, one.seq), last.get(one.room, (0, 0)))
    for (room, message_id), place in missing.items():
        text = f"{place.key!r} ({message_id}) never came"
        yield Violation(rule, LOST, room, place.seq, place.seq, text, time_of(message_id))


def pubsub(run: Evidence, logs: Logs) -> Iterator[Violation]:
    """Between two losses of the tap's connection each room's messages come once, in order, without holes.

    The first connection saw the beginning of every room, the last one the end of those that it saw anything of.
    """
    by_stretch = attrgetter("segment", "room")
    last = max((one.segment for one in run.published), default=0)
    for (segment, room), found in groupby(sorted(run.published, key=by_stretch), by_stretch):  # sorted() is stable
        stretch = list(found)
        tail = logs.tails.get(room) if segment == last else None
        for slip in slips([one.seq for one in stretch], 1 if segment == 0 else None, tail):
            at = time_of(stretch[min(slip.nth, len(stretch) - 1)].id)
            text = f"{slip.effect} in connection {segment} of the tap"
            yield Violation("pubsub", slip.effect, room, slip.seq, slip.until, text, at)
        yield from _strange(stretch, logs)


def _strange(stretch: list[Published], logs: Logs) -> Iterator[Violation]:
    for one in stretch:
        place = logs.due.get((one.room, one.id))
        if place is None or place[:2] != (one.epoch, one.seq):
            text = f"published as {one[2:]} and stands as {place} in the log"
            yield Violation("pubsub", WRONG, one.room, one.seq, one.seq, text, time_of(one.id))
