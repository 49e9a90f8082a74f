"""Watches all of the topic's partitions: which ones no consumer of the group reads, and how far those lie behind.

A consumer shows the lag of the partitions that it has (job/lag.py). This shows the lag of the others, in one Job of
all: the one that has the lowest partition that a Job reads. So each partition is shown once, and a sum over all Jobs is
right. Where no Job reads anything, every Job shows what nobody reads.

Each Job warns in /readyz of partitions that nobody reads, and of a topic that outgrew the setting `partitions`.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

from common import logs
from common.errors import Unavailable
from common.health import Health
from job import lag, metrics
from job.config import JobSettings
from job.consumer import CLIENT

UNREAD: Final = "kafka_unread"
GROWN: Final = "kafka_partitions"

log = logs.get()


class Group(Protocol):
    """The topic and the group that reads it, see job/kafka_group.py. Every method raises Unavailable."""

    async def partitions(self) -> set[int]:
        """Return the topic's partitions, none if it does not exist."""

    async def readers(self) -> dict[int, str] | None:
        """Return the partitions that a member of the group has, each with its client id; None where that is unknown."""

    async def lag(self, partitions: Collection[int]) -> dict[int, int]:
        """Return how many records of each partition the group has not committed."""


class TopicWatch:
    """The look at all partitions, again and again."""

    def __init__(
        self,
        settings: JobSettings,
        connect: Callable[[], AbstractAsyncContextManager[Group]],
        assigned: Callable[[], set[int]],
        health: Health,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._assigned = assigned  # the partitions that this Job's consumers have
        self._health = health

    async def run(self) -> None:
        """Look every topic_look_seconds, forever. The consumers report a Kafka that is away."""
        while True:
            await asyncio.sleep(self._settings.topic_look_seconds)
            try:
                async with self._connect() as group:
                    while True:
                        await self._look(group)
                        await asyncio.sleep(self._settings.topic_look_seconds)
            except* Unavailable:
                lag.hide(self)

    async def _look(self, group: Group) -> None:
        partitions = await group.partitions()
        self._judge_count(len(partitions))
        readers = await group.readers()
        if readers is None:
            return
        unread = partitions - readers.keys()
        self._judge_unread(unread)
        asked = self._to_show(partitions, unread, readers)
        found = await group.lag(asked) if asked else {}
        lag.hide(self, keep=found)
        for partition, records in found.items():
            if lag.shown_by_consumer(partition, other_than=self):  # a consumer got it meanwhile
                continue
            lag.show(partition, records, self)

    def _to_show(self, partitions: set[int], unread: set[int], readers: Mapping[int, str]) -> set[int]:
        """Return the partitions whose lag is shown here: those without a consumer, or without a fetch so far."""
        own = self._assigned()
        of_jobs = [one for one, client in readers.items() if client.startswith(CLIENT)]
        if of_jobs and min(of_jobs) not in own:
            unread = set()
        return {one for one in unread | (own & partitions) if not lag.shown_by_consumer(one, other_than=self)}

    def _judge_unread(self, unread: set[int]) -> None:
        metrics.UNREAD.set(len(unread))
        named = ", ".join(map(str, sorted(unread)))
        self._warn(UNREAD, f"no consumer reads {self._settings.kafka_topic}, partitions: {named}" if unread else "")

    def _judge_count(self, found: int) -> None:
        expected = self._settings.partitions
        self._warn(
            GROWN,
            f"{self._settings.kafka_topic} has {found} partitions, but the setting partitions (JOB_PARTITIONS) is "
            f"{expected}: Job serves all of them, but will not start again before you set it to {found} or 0"
            if expected and found > expected
            else "",
        )

    def _warn(self, name: str, text: str) -> None:
        """Put a warning into /readyz, or take it back (''). Log what changed."""
        if text and self._health.warnings.get(name) != text:
            log.warning("The topic's partitions need attention", why=text)
        if text:
            self._health.warnings[name] = text
        else:
            self._health.warnings.pop(name, None)
