"""Commits name only what is finished, come rarely, and are made good when they fail."""

import asyncio
import time

import pytest

from common.errors import Unavailable
from job import metrics
from job import partitions as module
from job.partitions import Partitions
from job.record import PUSHED


class Commits(list[dict[int, int]]):
    """What was committed, by partition; fails or hangs as told."""

    def __init__(self) -> None:
        super().__init__()
        self.faults = 0
        self.hangs = False

    async def __call__(self, offsets: dict[int, int]) -> None:
        """Commit."""
        if self.hangs:
            await asyncio.sleep(60)
        if self.faults:
            self.faults -= 1
            raise Unavailable("rebalanced")
        self.append(offsets)


@pytest.fixture
def commits() -> Commits:
    """None yet."""
    return Commits()


@pytest.fixture
def hurried() -> list[float]:
    """When it was asked to hurry."""
    return []


@pytest.fixture
def partitions(hurried: list[float]) -> Partitions:
    """None yet."""
    return Partitions(lambda: hurried.append(time.monotonic()))


async def test_only_what_is_finished_is_committed_and_only_once(partitions: Partitions, commits: Commits) -> None:
    """A partition without news is not named, no news is no commit."""
    first, second, other = partitions[0].add(5, 0, 1), partitions[0].add(6, 0, 1), partitions[3].add(9, 0, 1)
    await partitions.commit(commits)
    second.settle(PUSHED)
    other.settle(PUSHED)
    await partitions.commit(commits)
    await partitions.commit(commits)
    first.settle(PUSHED)
    await partitions.commit(commits)
    assert commits == [{3: 10}, {0: 7}]
    assert (partitions.position(0), partitions.position(3), partitions.position(1)) == (7, 10, None)


async def test_a_commit_that_fails_or_hangs_is_made_good_by_the_next(
    partitions: Partitions, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, and nothing ends."""
    monkeypatch.setattr(module, "COMMIT_TIMEOUT_S", 0.02)
    before = metrics.NOT_COMMITTED._value.get()  # noqa: SLF001 - prometheus has no public way to read a child
    partitions[0].add(0, 0, 1).settle(PUSHED)
    commits.faults = 1
    await partitions.commit(commits)
    commits.hangs = True
    await partitions.commit(commits)
    assert metrics.NOT_COMMITTED._value.get() == before + 2  # noqa: SLF001 - likewise
    commits.hangs = False
    partitions[0].add(1, 0, 1).settle(PUSHED)
    await partitions.commit(commits)
    assert commits == [{0: 2}]


async def test_letting_go_waits_for_what_is_in_flight_and_commits_it(
    partitions: Partitions, commits: Commits, hurried: list[float]
) -> None:
    """No node is given up for it; afterwards the partitions are not ours any more."""
    record = partitions[0].add(0, 0, 1)
    letting_go = asyncio.create_task(partitions.let_go(commits, time.monotonic() + 5))
    await asyncio.sleep(0.01)
    assert not letting_go.done()
    assert not hurried
    record.settle(PUSHED)
    await letting_go
    assert commits == [{0: 1}]
    assert partitions.position(0) is None


async def test_what_does_not_finish_in_time_is_left_to_the_next_owner(partitions: Partitions, commits: Commits) -> None:
    """What was finished before it is committed; when it finishes later, nothing is."""
    before = metrics.UNFINISHED._value.get()  # noqa: SLF001 - prometheus has no public way to read a counter
    done, stuck, behind = (partitions[0].add(offset, 0, 1) for offset in range(3))
    done.settle(PUSHED)
    behind.settle(PUSHED)
    await partitions.let_go(commits, time.monotonic() + 0.05)
    assert commits == [{0: 1}]
    assert metrics.UNFINISHED._value.get() == before + 1  # noqa: SLF001 - likewise
    stuck.settle(PUSHED)
    await partitions.commit(commits)
    assert commits == [{0: 1}]


async def test_letting_go_waits_as_long_as_records_finish_and_no_longer(
    partitions: Partitions, commits: Commits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that fails holds it up for a moment; what is for it comes again to the next owner."""
    monkeypatch.setattr(module, "QUIET_S", 0.2)
    records = [partitions[0].add(offset, 0, 1) for offset in range(6)]
    letting_go = asyncio.create_task(partitions.let_go(commits, time.monotonic() + 60))
    for record in records[:5]:
        await asyncio.sleep(0.1)
        assert not letting_go.done()
        record.settle(PUSHED)
    async with asyncio.timeout(5):
        await letting_go
    assert commits == [{0: 5}]
    records[5].settle(PUSHED)
    await partitions.commit(commits)
    assert commits == [{0: 5}]


async def test_who_lets_go_while_another_does_waits_for_the_commit(partitions: Partitions, commits: Commits) -> None:
    """A member whose group is shared out anew while it stops joins again only when its offsets are committed."""
    record = partitions[0].add(0, 0, 1)
    stopping = asyncio.create_task(partitions.let_go(commits, time.monotonic() + 5))
    await asyncio.sleep(0)
    revoked = asyncio.create_task(partitions.let_go(commits, time.monotonic() + 5))
    await asyncio.sleep(0.01)
    assert not revoked.done()
    record.settle(PUSHED)
    await revoked
    assert stopping.done()
    assert commits == [{0: 1}]


async def test_of_two_who_let_go_the_earlier_deadline_holds(partitions: Partitions, commits: Commits) -> None:
    """The group waits no longer for a member that stops than for any other; the next time has its own deadline."""
    partitions[0].add(0, 0, 1)
    stopping = asyncio.create_task(partitions.let_go(commits, time.monotonic() + 60))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await partitions.let_go(commits, time.monotonic() + 0.02)
        await stopping
    record = partitions[0].add(5, 0, 1)
    next_time = asyncio.create_task(partitions.let_go(commits, time.monotonic() + 5))
    await asyncio.sleep(0.01)
    assert not next_time.done()
    record.settle(PUSHED)
    await next_time
    assert commits == [{0: 6}]


async def test_an_older_commit_never_overtakes_a_newer(partitions: Partitions) -> None:
    """One is under way at a time."""
    order: list[int] = []
    first_may_end = asyncio.Event()

    async def commit(offsets: dict[int, int]) -> None:
        (offset,) = offsets.values()
        if offset == 1:
            await first_may_end.wait()
        order.append(offset)

    partitions[0].add(0, 0, 1).settle(PUSHED)
    slow = asyncio.create_task(partitions.commit(commit))
    await asyncio.sleep(0)
    partitions[0].add(1, 0, 1).settle(PUSHED)
    last = asyncio.create_task(partitions.let_go(commit, time.monotonic() + 1))
    await asyncio.sleep(0.01)
    first_may_end.set()
    await asyncio.gather(slow, last)
    assert order == [1, 2]
