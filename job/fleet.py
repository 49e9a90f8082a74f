"""Hop 8 of 9: the fleet, a pusher for each living node; for job/dispatcher.py and job/locator.py.

job/directory.py tells the fleet which nodes live.
A node that left gets nothing new, and GRACE_S for what it was given before: one that drains serves its sessions for a
while yet. Then it is abandoned, whatever still waits for it; a dead one holds up its records for no longer. While no
node is registered at all, the addresses of the setting comet_addrs stand in; their pushers stay, so that what they took
before the first node registered gets its time.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from common import logs
from common.registry import Node
from job import metrics
from job.pusher import NodeClient, Pusher

GRACE_S: Final = 1.0  # a call takes milliseconds, and a node that left may be a dead one

log = logs.get()


class Fleet:
    """The pushers, each with its task in the group given."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        connect: Callable[[str], NodeClient],  # takes host:port
        addresses: list[str],
        deadline_s: float,
    ) -> None:
        self._tasks = tasks
        self._connect = connect
        self._addresses = addresses
        self._deadline_s = deadline_s
        self._pushers: dict[str, tuple[Pusher, asyncio.Task[None]]] = {}  # by incarnation
        self._leaving: dict[str, asyncio.Task[None]] = {}  # by incarnation; they left within GRACE_S
        self._stand_ins: list[tuple[Pusher, asyncio.Task[None]]] = []
        self.everyone: list[Pusher] = []  # those of all living nodes, or else the stand-ins
        metrics.NODES.set_function(lambda: len(self._pushers))
        metrics.SUSPECTED.set_function(lambda: sum(pusher.suspected for pusher in self.everyone))
        metrics.WAITING.set_function(lambda: sum(pusher.waiting for pusher in self.everyone))

    @property
    def registered(self) -> bool:
        """Whether any node is registered."""
        return bool(self._pushers)

    def get(self, incarnation: str) -> Pusher | None:
        """Return the node's pusher, if it lives."""
        found = self._pushers.get(incarnation)
        return None if found is None else found[0]

    def adopt(self, nodes: Mapping[str, Node], *, keep_missing: bool = False) -> None:
        """Take note of who lives now; `keep_missing` if who is missing may live all the same."""
        for incarnation, node in nodes.items():
            if incarnation not in self._pushers:
                log.info("Node joined", node=incarnation, grpc=node.grpc)
                self._abandon(incarnation)  # it is back: two pushers at a time would mix up the order
                self._pushers[incarnation] = self._start(incarnation, node.grpc)
        if not keep_missing:
            for incarnation in self._pushers.keys() - nodes.keys():
                log.info("Node left", node=incarnation)
                self._leaving[incarnation] = self._pushers.pop(incarnation)[1]
                asyncio.get_running_loop().call_later(GRACE_S, self._abandon, incarnation)
        if not self._pushers and not self._stand_ins:
            self._stand_ins = [self._start(address, address) for address in self._addresses]
        self.everyone = [pusher for pusher, _ in self._pushers.values() or self._stand_ins]

    def relieve(self) -> None:
        """Hear that a partition is full: nodes that fail are given up sooner."""
        for pusher in self.everyone:
            pusher.relieve()

    def _abandon(self, incarnation: str) -> None:
        if (pushing := self._leaving.pop(incarnation, None)) is not None:
            pushing.cancel()

    def _start(self, name: str, address: str) -> tuple[Pusher, asyncio.Task[None]]:
        pusher = Pusher(name, self._connect(address), self._deadline_s)
        return pusher, self._tasks.create_task(pusher.run(), name=f"pusher {name}")
