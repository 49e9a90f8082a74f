"""Dead letters: records that nobody can read, parked on `<topic>.dlq` with the reason; from job/consumer.py, to Kafka.

A dead letter keeps the record's key, value and headers; before them stand `reason`, `source-topic`, `source-partition`
and `source-offset`. It is written at least once: its record is finished when Kafka has acknowledged, and while Kafka
does not, it is tried again, so that no offset behind it is committed.

When full: the bound is what the partitions have in flight (job/progress.py).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Final, Protocol

from common import logs
from common.backoff import Backoff
from common.errors import ChatError, TooLarge
from common.health import Health
from job.record import DEAD_LETTER, KafkaRecord, PendingRecord

AT_ONCE: Final = 100
OWN_HEADERS: Final = 4
# A record as large as Kafka takes does not fit again, for the headers; so much of it is kept then.
CUT_BYTES: Final = 65_536

log = logs.get()


class Writer(Protocol):
    """Writes to the topic of the dead letters, see job/kafka_topics.py."""

    async def send(
        self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> asyncio.Future[None]:
        """Send a record and return a future for Kafka's acknowledgment.

        The future raises Unavailable or TooLarge. The call itself raises Unavailable. The caller need not await the
        future of a record that it sends again.
        """


OpenWriter = Callable[[str], AbstractAsyncContextManager[Writer]]  # takes the topic, which it creates if need be


class _Letter:
    """One dead letter."""

    def __init__(self, record: PendingRecord, source: KafkaRecord, reason: str) -> None:
        self.record = record
        self.key: bytes | None = source.key
        # A record without key and value is legal in Kafka, but aiokafka does not send it.
        self.value: bytes | None = b"" if source.key is None and source.value is None else source.value
        self.headers = [
            ("reason", reason.encode(errors="replace")),
            ("source-topic", source.topic.encode()),
            ("source-partition", b"%d" % source.partition),
            ("source-offset", b"%d" % source.offset),
            *source.headers,
        ]

    async def send(self, writer: Writer) -> asyncio.Future[None]:
        """Send it, as Writer.send does."""
        return await writer.send(self.key, self.value, self.headers)

    def cut(self) -> None:
        """Keep only the head of the value, and say so."""
        value = self.value or b""
        self.headers = [*self.headers[:OWN_HEADERS], ("cut-from-bytes", b"%d" % len(value))]
        self.key, self.value = (self.key or b"")[:CUT_BYTES], value[:CUT_BYTES]


class DeadLetters:
    """Writes dead letters. Connects with the first one: most days there is none."""

    def __init__(self, topic: str, open_writer: OpenWriter, health: Health) -> None:
        self._topic = f"{topic}.dlq"
        self._open_writer = open_writer
        self._health = health
        self._waiting: deque[_Letter] = deque()
        self._arrived = asyncio.Event()

    def put(self, record: PendingRecord, source: KafkaRecord, reason: str) -> None:
        """Park a record; it is settled when Kafka has it."""
        log.warning("Dead letter", reason=reason, partition=source.partition, offset=source.offset)
        self._waiting.append(_Letter(record, source, reason))
        self._arrived.set()

    async def run(self) -> None:
        """Write until cancelled."""
        backoff = Backoff(0.2, 5.0)
        while True:
            await self._arrived.wait()
            try:
                async with self._open_writer(self._topic) as writer:
                    await self._write_all(writer, backoff)
            except ChatError as e:
                waiting, why = len(self._waiting), e.message
                log.warning("Dead letters can't be written", topic=self._topic, waiting=waiting, why=why)
                self._health.bad("dead_letters", f"{self._topic} can't be written: {why}")
            await backoff.wait()

    async def _write_all(self, writer: Writer, backoff: Backoff) -> None:
        while True:
            while self._waiting:
                await self._write(writer)
                self._health.good("dead_letters")
                backoff.reset()
            self._arrived.clear()
            await self._arrived.wait()

    async def _write(self, writer: Writer) -> None:
        """Send some at once, then await each in its turn."""
        sent = [(letter, await letter.send(writer)) for letter in list(islice(self._waiting, AT_ONCE))]
        for letter, acknowledged in sent:
            try:
                await acknowledged
            except TooLarge:
                letter.cut()
                await (await letter.send(writer))
            self._waiting.popleft()
            letter.record.settle(DEAD_LETTER)
