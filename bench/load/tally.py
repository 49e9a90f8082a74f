"""The generator's notes of a load: counts, ages, and the receipts of each client for the ledger. Pure.

The first client of each room is its witness and keeps all frames of messages. A checksum over all frames tells whether
another client of the room received the very same. Neighbors: `generator.py` brings the frames, `ledger.py` judges.
"""

import re
import zlib
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import orjson

from bench.load import wire

STEPS: Final = 1000  # of the distributions that are reported
NUMBER_AT: Final = len(wire.MARK) + wire.DIGITS  # in a content
_CODE: Final = re.compile(rb'"code":"(\w+)"')


@dataclass(slots=True)
class ClientCounts:
    """ClientCounts since the clients connected."""

    sent: int = 0  # frames
    answered: int = 0  # frames, acked or refused
    acked: int = 0  # frames
    delivered: int = 0  # messages, to all clients together
    reads: int = 0  # reads with messages; fewer where the server joined frames, or the generator was late
    received_bytes: int = 0
    gone: int = 0  # clients whose connection the server closed

    def since(self, before: Self) -> dict[str, int]:
        """Return the counts since then."""
        return {name: count - getattr(before, name) for name, count in asdict(self).items()}


@dataclass(slots=True)
class Tally:
    """The ages of the messages of one load, its refusals, and an example of a flush."""

    burst: int = 1  # messages of a frame, which have all the same age
    measure_from_ns: int = 0  # messages sent before are not timed
    ages_ns: "array[int]" = field(default_factory=lambda: array("q"))  # send to receive
    late_ns: "array[int]" = field(default_factory=lambda: array("q"))  # due to send
    refused: Counter[str] = field(default_factory=Counter)  # by code
    flush: bytes = b""  # a frame of `burst` messages, as a client received it

    def time(self, frame: bytes | bytearray, found: int, now_ns: int) -> None:
        """Note the ages of the messages found in a frame. Of a burst, note only the age of its first message."""
        at = 0
        for _ in range(found if self.burst == 1 else 1):
            at = frame.find(wire.MARK, at) + NUMBER_AT
            at_ns = int(frame[at - wire.DIGITS : at])
            if at_ns >= self.measure_from_ns:
                self.ages_ns.append(now_ns - at_ns)
        if not self.flush and found == self.burst:
            self.flush = bytes(frame)

    def refuse(self, frame: bytes) -> None:
        """Note an error frame."""
        code = _CODE.search(frame)
        self.refused[code[1].decode() if code else "?"] += 1


class Receipts:
    """The messages that one client received."""

    __slots__ = ("checksum", "frames", "messages")

    def __init__(self, *, witness: bool) -> None:
        self.messages = 0
        self.checksum = 0
        self.frames: list[bytes] | None = [] if witness else None

    def take(self, frame: bytes | bytearray, found: int) -> None:
        """Note a frame and the number of its messages."""
        self.messages += found
        self.checksum = zlib.crc32(frame, self.checksum)
        if self.frames is not None:
            self.frames.append(bytes(frame))

    def same_as(self, other: Self) -> bool:
        """Return whether both clients received the same frames."""
        return (self.messages, self.checksum) == (other.messages, other.checksum)


def seen(rooms: Sequence[str], receipts: Sequence[Receipts], acks: Sequence[bytes]) -> dict[str, Any]:
    """Return the acked messages and the witness's messages by room, and the clients that received other frames.

    The k-th receipts are of room k modulo the rooms, so that those of the witnesses come first. An acked message is
    (its number, seq, id), a received one (its number, seq).
    """
    witnesses = receipts[: len(rooms)]
    different = [
        f"client {k} of {rooms[k % len(rooms)]} got {one.messages} messages, the witness {witness.messages}"
        for k, one in enumerate(receipts)
        if not one.same_as(witness := witnesses[k % len(rooms)])
    ]
    acked: dict[str, list[tuple[int, int, str]]] = {room: [] for room in rooms}
    for payload in map(_payload, acks):
        acked[payload["roomId"]] += [(int(payload["ref"]), one["seq"], one["id"]) for one in payload["messages"]]
    received = {room: _received(one.frames or []) for room, one in zip(rooms, witnesses, strict=True)}
    return {"received": received, "acked": acked, "different": different}


def _received(frames: Sequence[bytes]) -> list[tuple[int, int]]:
    messages = [one for payload in map(_payload, frames) for one in payload["messages"]]
    return [(int(one["content"][NUMBER_AT:][: wire.NUMBER_DIGITS]), one["seq"]) for one in messages]


def _payload(frame: bytes) -> Mapping[str, Any]:
    found: Mapping[str, Any] = orjson.loads(frame[frame.find(b"{") :])["payload"]
    return found


def quantiles_ms(values_ns: Sequence[int]) -> list[float]:
    """Return in ms the values that 0, 0.1, ... 100 % of all do not exceed; none where there are none."""
    ordered = sorted(values_ns)
    last = len(ordered) - 1
    return [ordered[k * last // STEPS] / 1e6 for k in range(STEPS + 1)] if ordered else []
