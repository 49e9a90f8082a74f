"""What a room is made of, for unit tests: messages as Redis would give them, and members that remember."""

import json
from typing import Any

from comet import frames
from comet.room import Flush, Room
from common.envelope import Burst, User

BORN_MS = 1_635_724_800_000  # the id of the message at seq 0


def message_id(seq: int) -> str:
    """Return the id of a test's message."""
    return f"{BORN_MS + seq}-0"


def message(seq: int, size: int = 0, epoch: int = 1) -> bytes:
    """Return one message's JSON, its content told by its epoch and seq; `size` adds so many bytes."""
    user = {"id": "alice", "username": "Alice"}
    content = f"{epoch}:{seq} " + "x" * size
    fields = {"id": message_id(seq), "seq": seq, "timestamp": BORN_MS + seq, "content": content, "user": user}
    return json.dumps(fields, separators=(",", ":")).encode()


def burst(first_seq: int, count: int = 1, *, epoch: int = 1, size: int = 0) -> Burst:
    """Return consecutive messages."""
    messages = (message(seq, size, epoch) for seq in range(first_seq, first_seq + count))
    return Burst(epoch, first_seq, count, b",".join(messages))


def texts_of(data: bytes) -> list[str]:
    """Return the texts of a server's WebSocket frames that were joined."""
    texts = []
    while data:
        length, at = data[1], 2
        if length >= 126:
            at = 4 if length == 126 else 10
            length = int.from_bytes(data[2:at], "big")
        texts.append(data[at : at + length].decode())
        data = data[at + length :]
    return texts


def seqs_of(frames: list[dict[str, Any]]) -> list[int]:
    """Return the seqs of all messages in these frames, in the order in which a client sees them."""
    return [message["seq"] for frame in frames for message in frame["payload"].get("messages", ())]


class Recorder:
    """A member of rooms, and the part of a session that joining uses. It keeps all bytes written to it."""

    def __init__(self, user_id: str = "alice") -> None:
        self._user = User(user_id, user_id.title())
        self.writes: list[bytes] = []
        self.rooms: dict[str, Room] = {}
        self.ended = False

    @property
    def user(self) -> User:
        """Whose session it is."""
        return self._user

    def write(self, data: bytes, /) -> None:
        """Take frames."""
        self.writes.append(data)

    def send(self, text: bytes) -> None:
        """Take one text, as a session does."""
        self.writes.append(frames.websocket(text))

    async def drained(self) -> None:
        """As Session.drained, of a client that reads everything."""

    @property
    def texts(self) -> list[str]:
        """All texts so far."""
        return texts_of(b"".join(self.writes))

    @property
    def frames(self) -> list[dict[str, Any]]:
        """All JSON frames so far."""
        return [json.loads(text) for text in self.texts if text.startswith("{")]

    @property
    def seqs(self) -> list[int]:
        """The seqs of all messages so far."""
        return seqs_of(self.frames)


def write_out(room: Room) -> list[Flush]:
    """Flush all that waits, as comet/outbound.py does where nothing yields, and return the flushes."""
    flushes = []
    while room.waiting:
        flush = room.next_flush()
        flushes.append(flush)
        for member in flush.receivers.members:
            if 0 < room.members.get(member, 0) <= flush.serial:
                member.write(flush.data)
    return flushes
