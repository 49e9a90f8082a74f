"""Dead letters: records that nobody can read, parked on `<topic>.dlq` with the reason; from job/consumer.py, to Kafka.

A dead letter keeps the record's key, value and headers; before them stand `reason`, `source-topic`, `source-partition`
and `source-offset`. It is written at least once: its record is finished when Kafka has acknowledged, and while Kafka
does not, it is tried again, so that no offset behind it is committed.

When full: the bound is what the partitions have in flight (job/progress.py).
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Any, Final

from aiokafka import ConsumerRecord
from aiokafka.errors import MessageSizeTooLargeError

from common import logs
from common.backoff import Backoff
from common.errors import reason_of
from common.health import Health
from job import kafka
from job.config import JobSettings
from job.record import DEAD_LETTER, PendingRecord

AT_ONCE: Final = 100
OWN_HEADERS: Final = 4
# A record as large as Kafka takes does not fit again, for the headers; so much of it is kept then.
CUT_BYTES: Final = 65_536

Send = Callable[..., Awaitable[asyncio.Future[Any]]]
Writer = Callable[[JobSettings], AbstractAsyncContextManager[Send]]

log = logs.get()


class _Letter:
    """One dead letter."""

    def __init__(self, record: PendingRecord, source: ConsumerRecord, reason: str) -> None:
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

    def cut(self) -> None:
        """Keep only the head of the value, and say so."""
        value = self.value or b""
        self.headers = [*self.headers[:OWN_HEADERS], ("cut-from-bytes", b"%d" % len(value))]
        self.key, self.value = (self.key or b"")[:CUT_BYTES], value[:CUT_BYTES]


class DeadLetters:
    """Writes dead letters. Connects with the first one: most days there is none."""

    def __init__(self, settings: JobSettings, health: Health, writer: Writer = kafka.writer) -> None:
        self._settings = settings
        self._health = health
        self._writer = writer
        self._topic = f"{settings.kafka_topic}.dlq"
        self._waiting: deque[_Letter] = deque()
        self._arrived = asyncio.Event()

    def put(self, record: PendingRecord, source: ConsumerRecord, reason: str) -> None:
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
                await kafka.create_if_missing(self._settings, self._topic)
                async with self._writer(self._settings) as send:
                    await self._write_all(send, backoff)
            except kafka.FAULTS as e:
                why = reason_of(e)
                log.warning("Dead letters can't be written", topic=self._topic, waiting=len(self._waiting), why=why)
                self._health.bad("dead_letters", f"{self._topic} can't be written: {why}")
            await backoff.wait()

    async def _write_all(self, send: Send, backoff: Backoff) -> None:
        while True:
            while self._waiting:
                await self._write(send)
                self._health.good("dead_letters")
                backoff.reset()
            self._arrived.clear()
            await self._arrived.wait()

    async def _write(self, send: Send) -> None:
        """Send some at once, then await each in its turn."""
        sent = [(letter, await self._send(send, letter)) for letter in list(islice(self._waiting, AT_ONCE))]
        for letter, acknowledged in sent:
            try:
                await acknowledged
            except MessageSizeTooLargeError:
                letter.cut()
                await (await self._send(send, letter))
            self._waiting.popleft()
            letter.record.settle(DEAD_LETTER)

    async def _send(self, send: Send, letter: _Letter) -> asyncio.Future[Any]:
        future = await send(self._topic, letter.value, letter.key, headers=letter.headers)
        future.add_done_callback(_seen)
        return future


def _seen(future: asyncio.Future[Any]) -> None:
    """Look at the outcome, so that nobody complains of one that was not awaited for an earlier one's failure."""
    if not future.cancelled():
        future.exception()
