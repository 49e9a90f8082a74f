"""What the clients of the pipeline's benches got and had acked, as the ledger needs it.

One client of each room, its witness, keeps all it got; of the others a checksum over all their messages says whether
they got the very same. Pure. Neighbours: `traffic.py` brings the frames, `ledger.py` judges.
"""

import zlib
from collections.abc import Sequence
from typing import Any, Final

import orjson

from bench.load import wire

REF_DIGITS: Final = 12
NUMBER_AT: Final = len(wire.MARK) + wire.DIGITS  # in a content


class Seen:
    """What one client got."""

    __slots__ = ("checksum", "messages", "room", "witness")

    def __init__(self, room: int) -> None:
        self.room = room
        self.checksum = 0
        self.messages = 0
        self.witness: list[bytes] | None = None  # all message frames' texts

    def take(self, frame: bytes) -> int:
        """Take a frame of messages; return how many."""
        self.checksum = zlib.crc32(frame, self.checksum)
        count = frame.count(wire.MARK)
        self.messages += count
        if self.witness is not None:
            self.witness.append(frame[frame.find(b"{") :])
        return count


def told(room: str, seen: Sequence[Seen], acks: Sequence[bytes]) -> dict[str, Any]:
    """Return what the ledger needs: by room, what was acked and what the witness got, and who got something else.

    Rooms are named <room>_<k>. An acked message is (its number, seq, id), a received one (its number, seq).
    """
    witnesses = {one.room: one for one in seen if one.witness is not None}
    rooms = {f"{room}_{k}": _received(one.witness or []) for k, one in witnesses.items()}
    different = [
        f"client {k} of {room}_{one.room} got {one.messages} messages, the witness {witness.messages}"
        for k, one in enumerate(seen)
        if (witness := witnesses[one.room]) and (one.messages, one.checksum) != (witness.messages, witness.checksum)
    ]
    acked: dict[str, list[tuple[int, int, str]]] = {name: [] for name in rooms}
    for ack in acks:
        payload = orjson.loads(ack)["payload"]
        acked[payload["roomId"]] += [(int(payload["ref"]), one["seq"], one["id"]) for one in payload["messages"]]
    return {"received": rooms, "acked": acked, "different": different}


def _received(frames: Sequence[bytes]) -> list[tuple[int, int]]:
    return [
        (int(one["content"][NUMBER_AT : NUMBER_AT + REF_DIGITS]), one["seq"])
        for frame in frames
        for one in orjson.loads(frame)["payload"]["messages"]
    ]
