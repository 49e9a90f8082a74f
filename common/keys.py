"""Names of everything the product keeps in Redis. Pure.

All keys of a room carry their shard as hash tag, so that one script may touch them together.
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

SHARDS = "chat:shards"
NODES = "chat:nodes"


@dataclass(slots=True, frozen=True)
class RoomKeys:
    """The keys and the channel of one room."""

    stream: str
    meta: str
    nodes: str
    outbox: str
    channel: str


@lru_cache(maxsize=65_536)
def room_keys(shard: int, room: str) -> RoomKeys:
    """Return a room's keys."""
    base = f"chat:{{{shard}}}:room:{room}"
    return RoomKeys(f"{base}:stream", f"{base}:meta", f"{base}:nodes", outbox(shard), base)


def room_of_channel(channel: str) -> str:
    """Return the room whose channel this is."""
    return channel.split(":room:", 1)[1]


def ref(shard: int, room: str, user: str, client_ref: str) -> str:
    """Return the key that keeps the ack of a (room, user, ref); a digest, as all three are the client's words."""
    digest = hashlib.blake2b(f"{len(room)}:{len(user)}:{room}{user}{client_ref}".encode(), digest_size=16)
    return f"chat:{{{shard}}}:ref:{digest.hexdigest()}"


def push(push_id: str) -> str:
    """Return the key that keeps a digest of what a push or broadcast holds."""
    return f"chat:push:{push_id}"


@lru_cache(maxsize=1024)
def outbox(shard: int) -> str:
    """Return the key of a shard's outbox."""
    return f"chat:{{{shard}}}:outbox"


def shard_of_outbox(key: bytes) -> int:
    """Return the shard whose outbox has this key."""
    return int(key[key.index(b"{") + 1 : key.index(b"}")])


def outbox_dead(shard: int) -> str:
    """Return the key of the stream that keeps what Logic refused."""
    return f"chat:{{{shard}}}:outbox:dead"


def lease(shard: int) -> str:
    """Return the key that says which node forwards a shard's outbox."""
    return f"chat:{{{shard}}}:lease"


def node(incarnation: str) -> str:
    """Return the key whose life is the node's."""
    return f"chat:node:{incarnation}"


def index(incarnation: str) -> str:
    """Return the key of the set that names every hash with a field of the node."""
    return f"chat:index:{incarnation}"


def user(user_id: str) -> str:
    """Return the key that says where a user's sessions are."""
    return f"chat:user:{user_id}"
