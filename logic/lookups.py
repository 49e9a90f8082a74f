"""What Logic tells about rooms and who is online: read from Redis for logic/api.py, never cached.

Raises Unavailable from every question while Redis is away or refuses it.
"""

import orjson

from common.registry import Registry, RoomPresence
from common.store import Store
from logic import replies
from logic.redis_watch import ask

# SCAN tells of few rooms at a time among other keys. So many questions a page at most, so that none blocks for long.
SCANS = 50
SCAN_KEYS = 500


class Lookups:
    """Questions to the store and the registry."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    async def rooms(self, cursor: int, limit: int) -> replies.Rooms:
        """Return `limit` rooms, or some more, from the cursor on."""
        found: dict[str, None] = {}  # SCAN may name a room twice
        for _ in range(SCANS):
            cursor, names = await ask(self._registry.rooms(cursor, SCAN_KEYS))
            found.update(dict.fromkeys(names))
            if cursor == 0 or len(found) >= limit:
                break
        presences = await ask(self._registry.presence(list(found))) if found else []
        rooms = [
            replies.RoomSummary(id=room, online_count=who.online) for room, who in zip(found, presences, strict=True)
        ]
        return replies.Rooms(rooms=rooms, cursor=str(cursor))

    async def history(self, room: str, before: str | None, limit: int) -> bytes:
        """Return a page of a room's history as JSON (replies.History), its messages as the log has them."""
        page, more = await ask(self._store.history(room, before, limit))
        return b'{"roomId":%b,"epoch":%d,"messages":[%b],"hasMoreMessages":%b}' % (
            orjson.dumps(room),
            page.log.epoch,
            page.messages,
            b"true" if more else b"false",
        )

    async def room_online(self, room: str) -> replies.RoomOnline:
        """Return who is in a room."""
        who: RoomPresence
        (who,) = await ask(self._registry.presence([room]))
        users = [replies.Person(id=user, username=name) for user, name in who.users]
        return replies.RoomOnline(room_id=room, online_count=who.online, users=users)

    async def online(self) -> replies.Online:
        """Return the living nodes."""
        found = await ask(self._registry.nodes())
        nodes = [
            replies.NodeSummary(
                incarnation=one.incarnation, grpc=one.grpc, connections=one.connections, rooms=one.rooms
            )
            for one in found.values()
        ]
        return replies.Online(online_count=sum(node.connections for node in nodes), nodes=nodes)
