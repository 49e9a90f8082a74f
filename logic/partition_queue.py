"""Hop 6 of 9: the partition queue, a partition's order of records; from logic/producer.py, to logic/kafka.py.

One record batch is in flight; what arrives meanwhile is the next. Records enter Kafka in the order of the calls of
`submit`, and none overtakes one that failed: with a failed batch everything that waits behind it is failed too, and its
senders may try again. A batch that Kafka neither takes nor refuses in time is given up towards its senders, but not
forgotten: until it is settled the queue refuses everything, so that at most one batch a partition hangs.

When full (`produce_queue_bytes` over all queues): the producer refuses the newest with Overloaded before it comes here.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from common.errors import ChatError, TooLarge, Unavailable
from logic.metrics import PRODUCE_SECONDS
from logic.push_messages import ProducerRecord

RECORD_OVERHEAD_BYTES = 64  # what a record adds to its key and value, and some more


class Broker(Protocol):
    """What a partition queue needs of Kafka."""

    async def write(self, partition: int, records: Sequence[ProducerRecord]) -> asyncio.Future[object]:
        """Begin to write a record batch; the future is done when all replicas have it. Raises ChatError."""

    def fault_of(self, error: BaseException) -> ChatError:
        """Say why a batch was not written: TooLarge if it never will be."""


@dataclass(slots=True, frozen=True)
class ProduceResult:
    """How many records, from the first on, Kafka has; and why not the rest."""

    acknowledged: int
    fault: ChatError | None = None


@dataclass(slots=True)
class QueueLoad:
    """Bytes that wait in all partition queues."""

    waiting_bytes: int = 0


class _Chunk:
    """The records of one call: how many of them are in a batch, and in Kafka."""

    __slots__ = ("acknowledged", "asked_at", "future", "records", "size_bytes", "taken")

    def __init__(self, records: Sequence[ProducerRecord], future: asyncio.Future[ProduceResult]) -> None:
        self.records = records
        self.future = future
        self.size_bytes = sum(map(size_of, records))
        self.asked_at = time.monotonic()
        self.taken = self.acknowledged = 0


def size_of(record: ProducerRecord) -> int:
    """Return how much of a batch a record takes, in bytes."""
    return len(record.key) + len(record.value) + RECORD_OVERHEAD_BYTES


class PartitionQueue:
    """One partition."""

    def __init__(self, partition: int, broker: Broker, load: QueueLoad, *, batch_bytes: int, timeout_s: float) -> None:
        self.partition = partition
        self._broker = broker
        self._load = load
        self._batch_bytes = batch_bytes
        self._timeout_s = timeout_s
        self._queue: deque[_Chunk] = deque()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.stuck: Unavailable | None = None  # why nothing may enter now

    def submit(self, records: Sequence[ProducerRecord]) -> asyncio.Future[ProduceResult]:
        """Queue records behind all that were submitted before. The future never raises."""
        future: asyncio.Future[ProduceResult] = asyncio.get_running_loop().create_future()
        if self.stuck is not None:
            future.set_result(ProduceResult(0, self.stuck))
            return future
        chunk = _Chunk(records, future)
        self._load.waiting_bytes += chunk.size_bytes
        self._queue.append(chunk)
        self._idle.clear()
        self._arrived.set()
        return future

    async def drain(self) -> None:
        """Return once everything submitted has its outcome."""
        await self._idle.wait()

    async def run(self, linger_s: float = 0.0) -> None:
        """Write batches forever. `linger_s`: how long the first record waits for others to share its batch."""
        while True:
            await self._arrived.wait()
            if linger_s:
                await asyncio.sleep(linger_s)
            self._arrived.clear()
            while self._queue:
                if time.monotonic() - self._queue[0].asked_at > self._timeout_s:
                    # Not this one alone: what is behind it would overtake it.
                    self._fail([], Unavailable("Kafka is too slow; try again later"))
                else:
                    await self._write(*self._take())
            self._idle.set()

    def _take(self) -> tuple[list[ProducerRecord], list[tuple[_Chunk, int]]]:
        """Return the next batch, and how many of its records are whose."""
        records: list[ProducerRecord] = []
        shares: list[tuple[_Chunk, int]] = []
        room_bytes = self._batch_bytes
        for chunk in self._queue:
            before = len(records)
            for record in islice(chunk.records, chunk.taken, None):
                room_bytes -= size_of(record)
                if room_bytes < 0 and records:
                    break
                records.append(record)
            shares.append((chunk, len(records) - before))
            chunk.taken += len(records) - before
            if room_bytes < 0:
                break
        while self._queue and self._queue[0].taken == len(self._queue[0].records):
            self._queue.popleft()
        return records, shares

    async def _write(self, records: list[ProducerRecord], shares: list[tuple[_Chunk, int]]) -> None:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        try:
            async with asyncio.timeout_at(deadline):
                written = await self._broker.write(self.partition, records)
            await asyncio.wait([written], timeout=deadline - asyncio.get_running_loop().time())
            if not written.done():
                await self._outlast(written, shares)
                return
            written.result()
        except Exception as e:  # noqa: BLE001 - whatever went wrong, the senders must learn that it did
            self._fail(shares, self._fault_of(e, len(records)))
        else:
            self._acknowledge(shares)

    def _acknowledge(self, shares: list[tuple[_Chunk, int]]) -> None:
        now = time.monotonic()
        for chunk, count in shares:
            chunk.acknowledged += count
            if chunk.acknowledged == len(chunk.records):
                PRODUCE_SECONDS.observe(now - chunk.asked_at)
                self._settle(chunk, None)

    def _fault_of(self, error: BaseException, count: int) -> ChatError:
        fault = error if isinstance(error, ChatError) else self._broker.fault_of(error)
        if isinstance(fault, TooLarge) and count > 1:
            # The broker takes less at once than we were told. One of them alone may still fit.
            self._batch_bytes //= 2
            return Unavailable("Kafka takes no batch of this size; a smaller one follows")
        return fault

    def _fail(self, shares: list[tuple[_Chunk, int]], fault: ChatError) -> None:
        for chunk in dict.fromkeys([*(chunk for chunk, _ in shares), *self._queue]):
            self._settle(chunk, fault)
        self._queue.clear()

    def _settle(self, chunk: _Chunk, fault: ChatError | None) -> None:
        self._load.waiting_bytes -= chunk.size_bytes
        if not chunk.future.done():  # who asked may be gone
            chunk.future.set_result(ProduceResult(chunk.acknowledged, fault))

    async def _outlast(self, written: asyncio.Future[object], shares: list[tuple[_Chunk, int]]) -> None:
        """Give the batch up towards its senders and wait for what becomes of it, however long that takes."""
        self.stuck = Unavailable("Kafka does not acknowledge in time; try again later")
        self._fail(shares, self.stuck)
        self._idle.set()
        try:
            await asyncio.wait([written])
        finally:
            self.stuck = None
        if not written.cancelled() and (error := written.exception()) is not None:
            self._broker.fault_of(error)  # it may have to be mended
