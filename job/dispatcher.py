"""Hop 8 of 9: the dispatcher, who gets a record; from job/consumer.py, to the nodes' pushers (job/pusher.py).

A ROOM goes to the nodes that serve the room, a PUSH to those where its users are, a BROADCAST to all, each only to
`server` if it names one. A record that is for nobody online is finished, and counted as offline.

When it can't be known where they are (Redis is away, or no node is registered): to all nodes that are known, as each
knows best whom it has.
"""

from job.fleet import Fleet
from job.locator import Found, Locator
from job.pusher import Pusher
from job.record import PUSH, ROOM, PendingRecord


class Dispatcher:
    """Routes records."""

    def __init__(self, locator: Locator, fleet: Fleet) -> None:
        self._locator = locator
        self._fleet = fleet

    async def dispatch(self, records: list[PendingRecord]) -> None:
        """Give each record to the pushers of those that it is for, in order; all are settled later."""
        where = await self._locator.find(records)
        for record in records:
            if record.type == ROOM:
                pushers = self._for_room(record, where)
                record.give_to(len(pushers))
                for pusher in pushers:
                    pusher.push_room(record)
            else:
                singles = self._for_users(record, where) if record.type == PUSH else self._for_all(record)
                record.give_to(len(singles))
                for pusher, keys in singles.items():
                    pusher.push_single(record, keys)

    def relieve(self) -> None:
        """Hear that a partition is full: nodes that fail are given up sooner."""
        self._fleet.relieve()

    # -- who gets it -------------------------------------------------------------------------------------------------

    def _for_room(self, record: PendingRecord, where: Found | None) -> list[Pusher]:
        if where is None or record.server:
            return self._allowed(record)
        return where.rooms[record.room]

    def _for_users(self, record: PendingRecord, where: Found | None) -> dict[Pusher, list[str]]:
        if where is None or record.server:
            return dict.fromkeys(self._allowed(record), record.keys)
        found: dict[Pusher, list[str]] = {}
        for key in dict.fromkeys(record.keys):
            for pusher in where.users[key]:
                found.setdefault(pusher, []).append(key)
        return found

    def _for_all(self, record: PendingRecord) -> dict[Pusher, list[str]]:
        return {pusher: [] for pusher in self._allowed(record)}

    def _allowed(self, record: PendingRecord) -> list[Pusher]:
        """All nodes, or the one that the record names; but who is behind an address of comet_addrs, nobody knows."""
        if record.server and self._fleet.registered:
            named = self._fleet.get(record.server)
            return [] if named is None else [named]
        return self._fleet.everyone
