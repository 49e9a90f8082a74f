"""Rules on what is stored. A rule is a function that yields what breaks it; all are judged by checker.py. Pure."""

from collections.abc import Iterator
from itertools import pairwise

from tests.chaos.evidence import Acked, Evidence, Stored
from tests.chaos.logs import Logs, id_parts, time_of
from tests.chaos.order import slips
from tests.chaos.verdict import DOUBLED, LOST, REORDERED, WRONG, Violation

RULE = "history"


def history(run: Evidence, _: Logs) -> Iterator[Violation]:
    """Each acked message stands there once, where its ack said; seqs from 1 without holes, epochs and ids only rise."""
    for room, stored in run.stored.items():
        for slip in slips([one.seq for one in stored], first=1):
            at = time_of(stored[min(slip.nth, len(stored) - 1)].id)
            yield Violation(RULE, slip.effect, room, slip.seq, slip.until, f"{slip.effect} in the log", at)
        yield from _falling(room, stored)
    yield from _keys_twice(run)
    yield from _acks(run)


def _falling(room: str, stored: list[Stored]) -> Iterator[Violation]:
    for before, after in pairwise(stored):
        if after.epoch < before.epoch or id_parts(after.id) < id_parts(before.id):
            text = f"{after.id} of epoch {after.epoch} stands behind {before.id} of epoch {before.epoch}"
            yield Violation(RULE, REORDERED, room, after.seq, after.seq, text, time_of(after.id))


def _keys_twice(run: Evidence) -> Iterator[Violation]:
    places: dict[str, tuple[str, str]] = {}
    for room, stored in run.stored.items():
        for one in stored:
            if one.key in places:
                text = f"{one.key!r} was stored as {places[one.key]} already, and again as {(room, one.id)}"
                yield Violation(RULE, DOUBLED, room, one.seq, one.seq, text, time_of(one.id))
            places.setdefault(one.key, (room, one.id))


def _acks(run: Evidence) -> Iterator[Violation]:
    found = {one.key: (room, one) for room, stored in run.stored.items() for one in stored}
    acks: dict[str, Acked] = {}
    for ack in run.acked:
        if acks.setdefault(ack.key, ack)[:5] != ack[:5]:
            text = f"{ack.key!r} was acked as {acks[ack.key].id} already, and again as {ack.id}"
            yield Violation(RULE, DOUBLED, ack.room, ack.seq, ack.seq, text, ack.at)
        room, stored = found.get(ack.key, ("", None))
        if stored is None:
            text = f"{ack.key!r} was acked as {ack.id} and is not there"
            yield Violation(RULE, LOST, ack.room, ack.seq, ack.seq, text, ack.at)
        elif (room, stored.epoch, stored.seq, stored.id) != (ack.room, ack.epoch, ack.seq, ack.id):
            text = f"{ack.key!r} was acked as {ack[1:5]} and stands as {(room, *stored[:3])}"
            yield Violation(RULE, WRONG, ack.room, ack.seq, ack.seq, text, ack.at)
