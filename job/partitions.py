"""The partitions that one consumer has: their records in flight, and the commits of what is finished.

Commits are off the path of the records: a few a second, and one whenever partitions are let go of. One that fails is
made good by the next; offsets only ever name what is finished, so a commit that never comes repeats records and loses
none.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from common import logs
from common.errors import Unavailable, reason_of
from job import metrics
from job.progress import Progress

COMMIT_TIMEOUT_S: Final = 2.0
# Who lets go waits no longer than this for the next record to finish: while it waits nothing is fetched, perhaps by the
# whole group, and a node that fails must not hold that up. Less than a call to a node may take.
QUIET_S: Final = 1.0

Commit = Callable[[dict[int, int]], Awaitable[None]]  # takes the next offset by partition; raises Unavailable

log = logs.get()


class Partitions:
    """Progress by partition; a partition is here from its first record on until it is let go of."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        self._hurry = hurry  # called while a partition is full
        self._progress: dict[int, Progress] = {}
        self._full: set[int] = set()  # those that had no room at the last look
        self._moved = asyncio.Event()  # a record finished
        self._committing = asyncio.Lock()  # so that an older commit never overtakes a newer
        self._letting_go = asyncio.Lock()
        self._let_go_by = math.inf  # monotonic

    def __getitem__(self, partition: int) -> Progress:
        progress = self._progress.get(partition)
        if progress is None:
            progress = self._progress[partition] = Progress(self._moved.set)
        return progress

    def position(self, partition: int) -> int | None:
        """Return the offset up to which the partition is finished; None if no record came yet."""
        progress = self._progress.get(partition)
        return None if progress is None else progress.advance()

    def full(self) -> set[int]:
        """Return the partitions that may not be fetched from now."""
        full = {partition for partition, progress in self._progress.items() if progress.full}
        if full:
            self._hurry()
        metrics.FULL.inc(len(full - self._full))
        self._full = full
        return full

    def forget(self) -> None:
        """Begin anew: whatever is in flight will come again."""
        self._progress = {}

    async def commit(self, commit: Commit) -> None:
        """Commit what finished since the last time."""
        await self._commit(commit, self._progress)

    async def let_go(self, commit: Commit, by: float) -> None:
        """Wait until all is finished, until nothing finishes any more or until `by` (monotonic); commit and forget.

        What is not finished then is not given up: it comes again, to whoever has the partition next. A Job that stops
        lets go, and so do those whose group one of its consumers left: the second waits for the first, as a member that
        joined anew meanwhile could not commit any more. The earlier `by` holds for both.
        """
        self._let_go_by = min(self._let_go_by, by)
        self._moved.set()
        async with self._letting_go:
            try:
                progress, self._progress = self._progress, {}
                await self._finish(progress)
                await self._commit(commit, progress)
            finally:
                self._let_go_by = math.inf

    async def move(self, at_most_s: float) -> None:
        """Wait until a record finishes, or for so long."""
        self._moved.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._moved.wait()

    async def _finish(self, progress: dict[int, Progress]) -> None:
        finished_at, before = time.monotonic(), -1
        while unfinished := sum(one.unfinished for one in progress.values()):
            now = time.monotonic()
            if unfinished != before:
                finished_at, before = now, unfinished
            left_s = min(self._let_go_by, finished_at + QUIET_S) - now
            if left_s <= 0:
                metrics.UNFINISHED.inc(unfinished)
                log.warning("Records let go of unfinished; they will come again", records=unfinished)
                return
            await self.move(left_s)

    async def _commit(self, commit: Commit, progress: dict[int, Progress]) -> None:
        async with self._committing:
            ready = {n: one for n, one in progress.items() if one.advance() != one.committed}
            offsets = {n: one.position for n, one in ready.items()}
            if not offsets:
                return
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    await commit(offsets)
            except (Unavailable, TimeoutError) as e:
                metrics.NOT_COMMITTED.inc()
                log.warning("Offsets not committed", why=reason_of(e))
                return
            metrics.COMMITTED.inc()
            for n, offset in offsets.items():
                ready[n].committed = offset
