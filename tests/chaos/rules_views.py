"""Rules on what clients saw, and on what nobody expected. Pure."""

from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.evidence import Evidence, Seen, View
from tests.chaos.logs import Logs, time_of
from tests.chaos.order import slips
from tests.chaos.verdict import REORDERED, TOLD, WRONG, Violation


def view(run: Evidence, logs: Logs) -> Iterator[Violation]:
    """Each client saw each message behind its join once, in order, as stored; a told hole alone excuses a gap."""
    for one in run.views:
        yield from _complete(one, logs)
        yield from _as_stored(one, logs)
        for before, after in pairwise(one.seen):
            if after.epoch < before.epoch:
                text = f"{one.client} saw epoch {after.epoch} behind {before.epoch}"
                yield Violation("view", REORDERED, one.room, after.seq, after.seq, text, after.at)


def _complete(one: View, logs: Logs) -> Iterator[Violation]:
    """Judge each stretch between told holes; what comes behind such a hole may begin anywhere."""
    tail = logs.tails.get(one.room, 0) if one.whole else None
    ends = [*sorted({told.before for told in one.told}), len(one.seen)]
    first: int | None = one.seq + 1
    begin = 0
    for end in ends:
        stretch = one.seen[begin:end]
        for slip in slips([seen.seq for seen in stretch], first, tail if end == len(one.seen) else None):
            at = stretch[slip.nth].at if slip.nth < len(stretch) else _appended(one.room, slip.seq, logs)
            text = f"{slip.effect} for {one.client}, which joined at {one.seq}"
            yield Violation("view", slip.effect, one.room, slip.seq, slip.until, text, at)
        first, begin = None, end


def _appended(room: str, seq: int, logs: Logs) -> float:
    stored = logs.stored.get((room, seq))
    return time_of(stored.id) if stored else 0.0


def _as_stored(one: View, logs: Logs) -> Iterator[Violation]:
    for seen in (*one.shown, *one.seen):
        if not _same(seen, one.room, logs):
            text = f"{one.client} saw {seen[:4]}, the log has {logs.stored.get((one.room, seen.seq))}"
            yield Violation("view", WRONG, one.room, seen.seq, seen.seq, text, seen.at)


def _same(seen: Seen, room: str, logs: Logs) -> bool:
    stored = logs.stored.get((room, seen.seq))
    return stored is not None and (stored.epoch, stored.id, stored.key) == (seen.epoch, seen.id, seen.key)


def told(run: Evidence, _: Logs) -> Iterator[Violation]:
    """Redis lost nothing, so nobody is told of a hole."""
    for one in run.views:
        for hole in one.told:
            seq = one.seen[hole.before].seq if hole.before < len(one.seen) else 0
            yield Violation("told", TOLD, one.room, seq, seq, f"{one.client} was told of a hole", hole.at)


def protocol(run: Evidence, _: Logs) -> Iterator[Violation]:
    """Nobody was sent a frame that the protocol forbids."""
    for one in run.protocol:
        yield Violation("protocol", WRONG, "", 0, 0, one.text, one.at)


def dead_letters(run: Evidence, _: Logs) -> Iterator[Violation]:
    """Nothing was refused for good."""
    if run.dead_letters:
        yield Violation("dead_letters", WRONG, "", 0, 0, f"{run.dead_letters} dead letters", 0.0)


def unexpected(run: Evidence, _: Logs) -> Iterator[Violation]:
    """Nothing happened that nobody asked for."""
    for text in run.unexpected:
        yield Violation("unexpected", WRONG, "", 0, 0, text, 0.0)
