"""Hop 6 of 9: the connection to Kafka; from logic/partition_queue.py, to Kafka.

It connects whenever Kafka is there, knows at any time whether it is, and begins to write record batches (acks=all,
idempotent where the setting says so). A producer that can't go on (its sequence numbers broke off, or it died) is
replaced by a fresh one, but only once it has settled all that it was given: nothing overtakes anything.
Besides kafka_look.py the only file of Logic that knows aiokafka.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.structs import TopicPartition

from common import kafka_client, logs
from common.backoff import Backoff
from common.errors import ChatError, Internal, TooLarge, Unavailable
from common.health import Health
from logic import kafka_look
from logic.config import LogicSettings
from logic.metrics import KAFKA_UP, PRODUCERS_REPLACED
from logic.push_messages import ProducerRecord

START_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 2.0
FLUSH_LOOK_S = 10.0
NAME = "kafka"

Producer = Any  # aiokafka's; it has no types

log = logs.get()
_partition = DefaultPartitioner()
kafka_client.mend()


@lru_cache(maxsize=65_536)
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: murmur2, as every Kafka client does it."""
    found: int = _partition(key, range(partitions), None)
    return found


class Kafka:
    """Kafka as Logic sees it: there or away, and where batches go."""

    def __init__(self, settings: LogicSettings, health: Health) -> None:
        self._settings = settings
        self._health = health
        self._producer: Producer = None  # while connected
        self._wake = asyncio.Event()  # look now: something failed
        self._broken = False  # the producer must be replaced
        self.partitions = 0
        self.fault: Unavailable | None = Unavailable("Kafka is away: not connected yet")  # why nothing can be written
        health.bad(NAME, "not connected yet")

    # -- for the partition queues --------------------------------------------------------------------------------------

    async def write(self, partition: int, records: Sequence[ProducerRecord]) -> asyncio.Future[object]:
        """Begin to write a record batch. Raises Unavailable; what the future raises is for `fault_of`."""
        producer, topic = self._producer, self._settings.kafka_topic
        if producer is None or self.fault is not None:
            raise self.fault or Unavailable("Kafka is away: not connected")
        if producer.client.cluster.leader_for_partition(TopicPartition(topic, partition)) in {None, -1}:
            self._wake.set()
            raise Unavailable(f"partition {partition} of the topic {topic} has no leader; try again later")
        batch = producer.create_batch()
        for record in records:
            if batch.append(timestamp=None, key=record.key, value=record.value) is None:
                raise Internal("a record batch was filled past its size")
        batch.close()  # closed: no linger of aiokafka's, the partition queue has its own
        written: asyncio.Future[object] = await producer.send_batch(batch, topic, partition=partition)
        return written

    def fault_of(self, error: BaseException) -> ChatError:
        """Say why a batch was not written, and see to it that the next has a chance."""
        self._wake.set()
        if not isinstance(error, KafkaError | OSError):
            log.error("Writing to Kafka failed", exc_info=error)
            return Internal("writing to Kafka failed")
        if isinstance(error, KafkaError) and (self._settings.kafka_idempotence or not error.retriable):
            # An idempotent producer that gave a batch up has a hole in its sequence numbers; Kafka never forgives it.
            self._broken = True
        self._set_fault(f"a write failed ({_reason(error)})")
        if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
            return TooLarge("the message is larger than the broker's message.max.bytes", field="messages")
        return Unavailable(f"Kafka did not take the message ({_reason(error)}); try again later")

    # -- the connection ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay connected, forever."""
        backoff = Backoff(first_s=0.1, cap_s=2.0)
        while True:
            producer = self._new_producer()
            try:
                if await self._connect(producer):
                    backoff.reset()
                    await self._watch(producer)
                    await self._settle(producer)
            finally:
                self._producer = None
                await _close(producer)
            await backoff.wait()

    def _new_producer(self) -> Producer:
        settings = self._settings
        return AIOKafkaProducer(
            bootstrap_servers=settings.kafka_brokers,
            client_id="logic",
            acks="all",
            enable_idempotence=settings.kafka_idempotence,
            max_batch_size=settings.produce_batch_bytes * 2,  # the partition queues fill batches and stay well below
            request_timeout_ms=int(settings.produce_timeout_seconds * 1000),
        )

    async def _connect(self, producer: Producer) -> bool:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await producer.start()
        except KafkaConnectionError:
            self._set_fault(f"no broker answers at {self._settings.kafka_brokers}")
            return False
        except (KafkaError, OSError) as e:
            self._set_fault(f"can't start a producer ({_reason(e)}){self._hint()}")
            return False
        self._producer, self._broken = producer, False
        return True

    def _hint(self) -> str:
        if not self._settings.kafka_idempotence:
            return ""
        return "; if this broker has no idempotent producers, set kafka_idempotence (CHAT_KAFKA_IDEMPOTENCE) to false"

    async def _watch(self, producer: Producer) -> None:
        """Look at Kafka again and again until the producer must be replaced."""
        while not self._broken:
            self._wake.clear()
            await self._look(producer)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.check_seconds):
                    await self._wake.wait()
                await asyncio.sleep(self._settings.check_seconds / 10)  # many failures at once need one look

    async def _look(self, producer: Producer) -> None:
        settings = self._settings
        try:
            found = await kafka_look.partitions(
                producer.client, settings.kafka_brokers, settings.kafka_topic, settings.check_timeout_seconds
            )
        except kafka_look.Away as e:
            self._set_fault(str(e))
        else:
            self._set_partitions(found)
            self._set_fault("")

    def _set_partitions(self, found: int) -> None:
        """Take the topic's number of partitions. Another number moves keys to other partitions."""
        if self.partitions and found != self.partitions:
            log.warning("The topic's partitions changed: rooms move to others", before=self.partitions, now=found)
        self.partitions = found

    async def _settle(self, producer: Producer) -> None:
        """Let the producer settle all that it has, so that its successor overtakes nothing."""
        self._producer = None
        self._set_fault("the producer is being replaced")
        PRODUCERS_REPLACED.inc()
        while True:
            try:
                async with asyncio.timeout(FLUSH_LOOK_S):
                    await producer.flush()
            except TimeoutError:
                log.warning("The Kafka producer to be replaced still has batches that Kafka does not take")
            else:
                return

    def _set_fault(self, reason: str) -> None:
        """Note why Kafka is away, or that it is there ('')."""
        if (self._health.reasons.get(NAME) or "") != reason:
            (log.warning if reason else log.info)("Kafka is away" if reason else "Kafka is there", reason=reason)
        KAFKA_UP.set(not reason)
        if reason:
            self.fault = Unavailable(f"Kafka is away: {reason}")
            self._health.bad(NAME, reason)
        else:
            self.fault = None
            self._health.good(NAME)


async def _close(producer: Producer) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await producer.stop()
    except (KafkaError, OSError) as e:
        log.warning("Closing the Kafka producer failed", error=_reason(e))
        await producer.client.close()  # stop() gave up before it came to the connections


def _reason(error: BaseException) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
