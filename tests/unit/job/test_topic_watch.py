"""The topic's watch: partitions that nobody reads are warned of and counted, and one Job alone shows their lag."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import pytest
from prometheus_client import REGISTRY

from common.errors import Unavailable
from common.health import Health
from job import lag
from job.config import JobSettings
from job.topic_watch import TopicWatch
from tests.support.eventually import eventually


class FakeGroup:
    """A topic and who reads it."""

    def __init__(self, partitions: int) -> None:
        self.all = set(range(partitions))
        self.assigned: set[int] | None = set(self.all)  # over all Jobs
        self.strangers: dict[int, str] = {}
        self.own = set(self.all)  # to this Job
        self.asked: list[set[int]] = []
        self.away = False
        self.connections = self.looks = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["FakeGroup"]:
        """Connect."""
        self.connections += 1
        if self.away:
            raise Unavailable("Kafka is away")
        yield self

    async def partitions(self) -> set[int]:
        """Those of the topic."""
        self.looks += 1
        if self.away:
            raise Unavailable("Kafka is away")
        return self.all

    async def readers(self) -> dict[int, str] | None:
        """Those that a member has."""
        return None if self.assigned is None else dict.fromkeys(self.assigned, "job-0") | self.strangers

    async def lag(self, partitions: Collection[int]) -> dict[int, int]:
        """A hundred and the partition's number."""
        self.asked.append(set(partitions))
        return {one: 100 + one for one in partitions}


@asynccontextmanager
async def watching(group: FakeGroup, health: Health, **environ: str) -> AsyncIterator[None]:
    """Look all the time, while inside, and hide everything afterwards."""
    settings = JobSettings.load([], {"JOB_TOPIC_LOOK_SECONDS": "0.1", "JOB_PARTITIONS": "0", **environ})
    watch = TopicWatch(settings, group.connect, lambda: group.own, health)
    running = asyncio.create_task(watch.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})
        lag.hide(watch)


async def two_looks(group: FakeGroup) -> None:
    """Wait until a whole look has passed."""
    seen = group.looks
    await eventually(lambda: group.looks >= seen + 2)


def shown(partition: int) -> float | None:
    """The partition's lag as /metrics has it."""
    return REGISTRY.get_sample_value("job_kafka_lag", {"partition": str(partition)})


def unread() -> float | None:
    """How many partitions nobody reads."""
    return REGISTRY.get_sample_value("job_kafka_partitions_unread")


async def test_a_partition_without_a_consumer_is_a_warning_with_a_lag_until_somebody_reads_it() -> None:
    """Job stays ready; its consumers' own partitions are left to them."""
    group, health = FakeGroup(4), Health()
    group.assigned = {0, 1}
    lag.show(0, 5, group)
    lag.show(1, 6, group)
    group.own = {0, 1}
    async with watching(group, health):
        await two_looks(group)
        assert health.report() == {
            "status": "degraded",
            "reasons": {},
            "warnings": {"kafka_unread": "no consumer reads my-topic, partitions: 2, 3"},
        }
        assert (unread(), [shown(one) for one in range(4)]) == (2, [5, 6, 102, 103])
        group.assigned = {0, 1, 2, 3}
        await two_looks(group)
        assert health.report()["status"] == "ok"
        assert (unread(), [shown(one) for one in range(4)]) == (0, [5, 6, None, None])
    lag.hide(group)


@pytest.mark.parametrize(("own", "shows"), [({0}, True), ({1}, False), (set[int](), False)])
async def test_of_several_jobs_one_shows_what_nobody_reads(own: set[int], shows: bool) -> None:
    """The one with the lowest partition that is read: a sum over all Jobs counts no partition twice."""
    group, health = FakeGroup(3), Health()
    group.assigned, group.own = {0, 1}, own
    for partition in own:
        lag.show(partition, 0, group)
    async with watching(group, health):
        await two_looks(group)
        assert shown(2) == (102 if shows else None)
        assert health.warnings, "every Job warns"
    lag.hide(group)


@pytest.mark.parametrize("stranger", [{}, {0: "another program"}])
async def test_where_no_job_reads_anything_all_that_nobody_reads_is_shown(stranger: dict[int, str]) -> None:
    """No Job can be chosen then, and an operator must see it."""
    group, health = FakeGroup(3), Health()
    group.assigned = group.own = set()
    group.strangers = stranger
    async with watching(group, health):
        await two_looks(group)
        assert [shown(one) for one in range(3)] == [None if stranger else 100, 101, 102]


async def test_a_stranger_with_the_lowest_partition_does_not_hide_what_nobody_reads() -> None:
    """One of the Jobs shows it all the same."""
    group, health = FakeGroup(3), Health()
    group.assigned, group.own, group.strangers = {1}, {1}, {0: "another program"}
    lag.show(1, 0, group)
    async with watching(group, health):
        await two_looks(group)
        assert shown(2) == 102
    lag.hide(group)


async def test_an_own_partition_without_a_fetch_is_shown_too() -> None:
    """Such as one without a leader: its consumer has no end to compare with."""
    group, health = FakeGroup(2), Health()
    lag.show(0, 7, group)
    async with watching(group, health):
        await two_looks(group)
        assert [shown(one) for one in range(2)] == [7, 101]
        assert not health.warnings
    lag.hide(group)


async def test_while_kafka_does_not_say_who_reads_what_nothing_is_judged() -> None:
    """A group that rebalances, or the embedded broker; the last judgment stands."""
    group, health = FakeGroup(2), Health()
    group.assigned = None
    async with watching(group, health):
        await two_looks(group)
        assert (health.report()["status"], group.asked) == ("ok", [])


async def test_a_topic_that_outgrew_the_setting_is_a_warning() -> None:
    """All of it is served, but a Job that starts again would refuse."""
    group, health = FakeGroup(6), Health()
    group.own = set()
    async with watching(group, health, JOB_PARTITIONS="4"):
        await two_looks(group)
        assert "set it to 6 or 0" in health.warnings["kafka_partitions"]
        group.all = set(range(4))
        await two_looks(group)
        assert not health.warnings


async def test_after_an_outage_of_kafka_it_connects_anew() -> None:
    """And shows no stale lag meanwhile."""
    group, health = FakeGroup(2), Health()
    group.assigned, group.own = {0}, {0}
    lag.show(0, 0, group)
    async with watching(group, health):
        await two_looks(group)
        assert shown(1) == 101
        group.away = True
        await eventually(lambda: group.connections >= 3)
        assert shown(1) is None
        group.away = False
        await eventually(lambda: shown(1) == 101)
    lag.hide(group)
