"""Hop 7 of 9: the consumer, what is fetched, decoded and committed; from job/kafka.py, to job/dispatcher.py.

Owns what is fetched and decoded. A record's offset is committed only when the record and all before it in its partition
are finished: pushed, given up, or parked as a dead letter. So nothing is lost when Job dies, and what was not committed
comes again, which Comet notices.

When full (job/progress.py): that partition is not fetched from, the others are. When Kafka is away: aiokafka connects
again by itself, and where it can't go on, the consumer joins anew with a backoff. When partitions are taken away:
nothing is fetched, what is in flight gets a moment to finish, what finished is committed. When the process was stopped
for so long that the group has thrown it out: it commits nothing, as another may be ahead of it, and joins anew. (A
broker should refuse such a commit, but not every one does.)
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Final, Protocol

from common import logs
from common.backoff import Backoff
from common.errors import BadRequest, Unavailable, reason_of
from common.health import Health
from job.config import JobSettings
from job.dead_letter import DeadLetters
from job.dispatcher import Dispatcher
from job.lag import Lag, LagSource
from job.partitions import Partitions
from job.record import KafkaRecord, PendingRecord

CLIENT: Final = "job-"  # begins the name of every member of every Job
AT_ONCE: Final = 500  # records dispatched together: some 10 ms of work between two looks at other tasks
COMMIT_S: Final = 0.2
BEAT_S: Final = 0.2
# A fetch costs Job and Kafka 0.6 ms together, however little it brings: the more records come, the longer is the pause.
PAUSE_PER_RECORD_S: Final = 0.001
LONGEST_PAUSE_S: Final = 0.008
FETCH_MS: Final = 1000
FULL_FETCH_MS: Final = 50  # while another partition may get room again at any moment
# The group waits for a member that lets go for as long as for one that is silent.
REVOKED_SHARE: Final = 0.4
THROWN_OUT: Final = "stopped for longer than the group waits for a member"

log = logs.get()


class GroupMember(LagSource, Protocol):
    """A member of the group, see job/kafka.py. Partitions are named by their numbers."""

    async def fetch(
        self, partitions: Collection[int], timeout_ms: int, most: int
    ) -> Mapping[int, Sequence[KafkaRecord]]:
        """Return up to `most` records of these partitions (none named: of all) by partition. Raises Unavailable."""

    def paused(self, partitions: Collection[int]) -> AbstractContextManager[None]:
        """Keep records of these partitions from being fetched ahead while inside."""

    async def commit(self, offsets: dict[int, int]) -> None:
        """Commit the next offset to read of each partition. Raises Unavailable."""


# Takes the member's name and a function that is awaited before partitions are given back. Raises Unavailable.
JoinGroup = Callable[[str, Callable[[], Awaitable[None]]], AbstractAsyncContextManager[GroupMember]]


class Consumer:
    """A member of the group, again and again until it is stopped."""

    def __init__(  # noqa: PLR0913, PLR0917 - its neighbors on the record's path
        self,
        index: int,
        settings: JobSettings,
        join: JoinGroup,
        dispatcher: Dispatcher,
        dead_letters: DeadLetters,
        health: Health,
    ) -> None:
        self._index = index
        self._settings = settings
        self._join_group = join
        self._dispatcher = dispatcher
        self._dead_letters = dead_letters
        self._health = health
        self._name = f"consumer_{index}"
        self._partitions = Partitions(dispatcher.relieve)
        self._member: GroupMember | None = None  # while it is one
        self._taking = False  # between having fetched records and having given them to the dispatcher
        self._stopping = asyncio.Event()
        self._stop_by = 0.0  # monotonic
        # The group's patience, less what it may have waited already since it heard of us.
        self._break_s = (settings.kafka_session_timeout_ms - settings.kafka_heartbeat_interval_ms) / 1000
        self._beat_at = 0.0  # monotonic, when the loop was last seen to run
        self._thrown_out = False  # since it joined the loop stood still for longer than _break_s

    def assigned(self) -> set[int]:
        """Return the partitions that the group gave this consumer, none while it is no member."""
        return set() if self._member is None else self._member.assigned()

    def stop(self, by: float) -> None:
        """Ask to finish what is in flight, by `by` (monotonic) at the latest, then to commit and leave."""
        self._stop_by = by
        self._stopping.set()

    async def run(self) -> None:
        """Be a member until stopped."""
        self._health.bad(self._name, "joining the group")
        self._beat_at = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(self._beat())
            membership = tasks.create_task(self._join())
            await self._stopping.wait()
            if self._member is None:  # not a member: nothing is in flight
                membership.cancel()
            await asyncio.wait({membership})
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._thrown_out = self._thrown_out or self._stood_still()
            self._beat_at = time.monotonic()

    def _stood_still(self) -> bool:
        return time.monotonic() - self._beat_at > self._break_s

    async def _join(self) -> None:
        backoff = Backoff(0.2, 5.0)
        while not self._stopping.is_set():
            self._thrown_out = False
            try:
                async with self._join_group(f"{CLIENT}{self._index}", self._let_go) as self._member:
                    backoff.reset()
                    await self._serve(self._member)
            except* Unavailable as group:
                why = reason_of(group)
                log.warning("Kafka failed a consumer, which joins anew", consumer=self._index, why=why)
                self._health.bad(self._name, why)
            self._member = None
            if not self._stopping.is_set():
                await backoff.wait()

    async def _serve(self, member: GroupMember) -> None:
        """Fetch and commit until stopped; then finish."""
        self._partitions.forget()
        async with asyncio.TaskGroup() as tasks:
            committing = tasks.create_task(self._commit_forever(member))
            fetching = tasks.create_task(self._fetch_forever(member))
            await self._stopping.wait()
            if not self._taking:
                fetching.cancel()
            await asyncio.wait({fetching})
            committing.cancel()
        await self._partitions.let_go(self._commit, self._stop_by)

    async def _let_go(self) -> None:
        """Give all partitions back: the group is about to share them out anew."""
        if self._member is not None:
            moment_s = self._settings.kafka_session_timeout_ms / 1000 * REVOKED_SHARE
            await self._partitions.let_go(self._commit, time.monotonic() + moment_s)

    async def _commit(self, offsets: dict[int, int]) -> None:
        """Commit as a member. Raises Unavailable, also for a member that was thrown out."""
        if self._member is None or self._thrown_out or self._stood_still():
            raise Unavailable(THROWN_OUT)
        await self._member.commit(offsets)

    async def _commit_forever(self, member: GroupMember) -> None:
        lag = Lag(member, self._partitions, self._health, self._name, self._settings)
        try:
            while True:
                lag.observe()
                await asyncio.sleep(COMMIT_S)
                if self._thrown_out:
                    raise Unavailable(THROWN_OUT)
                await self._partitions.commit(self._commit)
        finally:
            lag.close()

    async def _fetch_forever(self, member: GroupMember) -> None:
        while not self._stopping.is_set():
            batches = await self._fetch(member)
            if batches:
                with member.paused(batches.keys()):
                    self._taking = True
                    taken = self._take(batches)
                    await self._dispatcher.dispatch(taken)
                    self._taking = False
                    if len(taken) < AT_ONCE:  # else there is a backlog, which waits for nothing
                        await asyncio.sleep(_pause_s(len(taken)))

    async def _fetch(self, member: GroupMember) -> Mapping[int, Sequence[KafkaRecord]]:
        full = self._partitions.full()
        open_ones = member.assigned() - full if full else ()
        if full and not open_ones:
            await self._partitions.move(FULL_FETCH_MS / 1000)
            return {}
        return await member.fetch(open_ones, FULL_FETCH_MS if full else FETCH_MS, AT_ONCE)

    def _take(self, batches: Mapping[int, Sequence[KafkaRecord]]) -> list[PendingRecord]:
        """Decode what came and account for it; what can't be read becomes a dead letter."""
        taken: list[PendingRecord] = []
        for partition, sources in batches.items():
            progress = self._partitions[partition]
            for source in sources:
                record = progress.add(source.offset, source.timestamp, len(source.value or b""))
                try:
                    body = record.decode(source)
                except BadRequest as e:
                    self._dead_letters.put(record, source, e.message)
                else:
                    self._show(record, body)
                    taken.append(record)
        return taken

    def _show(self, record: PendingRecord, body: str) -> None:
        log.info(
            "[Consumer %d] Received PushMsg: Type: %d, Operation: %d, roomId: %s, msg: %.1000s",
            self._index,
            record.type,
            record.operation,
            record.room,
            body,
        )


def _pause_s(records: int) -> float:
    """Return how long to wait before the next fetch.

    It ends on the beat, the same for all consumers: what they fetch together goes to a node in one call.
    """
    beat_s = min(LONGEST_PAUSE_S, PAUSE_PER_RECORD_S * max(1, records))
    return beat_s - time.monotonic() % beat_s
