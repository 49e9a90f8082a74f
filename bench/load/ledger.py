"""The ledger of a load: every acked message must be in the history, in Kafka, and once with every client. Pure.

Positions of a room count from 1 without holes, since the bench's rooms are new and nobody else writes to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

SHOWN: Final = 3  # examples of each kind of fault


class Acked(NamedTuple):
    """What an ack said of a message that its sender gave a number."""

    number: int
    seq: int
    message_id: str


class Received(NamedTuple):
    """A message as a room's witness got it."""

    number: int
    seq: int


class Stored(NamedTuple):
    """A message in the history or in Kafka."""

    message_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Room:
    """All that is known of a room."""

    acked: Sequence[Acked]
    received: Sequence[Received]  # in the order in which they came
    history: Sequence[Stored]
    produced: Sequence[Stored]  # Kafka's records in their order


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger found; no faults means that nothing was lost, doubled or out of order."""

    acked: int
    repeats_in_kafka: int
    faults: Sequence[str]


def audit(rooms: Mapping[str, Room], different: Sequence[str]) -> Books:
    """Hold all rooms against one another. `different` names the clients that got other than their room's witness."""
    faults = [f"{len(different)} clients got something else, such as: {different[0]}"] if different else []
    for name, room in rooms.items():
        faults += [f"{name}: {fault}" for fault in _faults(room)]
    repeats = sum(len(room.produced) - len({one.message_id for one in room.produced}) for room in rooms.values())
    return Books(sum(len(room.acked) for room in rooms.values()), repeats, faults)


def _faults(room: Room) -> list[str]:
    found = []
    seqs = [one.seq for one in room.received]
    if seqs != list(range(1, len(seqs) + 1)):
        found.append("what the clients got has holes, repeats or another order than the log")
    received = {one.number: one.seq for one in room.received}
    found += _missing(
        "not received where it was acked", [one for one in room.acked if received.get(one.number) != one.seq]
    )
    history, produced = set(room.history), set(room.produced)
    acked = [Stored(one.message_id, one.seq) for one in room.acked]
    found += _missing("acked and not in the history", [one for one in acked if one not in history])
    found += _missing("acked and not in Kafka", [one for one in acked if one not in produced])
    firsts = list(dict.fromkeys(room.produced))
    if [one.seq for one in firsts] != sorted(one.seq for one in firsts):
        found.append("the first occurrences in Kafka are out of order")
    return found


def _missing(what: str, missing: Sequence[object]) -> list[str]:
    return [f"{len(missing)} messages {what}, such as {[*missing[:SHOWN]]}"] if missing else []
